"""The largest tensor of an output or of an attention is bounded, forward and backward; without fast paths it is not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.contracts import Attention, Output, Readout, pieces
from harness.core import fast_paths

WORDS, POSITIONS = 400, (4, 30)


class Largest(TorchDispatchMode):
    """The most numbers that a tensor has which an operation makes."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(part.numel() for part in tree_leaves(made) if isinstance(part, Tensor))])
        return made


def nll(kind: str) -> Callable[[], Tensor]:
    torch.manual_seed(0)
    table = torch.nn.Parameter(torch.randn(WORDS, 8))
    embeddings = SimpleNamespace(target_weight_VE=table, fixed=False)
    settings = {"width": 8} if kind == "bottleneck" else {}
    output: Any = Output.kinds[kind].Config(**settings).build(readout=8, embeddings=embeddings)
    x, target = torch.randn(*POSITIONS, 8, requires_grad=True), torch.randint(WORDS, POSITIONS)
    return lambda: output.nll(Readout(x, x[..., :0]), None, target).sum()


SOURCE = 7
"""Words of a source."""
EACH: dict[str, tuple[int, dict[str, Any]]] = {
    "mixture_of_softmaxes": (3 * WORDS, {"components": 3, "width": 8}),
    "pointer_generator": (WORDS + SOURCE, {}),
    "marginal": (SOURCE * WORDS, {"width": 8}),
    "adaptive_softmax": (WORDS, {"cutoffs": (100,)}),
}
"""Numbers of a position in the largest tensor of an output, and its settings."""


def wider(kind: str) -> tuple[Callable[[], Tensor], Tensor]:
    """An output that hears the whole readout and the source, with a smoothed loss of half of the positions."""
    torch.manual_seed(0)
    embeddings = SimpleNamespace(target_weight_VE=torch.nn.Parameter(torch.randn(WORDS, 8)), fixed=False)
    output: Any = Output.kinds[kind].Config(**EACH[kind][1]).build(readout=8, embeddings=embeddings)
    output.meet(5)
    x, target = torch.randn(*POSITIONS, 8, requires_grad=True), torch.randint(WORDS, POSITIONS)
    weights, counted = torch.rand(*POSITIONS, SOURCE).softmax(-1), torch.arange(30).expand(POSITIONS) % 2 == 0
    values, copies = torch.randn(4, SOURCE, 5), torch.randint(WORDS + SOURCE, (4, SOURCE))
    source = SimpleNamespace(memory=SimpleNamespace(values_BSM=values), copies_BS=copies)
    return lambda: output.nll(Readout(x, weights), source, target, counted, 0.1).sum(), x


@pytest.mark.parametrize("kind", EACH)
def test_every_output_is_computed_in_pieces_where_its_numbers_are_many(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(fast_paths.SWITCH, raising=False)
    (loss, x), whole = wider(kind), 60 * EACH[kind][0]
    monkeypatch.setattr(pieces, "PIECE", whole // 6)
    found = {}
    for large in (whole, whole - 1):
        monkeypatch.setattr(pieces, "LARGE", large)
        with Largest() as seen:
            made = loss()
            (slope,) = torch.autograd.grad(made, x)
        found[large] = seen.numbers, made.item(), slope
    assert found[whole][0] >= whole and found[whole - 1][0] <= whole // 6
    assert found[whole - 1][1] == pytest.approx(found[whole][1], rel=1e-6)
    torch.testing.assert_close(found[whole - 1][2], found[whole][2])


def scores() -> Callable[[], Tensor]:
    torch.manual_seed(0)
    score: Any = Attention.kinds["additive"].Config(width=40).build(memory=8, query=8)
    query, values = torch.randn(*POSITIONS, 8, requires_grad=True), torch.randn(4, 20, 8)
    return lambda: score(query, score.keys(values)).square().sum()


@pytest.mark.parametrize("kind", ("linear", "tied", "bottleneck", "additive"))
def test_no_tensor_is_larger_than_a_piece(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(fast_paths.SWITCH, raising=False)
    loss, whole = (scores(), 4 * 30 * 20 * 40) if kind == "additive" else (nll(kind), 4 * 30 * WORDS)
    piece = whole // 6
    monkeypatch.setattr(pieces, "PIECE", piece)
    largest = {}
    for large, used in ((whole, True), (whole - 1, True), (whole - 1, False)):
        monkeypatch.setattr(pieces, "LARGE", large)
        with nullcontext() if used else fast_paths.off(), Largest() as seen:
            loss().backward()
        largest[large, used] = seen.numbers
    assert largest[whole, True] == largest[whole - 1, False] == whole, "work at the bound, and the plain path"
    assert largest[whole - 1, True] <= piece


def test_the_sizes_of_pieces_follow_from_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(fast_paths.SWITCH, raising=False)
    monkeypatch.setattr(pieces, "LARGE", 99)
    monkeypatch.setattr(pieces, "PIECE", 30)
    sizes: list[int] = []

    def double(part: Tensor) -> Tensor:
        sizes.append(len(part))
        return 2 * part

    assert torch.equal(pieces.in_pieces(double, (torch.arange(10.0),), 0, 100), 2 * torch.arange(10.0))
    assert sizes == [3, 3, 3, 1]
    assert pieces.in_pieces(double, (torch.arange(10.0),), 0, 99).shape == (10,) and sizes[4:] == [10]
    assert pieces.in_pieces(double, (torch.arange(2.0),), 0, 1000).tolist() == [0.0, 2.0] and sizes[5:] == [1, 1]
