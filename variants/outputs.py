"""Outputs: readouts to words."""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Embeddings, Output, Readout, Source, in_pieces
from harness.core.registry import register
from harness.core.spec import Incompatible


class _Softmax(Output):
    """An output whose probabilities are a softmax over one logit per word."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """Return unnormalized log-probabilities; leading axes are free, the last becomes V."""

    def logp(self, readout: Readout, source: Source) -> Tensor:
        """Return log-probabilities of all words at every step, B x T x V."""
        return self.logits(readout.features_BTR).log_softmax(-1)

    def counted(self, readout: Readout, source: Source, counted_BT: Tensor) -> Tensor:
        """Return the log-probabilities of all words at the counted positions, by a product that sees no other, N x V."""
        return self.logits(readout.features_BTR[counted_BT]).log_softmax(-1)

    def nll(
        self,
        readout: Readout,
        source: Source,
        targets_BT: Tensor,
        counted_BT: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Return the negative log-likelihood of each counted target by one fused kernel, which sees no other position.

        No more logits are in memory at once than ``in_pieces`` allows.
        """
        counted_BT = torch.ones_like(targets_BT, dtype=torch.bool) if counted_BT is None else counted_BT

        def nll(features: Tensor, target_N: Tensor) -> Tensor:
            return F.cross_entropy(self.logits(features), target_N, reduction="none", label_smoothing=smoothing)

        features, target_N = readout.features_BTR[counted_BT], targets_BT[counted_BT]
        return in_pieces(nll, (features, target_N), 0, len(target_N) * self.words)


@register("linear")
class Linear(_Softmax):
    """``p(word | r) = softmax(W r + b)``."""

    class Config(Output.Config):
        """The linear output has no settings."""

    def __init__(self, cfg: Config, readout: int, embeddings: Embeddings) -> None:
        super().__init__(cfg, readout, embeddings)
        self.project = nn.Linear(readout, embeddings.target_weight_VE.shape[0])

    def logits(self, features: Tensor) -> Tensor:
        """Return ``W r + b``."""
        return cast(Tensor, self.project(features))


@register("tied")
class Tied(_Softmax):
    """``p(word | r) = softmax(E P r + b)``, E the table of target word vectors itself (Press & Wolf 2017).

    P is a learned map without bias where readout and word vectors differ in width, else the identity. The output also
    trains the row of the padding token, as every output layer does. With separate embeddings it is their two-way tying
    (input and output of the decoder), with shared embeddings the three-way tying (the encoder's input too).

    Raises:
        Incompatible: the embeddings keep target vectors as they are.
    """

    class Config(Output.Config):
        """The tied output has no settings."""

    def __init__(self, cfg: Config, readout: int, embeddings: Embeddings) -> None:
        super().__init__(cfg, readout, embeddings)
        if embeddings.fixed:
            raise Incompatible(
                "a tied output would train the word vectors that embeddings.frozen keeps; set it to false, or take another output"
            )
        self.weight = embeddings.target_weight_VE
        size, width = self.weight.shape
        self.project: nn.Module = nn.Identity() if readout == width else nn.Linear(readout, width, bias=False)
        self.bias = nn.Parameter(self.weight.new_zeros(size))

    def logits(self, features: Tensor) -> Tensor:
        """Return ``E P r + b``."""
        return F.linear(self.project(features), self.weight, self.bias)


@register("bottleneck")
class Bottleneck(_Softmax):
    """``p(word | r) = softmax(W P r + b)``, the matrix of the output as a product of two narrow ones."""

    class Config(Output.Config):
        """Settings of the narrow layer."""

        width: int = Field(64, ge=1)
        """Size of the narrow layer, the rank of the product."""

    def __init__(self, cfg: Config, readout: int, embeddings: Embeddings) -> None:
        super().__init__(cfg, readout, embeddings)
        self.narrow = nn.Linear(readout, cfg.width, bias=False)
        self.project = nn.Linear(cfg.width, self.words)

    def logits(self, features: Tensor) -> Tensor:
        """Return ``W P r + b``."""
        return cast(Tensor, self.project(self.narrow(features)))
