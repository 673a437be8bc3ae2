"""Exact search: the most probable hypothesis of all, and whether that is proven."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from harness.contracts import BOS, EOS, PAD, Found, Search, Source, State, rows, sayable, select
from harness.core.registry import register


@register("exact")
class Exact(Search):
    """The most probable hypothesis that ends within the limit, by depth-first search (Stahlberg and Byrne 2019, Algorithm 1).

    Log-probabilities only fall as a prefix grows, so that no prefix whose own is not above the best hypothesis found so far
    can become better: its branch is cut, and what remains is proven to be the best. Each prefix is a hypothesis at once, by
    its EOS, the empty one first; then more probable words go first, down the greedy path. The paper begins with the bound
    that a beam search has found; here there is none. After ``expansions`` prefixes of a sentence the search gives up and
    returns the best so far, which is then reported as not proven (the diagnostic ``unproven``).
    """

    class Config(Search.Config):
        """Settings of exact search."""

        expansions: int = Field(1000, ge=1)
        """How many prefixes of a sentence the model is asked about, at most."""

    @torch.no_grad()
    def find(self, model: Any, source_BS: Tensor, limit: int) -> Found:
        """Return one hypothesis per source of at most ``limit`` tokens, EOS counted, and whether each is proven."""
        state, everything = model.read(source_BS)
        trees = [_Tree(_row(state, row), limit, self.cfg.expansions) for row in range(len(source_BS))]
        asked: list[int] = []
        source: Source = everything
        while steps := {row: step for row, tree in enumerate(trees) if (step := tree.next())}:
            for together in _alike(steps):
                if asked != list(together):
                    asked = list(together)
                    source = select(everything, torch.tensor(asked, device=source_BS.device))
                heard_N1 = torch.tensor([[step.said[-1]] for step in together.values()], device=source_BS.device)
                before = _joined([step.state for step in together.values()])
                readout, state = model.advance(heard_N1, before, source)
                logp_NV = sayable(model.next_logp(readout, source)).cpu()
                for place, (row, step) in enumerate(together.items()):
                    trees[row].grow(step, logp_NV[place], _row(state, place))
        return _found(trees, source_BS)


class _Step(NamedTuple):
    """A prefix, BOS included, the state before its last word, and its log-probability."""

    said: tuple[int, ...]
    state: State
    score: float


class _Branches(NamedTuple):
    """The words that may follow a prefix and have not been tried, the most probable last."""

    said: tuple[int, ...]
    state: State
    words: list[tuple[float, int]]


class _Tree:
    """The search for one sentence: prefixes not yet tried, and the best hypothesis so far."""

    def __init__(self, state: State, limit: int, expansions: int) -> None:
        self.limit, self.left = limit, expansions
        self.best: tuple[int, ...] = ()
        self.score = -float("inf")
        self.stack = [_Branches((), state, [(0.0, BOS)])]

    @property
    def proven(self) -> bool:
        """Whether nothing is left that could be better."""
        return not any(score > self.score for branches in self.stack for score, _ in branches.words)

    def next(self) -> _Step | None:
        """Return the next prefix to ask the model about, or None at the end of the search."""
        while self.left and self.stack:
            said, state, words = self.stack[-1]
            if not words or words[-1][0] <= self.score:
                self.stack.pop()  # the others are worse
                continue
            self.left -= 1
            score, word = words.pop()
            return _Step((*said, word), state, score)
        return None

    def grow(self, step: _Step, logp_V: Tensor, state: State) -> None:
        """Hear what may follow a prefix: EOS, which makes a hypothesis, and words to be tried later."""
        total_V = step.score + logp_V.double()
        if float(total_V[EOS]) > self.score:
            self.best, self.score = (*step.said[1:], EOS), float(total_V[EOS])
        total_V[EOS] = -torch.inf
        if len(step.said) + 1 <= self.limit:  # one more word, and EOS
            sorted_V, order_V = total_V.sort(dim=-1, descending=True, stable=True)
            kept = sorted_V > self.score
            words = list(zip(sorted_V[kept].tolist(), order_V[kept].tolist(), strict=True))[::-1]
            self.stack.append(_Branches(step.said, state, words))


def _found(trees: list[_Tree], source_BS: Tensor) -> Found:
    longest = max(len(tree.best) for tree in trees)
    tokens = [[*tree.best, *[PAD] * (longest - len(tree.best))] for tree in trees]
    return Found(
        source_BS.new_tensor(tokens),
        torch.tensor([tree.score for tree in trees], dtype=torch.double, device=source_BS.device),
        torch.tensor([tree.proven for tree in trees], device=source_BS.device),
    )


def _alike(steps: dict[int, _Step]) -> list[dict[int, _Step]]:
    """Return the steps in groups whose states have the same shapes: those of some decoders grow with what was said."""
    groups: dict[Any, dict[int, _Step]] = {}
    for row, step in steps.items():
        groups.setdefault(_shapes(step.state), {})[row] = step
    return list(groups.values())


def _shapes(tree: Any) -> Any:
    """Return the shapes of all tensors of a state."""
    if isinstance(tree, Tensor):
        return tree.shape
    return tuple(map(_shapes, tree)) if isinstance(tree, tuple) else ()


def _row(state: State, row: int) -> State:
    """Return one row of a state."""
    return rows(state, lambda part: part[row : row + 1])


def _joined(trees: list[Any]) -> Any:
    """Return several states as the rows of one."""
    first = trees[0]
    if isinstance(first, Tensor):
        return torch.cat(trees)
    if isinstance(first, tuple):
        made = [_joined(list(parts)) for parts in zip(*trees, strict=True)]
        return type(first)(*made) if hasattr(first, "_fields") else tuple(made)
    return first
