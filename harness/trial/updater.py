"""One update: the objective over the pieces of a batch, gradients, clipping, optimizers and the learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from harness.contracts import Batch, Corruption, Objective, Optimizer, Schedule, Streams, Sum, TeacherForcing
from harness.contracts.training_choice import TrainingChoice
from harness.core.seeds import stream_seed
from harness.trial.model import Seq2Seq

CURVE = ("update", "loss", "dev_nll", "lr", "ratio", "member")
"""Names of a point of the curve, which no extra of an objective may have."""


class Updater:
    """Makes updates, one batch each, and adds up what they cost on the device."""

    def __init__(self, model: Seq2Seq, choice: TrainingChoice, seed: int, device: torch.device) -> None:
        self.model, self.choice, self.device = model, choice, device
        fixed = choice.fixed
        self.objective = build_objective(model, choice.loss, fixed.seed("init", seed)).to(device)
        self.forcing: TeacherForcing = choice.teacher_forcing.build()
        self.corruption: Corruption = choice.corruption.build(model=model)
        self.schedule: Schedule = choice.schedule.build()
        own = self.objective.optimizer()
        self.parameters = [*model.parameters(), *(self.objective.parameters() if own is None else ())]
        """What the model's optimizer moves, and clipping measures."""
        rule: Optimizer = choice.optimizer.build()
        self.optimizers = [rule.over(self.parameters), *([] if own is None else [own])]
        self.tosses = torch.Generator().manual_seed(stream_seed(fixed.seed("teacher_forcing", seed), "teacher_forcing"))
        self.samples = torch.Generator().manual_seed(stream_seed(fixed.seed("samples", seed), "samples"))
        self.drops = torch.Generator().manual_seed(stream_seed(fixed.seed("dropout", seed), "corruption"))
        # Summed on the device and read at evaluations only: loss and positions since the last one, words since the start.
        self.loss_sum, self.loss_count, self.words = torch.zeros(3, 1, dtype=torch.float64, device=device)
        self.extras: dict[str, Tensor] = {}

    @property
    def rate(self) -> float:
        """The learning rate of the last update."""
        return float(self.optimizers[0].param_groups[0]["lr"])

    def make(self, batch: Batch, update: int, updates: int) -> None:
        """Make an update (counted from 0) of so many."""
        self.model.train()
        self.objective.train()
        if self.device.type == "cuda":
            # cuDNN drops out between layers by a state of its own, which no checkpoint can hold: it is made anew from the
            # generator whenever that is set.
            torch.cuda.set_rng_state(torch.cuda.get_rng_state(self.device), self.device)
        for group in self.optimizers[0].param_groups:
            group["lr"] = self.choice.optimizer.lr * self.schedule.factor(update, updates)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        self._accumulate(self.corruption.corrupted(batch, update, self.drops), update)
        self.words += batch.real_BT.sum()
        if self.choice.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.choice.clip)
        for optimizer in self.optimizers:
            optimizer.step()

    def _accumulate(self, batch: Batch, update: int) -> None:
        """Leave the gradient of the objective's quotient over the whole batch in the parameters."""
        whole = len(batch.targets_BT) <= self.choice.batch_size
        normalizers: list[Tensor] = []
        for piece, streams in self._pieces(batch, update):
            with self._precision():
                made: Sum = self.objective(self.model, piece, streams, update)
            if made.normalizer is not None:
                normalizers.append(made.normalizer)
            (made.value / made.normalizer if whole and made.normalizer is not None else made.value).backward()
            self._add(made)
        if not whole and normalizers:  # known when the last piece has passed
            normalizer = torch.stack(normalizers).sum()
            for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad /= normalizer

    def _pieces(self, batch: Batch, update: int) -> Iterator[tuple[Batch, Streams]]:
        """Cut the pairs of an update, as they are padded, and the tosses of teacher forcing into batches."""
        size, (rows, steps) = self.choice.batch_size, batch.inputs_BT.shape
        gold_BT = self.forcing.gold(update, rows, steps, self.tosses)
        for first in range(0, rows, size):
            part = slice(first, first + size)
            heard_BT = None if gold_BT is None else gold_BT[part].to(self.device)
            streams = Streams(heard_BT, self.forcing.cfg.replace, self.tosses, self.samples)
            yield batch.rows(part), streams

    def _precision(self) -> AbstractContextManager[Any]:
        if self.choice.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _add(self, made: Sum) -> None:
        self.loss_sum += made.value.detach()
        self.loss_count += made.positions
        for name, extra in made.extras.items():
            if name in CURVE:
                raise ValueError(
                    f"the objective's extra '{name}' has the name of another column of the curve; rename it"
                )
            self.extras.setdefault(name, torch.zeros_like(self.loss_sum))
            self.extras[name] += extra.detach()

    def means(self) -> dict[str, float]:
        """Return loss and extras per position since the last evaluation."""
        count = float(self.loss_count)
        return {name: float(part) / count for name, part in ({"loss": self.loss_sum} | self.extras).items()}

    def forget(self) -> None:
        """Begin the sums between two evaluations anew."""
        for part in (self.loss_sum, self.loss_count, *self.extras.values()):
            part.zero_()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds of this, the model and random numbers of dropout aside."""
        return {
            "objective": self.objective.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "sums": torch.cat([self.loss_sum, self.loss_count, self.words]),
            "extras": self.extras,
            "tosses": self.tosses.get_state(),
            "samples": self.samples.get_state(),
            "drops": self.drops.get_state(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from the state of a checkpoint."""
        self.objective.load_state_dict(state["objective"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for mine, part in zip((self.loss_sum, self.loss_count, self.words), state["sums"].split(1), strict=True):
            mine.copy_(part)
        self.extras = {name: part.to(self.device) for name, part in state["extras"].items()}
        self.tosses.set_state(state["tosses"])
        self.samples.set_state(state["samples"])
        self.drops.set_state(state["drops"])


def build_objective(model: nn.Module, choice: Objective.Config, seed: int) -> Objective:
    """Return an objective with its first parameters, a function of the choices and the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "objective"))
        objective: Objective = choice.build(model=model)
    return objective
