"""Laws of the training of ensembles: every member is an ordinary training with random streams of its own."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import test_training as laws
import torch
from safetensors.torch import load_file

from harness.core.seeds import member_seed
from harness.core.spec import SpecError, digest, encode, read
from harness.storage import checkpoint
from harness.trial import members, train, train_stage
from harness.trial.decode_stage import trained_model
from harness.trial.train import ELSEWHERE, Training, TrainingChoice, Workplace, foreseen_seconds, validation_nll
from variants.pretraining import Trained

SEED = 3
PREPARED: Any = SimpleNamespace(words=laws.WORDS, pairs_for=lambda copies: laws.PAIRS)
RANDOM = {
    "teacher_forcing": {"kind": "constant", "ratio": 0.5, "replace": "sample"},
    "corruption": {"kind": "word_dropout", "source": 0.3, "target": 0.3},
}
"""Settings under which every random stream is drawn from, but for the objective's."""


def choice(**changes: Any) -> TrainingChoice:
    return read(TrainingChoice, laws.BASE | RANDOM | changes)


def run(made: TrainingChoice, folder: Path, seed: int = SEED, **place: Any) -> tuple[dict[str, Any], list[Any]]:
    """Return the facts of the stage, and what it emitted."""
    folder.mkdir(exist_ok=True)
    events: list[Any] = []
    at = Workplace(folder, torch.device("cpu"), {"cpu": "here"}, events.append, 60.0, None)._replace(**place)
    return train_stage.run(laws.MODEL, made, seed, PREPARED, at), events


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "clock.jsonl"}


def points(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()]


def test_one_member_is_no_ensemble(tmp_path: Path) -> None:
    """The same digest, the same bits."""
    said, bare = choice(members=1), choice()
    assert digest(encode(said, meaning=True)) == digest(encode(bare, meaning=True))
    assert digest(encode(choice(members=2), meaning=True)) != digest(encode(bare, meaning=True))
    facts, _ = run(said, tmp_path / "stage")
    alone = laws.trained(bare, tmp_path / "alone", SEED)
    assert (
        outputs(tmp_path / "stage") == alone
        and "members" not in facts
        and "member" not in points(tmp_path / "stage")[0]
    )


def test_every_member_is_a_training_of_its_own(tmp_path: Path) -> None:
    """One after the other, early stopping and the choice of parameters for each; costs are added up."""
    made = choice(members=3, patience=1, optimizer={"kind": "adam", "lr": 0.3})
    facts, events = run(made, tmp_path / "all")
    whole, curve = load_file(tmp_path / "all" / "model.safetensors"), points(tmp_path / "all")
    before, told = 0, []
    for number in range(3):
        own, folder = members.by_itself(made, number), tmp_path / str(number)
        single, _ = run(own, folder, member_seed(SEED, number))
        kept = load_file(folder / "model.safetensors")
        assert all(torch.equal(whole.pop(f"members.{number}.{name}"), value) for name, value in kept.items())
        own_points = [p for p in curve if p["member"] == number]
        shifted = [p | {"update": p["update"] + before, "member": number} for p in points(folder)]
        assert own_points == shifted
        before += single["updates"]
        told.append(single)
    assert not whole and sorted(path.name for path in (tmp_path / "all").iterdir()) == [
        "clock.jsonl",
        "curve.jsonl",
        "model.safetensors",
    ]
    assert any(each["updates"] < 9 for each in told), "none stopped early"
    for name in ("params", "updates", "target_tokens", "train_flops"):
        assert facts[name] == sum(each[name] for each in told)
    assert facts["epochs"] == pytest.approx(sum(each["epochs"] for each in told), abs=1e-3)
    assert facts["train_flops_per_token"] == pytest.approx(told[0]["train_flops_per_token"])
    assert [each["best_dev_nll"] for each in facts["members"]] == [each["best_dev_nll"] for each in told]
    assert facts["epoch_updates"] == told[0]["epoch_updates"]
    seen = [event["update"] for event in events if "updates" in event]
    assert seen == [p["update"] for p in curve] and events[0]["updates"] == 27


@pytest.mark.parametrize("stream", ["init", "order", "dropout", "teacher_forcing"])
def test_members_share_no_random_stream(stream: str, tmp_path: Path) -> None:
    """A fixed stream is the same for every seed, and still another for every member."""
    others = {"init": 7, "order": 7, "dropout": 7, "teacher_forcing": 7, "samples": 7}
    fixed = {name: seed for name, seed in others.items() if name != stream}
    alike = choice(fixed=fixed)
    first, second = (members.by_itself(alike, number) for number in (0, 1))
    assert first == alike and second.fixed.init in (0, member_seed(7, 1)) and getattr(second.fixed, stream) == 0
    # Only the named stream follows the seed; with it fixed too, the member would be the training of another seed.
    one = laws.trained(second, tmp_path / "one", member_seed(SEED, 1))
    moved = laws.trained(second.changed(fixed=first.fixed), tmp_path / "moved", member_seed(SEED, 1))
    other = laws.trained(second, tmp_path / "other", SEED)
    assert one != moved and one != other


def test_ensembles_of_two_seeds_have_no_member_in_common() -> None:
    seeds = [member_seed(seed, number) for seed in range(1, 200) for number in range(20)]
    assert len(set(seeds)) == len(seeds) and member_seed(5, 0) == 5
    assert all(0 < seed < 2**63 for seed in seeds)


class Killed(Exception):
    """What ends a training in place of a signal that ends the process."""


@pytest.mark.parametrize("averaging", ["none", {"kind": "exponential", "decay": 0.7}])
@pytest.mark.parametrize(("member", "update"), [(0, 4), (1, 3), (1, 4), (2, 8)])
def test_killed_in_any_member_it_goes_on_bit_for_bit(
    member: int, update: int, averaging: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = choice(members=3, averaging=averaging)
    run(made, tmp_path / "whole")

    class Dying(Training):
        def _save(self) -> None:
            super()._save()
            if (self.folder.name, self.at.update) == (f"member_{member}", update):
                raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(train, "Training", Dying)
        with pytest.raises(Killed):
            run(made, tmp_path / "killed", checkpoint_every=0.0)
    assert [path.name for path in sorted((tmp_path / "killed").glob("*.pt"))] == [
        f"member_{number}.pt" for number in range(member)
    ]

    class Counted(Training):
        updates = 0

        def _update(self, batch: Any) -> None:
            super()._update(batch)
            Counted.updates += 1

    monkeypatch.setattr(train, "Training", Counted)
    run(made, tmp_path / "killed")
    assert outputs(tmp_path / "killed") == outputs(tmp_path / "whole")
    assert Counted.updates == (3 - member) * 9 - update, "nothing is trained twice"


def interrupted(made: TrainingChoice, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until the second member has begun."""

    class Dying(Training):
        def _update(self, batch: Any) -> None:
            if self.folder.name == "member_1":
                raise Killed
            super()._update(batch)

    with monkeypatch.context() as patched:
        patched.setattr(train, "Training", Dying)
        with pytest.raises(Killed):
            run(made, folder)


def test_a_finished_member_that_is_damaged_is_trained_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = choice(members=2)
    run(made, tmp_path / "whole")
    interrupted(made, tmp_path / "damaged", monkeypatch)
    path = tmp_path / "damaged" / "member_0.pt"
    path.write_bytes(path.read_bytes()[:-100] + bytes(100))
    _, events = run(made, tmp_path / "damaged")
    assert "member 0 cannot be read" in events[0]["note"]
    assert outputs(tmp_path / "damaged") == outputs(tmp_path / "whole")


def test_members_that_were_trained_elsewhere_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = choice(members=2)
    interrupted(made, tmp_path / "moved", monkeypatch)
    facts, events = run(made, tmp_path / "moved", place={"cpu": "there"})
    assert facts[ELSEWHERE] == [{"cpu": "here"}]
    assert "member 0 was trained elsewhere (cpu here there, cpu there here)" in events[0]["note"]
    assert ELSEWHERE not in run(made, tmp_path / "still")[0]


def test_what_is_kept_is_read_as_one_model(tmp_path: Path) -> None:
    made = choice(members=2)
    run(made, tmp_path / "all")
    both = trained_model(laws.MODEL, 2, PREPARED, tmp_path / "all", torch.device("cpu"))
    each = []
    for number in range(2):
        run(members.by_itself(made, number), tmp_path / str(number), member_seed(SEED, number))
        each.append(trained_model(laws.MODEL, 1, PREPARED, tmp_path / str(number), torch.device("cpu")))
    source_BS, inputs_BT = torch.tensor([[4, 5, 6]]), torch.tensor([[1, 5, 6, 7]])
    with torch.no_grad():
        state, source = both.read(source_BS)
        mean = both.output.logp(both.follow(state, source, inputs_BT), source).exp()
        parts = []
        for model in each:
            state, source = model.read(source_BS)
            parts.append(model.output.logp(model.follow(state, source, inputs_BT), source).exp())
    torch.testing.assert_close(mean, (parts[0] + parts[1]) / 2)
    nll = [validation_nll(model, laws.PAIRS["validation"], 4) for model in (both, *each)]
    assert nll[0] <= (nll[1] + nll[2]) / 2, "the logarithm is concave"
    with pytest.raises(ValueError, match="belongs to another model"):
        trained_model(laws.MODEL, 1, PREPARED, tmp_path / "all", torch.device("cpu"))


def test_the_time_of_an_ensemble_is_that_of_its_members() -> None:
    facts = {"train_seconds": 2.0, "updates": 10, "target_tokens": 1000, "epoch_updates": 15}
    assert foreseen_seconds(choice(members=4), facts) == 4 * foreseen_seconds(choice(), facts)


def test_members_begin_with_one_pretraining() -> None:
    with pytest.raises(SpecError, match="an earlier training makes one model"):
        read(Trained.Config, {"training": encode(choice(members=2))})


@pytest.mark.parametrize("writing", [False, True])
def test_a_member_is_kept_whole_or_not_at_all(writing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while the first member's file is written, or just after, it goes on from there and leaves nothing behind."""
    made = choice(members=2)
    run(made, tmp_path / "whole")
    write = checkpoint.write

    def failing(path: Path, state: Any) -> None:
        if path.name != "member_0.pt" or not writing:
            write(path, state)
        if path.name == "member_0.pt":
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "write", failing)
        with pytest.raises(Killed):
            run(made, tmp_path / "killed", checkpoint_every=0.0)
    assert (tmp_path / "killed" / "member_0").exists()
    run(made, tmp_path / "killed")
    assert outputs(tmp_path / "killed") == outputs(tmp_path / "whole")
