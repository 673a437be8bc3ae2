"""The one training loop: teacher forcing, clipping, accumulation, schedule, early stopping, checkpoints that resume bit for bit."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.contracts import PAD, Initializer, Loss, Optimizer, Schedule, TeacherForcing, Words
from harness.core.registry import Choice
from harness.core.seeds import stream_seed
from harness.storage import checkpoint
from harness.storage.checkpoint import CHECKPOINT, Asked, Place, Postponed, otherwise, spelled
from harness.trial.batches import Batch, Pairs, collate, epoch_order, evaluation_width, in_order
from harness.trial.model import ModelChoice, Seq2Seq

CHECKPOINT_EVERY = 60.0
"""Seconds between checkpoints, unless asked otherwise."""

ELSEWHERE = "begun_elsewhere"
"""The fact of a training that went on at another place: what was otherwise at those before, as it was there."""

Emit = Callable[[dict[str, Any]], None]
"""Where a stage reports its progress to: small events, such as ``{"update": 100, "loss": 1.2}``."""


class TrainingChoice(Choice):
    """The training branch of a trial."""

    loss: Loss.Config
    """What is minimized."""
    teacher_forcing: TeacherForcing.Config
    """Which words the decoder hears from the reference."""
    optimizer: Optimizer.Config
    """How gradients become updates."""
    schedule: Schedule.Config
    """How the learning rate changes."""
    initializer: Initializer.Config
    """The first values of the parameters."""
    batch_size: int = Field(ge=1)
    """Sentence pairs that go through the model together."""
    pool: int = Field(ge=1)
    """Updates whose pairs are sorted by length together before they are cut into batches; 1 takes pairs as they fall."""
    updates: int = Field(ge=0)
    """Updates at most; 0 sets no such limit, where tokens or seconds do. Training ends at the first limit it reaches."""
    evaluate_every: int = Field(ge=1)
    """Updates between evaluations on the validation split."""
    patience: int = Field(default=0, ge=0)
    """Evaluations without a better validation NLL before training stops early; 0 never stops early."""
    select: Literal["best", "last"] = "best"
    """Which parameters are kept: those with the lowest validation NLL, or the last."""
    clip: float = Field(default=0.0, ge=0)
    """Largest norm of the gradient over all parameters (Pascanu et al. 2013); 0 does not clip."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients make one update, just as if they were one large batch."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of training; evaluation and decoding are always fp32."""
    tokens: int = Field(default=0, ge=0, json_schema_extra={"neutral": 0})
    """Target tokens after which training ends, EOS counted, padding not; the update that reaches them is the last. 0: no limit."""
    seconds: float = Field(default=0.0, ge=0, json_schema_extra={"neutral": 0.0})
    """Wall-clock seconds after which training ends, evaluations counted; never the same number of updates twice. 0: no limit."""

    @model_validator(mode="after")
    def _ends(self) -> TrainingChoice:
        """Check that training ends, and that a schedule which looks at the end can know where it is."""
        if not (self.updates or self.tokens or self.seconds):
            raise ValueError("training has no end; set updates, tokens or seconds")
        if not self.updates and self.schedule.part.ends:
            raise ValueError(
                f"schedule '{self.schedule.kind}' reaches its end at the last update, which no one knows beforehand where "
                "tokens or seconds end training; take another, or set updates"
            )
        return self


class Diverged(Exception):
    """The loss is no number any more."""


@dataclass
class Position:
    """Where a training is: all that a checkpoint holds besides tensors of the model, optimizer and random streams."""

    update: int = 0
    epoch: int = 0
    batch: int = 0
    best_nll: float = math.inf
    best_update: int = 0
    evaluations_since: int = 0
    seconds: float = 0.0
    owed: bool = False
    """The training was asked to stop before it had seen whether this update is to be evaluated, or is the last."""


def build(choice: ModelChoice, initializer: Initializer.Config, words: Words, seed: int) -> Seq2Seq:
    """Return a model with its first parameters, a function of the choices and the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "init"))
        model = Seq2Seq(choice, words)
        initializer.build().fill(model)
    return model


def foreseen_seconds(choice: TrainingChoice, facts: dict[str, Any]) -> float:
    """Return how long a training takes that goes on as another one went: as fast by update, and by target token.

    Args:
        choice: the training that is foreseen.
        facts: what ``Training.run`` said of the other, of the same model.
    """
    each, token = (facts["train_seconds"] / facts[passed] for passed in ("updates", "target_tokens"))
    limits: list[float] = [choice.updates * each, choice.tokens * token, choice.seconds]
    return min(limit for limit in limits if limit)


def count_parameters(choice: ModelChoice, words: Words) -> int:
    """Return the number of parameters, shared ones once, without allocating any.

    Raises:
        Incompatible: two parts of the choice cannot meet.
    """
    with torch.device("meta"), _Unfilled():
        return sum(parameter.numel() for parameter in Seq2Seq(choice, words).parameters())


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
        real_BT = batch.targets_BT != PAD
        readout = model(batch.source_BS, batch.inputs_BT)
        total += float(model.output.nll(readout.features_BTR[real_BT], batch.targets_BT[real_BT]).double().sum())
        tokens += int(real_BT.sum())
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
        self.loss: Loss = choice.loss.build()
        self.forcing: TeacherForcing = choice.teacher_forcing.build()
        self.schedule: Schedule = choice.schedule.build()
        self.optimizer: torch.optim.Optimizer = choice.optimizer.build().over(list(model.parameters()))
        self.tosses = torch.Generator().manual_seed(stream_seed(seed, "teacher_forcing"))
        torch.manual_seed(stream_seed(seed, "dropout"))
        self.places = [place or {}]
        """Where it ran, this process last, each place once."""
        self.at = Position()
        self.best: dict[str, Tensor] = {}
        """The parameters of ``best_update``; checkpoints hold them, so that none meets those of another update."""
        self.curve: list[dict[str, Any]] = []
        self.clock: list[dict[str, Any]] = []
        # Summed on the device and read at evaluations only: loss and positions since the last one, words since the start.
        self.loss_sum, self.loss_count, self.words = torch.zeros(3, 1, dtype=torch.float64, device=device)

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
        """Return the share of the training that is done: of updates, tokens or seconds, whichever is nearest its end."""
        c = self.choice
        shares = [self.at.update / c.updates] if c.updates else []
        shares += [float(self.words) / c.tokens] if c.tokens else []  # reading it waits for the device
        shares += [self.at.seconds / c.seconds] if c.seconds else []
        return max(shares)

    def _updates(self) -> Iterator[Batch]:
        """Yield the pairs of each update, from the current position on, without end."""
        pairs, c = self.pairs["train"], self.choice
        while True:
            order = epoch_order(pairs, c.batch_size * c.accumulate, c.pool, self.seed, self.at.epoch)
            for index in order[self.at.batch :]:
                self.at.batch += 1
                yield collate(pairs, index)
            self.at.epoch, self.at.batch = self.at.epoch + 1, 0

    def _update(self, batch: Batch) -> None:
        self.model.train()
        if self.device.type == "cuda":
            # cuDNN drops out between layers by a state of its own, which no checkpoint can hold: it is made anew from the
            # generator whenever that is set.
            torch.cuda.set_rng_state(torch.cuda.get_rng_state(self.device), self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self.choice.optimizer.lr * self.schedule.factor(self.at.update, self.choice.updates)
        normalizer = self.loss.normalizer(batch.targets_BT)
        self.optimizer.zero_grad()
        for piece, gold_BT in self._pieces(batch):
            total, counted = self._loss(piece, gold_BT)
            (total / normalizer).backward()
            self.loss_sum += total.detach()
            self.loss_count += counted.sum()
        self.words += (batch.targets_BT != PAD).sum()
        if self.choice.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.choice.clip)
        self.optimizer.step()
        self.at.update += 1

    def _pieces(self, batch: Batch) -> Iterator[tuple[Batch, Tensor | None]]:
        """Cut the pairs of an update, as they are padded, and the tosses of teacher forcing into batches."""
        size, (rows, steps) = self.choice.batch_size, batch.inputs_BT.shape
        gold_BT = self.forcing.gold(self.at.update, rows, steps, self.tosses)
        for first in range(0, rows, size):
            part = slice(first, first + size)
            yield Batch(*(side[part] for side in batch)), None if gold_BT is None else gold_BT[part].to(self.device)

    def _loss(self, batch: Batch, gold_BT: Tensor | None) -> tuple[Tensor, Tensor]:
        counted_BT = self.loss.counted(batch.targets_BT)
        with self._precision():
            readout = self.model(batch.source_BS, batch.inputs_BT, gold_BT, self.forcing.cfg.replace, self.tosses)
            # The output layer is the dearest: it sees the counted positions only.
            features_NR = readout.features_BTR[counted_BT]
            return self.loss.total(self.model.output, features_NR, batch.targets_BT[counted_BT]), counted_BT

    def _precision(self) -> AbstractContextManager[Any]:
        if self.choice.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _evaluate(self, emit: Emit, stop: Postponed) -> None:
        loss = float(self.loss_sum / self.loss_count)
        if not math.isfinite(loss):
            raise Diverged(f"the training loss is {loss} after {self.at.update} updates")
        nll = validation_nll(self.model, self.pairs["validation"], self.choice.batch_size, stop.check)
        self.loss_sum.zero_()
        self.loss_count.zero_()
        if not math.isfinite(nll):
            raise Diverged(f"the validation NLL is {nll} after {self.at.update} updates")
        if nll < self.at.best_nll:
            self.at.best_nll, self.at.best_update, self.at.evaluations_since = nll, self.at.update, 0
            if self.choice.select == "best":
                self.best = parameters(self.model)
        else:
            self.at.evaluations_since += 1
        rate = self.optimizer.param_groups[0]["lr"]
        point = {"update": self.at.update, "loss": loss, "dev_nll": nll, "lr": rate, "ratio": self._ratio()}
        self.curve.append(point)
        self.clock.append({"update": self.at.update, "unix_ms": round(time.time() * 1000)})
        emit(point | {"updates": round(self.at.update / min(1.0, self._done()))})

    def _ratio(self) -> float:
        return min(1.0, self.forcing.ratio(self.at.update - 1))

    def _save(self) -> None:
        """Write a checkpoint whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "places": self.places,
            "at": vars(self.at),
            "curve": self.curve,
            "clock": self.clock,
            "sums": torch.cat([self.loss_sum, self.loss_count, self.words]),
            "tosses": self.tosses.get_state(),
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
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.at = state["best"], Position(**state["at"])
        self.curve, self.clock = state["curve"], state["clock"]
        for mine, saved in zip((self.loss_sum, self.loss_count, self.words), state["sums"].split(1), strict=True):
            mine.copy_(saved)
        self.tosses.set_state(state["tosses"])
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
        kept = self.best if self.choice.select == "best" else parameters(self.model)
        save_file(kept, self.folder / "model.safetensors")
        elsewhere = [otherwise(place, self.places[-1]) for place in self.places[:-1]]
        return {
            "params": sum(parameter.numel() for parameter in self.model.parameters()),
            "updates": self.at.update,
            "best_update": self.at.best_update,
            "best_dev_nll": self.at.best_nll,
            "epochs": round(
                self.at.epoch
                + self.at.batch
                / math.ceil(self.pairs["train"].size / (self.choice.batch_size * self.choice.accumulate)),
                3,
            ),
            "target_tokens": int(self.words),
            "train_seconds": self.at.seconds,
            "target_tokens_per_second": float(self.words) / self.at.seconds,
        } | ({ELSEWHERE: elsewhere} if elsewhere else {})


def parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's parameters on the CPU, shared ones once."""
    seen: dict[int, str] = {}
    return {
        name: parameter.detach().to("cpu", copy=True).contiguous()
        for name, parameter in model.state_dict(keep_vars=True).items()
        if seen.setdefault(id(parameter), name) == name
    }


def load_model(model: nn.Module, path: Path) -> None:
    """Read a file of ``parameters`` into a model of the same choice."""
    missing, unexpected = model.load_state_dict(load_file(path), strict=False)
    names = dict(model.named_parameters())
    if unexpected or any(name in names for name in missing):
        raise ValueError(f"{path} belongs to another model: it lacks {missing} and has {unexpected}")
