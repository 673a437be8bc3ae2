"""Outputs: readouts to words."""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import Embeddings, Output
from harness.core.registry import register


class _Softmax(Output):
    """An output whose probabilities are a softmax over one logit per word."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """Return unnormalized log-probabilities; leading axes are free, the last becomes V."""

    def logp(self, features: Tensor) -> Tensor:
        """Return log-probabilities of all words; leading axes are free, the last becomes V."""
        return self.logits(features).log_softmax(-1)

    def nll(self, features_NR: Tensor, targets_N: Tensor, smoothing: float = 0.0) -> Tensor:
        """Return the negative log-likelihood of each target, in nats, by one fused kernel."""
        return F.cross_entropy(self.logits(features_NR), targets_N, reduction="none", label_smoothing=smoothing)


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
    trains the row of the padding token, as every output layer does.
    """

    class Config(Output.Config):
        """The tied output has no settings."""

    def __init__(self, cfg: Config, readout: int, embeddings: Embeddings) -> None:
        super().__init__(cfg, readout, embeddings)
        self.weight = embeddings.target_weight_VE
        size, width = self.weight.shape
        self.project: nn.Module = nn.Identity() if readout == width else nn.Linear(readout, width, bias=False)
        self.bias = nn.Parameter(self.weight.new_zeros(size))

    def logits(self, features: Tensor) -> Tensor:
        """Return ``E P r + b``."""
        return F.linear(self.project(features), self.weight, self.bias)
