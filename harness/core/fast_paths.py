"""Fast paths: quicker ways to the same answer, and the one switch that turns all of them off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SWITCH = "S2S_PLAIN"
"""The environment variable that turns all fast paths off, unless it is empty or 0."""

WIDE = 2**17
"""Numbers in a matrix from which a quicker way to multiply it, or to leave rows out, gains more than it costs."""

ERROR = 1e-3
"""The largest error of a dot product of 1,536 normal numbers that still counts as float32; through bfloat16 it is 0.1."""

ROWS = 64
"""Rows of a product that layouts are made for; others take them too."""

_off: list[None] = []
_packed: dict[int, Tensor] = {}
"""Weights as oneDNN wants them, by the identity of the parameter that they were made from."""


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
def no_subnormals() -> Iterator[None]:
    """Take numbers nearer to zero than 1.2e-38 for zero on this thread's CPU, which is ten times slower at them.

    Adam's means of gradients fade into them, 0.9 an update, in every row of a table whose word has not been seen for some
    800 updates; so do probabilities of words in a large vocabulary. A parameter moves by 1e-30 of the learning rate less.
    """
    number = torch.tensor([torch.finfo(torch.float32).tiny])
    if not used() or not number.div(2).any():  # who is zero already was set so by the caller
        yield
        return
    torch.set_flush_denormal(True)  # False where the CPU has no such mode
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def products(model: nn.Module, *, fixed: bool = False) -> Iterator[None]:
    """Multiply matrices as is quickest for a model: through oneDNN where one of them is wide and the answer is the same.

    ``fixed``: no parameter changes meanwhile, so that wide ones are laid out for oneDNN once and not at every product.
    """
    before = torch.get_float32_matmul_precision()
    wide = any(parameter.dim() == 2 and parameter.numel() >= WIDE for parameter in model.parameters())
    taken = wide and wide_products() == "oneDNN"
    if taken:
        torch.set_float32_matmul_precision("medium")
    try:
        with _laid_out(model) if taken and fixed and _has_layouts() else nullcontext():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _has_layouts() -> bool:
    """Return whether this build of torch has the two operations, which are those of its own frozen models."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)


@contextmanager
def _laid_out(model: nn.Module) -> Iterator[None]:
    """Lay out the wide parameters of linear maps and recurrent cells for oneDNN."""
    before = dict(_packed)
    linear_maps = [module for module in model.modules() if type(module) is nn.Linear and _packs(module.weight)]
    cells = [module for module in model.modules() if isinstance(module, nn.RNNBase)]
    for weight in [*(module.weight for module in linear_maps), *(p for cell in cells for p in cell.parameters())]:
        if _packs(weight):
            _packed[id(weight)] = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS)
    for module in linear_maps:
        module.forward = partial(linear, weight=module.weight, bias=module.bias)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in linear_maps:
            vars(module).pop("forward", None)
        _packed.clear()
        _packed.update(before)


def _packs(weight: Tensor) -> bool:
    wide = weight.dim() == 2 and weight.numel() >= WIDE
    return wide and weight.device.type == "cpu" and weight.dtype == torch.float32


def linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``W x + b``, by the layout that was made for the weights if there is one; no gradient flows through that."""
    packed = _packed.get(id(weight))
    if packed is None or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return F.linear(input, weight, bias)
    made: Tensor = torch.ops.mkldnn._linear_pointwise(input, packed, bias, "none", [], "")
    return made


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
