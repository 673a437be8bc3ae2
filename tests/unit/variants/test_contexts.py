"""Contexts against numbers worked by hand."""

from __future__ import annotations

from math import exp
from typing import Any

import pytest
import torch

from harness.contracts import Context, Memory, Source

MEMORY = Memory(
    torch.tensor([[[1.0, 3.0], [2.0, 5.0], [7.0, 0.0]]]),
    torch.tensor([[True, True, False]]),
    (torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[[8.0, 8.0], [9.0, 9.0]]])),
)
QUERY_BTH = torch.tensor([[[1.0, 0.0], [0.0, 0.5]]])


def ask(kind: str, memory: Memory = MEMORY, **settings: Any) -> tuple[torch.Tensor, torch.Tensor]:
    context = Context.kinds[kind].Config.model_validate(settings).build(memory=2, query=2)
    source = Source(memory, context.keys(memory))
    shown, weights, after = context(QUERY_BTH, source, context.start(source))
    assert not context.remembers and after == ()
    assert shown.shape[-1] == context.width
    return shown, weights


def test_nothing_is_nothing() -> None:
    assert [part.shape for part in ask("none")] == [(1, 2, 0), (1, 2, 0)]


def test_final_is_the_visible_state_of_the_top_at_every_step() -> None:
    context, weights = ask("final")
    assert context.tolist() == [[[3, 4], [3, 4]]] and weights.shape == (1, 2, 0)


def test_mean_leaves_padding_out() -> None:
    context, weights = ask("mean")
    assert context.tolist() == [[[1.5, 4], [1.5, 4]]] and weights.shape == (1, 2, 0)


def test_attention_is_a_weighted_mean_of_words() -> None:
    context, weights = ask("attention", score="dot")
    first = exp(1) / (exp(1) + exp(2))  # scores 1 and 2
    second = exp(1.5) / (exp(1.5) + exp(2.5))  # scores 1.5 and 2.5
    want = torch.tensor([[first, 1 - first, 0.0], [second, 1 - second, 0.0]])
    torch.testing.assert_close(weights[0], want)
    torch.testing.assert_close(context[0], torch.tensor([[2 - first, 5 - 2 * first], [2 - second, 5 - 2 * second]]))


def test_without_a_mask_padding_takes_its_share() -> None:
    _, weights = ask("attention", score="dot", mask=False)
    whole = exp(1) + exp(2) + exp(7)
    torch.testing.assert_close(weights[0, 0], torch.tensor([exp(1) / whole, exp(2) / whole, exp(7) / whole]))


def test_what_hears_padding_and_what_waits_for_a_query() -> None:
    build = {
        name: Context.kinds[name].Config.model_validate(settings).build(memory=2, query=2)
        for name, settings in (("none", {}), ("final", {}), ("mean", {}), ("attention", {"score": "dot"}))
    }
    assert {name for name, context in build.items() if not context.static} == {"attention"}
    unmasked = Context.kinds["attention"].Config.model_validate({"score": "dot", "mask": False})
    assert unmasked.build(memory=2, query=2).hears_padding and not any(c.hears_padding for c in build.values())


@pytest.mark.parametrize("place", ("input", "readout", "both"))
@pytest.mark.parametrize("merge", ("concat", "add"))
def test_a_context_enters_where_it_is_told(place: str, merge: str) -> None:
    context = Context.kinds["mean"].Config.model_validate({"place": place, "merge": merge}).build(memory=2, query=2)
    x_BTX, context_BTC = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[2.0, 3.0]]])
    for at in ("input", "readout"):
        join = context.join(at, 2)
        if place in (at, "both"):
            want = [[[1, 1, 2, 3]]] if merge == "concat" else [[[3, 4]]]
            assert join(x_BTX, context_BTC).tolist() == want and join.width == len(want[0][0])
        else:
            assert join.width == 2


@pytest.mark.parametrize("wide", (2, 3))
def test_a_gate_weighs_a_context_against_what_it_meets(wide: int) -> None:
    context = Context.kinds["mean"].Config.model_validate({"merge": "gate"}).build(memory=wide, query=2)
    join = context.join("input", 2)
    x, c = torch.tensor([1.0, -2.0]), torch.arange(1.0, wide + 1)
    z = torch.sigmoid(join.gate.weight @ torch.cat([x, c]) + join.gate.bias)
    shown = c if wide == 2 else join.project.weight @ c
    assert join.width == 2
    torch.testing.assert_close(join(x.view(1, 1, -1), c.view(1, 1, -1))[0, 0], (1 - z) * x + z * shown)
