"""Fast paths: quicker ways to the same answer, and the one switch that turns all of them off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch
from torch import nn

SWITCH = "S2S_PLAIN"
"""The environment variable that turns all fast paths off, unless it is empty or 0."""

WIDE = 2**17
"""Numbers in a matrix from which a quicker way to multiply it, or to leave rows out, gains more than it costs."""

ERROR = 1e-3
"""The largest error of a dot product of 1,536 normal numbers that still counts as float32; through bfloat16 it is 0.1."""

_off: list[None] = []


def used() -> bool:
    """Return whether fast paths are taken."""
    return not _off and os.environ.get(SWITCH, "") in ("", "0")


@contextmanager
def off() -> Iterator[None]:
    """Take no fast path meanwhile."""
    _off.append(None)
    try:
        yield
    finally:
        _off.pop()


@contextmanager
def products(model: nn.Module) -> Iterator[None]:
    """Multiply matrices as is quickest for a model: through oneDNN where one of them is wide and the answer is the same."""
    before = torch.get_float32_matmul_precision()
    wide = any(parameter.dim() == 2 and parameter.numel() >= WIDE for parameter in model.parameters())
    if wide and wide_products() == "oneDNN":
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def through_onednn() -> bool:
    """Return whether the model at hand is computed through oneDNN; see ``products``."""
    return torch.get_float32_matmul_precision() == "medium"


def wide_products() -> Literal["oneDNN", "torch"]:
    """Return by whom wide matrices are multiplied in this process: a fact about the machine and the switch."""
    return "oneDNN" if used() and _error("medium") <= ERROR else "torch"


@cache
def _error(precision: str) -> float:
    """Return the largest error of products of normal numbers, measured against float64.

    The precision "medium" allows oneDNN to round to bfloat16, which it does where the processor multiplies such numbers
    (AMX); elsewhere it computes in float32. Measured, because what a processor does is not to be asked.
    """
    drawn = torch.Generator().manual_seed(0)
    left, right = torch.randn(64, 1536, generator=drawn), torch.randn(1536, 64, generator=drawn)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        return float((left @ right - left.double() @ right.double()).abs().max())
    finally:
        torch.set_float32_matmul_precision(before)
