"""A training that begins with the parameters of another: a stage of its own, shared, and cut to the parts that are kept."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.core import plugins
from harness.core.registry import SLOTS
from harness.core.spec import SpecError, override, read
from harness.storage.store import Store
from harness.study.planning import read_base
from harness.trial.pipeline import Corridor, Trial, TrialChoice

ROOT = Path(__file__).resolve().parents[3]
SMALL = {
    "data.dataset.train": 40,
    "data.dataset.validation": 10,
    "data.dataset.test": 10,
    "training.updates": 4,
    "training.evaluate_every": 2,
}


def plain(**changes: Any) -> Any:
    base = read_base(ROOT / "studies/bases/numbers.yaml").plain
    return override(TrialChoice, base, SMALL | {name.replace("__", "."): value for name, value in changes.items()})


def pretrained(keep: list[str], **changes: Any) -> Trial:
    earlier = plain(training__updates=6)["training"]
    return trial(plain(training__pretraining={"kind": "trained", "training": earlier, "keep": keep}, **changes))


def trial(said: Any) -> Trial:
    choice = read(TrialChoice, said)
    return Trial(choice, 1, choice.data.dataset.build(folders=()).revision())


def run(made: Trial, store: Store, kinds: tuple[str, ...] = ("prepare", "pretrain", "train")) -> dict[str, bool]:
    """Run the first stages of a trial; say of each whether it was there."""
    return {name: found for name, _, found in Corridor(store, (), "cpu").run(made, lambda _: None, kinds)}


def test_without_it_there_is_no_such_stage_and_digests_stand() -> None:
    before, none = trial(plain()), trial(plain(training__pretraining="none"))
    assert "pretrain" not in before.stages and before.digest == none.digest
    assert pretrained([]).digest != before.digest


def test_trials_share_a_pretraining_and_begin_with_the_parts_that_are_kept(tmp_path: Path) -> None:
    store, first = Store(tmp_path), pretrained(["embeddings", "encoder"], training__select="last")
    assert run(first, store) == {"prepare": False, "pretrain": False, "train": False}
    other = pretrained(["embeddings", "encoder"], training__select="last", training__clip=0.5)
    assert run(other, store) == {"prepare": True, "pretrain": True, "train": False}
    folder = store.folder("pretrain", first.stages["pretrain"].key)
    start, whole = load_file(folder / "start.safetensors"), load_file(folder / "model.safetensors")
    assert (
        {name.partition(".")[0] for name in start} == {"embeddings", "encoder"} < {n.partition(".")[0] for n in whole}
    )
    assert all(torch.equal(start[name], whole[name]) for name in start)
    still = pretrained(["embeddings", "encoder"], training__select="last", training__optimizer__lr=1e-30)
    run(still, store)
    trained = load_file(store.folder("train", still.stages["train"].key) / "model.safetensors")
    kept = {name: torch.equal(trained[name], whole[name]) for name in whole}
    assert all(kept[name] for name in start) and not all(kept.values())


def test_a_pretraining_made_anew_makes_the_training_stale(tmp_path: Path) -> None:
    store, made = Store(tmp_path), pretrained([])
    run(made, store)
    assert made.stages["train"].inputs["pretrain"] == made.stages["pretrain"].key
    assert made.stages["decode"].inputs["pretrain"] == made.stages["pretrain"].key
    file = store.folder("pretrain", made.stages["pretrain"].key) / "start.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert run(made, store)["pretrain"] is False, "what is damaged is done anew"


def test_an_earlier_training_has_none_before_it() -> None:
    earlier = plain(training__pretraining={"kind": "trained", "training": plain()["training"]})["training"]
    with pytest.raises(SpecError, match="begins from the initializer"):
        trial(plain(training__pretraining={"kind": "trained", "training": earlier}))


def test_a_plugin_begins_with_parameters_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "LOADED", {})
    monkeypatch.setattr(SLOTS["pretraining"], "kinds", dict(SLOTS["pretraining"].kinds))
    plugins.load([str(ROOT / "tests/plugins/pretrained_start.py")])
    store, usual = Store(tmp_path / "store"), trial(plain())
    run(usual, store)
    weights = load_file(store.folder("train", usual.stages["train"].key) / "model.safetensors")
    file = tmp_path / "weights.safetensors"
    save_file({name: part for name, part in weights.items() if name.startswith("encoder")}, file)
    start = {"kind": "weights", "path": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    made = trial(plain(training__pretraining=start, training__select="last", training__optimizer__lr=1e-30))
    run(made, store)
    trained = load_file(store.folder("train", made.stages["train"].key) / "model.safetensors")
    assert all(torch.equal(trained[name], weights[name]) == name.startswith("encoder") for name in weights)
    with pytest.raises(SpecError, match="another file than the study names"):
        run(trial(plain(training__pretraining=start | {"sha256": "0"})), store)
    sys.modules.pop("plugin_pretrained_start", None)
