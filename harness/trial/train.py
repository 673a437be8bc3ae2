"""The one training loop: teacher forcing, clipping, accumulation, schedule, early stopping, checkpoints that resume bit for bit."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from harness.contracts import Batch, Initializer, Order, Pass, Search, Words, target_nll
from harness.contracts.training_choice import TrainingChoice as TrainingChoice
from harness.contracts.training_choice import foreseen_seconds as foreseen_seconds
from harness.core.seeds import stream_seed
from harness.core.spec import Incompatible
from harness.storage import checkpoint
from harness.storage.checkpoint import CHECKPOINT, Asked, Place, Postponed, otherwise, spelled
from harness.trial.averaged import Averaged
from harness.trial.batches import collate, cut, evaluation_width, in_order, pass_generator
from harness.trial.model import ModelChoice, Seq2Seq
from harness.trial.pairs import Pairs
from harness.trial.parameters import parameters
from harness.trial.updater import Updater

CHECKPOINT_EVERY = 60.0
"""Seconds between checkpoints, unless asked otherwise."""

ELSEWHERE = "begun_elsewhere"
"""The fact of a training that went on at another place: what was otherwise at those before, as it was there."""

Emit = Callable[[dict[str, Any]], None]
"""Where a stage reports its progress to: small events, such as ``{"update": 100, "loss": 1.2}``."""


class Workplace(NamedTuple):
    """Where a stage trains, and how it is watched and interrupted."""

    folder: Path
    device: torch.device
    place: Place
    """The facts about the machine that decide the last bits."""
    emit: Emit
    checkpoint_every: float
    """Seconds between two checkpoints."""
    stop: Postponed | None
    """Postpones signals, where that lasts longer than the training."""


class Diverged(Exception):
    """The loss is no number any more."""


@dataclass
class Position:
    """Where a training is: all that a checkpoint holds besides tensors of the model, optimizer and random streams."""

    update: int = 0
    epoch: int = 0
    batch: int = 0
    batches: int = 1
    """Updates of the present pass over the data."""
    begun: int = 0
    """Updates before it."""
    best_nll: float = math.inf
    best_update: int = 0
    evaluations_since: int = 0
    seconds: float = 0.0
    owed: bool = False
    """The training was asked to stop before it had seen whether this update is to be evaluated, or is the last."""


def build(choice: ModelChoice, training: TrainingChoice, words: Words, seed: int) -> Seq2Seq:
    """Return a model with its first parameters, a function of the choices and the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(training.fixed.seed("init", seed), "init"))
        model = Seq2Seq(choice, words)
        training.initializer.build().fill(model)
        model.embeddings.fill(words)
    return model


def count_parameters(choice: ModelChoice, words: Words, members: int = 1) -> int:
    """Return the number of parameters of so many models, shared ones once, without allocating any.

    Raises:
        Incompatible: two parts of the choice cannot meet.
    """
    with torch.device("meta"), _Unfilled():
        return members * sum(parameter.numel() for parameter in Seq2Seq(choice, words).parameters())


def check_parts(model: ModelChoice, training: TrainingChoice, search: Search.Config, words: Words) -> None:
    """Check that the parts of a model meet, and those of its training and its search with them; nothing is allocated.

    Raises:
        Incompatible: two parts cannot meet, with the reason.
    """
    with torch.device("meta"), _Unfilled():
        built = Seq2Seq(model, words)
        training.loss.build(model=built)
        training.corruption.build(model=built)
        initializer: Initializer = training.initializer.build()
        if reason := initializer.lacks(built):
            raise Incompatible(reason)
        search.build().check(built)
    if training.members > 1 and search.part.asks_parts:
        raise Incompatible(
            f"search '{search.kind}' looks into the parts of one model; choose another search, or set training.members to 1"
        )


class _Unfilled(TorchFunctionMode):
    """Leaves parameters without first values: on the meta device there are none, and torch takes a second to see that."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def validation_nll(model: Seq2Seq, pairs: Pairs, batch_size: int, each: Callable[[], None] = lambda: None) -> float:
    """Return the teacher-forced NLL per target token (EOS counted, unsmoothed), in nats.

    ``each`` is called before every batch, and ends the evaluation if it raises.
    """
    model.eval()
    width = evaluation_width(model.hears_padding, pairs)
    total, tokens = 0.0, 0
    for index in in_order(pairs, batch_size):
        each()
        batch = collate(pairs, index, width)
        state, source = model.read(batch.source_BS)
        followed = model.follow(state, source, batch.inputs_BT), source
        total += float(target_nll(model, followed, batch, batch.real_BT).double().sum())
        tokens += int(batch.real_BT.sum())
    return total / tokens


class Training:
    """One training run in a folder; interrupted anywhere, a new one in the same folder goes on from the last checkpoint."""

    def __init__(
        self,
        model: Seq2Seq,
        choice: TrainingChoice,
        seed: int,
        pairs: dict[str, Pairs],
        folder: Path,
        device: torch.device,
        place: Place | None = None,
    ) -> None:
        self.model, self.choice, self.seed = model.to(device), choice, seed
        self.pairs = {name: split.to(device) for name, split in pairs.items() if name != "test"}
        self.folder, self.device = folder, device
        self.last = choice.last_update(pairs["train"].size)
        """The last update, 0 where tokens or seconds alone end the training."""
        self.updater = Updater(self.model, choice, seed, device)
        self.averaged = Averaged(self.model, choice.averaging)
        torch.manual_seed(stream_seed(choice.fixed.seed("dropout", seed), "dropout"))
        self.places = [place or {}]
        """Where it ran, this process last, each place once."""
        self.at = Position()
        self.best: dict[str, dict[str, Tensor]] = {}
        """The parameters of ``best_update``; checkpoints hold them, so that none meets those of another update."""
        self.curve: list[dict[str, Any]] = []
        self.clock: list[dict[str, Any]] = []

    def run(
        self, emit: Emit, checkpoint_every: float = CHECKPOINT_EVERY, stop: Postponed | None = None
    ) -> dict[str, Any]:
        """Train to the end, write ``model.safetensors``, ``curve.jsonl`` and ``clock.jsonl``, and return facts.

        Args:
            emit: hears of every evaluation.
            checkpoint_every: seconds between two checkpoints.
            stop: who puts signals off, where they are put off for longer than the training.

        Raises:
            Diverged: the loss became infinite or no number.
        """
        self._resume(emit)
        began = saved = time.monotonic()
        spent = self.at.seconds
        updates = self._updates()
        with nullcontext(stop) if stop else Postponed() as stop:
            over = False
            while not over:
                if not self.at.owed:
                    self._update(next(updates))
                    self.at.seconds = spent + self._now() - began
                try:
                    over = self._settle(emit, stop)
                except Diverged:
                    stop.go()  # with its last checkpoint, where it will diverge again
                    raise
                now = time.monotonic()
                self.at.seconds = spent + now - began
                if not over and (stop.asked or now - saved >= checkpoint_every):
                    self._save()
                    saved = now
                    stop.go()
            return self._finish()

    def _settle(self, emit: Emit, stop: Postponed) -> bool:
        """Evaluate if that is due, and say whether the training is over; both is owed if it is asked to stop meanwhile."""
        self.at.owed = True
        last = self._done() >= 1
        evaluate = last or self.at.update % self.choice.evaluate_every == 0
        if evaluate:
            try:
                self._evaluate(emit, stop)
            except Asked:
                return False
        self.at.owed = False
        return last or (evaluate and 0 < self.choice.patience <= self.at.evaluations_since)

    def _now(self) -> float:
        """Return the time; where seconds end training, once the device has done what it was asked to."""
        if self.choice.seconds and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic()

    def _done(self) -> float:
        """Return the share of the training that is done: of updates, epochs, tokens or seconds, whichever is nearest its end."""
        c = self.choice
        shares = [self.at.update / self.last] if self.last else []
        shares += [float(self.updater.words) / c.tokens] if c.tokens else []  # reading it waits for the device
        shares += [self.at.seconds / c.seconds] if c.seconds else []
        return max(shares)

    def _updates(self) -> Iterator[Batch]:
        """Yield the pairs of each update, from the current position on, without end."""
        pairs, c = self.pairs["train"], self.choice
        lengths = pairs.lengths
        order: Order = c.order.build()
        while True:
            seed = self.choice.fixed.seed("order", self.seed)
            begun, generator = Pass(self.at.epoch, self.at.begun), pass_generator(seed, self.at.epoch)
            rows_N = order.rows(begun, lengths, generator)
            weight_N = order.weights(begun, lengths)
            batches = cut(rows_N, lengths, c.batch_size * c.accumulate, c.pool, generator)
            self.at.batches = len(batches)
            for index_B in batches[self.at.batch :]:
                self.at.batch += 1
                weight_B = None if weight_N is None else weight_N[index_B].to(self.device)
                yield collate(pairs, index_B)._replace(weight_B=weight_B)
            self.at.epoch, self.at.batch, self.at.begun = self.at.epoch + 1, 0, self.at.update

    def _update(self, batch: Batch) -> None:
        self.updater.make(batch, self.at.update, self.last)
        self.at.update += 1
        self.averaged.follow(self.at.update)

    def _evaluate(self, emit: Emit, stop: Postponed) -> None:
        means = self.updater.means()
        if not math.isfinite(means["loss"]):
            raise Diverged(f"the training loss is {means['loss']} after {self.at.update} updates")
        with self.averaged.in_place(self.at.update):
            nll = validation_nll(self.model, self.pairs["validation"], self.choice.batch_size, stop.check)
        self.updater.forget()
        if not math.isfinite(nll):
            raise Diverged(f"the validation NLL is {nll} after {self.at.update} updates")
        if nll < self.at.best_nll:
            self.at.best_nll, self.at.best_update, self.at.evaluations_since = nll, self.at.update, 0
            if self.choice.select == "best":
                self.best = self._parameters()
        else:
            self.at.evaluations_since += 1
        point = {"update": self.at.update, "loss": means.pop("loss"), "dev_nll": nll, "lr": self.updater.rate}
        point |= {"ratio": self._ratio()} | means
        self.curve.append(point)
        self.clock.append({"update": self.at.update, "unix_ms": round(time.time() * 1000)})
        emit(point | {"updates": round(self.at.update / min(1.0, self._done()))})

    def _parameters(self) -> dict[str, dict[str, Tensor]]:
        """Return copies of the parameters to keep, by the name of the file that they go to."""
        objective = self.updater.objective
        with self.averaged.in_place(self.at.update):
            model = parameters(self.model)
        return {"model": model} | ({"objective": parameters(objective)} if objective.kept else {})

    def _ratio(self) -> float:
        return min(1.0, self.updater.forcing.ratio(self.at.update - 1))

    def _save(self) -> None:
        """Write a checkpoint whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "updater": self.updater.state(),
            "averaged": self.averaged.state(),
            "best": self.best,
            "places": self.places,
            "at": vars(self.at),
            "curve": self.curve,
            "clock": self.clock,
            "dropout": torch.get_rng_state(),
            "dropout_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }
        checkpoint.write(self.folder / CHECKPOINT, state)

    def _resume(self, emit: Emit) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        try:
            state = checkpoint.read(path)
        except checkpoint.Unreadable as error:
            path.unlink()
            emit({"note": f"its checkpoint cannot be read and is thrown away, it starts anew ({error})"})
            return
        self._arrive(state["places"], emit)
        self.model.load_state_dict(state["model"])
        self.updater.resume(state["updater"])
        self.averaged.resume(state["averaged"], self.device)
        self.best, self.at = state["best"], Position(**state["at"])
        self.curve, self.clock = state["curve"], state["clock"]
        torch.set_rng_state(state["dropout"])
        if state["dropout_cuda"] is not None:
            torch.cuda.set_rng_state(state["dropout_cuda"], self.device)  # which need not be the one that it was

    def _arrive(self, before: list[Place], emit: Emit) -> None:
        """Go on from a checkpoint that was made at the last of some places, and say so if that is another one."""
        there, here = before[-1], self.places[-1]
        self.places = [*(place for place in before if place != here), here]
        if there != here:
            told = f"{spelled(otherwise(there, here))} there, {spelled(otherwise(here, there))} here"
            emit({"note": f"it was saved elsewhere ({told}): its last bits may not be those of an unbroken training"})

    def _finish(self) -> dict[str, Any]:
        for name, points in (("curve.jsonl", self.curve), ("clock.jsonl", self.clock)):
            (self.folder / name).write_text("".join(json.dumps(point) + "\n" for point in points), encoding="utf-8")
        for name, kept in (self.best if self.choice.select == "best" else self._parameters()).items():
            save_file(kept, self.folder / f"{name}.safetensors")
        elsewhere = [otherwise(place, self.places[-1]) for place in self.places[:-1]]
        return {
            "params": sum(parameter.numel() for parameter in self.model.parameters()),
            "updates": self.at.update,
            "best_update": self.at.best_update,
            "best_dev_nll": self.at.best_nll,
            "epochs": round(self.at.epoch + self.at.batch / self.at.batches, 3),
            "epoch_updates": self.choice.epoch_updates(self.pairs["train"].size),
            "target_tokens": int(self.updater.words),
            "train_seconds": self.at.seconds,
            "target_tokens_per_second": float(self.updater.words) / self.at.seconds,
        } | ({ELSEWHERE: elsewhere} if elsewhere else {})
