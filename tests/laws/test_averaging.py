"""Laws of averaging and corruption: what is evaluated and kept, and what training alone sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import test_training as laws
import torch
from safetensors.torch import load_file

from harness.contracts import UNK, Corruption, Search
from harness.core.spec import Incompatible, encode, read
from harness.trial import train
from harness.trial.batches import collate
from harness.trial.parameters import parameters
from harness.trial.train import Training, TrainingChoice, build, validation_nll
from variants.corruption import WordDropout


class Recorded(Training):
    """Takes down the parameters after every update, and what evaluations say."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.path: list[dict[str, torch.Tensor]] = []

    def _update(self, batch: Any) -> None:
        super()._update(batch)
        self.path.append(parameters(self.model))


def recorded(folder: Path, **changes: Any) -> tuple[Recorded, dict[str, torch.Tensor]]:
    folder.mkdir()
    choice = read(TrainingChoice, laws.BASE | changes)
    model = build(laws.MODEL, choice, laws.WORDS, 3)
    made = Recorded(model, choice, 3, laws.PAIRS, folder, torch.device("cpu"))
    made.run(lambda _: None)
    return made, load_file(folder / "model.safetensors")


@pytest.mark.parametrize("select", ["best", "last"])
def test_the_mean_is_evaluated_and_kept_and_training_goes_on_from_its_own(select: str, tmp_path: Path) -> None:
    """The mean of the last two of the checkpoints every two updates, out of the updates without averaging."""
    plain, _ = recorded(tmp_path / "plain", select=select)
    averaging = {"kind": "last_checkpoints", "last": 2, "every": 2}
    averaged, kept = recorded(tmp_path / "averaged", select=select, averaging=averaging)
    for own, other in zip(plain.path, averaged.path, strict=True):
        assert all(torch.equal(own[name], other[name]) for name in own)
    at = averaged.at.best_update if select == "best" else 9
    expected = {3: [2], 6: [4, 6], 9: [6, 8]}
    for name, values in kept.items():
        mean = torch.stack([plain.path[update - 1][name] for update in expected[at]]).mean(0)
        torch.testing.assert_close(values, mean)
    for point in averaged.curve:
        model = build(laws.MODEL, averaged.choice, laws.WORDS, 3)
        path = [plain.path[update - 1] for update in expected[point["update"]]]
        model.load_state_dict({name: sum(each[name] for each in path) / len(path) for name in kept})
        assert point["dev_nll"] == pytest.approx(validation_nll(model, laws.PAIRS["validation"], 4))


def test_a_moving_average_takes_in_every_update(tmp_path: Path) -> None:
    plain, _ = recorded(tmp_path / "plain")
    _, kept = recorded(tmp_path / "averaged", select="last", averaging={"kind": "exponential", "decay": 0.6})
    shares = [0.4 * 0.6 ** (9 - update) / (1 - 0.6**9) for update in range(1, 10)]
    assert sum(shares) == pytest.approx(1)
    for name, values in kept.items():
        mean = sum(share * each[name] for share, each in zip(shares, plain.path, strict=True))
        torch.testing.assert_close(values, mean)


def heard(**settings: Any) -> Any:
    """The first batch of the training pairs under word dropout."""
    batch = collate(laws.PAIRS["train"], torch.arange(18))
    model = build(laws.MODEL, read(TrainingChoice, laws.BASE), laws.WORDS, 3)
    part = WordDropout(WordDropout.Config(**settings), model)
    return batch, part.corrupted(batch, 0, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", Corruption.kinds)
def test_targets_and_special_words_stay(kind: str) -> None:
    batch = collate(laws.PAIRS["train"], torch.arange(18))
    choice = laws.CHOICES[f"corruption-{kind}"]
    part = choice.corruption.build(model=build(laws.MODEL, choice, laws.WORDS, 3))
    other = part.corrupted(batch, 0, torch.Generator().manual_seed(1))
    assert torch.equal(other.targets_BT, batch.targets_BT)
    for before, after in zip(batch[:2], other[:2], strict=True):
        assert torch.equal(after[before <= UNK], before[before <= UNK])


def test_word_dropout_drops_as_many_words_as_it_says_on_the_side_that_it_says() -> None:
    for side, other in ((0, 1), (1, 0)):
        batch, dropped = heard(**{"source": 0.0, "target": 0.0, ("source", "target")[side]: 0.5})
        words = batch[side] > UNK
        share = (dropped[side][words] == UNK).float().mean()
        assert float(share) == pytest.approx(0.5, abs=0.15) and torch.equal(dropped[other], batch[other])


def test_all_occurrences_of_a_word_are_dropped_together_if_it_says_so() -> None:
    def apart(drops: str) -> int:
        """Count words that are dropped in one place of their sentence and not in another."""
        count = 0
        for seed in range(20):
            batch = collate(laws.PAIRS["train"], torch.arange(18))._replace(
                source_BS=torch.tensor([[5, 6, 5, 7, 5]] * 18)
            )
            choice = read(TrainingChoice, laws.BASE)
            model = build(laws.MODEL, choice, laws.WORDS, 3)
            part = WordDropout(WordDropout.Config(source=0.5, drops=drops), model)  # type: ignore[arg-type]
            rows = part.corrupted(batch, 0, torch.Generator().manual_seed(seed)).source_BS[:, ::2]
            count += int(((rows == UNK).any(1) & (rows != UNK).any(1)).sum())
        return count

    assert apart("word") == 0 < apart("token")


def test_word_dropout_does_not_hide_what_is_to_be_copied() -> None:
    model = build(laws.MODEL, read(TrainingChoice, laws.BASE), laws.WORDS, 3)
    model.output.copies = True  # type: ignore[misc]
    with pytest.raises(Incompatible, match="set its source to 0"):
        WordDropout(WordDropout.Config(source=0.1), model)
    WordDropout(WordDropout.Config(source=0.0, target=0.1), model)


def test_evaluation_hears_all_words(tmp_path: Path) -> None:
    """With steps too small to learn anything, only what is heard in an evaluation could change it."""
    still = {"kind": "sgd", "lr": 1e-30}
    points = []
    for corruption in ("none", {"kind": "word_dropout", "source": 0.9, "target": 0.9}):
        made, _ = recorded(tmp_path / str(len(points)), optimizer=still, corruption=corruption)
        points.append([(point["loss"], point["dev_nll"]) for point in made.curve])
    assert [nll for _, nll in points[0]] == [nll for _, nll in points[1]]
    assert all(one != other for (one, _), (other, _) in zip(*points, strict=True)), "training does not"


def test_parts_that_do_not_meet_are_seen_before_any_training() -> None:
    choice = read(TrainingChoice, laws.BASE | {"initializer": "identity"})
    with pytest.raises(Incompatible, match="needs an Elman network"):
        train.check_parts(laws.MODEL, choice, Search.kinds["greedy"].Config(), laws.WORDS)
    plain = json.loads(json.dumps(encode(laws.MODEL)))
    for side in ("encoder", "decoder"):
        plain[side]["cell"]["kind"] = "gru"
    gru = read(type(laws.MODEL), plain)
    with pytest.raises(Incompatible, match="no cell of this model has a forget gate"):
        train.check_parts(gru, laws.CHOICES["initializer-by_part"], Search.kinds["greedy"].Config(), laws.WORDS)
    train.check_parts(laws.MODEL, laws.CHOICES["initializer-by_part"], Search.kinds["greedy"].Config(), laws.WORDS)


def test_word_dropout_follows_the_seed_of_dropout(tmp_path: Path) -> None:
    """``training.fixed.dropout`` fixes which words are dropped, too."""
    fixed = {"init": 3, "order": 3, "teacher_forcing": 3}
    corrupted = laws.BASE | {"corruption": {"kind": "word_dropout", "source": 0.5}}
    made = {}
    for name, more in (("free", {}), ("fixed", {"dropout": 3})):
        choice = read(TrainingChoice, corrupted | {"fixed": fixed | more})
        made[name] = [laws.trained(choice, tmp_path / f"{name}{seed}", seed) for seed in (3, 4)]
    assert made["free"][0] != made["free"][1] and made["fixed"][0] == made["fixed"][1] == made["free"][0]
