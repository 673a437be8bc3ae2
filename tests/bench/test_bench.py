"""The gate: fast paths are faster than the plain path, in one run; and the page says what a run measured."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

from harness.core import fast_paths
from harness.trial.flops import Counter
from harness.trial.updater import Updater
from tests.bench import page
from tests.bench.contest import Contestant, compete
from tests.bench.decoding import BEAM
from tests.bench.files import Wanted, write
from tests.bench.measure import Row
from tests.bench.ours import batches
from tests.bench.sizes import made
from tests.bench.training import HALF

ROOT = Path(__file__).resolve().parents[2]
LEAST = 1.05
"""How many times as fast as the plain path fast paths are at least, in what they are for; 1.2 and more was measured.

By operations, of which a machine has no say, 1.09 in training.
"""


NOT_SLOWER = 0.9
"""The same of a Transformer, whose products alone may gain; once, fused attention through oneDNN made it 0.68."""


def ratio(task: dict[str, Any]) -> float:
    """Return how many times as fast as the plain path fast paths are, in CPU seconds, in one run."""
    found = compete([Contestant("fast", task), Contestant("plain", task, plain=True)], 3, 0.5)
    assert not any(result.failure for result in found.values())
    return median(found["fast"].over(found["plain"]))


@pytest.fixture
def through_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wide products go through oneDNN, or the test has nothing to compare."""
    monkeypatch.delenv(fast_paths.SWITCH, raising=False)
    if fast_paths.wide_products() == "torch":
        pytest.skip("oneDNN rounds to bfloat16 on this processor, so that torch multiplies wide matrices here")


def test_fast_paths_compute_less_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where half of the words are the model's own, of which only those that are heard are looked for: on any machine."""
    monkeypatch.delenv(fast_paths.SWITCH, raising=False)
    (batch,) = batches(write(tmp_path, Wanted("M", pairs=64, size=16, count=1), None))
    totals = []
    for path in (nullcontext, fast_paths.off):
        updater = Updater(*made("M", HALF), 0, torch.device("cpu"))
        with path(), torch.backends.mkldnn.flags(enabled=False), Counter() as counter:
            updater.make(batch, 0, 1)
        totals.append(counter.total)
    fast, plain = totals
    assert plain / fast >= LEAST


@pytest.mark.slow
@pytest.mark.usefixtures("through_onednn")
def test_fast_paths_are_faster_in_training(tmp_path: Path) -> None:
    """The same in seconds, most of which wide products through oneDNN gain, on a processor where they are taken."""
    path = write(tmp_path, Wanted("M", pairs=64, size=16, count=1), None)
    assert ratio({"task": "train", "config": "M", "changes": HALF, "batches": path}) >= LEAST


@pytest.mark.slow
@pytest.mark.usefixtures("through_onednn")
def test_fast_paths_do_not_slow_a_transformer(tmp_path: Path) -> None:
    """Whose attention is many small products."""
    path = write(tmp_path, Wanted("T", pairs=64, size=16, count=1), None)
    assert ratio({"task": "train", "config": "T", "batches": path}) >= NOT_SLOWER


@pytest.mark.slow
def test_fast_paths_are_faster_in_search(tmp_path: Path) -> None:
    """A beam of five over sentences that end one after the other."""
    path = write(tmp_path, Wanted("M", "bucket", "test", 64, 16, 1), None)
    task = {"task": "decode", "config": "M", "search": BEAM, "batches": path, "limit": 50, "ends": True}
    assert ratio(task) >= LEAST


def test_the_page_says_what_was_measured(tmp_path: Path) -> None:
    """The tables of the documentation, the figure and the page beside it follow from the numbers that are kept."""
    kept = ROOT / "results/bench"
    (tmp_path / page.JSON).write_bytes((kept / page.JSON).read_bytes())
    text = page.written(tmp_path)
    assert (kept / page.MARKDOWN).read_text(encoding="utf-8") == text
    told = (ROOT / "docs/performance.md").read_text(encoding="utf-8").split(page.BEGIN)[1].split(page.END)[0]
    assert told.strip() == text.strip()
    assert "<svg" in (kept / page.SVG).read_text(encoding="utf-8")


def test_a_run_keeps_what_another_measured(tmp_path: Path) -> None:
    """One section at a time can be measured anew, and each says on which machine."""
    for name, machine in (("training", "one"), ("decoding", "other")):
        rows = [
            Row("other: ours", 2.0, "x")._asdict(),
            Row("race: peer", 1.0, "x", ">= 1.9 x", "", (2.0, 1.8, 2.1))._asdict(),
        ]
        text = page.write(tmp_path, {name: {"machine": {"processor": machine}, "rows": rows}})
    assert "processor: one" in text and "processor: other" in text
    assert "| race: peer | 1 | x | 2 (1.8 to 2.1) | >= 1.9 x | yes |" in text
    kept = json.loads((tmp_path / page.JSON).read_text(encoding="utf-8"))
    assert set(kept) == {"training", "decoding"}
    anew = {"machine": {}, "rows": [Row("race: peer", 3.0, "x")._asdict()]}
    page.write(tmp_path, {"training": anew}, only="race")
    rows = json.loads((tmp_path / page.JSON).read_text(encoding="utf-8"))["training"]["rows"]
    assert [(row["what"], row["value"]) for row in rows] == [("other: ours", 2.0), ("race: peer", 3.0)]


def test_what_is_wanted_is_compared_with_what_was_measured() -> None:
    """By the ratio where there is one, else by the value; nothing is reached that was not measured."""
    assert page.reached(Row("a", 5.0, "x", ">= 5")) is True
    assert page.reached(Row("a", 4.9, "x", ">= 5")) is False
    assert page.reached(Row("a", 9.0, "s", "<= 5")) is False
    assert page.reached(Row("a", 9.0, "tokens/s", ">= 2 x", "", (1.9, 1.8, 2.0))) is False
    assert page.reached(Row("a", None, "s", "<= 5")) is None
    assert page.reached(Row("a", 1.0, "s")) is None
