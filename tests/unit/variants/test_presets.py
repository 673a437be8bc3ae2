"""Every preset builds on a base, is one page with its source and what differs, and trains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import variants  # noqa: F401
from harness.cli import listing
from harness.storage.store import Store
from harness.study import planning
from harness.study.presets import read_preset
from harness.trial.pipeline import Corridor
from unit.study.test_planning import ROOT

PRESETS = sorted(path.stem for path in (ROOT / "variants/presets").glob("*.yaml"))
SMALL = {
    "data.dataset.train": 200,
    "data.dataset.validation": 20,
    "data.dataset.test": 20,
    "data.dataset.digits": 4,
    "training.batch_size": 20,
    "training.evaluate_every": 30,
    "training.updates": 90,
}


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_one_page_with_its_source_and_what_differs(name: str) -> None:
    page = listing.page(name, None, [])
    assert not page["skipped"] and page["parameters"]["total"] > 0
    plain, _ = read_preset(name)
    assert set(plain) == {"about", "source", "sizes", "set"}
    assert len(plain["about"]) <= 160 and re.search(r"\b(19|20)\d\d\b", plain["source"])
    assert re.search(r"\b(ours|our|the base's)\b", plain["sizes"]), "it says what is ours"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_its_whole_model(name: str) -> None:
    """Over two bases with unlike models it gives the same one, but for the width of word vectors where it leaves that open."""
    models = [listing.page(name, base, [])["choice"]["model"] for base in ("numbers", "multi30k")]
    if "model.embeddings" not in read_preset(name)[0]["set"]:
        models = [{part: model[part] for part in model if part != "embeddings"} for model in models]
    assert models[0] == models[1]


def test_the_catalogue_of_presets_is_documented_in_order() -> None:
    text = (ROOT / "docs/study-files.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([\w-]+)` \|", text.partition("## Presets")[2].partition("\n## ")[0], re.M) == PRESETS


def test_the_textbooks_fault_is_a_search_and_a_limit() -> None:
    choice = listing.page("d2l-as-published", "numbers", [])["choice"]
    assert choice["decoding"]["search"] == {"kind": "drifting"} and choice["decoding"]["limit"] == 10


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_trains(name: str, tmp_path: Path) -> None:
    """A hundred updates lower the loss of validation, and the trial is scored to its end."""
    torch.set_num_threads(1)
    study = tmp_path / "one.yaml"
    study.write_text("question: Does it train?\nexpectation: Yes.\nbase: numbers\nseeds: 1\n")
    sets: dict[str, Any] = {"preset": name} | SMALL
    plan = planning.resolve(planning.load(str(study), sets=sets))
    corridor = Corridor(Store(tmp_path / "runs"), plan.folders, "cpu")
    trial = next(trial for _, _, trial in plan.trials())
    heard: list[dict[str, Any]] = []
    assert [name for name, _, _ in corridor.run(trial, heard.append)][-1] == "score"
    losses = [event["dev_nll"] for event in heard if "dev_nll" in event]
    assert losses[-1] < losses[0] - 0.05
