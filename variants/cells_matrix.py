"""Cells that carry a matrix for each head: what was written under a key is read with a query.

All steps of a piece are computed by products between steps, as in attention; a single step is an outer product.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from harness.contracts import ParallelCell, Stacked
from harness.core.registry import register
from harness.core.spec import Incompatible


class _MatrixCell(ParallelCell):
    """A matrix for each head, D x D with D = H / heads, rows by key and columns by value."""

    class Config(ParallelCell.Config):
        """Settings of a cell with matrices."""

        heads: int = Field(1, ge=1)
        """Number of matrices, each of ``hidden / heads`` keys and as many values."""

    shown_is_carried = False

    def __init__(self, cfg: Config, entering: int, directions: int = 1) -> None:
        if cfg.hidden % cfg.heads:
            raise Incompatible(
                f"{cfg.hidden} units cannot be split into {cfg.heads} heads; choose a divisor of {cfg.hidden}"
            )
        self.heads, self.side = cfg.heads, cfg.hidden // cfg.heads
        super().__init__(cfg, entering, directions)

    @property
    def carried(self) -> tuple[tuple[int, ...], ...]:
        """The shape of the matrices."""
        return ((self.heads, self.side, self.side),)

    def split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Return the parts that stand side by side, each B x T x heads x D."""
        return tuple(part.unflatten(-1, (self.heads, -1)) for part in x.chunk(parts, -1))


def _by_head(drive: tuple[Tensor, ...]) -> list[Tensor]:
    """Return B x heads x T x ... for B x T x heads x ...."""
    return [part.transpose(1, 2) for part in drive]


def _later(steps: int, like: Tensor) -> Tensor:
    """Return T x T, true where the second step is later than the first."""
    return torch.ones(steps, steps, dtype=torch.bool, device=like.device).triu(1)


def _directed(x: Tensor) -> Tensor:
    """Return x over its length; over .001 where it is shorter, so that gradients at zero do not overflow."""
    return F.normalize(x, dim=-1, eps=1e-3)


def _wide(x: Tensor) -> Tensor:
    """Return x in single precision at least: torch solves no systems of bf16 numbers."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _one(highest: Tensor) -> Tensor:
    """Return one as it is after stabilization, ``e^-m``; at most ``e^60``, to stay finite."""
    return torch.exp((-highest).clamp_max(60.0))


def _rms(x: Tensor) -> Tensor:
    """Return x over the root of its mean square (Zhang & Sennrich 2019), head by head, heads side by side."""
    return F.rms_norm(x, x.shape[-1:], eps=1e-6).flatten(-2)


class _MlstmLayer(nn.Module):
    """Queries, keys, values, the output gate; input and forget gate of each head."""

    def __init__(self, entering: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.enter, self.gates = Stacked(entering, hidden, 4), Stacked(entering, heads, 2)


@register("mlstm")
class MatrixLstm(_MatrixCell):
    """mLSTM (Beck et al. 2024, equations 19 to 27): a matrix memory with an exponential input gate, stabilized.

    ``q, v = W x + b``, ``k = (W_k x + b_k) / sqrt(D)``, ``o = sigmoid(W_o x + b_o)``, and for each head numbers i and
    ``f = sigmoid(w_f x + b_f)``; ``m' = max(log f + m, i)``, ``F = e^(log f + m - m')``, ``I = e^(i - m')``,
    ``C' = F C + I k v^T``, ``n' = F n + I k``, ``h' = o * (C'^T q) / max(|n' . q|, e^-m')``. The state is ``(h, C, n, m)``.
    """

    class Config(_MatrixCell.Config):
        """Settings of the mLSTM."""

    resting = (0.0, -torch.inf)

    @property
    def carried(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of ``C``, ``n`` and ``m``."""
        return ((self.heads, self.side, self.side), (self.heads, self.side), (self.heads,))

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the products of one layer in one direction."""
        return _MlstmLayer(entering, cfg.hidden, cfg.heads)

    def forget_biases(self) -> list[tuple[Tensor, ...]]:
        """Return the bias of the forget gate of each layer and direction."""
        return [(layer.gates.bias.chunk(2)[1],) for layer in self.maps]

    def drive(self, maps: Any, input_BTX: Tensor) -> tuple[Tensor, ...]:
        """Return log f, i, keys, values, queries and the output gate."""
        into, forget = maps.gates(input_BTX).chunk(2, -1)
        query, key, value, out = self.split(maps.enter(input_BTX), 4)
        return F.logsigmoid(forget), into, key / self.side**0.5, value, query, torch.sigmoid(out)

    def one(self, drive: tuple[Tensor, ...], carried: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what is read after one step, and the next ``(C, n, m)``."""
        (forget, into, key, value, query, _), (matrix, total, most) = drive, carried
        highest = torch.maximum(forget + most, into)
        kept, new = torch.exp(forget + most - highest).unsqueeze(-1), torch.exp(into - highest).unsqueeze(-1)
        matrix = kept.unsqueeze(-1) * matrix + (new * key).unsqueeze(-1) * value.unsqueeze(-2)
        total = kept * total + new * key
        divisor = torch.maximum((total * query).sum(-1).abs(), _one(highest)).unsqueeze(-1)
        return (query.unsqueeze(-2) @ matrix).squeeze(-2) / divisor, (matrix, total, highest)

    def many(self, drive: tuple[Tensor, ...], carried: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what is read after every step, and the last ``(C, n, m)``."""
        (forget, into, key, value, query, _), (matrix, total, most) = _by_head(drive), carried
        faded = forget.cumsum(-1)
        most = most.unsqueeze(-1)
        highest = faded + torch.maximum(most, (into - faded).cummax(-1).values)
        logs = (faded - highest).unsqueeze(-1) + (into - faded).unsqueeze(-2)
        weights = logs.masked_fill(_later(logs.shape[-1], logs), -torch.inf).exp()
        before = torch.exp(faded + most - highest).unsqueeze(-1)
        scores = query @ key.transpose(-1, -2) * weights
        read = scores @ value + before * (query @ matrix)
        divisor = scores.sum(-1) + (before * (query @ total.unsqueeze(-1))).squeeze(-1)
        read = read / torch.maximum(divisor.abs(), _one(highest)).unsqueeze(-1)
        written = weights[..., -1, :].unsqueeze(-1) * key
        matrix = before[..., -1:, :] * matrix + written.transpose(-1, -2) @ value
        total = before[..., -1, :] * total + written.sum(-2)
        return read.transpose(1, 2), (matrix, total, highest[..., -1])

    def say(self, maps: Any, read: Tensor, drive: tuple[Tensor, ...]) -> Tensor:
        """Return what is read, through the output gate."""
        return (drive[5] * read).flatten(-2)


class _GlaLayer(nn.Module):
    """Queries, keys, values, the output gate; the forget gate through a narrow map, as published; the way out."""

    def __init__(self, entering: int, hidden: int) -> None:
        super().__init__()
        self.enter = Stacked(entering, hidden, 4)
        self.forget = nn.Sequential(nn.Linear(entering, 16, bias=False), nn.Linear(16, hidden))
        self.leave = nn.Linear(hidden, hidden, bias=False)


@register("gla")
class GatedLinearAttention(_MatrixCell):
    """Gated linear attention (Yang, Wang, Shen, Panda & Kim 2024): a decay for every row of the matrix.

    ``q, k, v, r = W x + b``, ``a = sigmoid(V_2 V_1 x + b_a)^(1/16)``, ``S' = diag(a) S + k v^T``,
    ``y = W_O (swish(r) * norm(S'^T q))``. The norm is the root mean square of each head, keys are as wide as values, and
    q, k and v have biases. The state is ``(y, S)``.
    """

    class Config(_MatrixCell.Config):
        """Settings of gated linear attention."""

    resting = (0.0, 0.0)
    chunk = 4

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the products of one layer in one direction."""
        return _GlaLayer(entering, cfg.hidden)

    def drive(self, maps: Any, input_BTX: Tensor) -> tuple[Tensor, ...]:
        """Return log a, keys, values, queries and the output gate."""
        query, key, value, out = self.split(maps.enter(input_BTX), 4)
        (fade,) = self.split(F.logsigmoid(maps.forget(input_BTX)) / 16, 1)
        return fade, key, value, query, F.silu(out)

    def one(self, drive: tuple[Tensor, ...], carried: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what is read after one step, and the next ``S``."""
        fade, key, value, query, _ = drive
        matrix = fade.exp().unsqueeze(-1) * carried[0] + key.unsqueeze(-1) * value.unsqueeze(-2)
        return (query.unsqueeze(-2) @ matrix).squeeze(-2), (matrix,)

    def many(self, drive: tuple[Tensor, ...], carried: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what is read after every step, and the last ``S``."""
        fade, key, value, query, _ = _by_head(drive)
        faded, matrix = fade.cumsum(2), carried[0]
        between = faded.unsqueeze(3) - faded.unsqueeze(2)
        between = between.masked_fill(_later(faded.shape[2], faded).unsqueeze(-1), -torch.inf).exp()
        scores = (query.unsqueeze(3) * between * key.unsqueeze(2)).sum(-1)
        read = scores @ value + (query * faded.exp()) @ matrix
        written = key * torch.exp(faded[:, :, -1:] - faded)
        matrix = faded[:, :, -1].exp().unsqueeze(-1) * matrix + written.transpose(-1, -2) @ value
        return read.transpose(1, 2), (matrix,)

    def say(self, maps: Any, read: Tensor, drive: tuple[Tensor, ...]) -> Tensor:
        """Return what is read, normalized, gated and mapped."""
        said_BTH: Tensor = maps.leave(drive[4].flatten(-2) * _rms(read))
        return said_BTH


class _DeltaLayer(nn.Module):
    """Queries, keys and values; how strongly each head writes; the way out."""

    def __init__(self, entering: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.enter, self.strength = Stacked(entering, hidden, 3), nn.Linear(entering, heads)
        self.leave = nn.Linear(hidden, hidden, bias=False)


@register("deltanet")
class DeltaNet(_MatrixCell):
    """DeltaNet (Schlag et al. 2021; Yang, Wang, Zhang, Shen & Kim 2024): a write replaces what stood under its key.

    ``q, k = silu(W x + b)`` over their lengths (.001 at least), ``v = silu(W_v x + b_v)``, for each head
    ``w = sigmoid(w_w x + b_w)``; ``S' = S + w k (v - S^T k)^T``, ``y = W_O norm(S'^T q)``. The norm is the root mean square
    of each head; the short convolutions of the later paper are left out. All steps of a piece at once: the replaced values
    u solve the triangular system ``(I + L) u = w (V - K S)``, L the products ``w_t k_t . k_s`` of earlier steps s. The
    state is ``(y, S)``.
    """

    class Config(_MatrixCell.Config):
        """Settings of DeltaNet."""

    resting = (0.0,)

    def make(self, cfg: Any, entering: int) -> nn.Module:
        """Return the products of one layer in one direction."""
        return _DeltaLayer(entering, cfg.hidden, cfg.heads)

    def drive(self, maps: Any, input_BTX: Tensor) -> tuple[Tensor, ...]:
        """Return the strength of writing, keys, values and queries."""
        query, key, value = self.split(F.silu(maps.enter(input_BTX)), 3)
        strength = torch.sigmoid(maps.strength(input_BTX)).unsqueeze(-1)
        return strength, _directed(key), value, _directed(query)

    def one(self, drive: tuple[Tensor, ...], carried: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what is read after one step, and the next ``S``."""
        (strength, key, value, query), (matrix,) = drive, carried
        old = (key.unsqueeze(-2) @ matrix).squeeze(-2)
        matrix = matrix + key.unsqueeze(-1) * (strength * (value - old)).unsqueeze(-2)
        return (query.unsqueeze(-2) @ matrix).squeeze(-2), (matrix,)

    def many(self, drive: tuple[Tensor, ...], carried: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return what is read after every step, and the last ``S``."""
        (strength, key, value, query), (matrix,) = _by_head(drive), carried
        same = (strength * (key @ key.transpose(-1, -2))).tril(-1)  # torch takes the diagonal to be one
        same, new = (_wide(part) for part in (same, strength * (value - key @ matrix)))
        new = torch.linalg.solve_triangular(same, new, upper=False, unitriangular=True)
        read = query @ matrix + (query @ key.transpose(-1, -2)).tril() @ new
        return read.transpose(1, 2), (matrix + key.transpose(-1, -2) @ new,)

    def say(self, maps: Any, read: Tensor, drive: tuple[Tensor, ...]) -> Tensor:
        """Return what is read, normalized and mapped."""
        said_BTH: Tensor = maps.leave(_rms(read))
        return said_BTH
