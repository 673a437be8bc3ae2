"""Hard monotonic attention: a reading head that only moves forward; trained on its expectation."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Attention, Memory, Source, Weighing, softmax_over
from harness.core.registry import register


@register("monotonic")
class Monotonic(Weighing):
    """From where it last stopped, a head reads on and stops at word s with ``p_ts = sigmoid(score(q_t, m_s) + r - 1)``.

    In training the weights are the expectation of where it stops (Raffel et al. 2017, section 2): ``alpha_ts = p_ts
    sum_{k <= s} alpha_{t-1,k} prod_{k <= l < s} (1 - p_tl)``, with noise added to the scores so that they become decided.
    Elsewhere it stops at the first word with ``p > 1/2``. It always stops at the last word, so that weights sum to one (the
    paper shows zeros there). With a ``chunk`` of w words a softmax of a second score spreads the weight over the w words
    that end where the head stopped (MoChA, Chiu & Raffel 2018). r is learned from 0, so that heads pass most words at
    first, whatever the initializer; the score is any kind, where the paper normalizes an additive one.
    """

    START = -1.0
    """What is added to scores before r has learned anything."""

    class Config(Weighing.Config):
        """Settings of monotonic attention."""

        score: Attention.Config
        """How well a query fits a memory."""
        noise: float = Field(1.0, ge=0.0)
        """Standard deviation of the noise that is added to scores in training."""
        chunk: int = Field(1, ge=1)
        """Words that are looked at, up to the one where the head stops; 1: that word alone."""

    sees_positions = True

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.noise, self.chunk = cfg.noise, cfg.chunk
        self.score: Attention = cfg.score.build(memory=memory, query=query)
        self.offset = nn.Parameter(torch.zeros(1))
        if cfg.chunk > 1:
            self.chunk_score: Attention = cfg.score.build(memory=memory, query=query)

    def keys(self, memory: Memory) -> tuple[Tensor, ...]:
        """Return the keys of the scores, each B x S x A."""
        scores = (self.score, self.chunk_score) if self.chunk > 1 else (self.score,)
        return tuple(score.keys(memory.values_BSM) for score in scores)

    def start(self, source: Source) -> Tensor:
        """Return the weights before the first step, B x S: the head stands at the first word."""
        first_BS = torch.zeros_like(source.memory.values_BSM[..., 0])
        first_BS[:, 0] = 1.0
        return first_BS

    def forward(self, query_BTH: Tensor, source: Source, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the context and weights of one query, and where the head stopped, B x S."""
        mask_BS = source.memory.mask_BS
        scores_BS = self.score(query_BTH, source.keys[0])[:, 0] + self.offset + self.START
        stops_BS = self.stops(scores_BS, mask_BS)
        stopped_BS = _moved(memory, stops_BS)
        weights_BS = stopped_BS
        if self.chunk > 1:
            weights_BS = self.spread(stopped_BS, self.chunk_score(query_BTH, source.keys[1])[:, 0])
        weights_B1S = weights_BS.unsqueeze(1)
        return weights_B1S @ source.memory.values_BSM, weights_B1S, stopped_BS

    def stops(self, scores_BS: Tensor, mask_BS: Tensor) -> Tensor:
        """Return the probability of stopping at each word; at evaluation 0 or 1, at the last word always 1."""
        if self.training:
            stops_BS = torch.sigmoid(scores_BS + self.noise * torch.randn_like(scores_BS))
        else:
            stops_BS = (scores_BS > 0).to(scores_BS.dtype)
        last_BS = mask_BS & ~F.pad(mask_BS[:, 1:], (0, 1))
        return stops_BS.masked_fill(~mask_BS, 0.0).masked_fill(last_BS, 1.0)

    def spread(self, stopped_BS: Tensor, scores_BS: Tensor) -> Tensor:
        """Return the weight of each stop, spread over the chunk of words that ends there."""
        before = self.chunk - 1
        windows = F.pad(scores_BS, (before, 0)).unfold(1, self.chunk, 1)
        inside = F.pad(torch.ones_like(scores_BS), (before, 0)).unfold(1, self.chunk, 1) > 0
        shares = stopped_BS.unsqueeze(-1) * softmax_over(windows, inside)
        # Column i of the chunk that ends at s is word s - before + i.
        spread_BS = torch.zeros_like(scores_BS)
        for i in range(max(0, self.chunk - scores_BS.shape[1]), self.chunk):
            spread_BS = spread_BS + F.pad(shares[:, before - i :, i], (0, before - i))
        return spread_BS


def _moved(before_BS: Tensor, stops_BS: Tensor) -> Tensor:
    """Return where the head stops, given where it stood and how likely it stops at each word."""
    size = stops_BS.shape[1]
    ahead = torch.ones(size, size, dtype=torch.bool, device=stops_BS.device).triu()
    # At [k, s]: the product of 1 - p_l over k <= l < s; and nothing moves back.
    passes = torch.where(ahead, 1 - stops_BS.unsqueeze(1), 1.0).cumprod(-1)
    reaches = F.pad(passes[..., :-1], (1, 0), value=1.0) * ahead
    return stops_BS * (before_BS.unsqueeze(1) @ reaches).squeeze(1)
