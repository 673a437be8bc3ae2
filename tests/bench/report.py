"""What answers and a report cost: draws of the test set, claims, figures and pages, of synthetic trials."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.measure import Row, alone, middle

VARIANTS, SEEDS, SENTENCES = 100, 5, 1000
SYSTEMS, LONG = 10, 10_000


def rows(home: Path, repeats: int) -> Iterator[Row]:
    """Yield seconds and memory of the resampling, and seconds of the report of five hundred trials."""
    drawn = [alone("tests.bench.report:draw", {}) for _ in range(repeats)]
    what = f"2,000 draws x {SYSTEMS} systems x {LONG:,} sentences of BLEU"
    yield middle(what, [one["seconds"] for one in drawn], "s", "<= 5")
    yield middle("memory that they take", [one["megabytes"] for one in drawn], "MB", "<= 1000")
    made = [alone("tests.bench.report:report", {"folder": str(home / f"report-{n}")}) for n in range(repeats)]
    what = f"answers and report of {VARIANTS * SEEDS} trials of {VARIANTS} variants, {SENTENCES:,} sentences each"
    yield middle(what, [one["seconds"] for one in made], "s", "<= 10")
    yield middle("its report.html", [one["megabytes"] for one in made], "MB", "<= 3")


def draw(*_: Any) -> dict[str, float]:
    """Resample ten systems (the entry of a worker)."""
    from harness.analysis import Resampler
    from harness.trial.score import METRICS

    rng = np.random.default_rng(1)
    systems = [rng.integers(1, 9, (LONG, 10)).astype(float) for _ in range(SYSTEMS)]
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    Resampler("bench").all_scores(systems, METRICS["bleu"], "test")
    seconds = time.monotonic() - began
    return {
        "seconds": seconds,
        "megabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def report(payload: dict[str, Any], *_: Any) -> dict[str, float]:
    """Answer a claim and write a report (the entry of a worker)."""
    from harness.analysis import compare_all
    from harness.report import pages
    from harness.report.facts import StudyFacts
    from harness.study.claims import Claim

    folder = Path(payload["folder"])
    first, second = ({"x": f"variant {n}"} for n in (1, 2))
    claims = [Claim(name="the second is better", better=second, than=first, metric="bleu")]
    outcomes = [_outcome(variant, seed) for variant in range(1, VARIANTS + 1) for seed in range(1, SEEDS + 1)]
    facts = StudyFacts(
        "bench", "synthetic", "How long does it take?", "Not long.", "0123456789abcdef", "make bench", claims
    )
    began = time.monotonic()
    pages.write(folder, facts, outcomes, compare_all(outcomes, claims, facts.digest))
    return {
        "seconds": time.monotonic() - began,
        "megabytes": (folder / "report.html").stat().st_size / 1e6,
    }


def _outcome(variant: int, seed: int) -> Any:
    from harness.analysis import Outcome, TestSet
    from harness.trial.score import corpus_scores

    shared, rng = np.random.default_rng(0), np.random.default_rng([variant, seed])
    lengths = shared.integers(3, 16, SENTENCES)
    right = rng.random((SENTENCES, 4)) < 0.4 + 0.01 * variant
    totals = np.maximum(lengths[:, None] - np.arange(4), 0)
    bleu = np.concatenate([lengths[:, None], lengths[:, None], np.floor(totals * right), totals], 1).astype(float)
    statistics = {
        "bleu": bleu,
        "exact_match": np.stack([right.all(1), np.ones(SENTENCES)], 1).astype(float),
        "nll": np.stack([rng.gamma(2, 0.3, SENTENCES) * lengths, lengths + 1.0], 1),
    }
    words = [" ".join(f"w{n}" for n in range(length)) for length in lengths]
    test = TestSet("bench", words, [[text] for text in words], lengths, lengths, lengths)
    return Outcome(
        f"{variant:08x}{seed:08x}", f"variant {variant}", seed, "ok", factors={"x": f"variant {variant}"},
        metrics=corpus_scores(statistics), costs={"params": 1e5 * variant, "train_seconds": 60.0, "train_flops": 1e12},
        stages={"train": f"{variant}/{seed}"}, statistics=statistics, test=test,
        curve=[{"update": u, "dev_nll": 3 / (1 + u / 300)} for u in range(0, 1001, 100)],
        hypotheses=[text if ok else text + " w" for text, ok in zip(words, right.all(1), strict=True)],
    )  # fmt: skip
