"""Adaptive softmax: frequent words at once, rare words by way of their cluster."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Embeddings, Output, Readout, Source
from harness.core.registry import register
from harness.core.spec import Incompatible


@register("adaptive_softmax")
class AdaptiveSoftmax(Output):
    """``p(w) = softmax(H r)_w`` for the first words, ``softmax(H r)_i softmax(T_i P_i r)_w`` for a word of cluster i.

    (Grave et al. 2017; no biases, as there and in torch.) Clusters are of consecutive ids. Vocabularies of words and of
    characters count from the most frequent one, so that a cluster holds words of like frequency; those of subwords, of several
    fields, and of both languages together do not, and there an adaptive softmax is not the published one. Cluster
    i = 1, 2, ... has features of width ``R / divide^i``. Training computes the clusters of the targets alone.

    Raises:
        Incompatible: the vocabulary has no word beyond the first cutoff, or a cluster would have features of width 0.
    """

    class Config(Output.Config):
        """Settings of the adaptive softmax."""

        example: ClassVar[Mapping[str, Any]] = {"cutoffs": (4,)}

        cutoffs: tuple[int, ...] = Field((2000, 10000), min_length=1)
        """Ids, rising, at which clusters begin; those that the vocabulary does not reach are left out."""
        divide: float = Field(4.0, ge=1.0)
        """How much narrower the features of each further cluster are."""

    def __init__(self, cfg: Config, readout: int, embeddings: Embeddings) -> None:
        super().__init__(cfg, readout, embeddings)
        starts = [cutoff for cutoff in cfg.cutoffs if cutoff < self.words]
        if cfg.cutoffs[0] < 1 or any(a >= b for a, b in pairwise(cfg.cutoffs)):
            raise Incompatible(f"the cutoffs {list(cfg.cutoffs)} do not rise from 1 on; order them")
        if not starts:
            raise Incompatible(
                f"a vocabulary of {self.words} words has none beyond the cutoff {cfg.cutoffs[0]}; "
                "choose smaller cutoffs or the output 'linear'"
            )
        widths = [int(readout / cfg.divide**i) for i in range(1, len(starts) + 1)]
        if not widths[-1]:
            raise Incompatible(
                f"a readout of width {readout} leaves no features for {len(starts)} clusters; choose a smaller 'divide'"
            )
        self.first, self.bounds = starts[0], list(pairwise([*starts, self.words]))
        self.head = nn.Linear(readout, self.first + len(starts), bias=False)
        self.tails = nn.ModuleList(
            nn.Sequential(nn.Linear(readout, width, bias=False), nn.Linear(width, end - start, bias=False))
            for width, (start, end) in zip(widths, self.bounds, strict=True)
        )

    def logp(self, readout: Readout, source: Source) -> Tensor:
        """Return log-probabilities of all words at every step, B x T x V."""
        return self.whole(readout.features_BTR)

    def counted(self, readout: Readout, source: Source, counted_BT: Tensor) -> Tensor:
        """Return the log-probabilities at the counted positions, N x V; no other position is computed."""
        return self.whole(readout.features_BTR[counted_BT])

    def whole(self, features: Tensor) -> Tensor:
        """Return log-probabilities of all words; leading axes are free, the last becomes V."""
        head = self.head(features).log_softmax(-1)
        tails = [head[..., self.first + i, None] + tail(features).log_softmax(-1) for i, tail in enumerate(self.tails)]
        return torch.cat([head[..., : self.first], *tails], -1)

    def nll(
        self,
        readout: Readout,
        source: Source,
        targets_BT: Tensor,
        counted_BT: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Return the negative log-likelihood of each counted target; label smoothing needs all words, and takes them."""
        if smoothing:
            return super().nll(readout, source, targets_BT, counted_BT, smoothing)
        counted_BT = torch.ones_like(targets_BT, dtype=torch.bool) if counted_BT is None else counted_BT
        features, target_N = readout.features_BTR[counted_BT], targets_BT[counted_BT]
        head = self.head(features).log_softmax(-1)
        entry_N = target_N
        inside = torch.zeros_like(head[:, 0])
        for i, ((start, end), tail) in enumerate(zip(self.bounds, self.tails, strict=True)):
            rows = ((target_N >= start) & (target_N < end)).nonzero().squeeze(1)
            entry_N = entry_N.index_fill(0, rows, self.first + i)
            logp = tail(features[rows]).log_softmax(-1)
            inside = inside.index_add(0, rows, logp.gather(1, target_N[rows, None] - start).squeeze(1))
        logp_N: Tensor = head.gather(1, entry_N.unsqueeze(1)).squeeze(1) + inside
        return -logp_N
