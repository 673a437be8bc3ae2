"""A mixture of softmaxes."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Embeddings, Output, Readout, Source
from harness.core.registry import register


@register("mixture_of_softmaxes")
class MixtureOfSoftmaxes(Output):
    """``p(w) = sum_k pi_k softmax(W tanh(P_k r) + b)_w``, ``pi = softmax(Q r)`` (Yang et al. 2018).

    One softmax over ``W r`` can only say log-probabilities of rank R; a mixture can say more.
    """

    class Config(Output.Config):
        """Settings of the mixture."""

        components: int = Field(4, ge=1)
        """How many softmaxes are mixed, K."""
        width: int = Field(64, ge=1)
        """Size of each component's features."""

    def __init__(self, cfg: Config, readout: int, embeddings: Embeddings) -> None:
        super().__init__(cfg, readout, embeddings)
        self.components = cfg.components
        self.prior = nn.Linear(readout, cfg.components, bias=False)
        self.latent = nn.Linear(readout, cfg.components * cfg.width, bias=False)
        self.project = nn.Linear(cfg.width, self.words)

    def logp(self, readout: Readout, source: Source) -> Tensor:
        """Return log-probabilities of all words at every step, B x T x V."""
        return self.mixed(readout.features_BTR)

    def counted(self, readout: Readout, source: Source, counted_BT: Tensor) -> Tensor:
        """Return the log-probabilities at the counted positions, N x V; no other position is computed."""
        return self.mixed(readout.features_BTR[counted_BT])

    def numbers(self, readout: Readout) -> int:
        """Return K times V."""
        return self.components * self.words

    def mixed(self, features: Tensor) -> Tensor:
        """Return the logarithm of the mixture; leading axes are free, the last becomes V."""
        latent = torch.tanh(self.latent(features)).unflatten(-1, (self.components, -1))
        each = self.project(latent).log_softmax(-1)
        prior = self.prior(features).log_softmax(-1)
        return torch.logsumexp(prior.unsqueeze(-1) + each, -2)
