"""The most probable hypotheses of one source by beam search, for looking at: decoding itself keeps only one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from harness.contracts import BOS, EOS, repeat, sayable, select
from harness.trial.model import Seq2Seq


class Candidate(NamedTuple):
    """A hypothesis of a beam."""

    tokens: list[int]
    """Without EOS."""
    score: float
    """Summed log-probability that the model gives, in nats."""
    truncated: bool
    """Whether the limit came before EOS."""


@torch.no_grad()
def n_best(model: Seq2Seq, source_1S: Tensor, count: int, limit: int) -> list[Candidate]:
    """Return the ``count`` best hypotheses that a beam of as many prefixes finds, best first.

    Hypotheses are ranked by log-probability, without a penalty for length.
    """
    state, source = (repeat(part, count) for part in model.read(source_1S))
    tokens_KT = source_1S.new_full((count, 1), BOS)
    score_K = torch.full((count,), -torch.inf, device=source_1S.device)
    score_K[0] = 0.0  # all prefixes are one at first
    found: list[Candidate] = []
    for _ in range(limit):
        readout, state = model.advance(tokens_KT[:, -1:], state, source)
        logp_KV = sayable(model.next_logp(readout, source))
        said_KV = score_K.unsqueeze(1) + logp_KV
        found += [Candidate(tokens_KT[k, 1:].tolist(), float(said_KV[k, EOS]), False) for k in range(count)]
        found = sorted((c for c in found if c.score > -torch.inf), key=lambda c: -c.score)[:count]
        said_KV[:, EOS] = -torch.inf
        score_K, choice_K = said_KV.flatten().topk(count)
        parent_K = choice_K // logp_KV.shape[-1]
        state = select(state, parent_K)
        tokens_KT = torch.cat([tokens_KT[parent_K], (choice_K % logp_KV.shape[-1]).unsqueeze(1)], 1)
        if len(found) == count and float(score_K[0]) <= found[-1].score:
            return found  # log-probabilities only fall
    cut = [
        Candidate(tokens_KT[k, 1:].tolist(), float(score_K[k]), True) for k in range(count) if score_K[k] > -torch.inf
    ]
    return [*found, *cut][:count]
