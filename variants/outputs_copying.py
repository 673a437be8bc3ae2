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

    def counted(self, readout: Readout, source: Source, counted_BT: Tensor) -> Tensor:
        """Return the log-probabilities at the counted positions, N x (V + S); no other position is computed."""
        copies_NS = source.copies_BS[counted_BT.nonzero()[:, 0]]
        return self.mixed(readout.features_BTR[counted_BT], readout.weights_BTS[counted_BT], copies_NS)

    def numbers(self, readout: Readout) -> int:
        """Return V + S."""
        return self.words + readout.weights_BTS.shape[-1]

    def mixed(self, features: Tensor, weights: Tensor, copies: Tensor) -> Tensor:
        """Return the logarithm of the mixture; leading axes are free, the last becomes V + S.

        Probabilities are mixed in single precision at least, whatever the precision of features and weights.
        """
        wide = torch.promote_types(features.dtype, torch.float32)
        gate = torch.sigmoid(self.gate(features).to(wide))
        said = F.pad(gate * self.project(features).softmax(-1, dtype=wide), (0, copies.shape[-1]))
        both = said.scatter_add(-1, copies, (1 - gate) * weights.to(wide))
        return both.clamp_min(torch.finfo(both.dtype).tiny).log()
