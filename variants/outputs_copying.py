"""An output that copies: words of the source are said as they stand there, also those that no vocabulary knows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Embeddings, Output, Readout, Source
from harness.core.registry import register


@register("pointer_generator")
class PointerGenerator(Output):
    """``p(w) = g softmax(W r + b)_w + (1 - g) sum_{s: x_s = w} a_s``, ``g = sigmoid(v . r + c)`` (See et al. 2017, eq. 8 and 9).

    ``a`` are the weights of the attention, ``x_s`` is the word at source position ``s``; words that the target vocabulary
    lacks have numbers of their own, so that they can be said. The gate sees the readout: with ``readout_sees: word`` the
    last word too, as in the paper.
    """

    class Config(Output.Config):
        """The pointer-generator has no settings."""

    copies = True

    def __init__(self, cfg: Config, readout: int, embeddings: Embeddings) -> None:
        super().__init__(cfg, readout, embeddings)
        self.project, self.gate = nn.Linear(readout, self.words), nn.Linear(readout, 1)

    def logp(self, readout: Readout, source: Source) -> Tensor:
        """Return log-probabilities of all words at every step, B x T x (V + S)."""
        copies_BTS = source.copies_BS.unsqueeze(1).expand_as(readout.weights_BTS)
        return self.mixed(readout.features_BTR, readout.weights_BTS, copies_BTS)

    def nll(
        self,
        readout: Readout,
        source: Source,
        targets_BT: Tensor,
        counted_BT: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Return the negative log-likelihood of each counted target; no other position is looked at."""
        counted_BT = torch.ones_like(targets_BT, dtype=torch.bool) if counted_BT is None else counted_BT
        copies_NS = source.copies_BS[counted_BT.nonzero()[:, 0]]
        logp_NV = self.mixed(readout.features_BTR[counted_BT], readout.weights_BTS[counted_BT], copies_NS)
        nll_N = -logp_NV.gather(-1, targets_BT[counted_BT].unsqueeze(-1)).squeeze(-1)
        return nll_N if smoothing == 0.0 else (1 - smoothing) * nll_N - smoothing * logp_NV[:, : self.words].mean(-1)

    def mixed(self, features: Tensor, weights: Tensor, copies: Tensor) -> Tensor:
        """Return the logarithm of the mixture; leading axes are free, the last becomes V + S.

        Probabilities are mixed in single precision at least, whatever the precision of features and weights.
        """
        wide = torch.promote_types(features.dtype, torch.float32)
        gate = torch.sigmoid(self.gate(features).to(wide))
        said = F.pad(gate * self.project(features).softmax(-1, dtype=wide), (0, copies.shape[-1]))
        both = said.scatter_add(-1, copies, (1 - gate) * weights.to(wide))
        return both.clamp_min(torch.finfo(both.dtype).tiny).log()
