"""Professor forcing: a judge must not tell whether the decoder heard the reference or itself."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from harness.contracts import Batch, Objective, Streams, Sum, eager, target_nll
from harness.core.registry import register


@register("professor_forcing")
class ProfessorForcing(Objective):
    """``sum nll + weight sum_pairs (-log D(free) - log(1 - D(forced)))`` for the model, per token (Lamb et al. 2016).

    ``D`` is the judge's probability that readouts come from a decoder that heard the reference: a GRU in both directions
    over the readouts of a sentence, then a layer of rectified units. It minimizes ``-log D(forced) - log(1 - D(free))``
    with an optimizer of its own (Adam), and is not kept. The free decoder hears its own words, chosen as
    ``training.teacher_forcing.replace`` says, for as many steps as the target has; the likelihood follows teacher forcing
    as it is set. The paper's thresholds on the judge's accuracy are left out.
    """

    class Config(Objective.Config):
        """Settings of professor forcing."""

        weight: float = Field(default=1.0, ge=0)
        """Weight of what the judge says, for the model."""
        both: bool = True
        """Also make forced readouts look free, ``-log(1 - D(forced))``, which the paper has as an option."""
        hidden: int = Field(default=64, ge=1)
        """Units of the judge, in each direction and in its layer."""
        lr: float = Field(default=0.001, gt=0)
        """Learning rate of the judge."""

    def __init__(self, cfg: Config, model: Any) -> None:
        super().__init__(cfg, model)
        self.reads = nn.GRU(model.decoder.width, cfg.hidden, batch_first=True, bidirectional=True)
        self.judges = nn.Sequential(nn.Linear(2 * cfg.hidden, cfg.hidden), nn.ReLU(), nn.Linear(cfg.hidden, 1))

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam for the judge."""
        return eager(torch.optim.Adam)(self.parameters(), lr=self.cfg.lr)

    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the sums of both players; the curve shows the judge's cost as ``judge`` and the model's as ``fooled``."""
        state, source = model.read(batch.source_BS)
        heard = model.follow(state, source, batch.inputs_BT, streams.gold_BT, streams.replace, streams.words)
        nll = target_nll(model, (heard, source), batch, batch.real_BT).sum()
        forced = heard if streams.gold_BT is None else model.follow(state, source, batch.inputs_BT)
        first_BT = torch.zeros_like(batch.real_BT)
        first_BT[:, 0] = True
        free = model.follow(state, source, batch.inputs_BT, first_BT, streams.replace, streams.words)
        judge = self._cost(forced.features_BTR.detach(), free.features_BTR.detach(), batch, both=True)
        self.requires_grad_(False)  # what the model learns from the judge teaches the judge nothing
        fooled = self._cost(free.features_BTR, forced.features_BTR, batch, both=self.cfg.both)
        self.requires_grad_(True)
        tokens = batch.real_BT.sum()
        extras = {"judge": judge.detach(), "fooled": fooled.detach()}
        return Sum(nll + self.cfg.weight * fooled + judge, tokens, tokens, extras)

    def _cost(self, real_BTR: Tensor, other_BTR: Tensor, batch: Batch, *, both: bool) -> Tensor:
        """Return ``-log D(real) - log(1 - D(other))``, summed over pairs; with ``both`` off, the first term alone."""
        cost_B = F.softplus(-self.verdict(real_BTR, batch.real_BT))
        if both:
            cost_B = cost_B + F.softplus(self.verdict(other_BTR, batch.real_BT))
        return batch.weighted(cost_B).sum()

    def verdict(self, features_BTR: Tensor, real_BT: Tensor) -> Tensor:
        """Return the log-odds that the readouts of a sentence come from a decoder that heard the reference, B."""
        lengths_B = real_BT.sum(1).cpu()
        packed = pack_padded_sequence(features_BTR, lengths_B, batch_first=True, enforce_sorted=False)
        last_2BH = self.reads(packed)[1]
        logits_B1: Tensor = self.judges(torch.cat([last_2BH[0], last_2BH[1]], -1))
        return logits_B1.squeeze(-1)
