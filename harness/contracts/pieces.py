"""Work whose intermediate numbers would fill memory, done in pieces: the same result from less."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from harness.core import fast_paths

LARGE = 2**26
"""Intermediate numbers beyond which work is done in pieces, at up to 1.5 times its time: 256 MiB in single precision."""
PIECE = 2**24
"""Intermediate numbers of a piece: 64 MiB in single precision. What is smaller, the memory allocator does not give back."""


def spares(numbers: int) -> bool:
    """Return whether work with so many intermediate numbers is done in pieces."""
    return numbers > LARGE and fast_paths.used()


def in_pieces(compute: Callable[..., Tensor], parts: tuple[Tensor, ...], dim: int, numbers: int) -> Tensor:
    """Return ``compute(*parts)``, piece by piece along an axis of the parts and of the result where that spares memory.

    Nothing between parts and result is kept for the gradient of a piece: it is computed a second time. What stands at one
    place of the axis must not depend on other places.

    Args:
        compute: makes the result of parts of any length.
        parts: tensors of one length along the axis.
        dim: the axis.
        numbers: how many numbers the largest tensor in between has.
    """
    if not spares(numbers):
        return compute(*parts)
    size = max(1, parts[0].shape[dim] * PIECE // numbers)
    made: list[Tensor] = []
    for piece in zip(*(part.split(size, dim) for part in parts), strict=True):
        kept: Tensor = checkpoint(compute, *piece, use_reentrant=False) if torch.is_grad_enabled() else compute(*piece)
        made.append(kept)
    return torch.cat(made, dim)
