"""Minimum risk training: the expected cost of what the model says, over samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from harness.contracts import BOS, EOS, PAD, Batch, Objective, Source, State, Streams, Sum, repeat, sayable, target_nll
from harness.core.registry import register


@register("minimum_risk")
class MinimumRisk(Objective):
    """``sum_(y in S) Q(y) risk(y)`` per pair, ``Q(y) = P(y | x)^sharpness / sum_(y' in S) P(y' | x)^sharpness``.

    ``S`` holds the reference and samples from the model, each hypothesis once; the risk is between 0 and 1 (Shen et al.
    2016, section 3). No gradient flows through the draws. The divisor is the number of pairs. A model that has learned
    nothing draws nothing of use: begin with a trained one (``training.pretraining``), or set ``likelihood``.
    """

    class Config(Objective.Config):
        """Settings of minimum risk training."""

        samples: int = Field(default=20, ge=1)
        """Hypotheses drawn for every source; the paper draws 100."""
        sharpness: float = Field(default=0.005, gt=0)
        """Exponent of the probabilities, alpha in the paper: near 0 all samples count alike."""
        risk: Literal["bleu", "edit"] = "bleu"
        """``bleu``: 1 - BLEU of the sentence, with 1 added to the counts of all but single words (Lin & Och 2004);
        ``edit``: insertions, deletions and substitutions, divided by the length of the longer side."""
        extra: int = Field(default=5, ge=0)
        """Words that a sample may have beyond the longest reference of its batch; EOS then ends it."""
        likelihood: float = Field(default=0.0, ge=0)
        """Weight of the negative log-likelihood of the reference, which is added (Edunov et al. 2018)."""

    def forward(self, model: Any, batch: Batch, streams: Streams, update: int) -> Sum:
        """Return the summed risk; the curve shows it per pair, and apart from the likelihood as ``risk``."""
        state, source = model.read(batch.source_BS)
        tokens_GT = self._candidates(model, state, source, batch, streams.samples)
        candidates = self.cfg.samples + 1
        logp_BK = sequence_logp(model, repeat(state, candidates), repeat(source, candidates), tokens_GT)
        logp_BK = logp_BK.view(-1, candidates)
        tokens_BKT = tokens_GT.view(len(logp_BK), candidates, -1)
        share_BK = (self.cfg.sharpness * logp_BK).masked_fill(repeated(tokens_BKT), -torch.inf).softmax(1)
        risk_B = (share_BK * risks(tokens_BKT, RISKS[self.cfg.risk]).to(share_BK)).sum(1)
        risk = batch.weighted(risk_B).sum()
        value = risk
        if self.cfg.likelihood:
            followed = streams.follow(model, batch)
            value = risk + self.cfg.likelihood * target_nll(model, followed, batch, batch.real_BT).sum()
        pairs = batch.targets_BT.new_tensor(len(risk_B))
        return Sum(value, pairs, pairs, {"risk": risk.detach()})

    def _candidates(self, model: Any, state: State, source: Source, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the reference and the samples of every pair side by side, (B K) x T, padded."""
        times, limit = self.cfg.samples, batch.targets_BT.shape[1] + self.cfg.extra
        # One number for each pair, sample and step, whatever is said, so that pieces of a batch draw what the whole draws.
        draws_GT = torch.rand(len(batch.targets_BT) * times, limit, generator=generator).to(batch.targets_BT.device)
        said_GT = drawn(model, repeat(state, times), repeat(source, times), draws_GT)
        gold_B1T = torch.nn.functional.pad(batch.targets_BT, (0, self.cfg.extra), value=PAD).unsqueeze(1)
        return torch.cat([gold_B1T, said_GT.view(-1, times, limit)], 1).flatten(0, 1)


@torch.no_grad()
def drawn(model: Any, state: State, source: Source, draws_BT: Tensor) -> Tensor:
    """Return a sample for every row, B x T with EOS and padding, from numbers in [0, 1), one a step; the last word is EOS."""
    batch, limit = draws_BT.shape
    word_B = torch.full((batch,), BOS, device=draws_BT.device)
    done_B = torch.zeros(batch, dtype=torch.bool, device=draws_BT.device)
    said: list[Tensor] = []
    for t in range(limit):
        readout, state = model.advance(word_B.unsqueeze(1), state, source)
        below_BV = sayable(model.next_logp(readout, source)).exp().cumsum(-1)
        at_B1 = (draws_BT[:, t : t + 1].to(below_BV) * below_BV[:, -1:]).contiguous()
        word_B = torch.searchsorted(below_BV, at_B1, right=True).squeeze(1).clamp_max(below_BV.shape[1] - 1)
        if t == limit - 1:
            word_B = torch.full_like(word_B, EOS)
        word_B = word_B.masked_fill(done_B, PAD)
        done_B = done_B | (word_B == EOS)
        said.append(word_B)
    return torch.stack(said, 1)


def sequence_logp(model: Any, state: State, source: Source, tokens_BT: Tensor) -> Tensor:
    """Return the log-probability of each padded hypothesis, EOS counted, B."""
    heard_BT = torch.cat([tokens_BT.new_full((len(tokens_BT), 1), BOS), tokens_BT[:, :-1]], 1)
    counted_BT = tokens_BT != PAD
    nll_N: Tensor = model.output.nll(model.follow(state, source, heard_BT), source, tokens_BT, counted_BT)
    return -nll_N.new_zeros(len(tokens_BT)).index_add(0, counted_BT.nonzero()[:, 0], nll_N)


def repeated(tokens_BKT: Tensor) -> Tensor:
    """Return where a hypothesis is the same as an earlier one of its pair, B x K."""
    same_BKK = (tokens_BKT.unsqueeze(1) == tokens_BKT.unsqueeze(2)).all(-1)
    return same_BKK.tril(-1).any(-1)


def risks(tokens_BKT: Tensor, risk: Callable[[Sequence[int], Sequence[int]], float]) -> Tensor:
    """Return the risk of every hypothesis against the first of its pair, the reference; special tokens aside, B x K."""
    rows = [[[word for word in said if word > EOS] for said in each] for each in tokens_BKT.tolist()]
    return torch.tensor([[risk(said, each[0]) for said in each] for each in rows], dtype=torch.float64)


def edit_risk(said: Sequence[int], reference: Sequence[int]) -> float:
    """Return the edit distance (Levenshtein 1966) divided by the length of the longer side; 0 where both are empty."""
    row = list(range(len(reference) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, meant in enumerate(reference, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != meant))
    return row[-1] / max(1, len(said), len(reference))


def bleu_risk(said: Sequence[int], reference: Sequence[int]) -> float:
    """Return 1 - BLEU of a sentence up to four words, 1 added to the counts from two words on (Lin & Och 2004)."""
    if not said or not reference:
        return float(list(said) != list(reference))
    logs = 0.0
    for order in range(1, 5):
        ours, theirs = (Counter(zip(*(text[i:] for i in range(order)), strict=False)) for text in (said, reference))
        found, there, more = (ours & theirs).total(), ours.total(), order > 1
        if found + more == 0:
            return 1.0
        logs += math.log((found + more) / (there + more)) / 4
    return 1.0 - math.exp(logs + min(0.0, 1.0 - len(reference) / len(said)))


RISKS = {"bleu": bleu_risk, "edit": edit_risk}
