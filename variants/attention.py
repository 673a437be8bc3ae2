"""Attention scores: how well a query fits each memory."""

from __future__ import annotations

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from harness.contracts import Attention, in_pieces
from harness.core.registry import register
from harness.core.spec import Incompatible


@register("additive")
class Additive(Attention):
    """``score(q, m) = v . tanh(W q + U m + b)`` (Bahdanau et al. 2015, A.1.2).

    The score "concat" of Luong et al. 2015, ``v . tanh(W [q; m])``, is the same but for the bias.
    """

    class Config(Attention.Config):
        """Settings of the additive score."""

        width: int = Field(64, ge=1)
        """Size of the hidden layer, A."""

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.query = nn.Linear(query, cfg.width, bias=False)
        self.memory = nn.Linear(memory, cfg.width)
        self.score = nn.Linear(cfg.width, 1, bias=False)

    def keys(self, values_BSM: Tensor) -> Tensor:
        """Return ``U m + b``, B x S x A."""
        return cast(Tensor, self.memory(values_BSM))

    def forward(self, query_BTH: Tensor, keys_BSA: Tensor) -> Tensor:
        """Return scores, B x T x S; no more of the hidden layer is in memory at once than ``in_pieces`` allows."""

        def scores(asked_BTA: Tensor) -> Tensor:
            hidden_BTSA = torch.tanh(asked_BTA.unsqueeze(2) + keys_BSA.unsqueeze(1))
            return cast(Tensor, self.score(hidden_BTSA).squeeze(-1))

        asked_BTA = self.query(query_BTH)
        return in_pieces(scores, (asked_BTA,), 1, asked_BTA.numel() * keys_BSA.shape[1])


@register("dot")
class Dot(Attention):
    """``score(q, m) = q . m`` (Luong et al. 2015, eq. 8).

    Raises:
        Incompatible: query and memory differ in width.
    """

    class Config(Attention.Config):
        """The dot product has no settings."""

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        if memory != query:
            raise Incompatible(f"a dot product needs equal widths, but the memory has {memory} and the query {query}")

    def keys(self, values_BSM: Tensor) -> Tensor:
        """Return the memory itself."""
        return values_BSM

    def forward(self, query_BTH: Tensor, keys_BSA: Tensor) -> Tensor:
        """Return scores, B x T x S."""
        return query_BTH @ keys_BSA.transpose(1, 2)


@register("general")
class General(Attention):
    """``score(q, m) = q . W m`` (Luong et al. 2015, eq. 8)."""

    class Config(Attention.Config):
        """The bilinear form has no settings."""

    def __init__(self, cfg: Config, memory: int, query: int) -> None:
        super().__init__(cfg, memory, query)
        self.memory = nn.Linear(memory, query, bias=False)

    def keys(self, values_BSM: Tensor) -> Tensor:
        """Return ``W m``, as wide as the query."""
        return cast(Tensor, self.memory(values_BSM))

    def forward(self, query_BTH: Tensor, keys_BSA: Tensor) -> Tensor:
        """Return scores, B x T x S."""
        return query_BTH @ keys_BSA.transpose(1, 2)
