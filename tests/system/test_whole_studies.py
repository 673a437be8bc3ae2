"""Whole studies, small: through worker processes, the store, the report; killed, resumed, repeated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    "data.dataset.train=300",
    "data.dataset.validation=40",
    "data.dataset.test=60",
    "data.dataset.digits=4",
    "model.encoder.cell.hidden=16",
    "model.decoder.cell.hidden=16",
    "training.updates=60",
    "training.evaluate_every=20",
]
COSTS = ["train_seconds", "target_tokens_per_second", "decode_sentences_per_second", "peak_memory_mb"]


def s2s(*words: str, small: bool = True) -> list[str]:
    sets = [word for change in SMALL for word in ("--set", change)] if small else []
    return [sys.executable, "-m", "harness", *words, *sets]


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"S2S_STORE": str(home / "runs"), "S2S_RESULTS": str(home / "results"), "HF_HUB_OFFLINE": "1"}


def call(home: Path, *words: str, code: int = 0, small: bool = True) -> str:
    done = subprocess.run(
        s2s(*words, small=small), env=environment(home), cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def trials(home: Path, study: str, base: str = "numbers") -> pd.DataFrame:
    return pd.read_csv(home / "results" / study / base / "trials.csv").drop(columns=COSTS)


@pytest.mark.full
@pytest.mark.slow
def test_a_decoding_study_trains_each_seed_once_and_a_second_run_does_nothing(tmp_path: Path) -> None:
    call(tmp_path, "run", "decoding", "--seeds", "2", "--no-track")
    stages = tmp_path / "runs" / "stages"
    assert {name: len(list((stages / name).iterdir())) for name in ("prepare", "train", "decode", "score")} == {
        "prepare": 1,
        "train": 2,
        "decode": 10,
        "score": 10,
    }
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.*")}
    assert "nothing to do: all 10 trials are done" in call(tmp_path, "run", "decoding", "--seeds", "2", "--no-track")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.*")} == before
    call(tmp_path, "run", "incremental-decoding", "--seeds", "2", "--no-track")
    frame = trials(tmp_path, "incremental-decoding")
    metrics = frame.groupby("seed")[["bleu", "exact_match", "nll", "free_nll", "token_edit_rate"]].nunique()
    assert (metrics == 1).all(axis=None), "greedy and recompute say the same"
    assert len(list((stages / "train").iterdir())) == 2, "the baseline is shared by both studies"


@pytest.mark.slow
def test_a_killed_study_goes_on_and_ends_with_the_same_numbers(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    call(whole, "run", "masking", "--seeds", "2", "--no-track")
    kills = 0
    for wait in (4.0, 6.0):
        running = subprocess.Popen(
            s2s("run", "masking", "--seeds", "2", "--no-track"), env=environment(broken), cwd=ROOT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        scores = broken / "runs" / "stages" / "score"
        done = len(list(scores.glob("*"))) if scores.exists() else 0
        while time.monotonic() < deadline and running.poll() is None:
            if scores.exists() and len(list(scores.glob("*"))) > done:
                break
            time.sleep(0.02)
        time.sleep(wait / 20)
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
            kills += 1
        running.wait()
    assert kills, "the study was over before it could be killed"
    call(broken, "run", "masking", "--seeds", "2", "--no-track")
    pd.testing.assert_frame_equal(trials(broken, "masking"), trials(whole, "masking"))
    for part in ("comparisons.csv",):
        assert (broken / "results/masking/numbers" / part).read_text() == (
            whole / "results/masking/numbers" / part
        ).read_text()
    for name in ("train", "decode", "score"):
        seals = [
            {
                p.name: json.loads((p / "stage.json").read_text())["seal"]
                for p in (home / "runs" / "stages" / name).iterdir()
            }
            for home in (whole, broken)
        ]
        assert seals[0] == seals[1], name


def build_one(tmp_path: Path, changes: dict[str, Any]) -> tuple[Any, Any]:
    import variants  # noqa: F401
    from harness.storage.store import Store
    from harness.study import planning
    from harness.trial.pipeline import Corridor

    sets = dict(change.split("=") for change in SMALL)
    plan = planning.resolve(
        planning.load(
            str(ROOT / "studies" / "masking.yaml"), sets={k: int(v) for k, v in sets.items()} | changes, seeds=1
        )
    )
    corridor = Corridor(Store(tmp_path / "runs"), plan.folders, "cpu")
    return corridor, next(trial for _, _, trial in plan.trials())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model.encoder.pack": False, "model.encoder.bidirectional": True},
        {
            "model.decoder.context": {
                "kind": "attention", "score": "general", "mask": False, "place": "readout", "merge": "concat"
            }
        },
        {"decoding.search": {"kind": "beam", "width": 3, "length_penalty": 1.0}},
    ],
    ids=["greedy", "padding is read", "padding is attended to", "beam"],
)  # fmt: skip
def test_output_does_not_depend_on_the_batch_size(tmp_path: Path, changes: dict[str, Any]) -> None:
    from harness.trial.decode import hypotheses

    corridor, trial = build_one(tmp_path, changes)
    for name, _, _ in corridor.run(trial, lambda _: None):
        if name == "train":
            break
    prepared, c = corridor.prepared(trial), trial.choice.decoding
    model, search = corridor.model(trial), c.search.build()
    found = [hypotheses(model, search, prepared.pairs["test"], c.limit, size, prepared.target) for size in (1, 7, 64)]
    texts = [[hypothesis.text for hypothesis in one] for one in found]
    assert texts[0] == texts[1] == texts[2] and len(set(texts[0])) > 1
    for one in found[1:]:
        assert [h.score for h in one] == pytest.approx([h.score for h in found[0]], abs=1e-4)


def test_search_reports_what_forced_decoding_gives(tmp_path: Path) -> None:
    """The road through decode.py: the score of a hypothesis is minus its NLL when it is taken as the reference."""
    from harness.trial.decode import examine, hypotheses
    from harness.trial.pairs import Pairs

    corridor, trial = build_one(tmp_path, {})
    for name, _, _ in corridor.run(trial, lambda _: None):
        if name == "train":
            break
    prepared, c = corridor.prepared(trial), trial.choice.decoding
    model, pairs = corridor.model(trial), prepared.pairs["test"]
    found = hypotheses(model, c.search.build(), pairs, c.limit, 64, prepared.target)
    ended = [h for h in found if not h.truncated]
    sources = [
        pairs.source[a:b].tolist()
        for a, b, h in zip(pairs.source_starts[:-1], pairs.source_starts[1:], found, strict=True)
        if not h.truncated
    ]
    examined = examine(model, Pairs.of(sources, [h.tokens for h in ended]), ended, 16)
    assert ended
    assert [h.score for h in ended] == pytest.approx((-examined.nll_N2[:, 0]).tolist(), abs=1e-4)
    assert examined.free_nll_N2[:, 0].tolist() == pytest.approx(examined.nll_N2[:, 0].tolist(), abs=1e-4), (
        "its own words are what it hears freely"
    )
