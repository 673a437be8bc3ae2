"""The error rates that the documentation states, measured again: a little in every run, more in the slow one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from harness.analysis import Outcome
from harness.core.spec import SpecError
from tests.calibration import page, real
from tests.calibration.__main__ import QUICK, simulated
from tests.calibration.experiments import Size, rate
from tests.calibration.page import BEGIN, END

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/statistics.md"
RESULTS = ROOT / "results/calibration"


def band(row: dict, low: float, high: float) -> bool:
    """Whether a rate in percent is between two, by three standard errors of a rate of 5 %."""
    slack = 300 * math.sqrt(0.05 * 0.95 / row["repetitions"])
    return low - slack <= row["percent"] <= high + slack


def test_a_tiny_calibration_tells_ours_from_the_usual(tmp_path):
    rows = simulated(
        Size(120, 10, seeds=(3,), worlds=(("exact_match", "large"),)), ["null", "sequential", "margin", "bimodal"]
    )
    found = {row["method"]: row for row in rows["null"]}
    assert band(found["ours"], 3, 7)
    assert all(found[name]["percent"] > 25 for name in found if name != "ours"), "seeds vary by 7 points"
    assert all(band(row, 0, 5) for name in ("margin", "bimodal") for row in rows[name])
    text = page.write(tmp_path, rows)
    assert "| exact_match | large |" in text and (tmp_path / "null.png").stat().st_size > 5000
    assert (tmp_path / "sequential.csv").exists()
    assert page.written(tmp_path) == text, "the files say it all"


@pytest.mark.slow
def test_calibration():
    rows = simulated(QUICK, ["null", "sequential", "margin", "bimodal", "predicted"])
    # With two seeds t tests are cautious where seeds differ by nothing but their sentences.
    assert all(band(r, 3 if r["seeds"] > 2 else 1.5, 7) for r in rows["null"] if r["method"] == "ours")
    assert all(band(row, 0, 5) for row in rows["sequential"] if row["method"] == "ours")
    assert all(row["percent"] > 8 for row in rows["sequential"] if row["method"] != "ours")
    assert all(band(row, 0, 5) for name in ("margin", "bimodal") for row in rows[name])
    for row in rows["predicted"]:
        assert abs(row["percent"] - row["predicted"]) <= 3 + 3 * row["se"], row


def test_rates_have_a_standard_error():
    assert rate(50, 1000) == {"percent": 5, "se": pytest.approx(0.6892, abs=1e-4), "repetitions": 1000}
    assert rate(0, 100)["se"] > 0, "none in a hundred is not certainly none"


def test_real_seeds_are_split_into_sides():
    """Seeds of two kinds pass for one variant only if the sides mix them; a metric of pure noise keeps the level."""
    rng = np.random.default_rng(0)
    right = rng.random((40, 300)) < rng.normal(0.6, 0.05, (40, 1)).clip(0, 1)
    outcomes = [
        Outcome(f"t{i}", "base", i, "ok", statistics={"exact_match": np.stack([row, np.ones(300)], 1).astype(float)})
        for i, row in enumerate(right)
    ]
    rows = list(real.splits(outcomes, ["exact_match"], 150))
    assert [row["seeds"] for row in rows] == [2, 3, 5, 10]
    assert all(row["percent"] <= 12 for row in rows)
    assert all(row["SD of scores"] > 3 for row in rows)


def test_too_few_real_seeds_are_refused(tmp_path):
    with pytest.raises(SpecError, match="are finished; run the study"):
        real.trained(str(ROOT / "studies/null.yaml"), tmp_path)


def test_the_document_holds_the_page_as_it_was_written():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    if (RESULTS / "calibration.md").exists():
        shown = text.split(BEGIN)[1].split(END)[0].strip()
        assert shown == (RESULTS / "calibration.md").read_text(encoding="utf-8").strip()


def test_a_page_takes_its_place_in_a_document(tmp_path):
    path = tmp_path / "doc.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    page.document(path, "new\n")
    assert path.read_text() == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
