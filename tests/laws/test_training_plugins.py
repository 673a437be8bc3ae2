"""Parts of the training slots from plugin files: one file each, no edit of the harness, and the laws hold for them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_training as laws
import torch
from safetensors.torch import load_file

from harness.contracts import Order
from harness.core import plugins
from harness.core.registry import SLOTS
from harness.core.spec import read
from harness.trial.train import TrainingChoice

PLUGINS = Path(__file__).resolve().parents[1] / "plugins"
OBJECTIVES = [
    ("two_pass_objective", {"kind": "fraternal_dropout", "kappa": 2.0}),
    ("bag_of_words_objective", {"kind": "bag_of_words", "weight": 0.5}),
]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Load plugins by the names of their files; the registry is as it was afterwards."""
    for contract in SLOTS.values():
        monkeypatch.setattr(contract, "kinds", dict(contract.kinds))
    yield lambda name: plugins.load([str(PLUGINS / f"{name}.py")])
    for name in list(plugins.LOADED):
        del plugins.LOADED[name]
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("file", "loss"), OBJECTIVES)
def test_an_objective_obeys_the_laws(file: str, loss: dict[str, Any], load: Any, tmp_path: Path) -> None:
    """Laws 10 and 15 to 17."""
    load(file)
    laws.check_same_seed(read(TrainingChoice, laws.BASE | {"loss": loss}), tmp_path)
    laws.test_pad_content_matters_exactly_without_the_mask(loss)
    laws.test_a_pair_of_weight_zero_changes_nothing(loss)
    (tmp_path / "learns").mkdir()
    laws.test_every_parameter_of_an_objective_learns(loss, tmp_path / "learns")
    for around in ("fused", "walked", "pooled"):
        (tmp_path / around).mkdir()
        laws.test_splitting_a_batch_changes_nothing(loss, around, tmp_path / around)


def test_a_curriculum_obeys_the_laws(load: Any, tmp_path: Path) -> None:
    """Law 15; and it comes in its own order where nothing sorts it anew."""
    load("curriculum_order")
    choice = read(TrainingChoice, laws.BASE | {"order": "sorted", "pool": 1})
    laws.check_same_seed(choice, tmp_path)
    laws.check_order(choice)
    target_N = laws.PAIRS["train"].lengths.target_N[torch.cat(laws.batches_of(choice, 1))]
    assert target_N.tolist() == sorted(target_N.tolist())
    assert laws.trained(choice, tmp_path / "weighed") != laws.trained(unweighed(choice), tmp_path / "unweighed")
    (tmp_path / "split").mkdir()
    loss = {"kind": "cross_entropy", "mask": True, "normalize": "sentence"}
    laws.test_splitting_a_batch_changes_nothing(loss, "fused", tmp_path / "split", order="sorted")


def unweighed(choice: TrainingChoice) -> TrainingChoice:
    """Return a choice whose curriculum gives no weights any more."""
    SLOTS["order"].kinds["sorted"].weights = Order.weights
    return choice


@pytest.mark.parametrize(
    ("file", "loss", "extra"), [(*each, name) for each, name in zip(OBJECTIVES, ("apart", "bag"), strict=True)]
)
def test_extras_are_columns_of_the_curve(
    file: str, loss: dict[str, Any], extra: str, load: Any, tmp_path: Path
) -> None:
    load(file)
    made = laws.trained(read(TrainingChoice, laws.BASE | {"loss": loss}), tmp_path / "trained")
    points = [json.loads(line) for line in made["curve.jsonl"].splitlines()]
    assert all(point[extra] > 0 for point in points) and [*points[0]][:2] == ["update", "loss"]


def test_what_an_objective_owns_stands_beside_the_model_if_it_says_so(load: Any, tmp_path: Path) -> None:
    load("bag_of_words_objective")
    for kept in (True, False):
        SLOTS["objective"].kinds["bag_of_words"].kept = kept
        folder = tmp_path / str(kept)
        laws.trained(read(TrainingChoice, laws.BASE | {"loss": "bag_of_words"}), folder)
        assert (folder / "objective.safetensors").exists() == kept
        assert not [name for name in load_file(folder / "model.safetensors") if "bag" in name]
    bag = load_file(tmp_path / "True" / "objective.safetensors")
    assert {name: tuple(part.shape) for name, part in bag.items()} == {"bag.weight": (13, 12), "bag.bias": (13,)}


def test_an_extra_may_not_hide_a_column_of_the_curve(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load("two_pass_objective")
    part = SLOTS["objective"].kinds["fraternal_dropout"]
    forward = part.forward
    monkeypatch.setattr(part, "forward", lambda *given: forward(*given)._replace(extras={"lr": torch.zeros(())}))
    with pytest.raises(ValueError, match="extra 'lr' has the name of another column"):
        laws.trained(read(TrainingChoice, laws.BASE | {"loss": "fraternal_dropout"}), tmp_path / "trained")
