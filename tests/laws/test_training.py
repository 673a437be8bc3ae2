"""Laws of training, over every registered part of the training slots."""

from __future__ import annotations

import errno
import itertools
import json
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import choices
import pytest
import torch
from safetensors.torch import load_file

from harness.contracts import (
    PAD,
    Averaging,
    Corruption,
    Initializer,
    Objective,
    Optimizer,
    Order,
    Pass,
    Schedule,
    Streams,
    TeacherForcing,
    Words,
    sayable,
)
from harness.core.spec import SpecError, encode, override, read
from harness.storage import checkpoint
from harness.trial import train
from harness.trial.batches import collate, cut, pass_generator
from harness.trial.model import ModelChoice, Seq2Seq
from harness.trial.pairs import Pairs
from harness.trial.parameters import parameters
from harness.trial.train import Position, Training, TrainingChoice, build
from harness.trial.updater import build_objective

WORDS = Words(12, 13)
MODEL = read(
    ModelChoice,
    {
        "embeddings": {"kind": "separate", "width": 6, "dropout": 0.1},
        "encoder": {"kind": "rnn", "cell": {"kind": "gru", "hidden": 6}, "bidirectional": True},
        "decoder": {
            "kind": "rnn",
            "cell": {"kind": "lstm", "hidden": 6},
            "bridge": "linear",
            "context": {"kind": "attention", "score": "general", "mask": True, "place": "readout", "merge": "concat"},
        },
        "output": "linear",
    },
)
BASE: dict[str, Any] = {
    "loss": {"kind": "cross_entropy", "mask": True, "normalize": "token"},
    "teacher_forcing": {"kind": "constant", "ratio": 1.0},
    "optimizer": {"kind": "adam", "lr": 0.01},
    "schedule": "constant",
    "initializer": "default",
    "batch_size": 4,
    "pool": 2,
    "updates": 9,
    "evaluate_every": 3,
    "clip": 1.0,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "teacher_forcing": {"ratio": 0.5, "end": 0.0, "over": 4, "k": 2.0},
    "teacher_forcing-exponential": {"k": 0.9},
    "schedule": {"every": 2, "warmup": 3},
    "optimizer": {"lr": 0.01},
    "loss": {
        "mask": False,
        "normalize": "padded",
        "smoothing": 0.1,
        "samples": 3,
        "likelihood": 0.5,
        "count_eos": False,
    },
    "initializer": {"forget_bias": 1.0, "matrices": "xavier", "embeddings": {"kind": "normal", "scale": 0.2}},
    "order": {"over": 6, "difficulty": "rarity"},
    "averaging": {"decay": 0.7, "start": 2, "last": 2, "every": 2},
    "corruption": {"source": 0.3, "target": 0.3},
}


def made_up(count: int, seed: int) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 6, (count,), generator=generator).tolist()
    source = [torch.randint(4, 12, (n,), generator=generator).tolist() for n in lengths]
    return Pairs.of(source, [[token + 1 for token in reversed(row)][: 1 + len(row) // 2] for row in source])


PAIRS = {"train": made_up(18, 0), "validation": made_up(7, 1), "test": made_up(3, 2)}


def training_choices() -> Iterator[tuple[str, TrainingChoice]]:
    """Yield a training choice for every registered part of every training slot, and for every way to toss coins."""
    slots = {
        "loss": Objective,
        "teacher_forcing": TeacherForcing,
        "optimizer": Optimizer,
        "schedule": Schedule,
        "initializer": Initializer,
        "order": Order,
        "averaging": Averaging,
        "corruption": Corruption,
    }
    for name, slot in slots.items():
        for kind, part in slot.kinds.items():
            settings = SETTINGS[name] | SETTINGS.get(f"{name}-{kind}", {})
            known = {k: v for k, v in settings.items() if k in part.Config.model_fields}
            yield f"{name}-{kind}", read(TrainingChoice, BASE | {name: {"kind": kind, **known}})
    for coin, replace in itertools.product(("token", "step", "sequence", "batch"), ("argmax", "sample")):
        forcing = {"kind": "constant", "ratio": 0.5, "coin": coin, "replace": replace}
        yield f"coin-{coin}-{replace}", read(TrainingChoice, BASE | {"teacher_forcing": forcing})
    extra = {"accumulate": 2, "patience": 1, "select": "last", "precision": "bf16", "clip": 0.0, "pool": 1}
    for key, value in extra.items():
        yield f"{key}-{value}", read(TrainingChoice, BASE | {key: value})
    yield "epochs-2", read(TrainingChoice, BASE | {"updates": 0, "epochs": 2, "schedule": "linear"})
    yield "tokens-75", read(TrainingChoice, BASE | {"updates": 0, "tokens": 75})


CHOICES = dict(training_choices())


DEVICES = [torch.device("cpu"), *(torch.device("cuda", n) for n in range(min(1, torch.cuda.device_count())))]


def trained(
    choice: TrainingChoice,
    folder: Path,
    seed: int = 3,
    kill_at: int | None = None,
    *,
    device: torch.device = DEVICES[0],
    model: ModelChoice = MODEL,
) -> dict[str, bytes]:
    """Train; with ``kill_at``, drop everything after the checkpoint of that update and go on from it in a new object."""
    folder.mkdir()
    if kill_at is not None:

        class Killed(Exception):
            pass

        def kill(self: Training) -> None:
            Training._save(self)
            if self.at.update == kill_at:
                raise Killed

        dying = type("Dying", (Training,), {"_save": kill})
        first = build(model, choice, WORDS, seed)
        with pytest.raises(Killed):
            dying(first, choice, seed, PAIRS, folder, device).run(lambda _: None, checkpoint_every=0.0)
    Training(build(model, choice, WORDS, seed), choice, seed, PAIRS, folder, device).run(lambda _: None)
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "curve.jsonl")}


def check_same_seed(choice: TrainingChoice, tmp_path: Path) -> None:
    """Check law 15 for a choice of training."""
    whole = trained(choice, tmp_path / "whole")
    assert trained(choice, tmp_path / "again") == whole
    assert trained(choice, tmp_path / "killed", kill_at=4) == whole
    assert trained(choice, tmp_path / "evaluated", kill_at=3) == whole, "right after an evaluation"
    assert trained(choice, tmp_path / "other", seed=4) != whole


@pytest.mark.parametrize("name", CHOICES)
def test_same_seed_same_curve_bit_for_bit_and_killed_is_never_killed(name: str, tmp_path: Path) -> None:
    """Law 15."""
    check_same_seed(CHOICES[name], tmp_path)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_what_is_dropped_between_layers_is_the_same_after_a_kill(device: torch.device, tmp_path: Path) -> None:
    """Law 15, where masks are drawn by the library that walks the layers."""
    cell = {"kind": "lstm", "hidden": 6, "layers": 2, "dropout": 0.4}
    plain = encode(MODEL)
    deep = read(ModelChoice, plain | {s: plain[s] | {"cell": cell} for s in ("encoder", "decoder")})
    choice = read(TrainingChoice, BASE)
    whole = trained(choice, tmp_path / "whole", device=device, model=deep)
    assert trained(choice, tmp_path / "killed", kill_at=4, device=device, model=deep) == whole
    assert trained(choice, tmp_path / "evaluated", kill_at=3, device=device, model=deep) == whole
    calm = read(
        ModelChoice, encode(deep) | {s: plain[s] | {"cell": cell | {"dropout": 0.0}} for s in ("encoder", "decoder")}
    )
    assert trained(choice, tmp_path / "calm", device=device, model=calm) != whole


class Ended(Exception):
    """What the handler of a test raises in place of ending the process."""


def stopped(choice: TrainingChoice, folder: Path, seed: int, at: int, *, evaluating: bool) -> int:
    """Train until a signal at an update, or at the first evaluation after it; return the update of the checkpoint."""

    class Signalled(Training):
        def _update(self, batch: Any) -> None:
            super()._update(batch)
            if self.at.update == at and not evaluating:
                signal.raise_signal(signal.SIGTERM)

        def _evaluate(self, emit: Any, stop: Any) -> None:
            if self.at.update >= at and evaluating:
                signal.raise_signal(signal.SIGTERM)
            super()._evaluate(emit, stop)

    def end(number: int, _: object) -> None:
        raise Ended(number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        model = build(MODEL, choice, WORDS, seed)
        training = Signalled(model, choice, seed, PAIRS, folder, torch.device("cpu"))
        with pytest.raises(Ended):
            training.run(lambda _: None)
        assert signal.getsignal(signal.SIGTERM) is end, "handlers are put back"
    finally:
        signal.signal(signal.SIGTERM, before)
    return training.at.update


@pytest.mark.parametrize("evaluating", [False, True])
@pytest.mark.parametrize("name", CHOICES)
def test_stopped_by_a_signal_it_goes_on_bit_for_bit(name: str, evaluating: bool, tmp_path: Path) -> None:
    """Law 15, at a random update, in the middle of an evaluation too, twice in a row."""
    choice, draw = CHOICES[name], random.Random(f"{name} {evaluating}")
    whole = trained(choice, tmp_path / "whole")
    last = json.loads(whole["curve.jsonl"].splitlines()[-1])["update"]
    folder = tmp_path / "stopped"
    folder.mkdir()
    first = stopped(choice, folder, 3, draw.randint(1, last - 1), evaluating=evaluating)
    assert (folder / "checkpoint.pt").exists() and not list(folder.glob("*.part"))
    if first < last - 1:
        second = stopped(choice, folder, 3, draw.randint(first + 1, last - 1), evaluating=evaluating)
        assert second > first
    Training(build(MODEL, choice, WORDS, 3), choice, 3, PAIRS, folder, torch.device("cpu")).run(print)
    assert {file: (folder / file).read_bytes() for file in whole} == whole


def test_a_signal_after_the_last_evaluation_takes_nothing_away(tmp_path: Path) -> None:
    choice = CHOICES["accumulate-2"]
    whole = trained(choice, tmp_path / "whole")
    (tmp_path / "stopped").mkdir()
    assert stopped(choice, tmp_path / "stopped", 3, choice.updates, evaluating=True) == choice.updates
    training = Training(build(MODEL, choice, WORDS, 3), choice, 3, PAIRS, tmp_path / "stopped", torch.device("cpu"))
    assert training.run(lambda _: None)["updates"] == choice.updates, "it only owes the evaluation"
    assert {file: (tmp_path / "stopped" / file).read_bytes() for file in whole} == whole


@pytest.mark.parametrize("share", [0.5, 1])
@pytest.mark.parametrize("name", ["coin-token-sample", "accumulate-2"])
def test_stopped_again_and_again_amid_the_same_evaluation_it_loses_nothing(
    name: str, share: float, tmp_path: Path
) -> None:
    choice = CHOICES[name]
    whole = trained(choice, tmp_path / "whole")
    folder, at = tmp_path / "stopped", round(choice.updates * share)
    folder.mkdir()
    first, *more = (stopped(choice, folder, 3, at, evaluating=True) for _ in range(3))
    assert at <= first < at + choice.evaluate_every and set(more) == {first}
    Training(build(MODEL, choice, WORDS, 3), choice, 3, PAIRS, folder, torch.device("cpu")).run(print)
    assert {file: (folder / file).read_bytes() for file in whole} == whole


class Watched(Training):
    """Takes down the parameters at every evaluation; killed at an update, past its checkpoint at another."""

    seen: dict[int, dict[str, torch.Tensor]]
    killed_at = 0

    def _update(self, batch: Any) -> None:
        if self.at.update == self.killed_at > 0:
            raise Ended
        super()._update(batch)

    def _save(self) -> None:
        if self.at.update == self.killed_at - 2:
            super()._save()

    def _evaluate(self, emit: Any, stop: Any) -> None:
        super()._evaluate(emit, stop)
        self.seen[self.at.update] = parameters(self.model)


@pytest.mark.parametrize("killed_at", [5, 7])
def test_the_weights_are_those_of_the_best_update_even_if_a_training_goes_on_otherwise(
    killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another machine, or by the clock, it does not come again to what was better than all before."""
    choice = read(TrainingChoice, BASE | {"evaluate_every": 2})
    first, second = (
        Watched(build(MODEL, choice, WORDS, 3), choice, 3, PAIRS, tmp_path, torch.device("cpu")) for _ in range(2)
    )
    first.seen = second.seen = {}
    first.killed_at = killed_at
    with pytest.raises(Ended):
        first.run(lambda _: None, checkpoint_every=0.0)
    assert first.at.best_update == killed_at - 1, "better than what the checkpoint knows"
    monkeypatch.setattr(train, "validation_nll", lambda *_: 1e9)
    facts = second.run(lambda _: None)
    kept, meant = load_file(tmp_path / "model.safetensors"), first.seen[facts["best_update"]]
    assert facts["best_update"] == killed_at - 3
    assert list(kept) == sorted(meant) and all(torch.equal(kept[name], meant[name]) for name in kept)


def test_a_training_that_goes_on_elsewhere_says_so(tmp_path: Path) -> None:
    """Its facts list what was otherwise before, each place once; those of one that stays where it is say nothing."""
    choice = CHOICES["accumulate-2"]
    here, there, third = {"torch": "2", "threads": 1}, {"torch": "2", "threads": 4}, {"torch": "3", "threads": 1}

    def ran(places: list[dict[str, Any]], folder: Path) -> tuple[list[str], dict[str, Any]]:
        folder.mkdir()
        notes: list[str] = []
        for at, place in enumerate(places, 1):
            model = build(MODEL, choice, WORDS, 3)
            training = Watched(model, choice, 3, PAIRS, folder, torch.device("cpu"), place)
            training.seen, training.killed_at = {}, 2 + at if at < len(places) else 0
            with suppress(Ended):
                facts = training.run(lambda event: notes.extend([event["note"]] if "note" in event else []), 0.0)
        return notes, facts

    notes, facts = ran([there, here], tmp_path / "moved")
    assert len(notes) == 1 and "(threads 4 there, threads 1 here)" in notes[0]
    assert facts["begun_elsewhere"] == [{"threads": 4}]
    notes, facts = ran([here, there, third, here], tmp_path / "back")
    assert len(notes) == 3 and facts["begun_elsewhere"] == [{"threads": 4}, {"torch": "3"}]
    notes, facts = ran([here, dict(here)], tmp_path / "stayed")
    assert not notes and "begun_elsewhere" not in facts


def test_a_damaged_checkpoint_is_thrown_away_and_said(tmp_path: Path) -> None:
    """Every byte: what is flipped is noticed; what is cut short is noticed."""
    choice, folder = CHOICES["coin-token-sample"], tmp_path / "stopped"
    folder.mkdir()
    stopped(choice, folder, 3, 5, evaluating=False)
    path = folder / "checkpoint.pt"
    good = path.read_bytes()
    assert checkpoint.read(path)["at"]["update"] == 5
    for place in random.Random(0).sample(range(len(good)), 300):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        path.write_bytes(bad)
        with pytest.raises(checkpoint.Unreadable):
            checkpoint.read(path)
    whole = trained(choice, tmp_path / "whole")
    for damaged in (good[: len(good) // 2], b"", bytes(bad)[:-1]):
        path.write_bytes(damaged)
        said: list[dict[str, Any]] = []
        Training(build(MODEL, choice, WORDS, 3), choice, 3, PAIRS, folder, torch.device("cpu")).run(said.append)
        assert "thrown away" in said[0]["note"]
        assert {file: (folder / file).read_bytes() for file in whole} == whole


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice, folder = CHOICES["accumulate-2"], tmp_path / "full"
    folder.mkdir()
    stopped(choice, folder, 3, 2, evaluating=False)
    before = (folder / "checkpoint.pt").read_bytes()

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "sync", full)
    training = Training(build(MODEL, choice, WORDS, 3), choice, 3, PAIRS, folder, torch.device("cpu"))
    with pytest.raises(OSError, match="No space left"):
        training.run(lambda _: None, checkpoint_every=0.0)
    assert (folder / "checkpoint.pt").read_bytes() == before and not list(folder.glob("*.part"))


OBJECTIVES = choices.cover(Objective.Config, "loss", 3, lambda _: True, tries=1)


@pytest.mark.parametrize("loss", OBJECTIVES, ids=choices.name)
def test_pad_content_matters_exactly_without_the_mask(loss: dict[str, Any]) -> None:
    """Law 16: what stands where a target is padded changes loss and gradient without the mask, and cannot with it."""
    batch = collate(PAIRS["train"], torch.arange(5))
    pad_BT = batch.targets_BT == PAD
    assert pad_BT.any()
    results = []
    for word in (PAD, 7):
        model = build(MODEL, read(TrainingChoice, BASE), WORDS, 1).eval().double()
        objective = build_objective(model, read(TrainingChoice, BASE | {"loss": loss}).loss, 1).double()
        # The words that the decoder hears at padded steps, as strange as may be.
        strange = batch._replace(inputs_BT=torch.where(pad_BT, word, batch.inputs_BT))
        streams = Streams(None, "argmax", *(torch.Generator().manual_seed(n) for n in (1, 2)))
        made = objective(model, strange, streams, 0)
        (made.value / (1 if made.normalizer is None else made.normalizer)).backward()
        results.append([made.value.detach()] + [p.grad for p in model.decoder.parameters() if p.grad is not None])
    same = all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(*results, strict=True))
    assert same == loss.get("mask", True)


@pytest.mark.parametrize("loss", OBJECTIVES, ids=choices.name)
def test_every_parameter_of_an_objective_learns(loss: dict[str, Any], tmp_path: Path) -> None:
    """Law 10; those of the model learn from every objective, too."""
    choice = read(TrainingChoice, BASE | {"loss": loss, "updates": 2})
    training = Training(build(MODEL, choice, WORDS, 3), choice, 3, PAIRS, tmp_path, torch.device("cpu"))
    modules = training.model, training.updater.objective
    before = [p.detach().clone() for module in modules for p in module.parameters()]
    training.run(lambda _: None)
    after = [p for module in modules for p in module.parameters()]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("around", ["fused", "walked", "pooled"])
@pytest.mark.parametrize("loss", OBJECTIVES, ids=choices.name)
def test_splitting_a_batch_changes_nothing(
    loss: dict[str, Any], around: str, tmp_path: Path, order: str = "shuffled"
) -> None:
    """Law 17: batches of eight, and pieces of four whose gradients are accumulated, make the same updates.

    Lengths are unequal, the last batch of an epoch is short, and the model hears how far its sources are padded.
    """
    ratio, pool = 0.5 if around == "walked" else 1.0, 2 if around == "pooled" else 1
    plain = BASE | {"loss": loss, "updates": 4, "evaluate_every": 2, "pool": pool, "order": order}
    plain |= {"teacher_forcing": {"kind": "constant", "ratio": ratio, "coin": "step"}}
    silent = override(ModelChoice, encode(MODEL), {"embeddings.dropout": 0.0, "encoder.pack": False})
    made = []
    for size, accumulate in ((8, 1), (4, 2)):
        choice = read(TrainingChoice, plain | {"batch_size": size, "accumulate": accumulate})
        model = build(read(ModelChoice, silent), choice, WORDS, 5).double()
        folder = tmp_path / str(size)
        folder.mkdir()
        training = Training(model, choice, 5, PAIRS, folder, torch.device("cpu"))
        training.updater.objective.double()
        training.run(lambda _: None)
        made.append([p.detach() for p in (*model.parameters(), *training.updater.objective.parameters())])
    for one, other in zip(*made, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def batches_of(choice: TrainingChoice, seed: int, number: int = 0, update: int = 0) -> list[torch.Tensor]:
    """Return the row numbers of the batches of one pass."""
    lengths, generator = PAIRS["train"].lengths, pass_generator(seed, number)
    order: Order = choice.order.build()
    return cut(order.rows(Pass(number, update), lengths, generator), lengths, 4, choice.pool, generator)


STREAMS = ("init", "order", "dropout", "teacher_forcing", "samples")


@pytest.mark.parametrize("free", STREAMS)
def test_a_stream_that_is_fixed_does_not_follow_the_seed(free: str, tmp_path: Path) -> None:
    plain = BASE | {"teacher_forcing": {"kind": "constant", "ratio": 0.5}}
    fixed = {stream: 3 for stream in STREAMS if stream != free}
    choice = read(TrainingChoice, plain | {"fixed": fixed})
    third, fourth = (trained(choice, tmp_path / str(seed), seed) for seed in (3, 4))
    assert third == trained(read(TrainingChoice, plain), tmp_path / "plain", 3)
    assert (third == fourth) == (free == "samples"), "no objective here draws samples"


@pytest.mark.parametrize("kind", Order.kinds)
@pytest.mark.parametrize("pool", [1, 3])
def test_the_order_of_data_depends_on_the_seed_alone(pool: int, kind: str) -> None:
    check_order(CHOICES[f"order-{kind}"].changed(pool=pool))


def check_order(choice: TrainingChoice) -> None:
    """Check that passes with one seed are the same, and that every pair is visited in the end."""
    passes = [batches_of(choice, seed, number, 10**6) for seed, number in ((1, 0), (1, 0), (1, 1), (2, 0))]
    rows = [torch.cat(batches).tolist() for batches in passes]
    assert rows[0] == rows[1] and rows[0] != rows[2] and rows[0] != rows[3]
    assert all(set(row) == set(range(PAIRS["train"].size)) for row in rows)


@pytest.mark.parametrize("loss", OBJECTIVES, ids=choices.name)
def test_a_pair_of_weight_zero_changes_nothing(loss: dict[str, Any]) -> None:
    """Whatever it holds, as long as it is as wide; and a pair of weight two counts as much as two.

    Of an objective that draws samples, two equal pairs have two draws: what one of them adds is then doubled.
    """
    samples = torch.Generator()
    untouched = samples.get_state()

    def value(rows: list[int], weights: list[float] | None) -> float:
        batch = collate(PAIRS["train"], torch.tensor(rows))
        batch = batch._replace(weight_B=None if weights is None else torch.tensor(weights))
        model = build(MODEL, read(TrainingChoice, BASE), WORDS, 1).eval()
        objective = build_objective(model, read(TrainingChoice, BASE | {"loss": loss}).loss, 1)
        samples.set_state(untouched)
        made = objective(model, batch, Streams(None, "argmax", torch.Generator(), samples), 0)
        return float(made.value.detach())

    longest = int(PAIRS["train"].target_lengths.argmax())
    other = [row for row in range(4) if row != longest]
    assert value([longest, other[0]], [1.0, 0.0]) == pytest.approx(value([longest, other[1]], [1.0, 0.0]))
    none, once, twice = (value([longest, other[0]], [1.0, weight]) for weight in (0.0, 1.0, 2.0))
    assert once == pytest.approx(value([longest, other[0]], None)) and twice - once == pytest.approx(once - none)
    if torch.equal(samples.get_state(), untouched):
        assert twice == pytest.approx(value([longest, other[0], other[0]], None))


def test_position_holds_plain_numbers_only() -> None:
    assert all(isinstance(value, int | float) for value in vars(Position()).values())


def test_training_hears_what_the_coins_say() -> None:
    """The gold mask of teacher forcing decides, token by token, what the decoder hears."""
    model: Seq2Seq = build(MODEL, read(TrainingChoice, BASE), WORDS, 2).eval()
    batch = collate(PAIRS["train"], torch.arange(4))
    gold_BT = torch.rand(batch.inputs_BT.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    gold_BT[:, 0] = True
    heard: list[torch.Tensor] = []
    advance = model.advance

    def spy(words_BT: torch.Tensor, *rest: Any) -> Any:
        heard.append(words_BT)
        return advance(words_BT, *rest)

    model.advance = spy  # type: ignore[method-assign]
    state, source = model.read(batch.source_BS)
    readout = model.follow(state, source, batch.inputs_BT, gold_BT)
    own_BT = sayable(model.output.logp(readout, source)).argmax(-1)
    heard_BT = torch.cat(heard, 1)
    assert torch.equal(heard_BT[gold_BT], batch.inputs_BT[gold_BT])
    assert torch.equal(heard_BT[:, 1:][~gold_BT[:, 1:]], own_BT[:, :-1][~gold_BT[:, 1:]])


@pytest.mark.parametrize("kind", Schedule.kinds)
def test_a_schedule_says_whether_it_looks_at_the_end(kind: str) -> None:
    """What looks at the end cannot go with training that ends by tokens or seconds."""
    config = CHOICES[f"schedule-{kind}"].schedule
    part: Schedule = config.build()
    looks = any(part.factor(update, 10) != part.factor(update, 1000) for update in range(10))
    assert looks == part.ends
    if looks:
        with pytest.raises(SpecError, match=f"schedule '{kind}' reaches its end at the last update"):
            read(TrainingChoice, BASE | {"schedule": encode(config), "updates": 0, "tokens": 9})


def facts_of(folder: Path, every: float = 60.0, **changes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train under changes to the base choice; return the facts, and what was said on the way."""
    choice, said = read(TrainingChoice, BASE | changes), list[dict[str, Any]]()
    folder.mkdir(exist_ok=True)
    training = Training(build(MODEL, choice, WORDS, 3), choice, 3, PAIRS, folder, torch.device("cpu"))
    return training.run(said.append, checkpoint_every=every), said


def tokens_of(updates: int) -> int:
    """Count the target tokens of the first updates from the data alone, EOS with them."""
    pairs = PAIRS["train"]
    choice = read(TrainingChoice, BASE)
    batches = itertools.chain.from_iterable(batches_of(choice, 3, number) for number in itertools.count())
    return sum(int(pairs.target_lengths[index].sum()) + len(index) for index in itertools.islice(batches, updates))


def test_training_ends_with_the_update_that_reaches_the_tokens(tmp_path: Path) -> None:
    for updates in (1, 4, 8):
        reached = tokens_of(updates)
        for tokens, ends in ((reached, updates), (reached + 1, updates + 1), (tokens_of(updates - 1) + 1, updates)):
            facts, said = facts_of(tmp_path / f"{updates}-{tokens}", updates=0, tokens=tokens)
            assert (facts["updates"], facts["target_tokens"]) == (ends, tokens_of(ends))
            assert (said[-1]["update"], said[-1]["updates"]) == (ends, ends), "the last update is evaluated"
    assert facts_of(tmp_path / "first", updates=3, tokens=10**6)[0]["updates"] == 3, "the first limit counts"


@pytest.mark.parametrize(("changes", "updates"), [({}, 5), ({"accumulate": 2}, 3), ({"order": "short_first"}, 5)])
def test_an_epoch_is_as_many_updates_as_visit_all_pairs_once(
    changes: dict[str, Any], updates: int, tmp_path: Path
) -> None:
    """18 pairs, four in a batch; a curriculum, which visits fewer in a pass, does not make epochs shorter."""
    if "order" in changes:
        changes = {"order": {"kind": "short_first", "over": 100, "start": 0.3}}
    facts, _ = facts_of(tmp_path / "two", updates=0, epochs=2, **changes)
    assert facts["updates"] == 2 * updates and facts["epoch_updates"] == updates
    assert facts["epochs"] == (5.0 if "order" in changes else 2.0), "passes, of two batches where there are 6 pairs"
    limited, _ = facts_of(tmp_path / "first", updates=4, epochs=1, **changes)
    assert limited["updates"] == min(4, updates), "the first limit counts"


def test_a_schedule_reaches_its_end_with_the_last_epoch(tmp_path: Path) -> None:
    by_epochs = trained(CHOICES["epochs-2"], tmp_path / "epochs")
    by_updates = read(TrainingChoice, BASE | {"updates": 10, "schedule": "linear"})
    assert trained(by_updates, tmp_path / "updates") == by_epochs


def test_training_ends_with_the_update_that_reaches_the_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def kill(self: Training) -> None:
        save(self)
        if self.at.update == 4:
            raise Killed

    def start_clock() -> None:
        readings = itertools.count()
        monkeypatch.setattr(time, "monotonic", lambda: float(next(readings)))

    save = Training._save
    start_clock()
    whole, _ = facts_of(tmp_path / "whole", updates=0, seconds=11.0)
    # One reading at the start, then two an update: the sixth update ends at the eleventh reading.
    assert whole["updates"] == 6 and whole["train_seconds"] == 12.0
    start_clock()
    monkeypatch.setattr(Training, "_save", kill)
    with pytest.raises(Killed):
        facts_of(tmp_path / "killed", every=0.0, updates=0, seconds=11.0)
    start_clock()
    resumed, _ = facts_of(tmp_path / "killed", updates=0, seconds=11.0)
    assert resumed["updates"] == 6 and resumed["train_seconds"] == 12.0, "eight seconds were spent before"


def test_time_is_foreseen_from_the_limit_that_comes_first() -> None:
    facts = {"train_seconds": 2.0, "updates": 10, "target_tokens": 1000, "epoch_updates": 15}
    for changes, seconds in (
        ({"updates": 50}, 10.0),
        ({"updates": 50, "tokens": 4000}, 8.0),
        ({"updates": 0, "tokens": 4000, "seconds": 9.0}, 8.0),
        ({"updates": 0, "seconds": 9.0}, 9.0),
        ({"updates": 0, "epochs": 2}, 6.0),
        ({"updates": 20, "epochs": 2}, 4.0),
    ):
        assert train.foreseen_seconds(read(TrainingChoice, BASE | changes), facts) == seconds
