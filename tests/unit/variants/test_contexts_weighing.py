"""Contexts that weigh words, against loops over their formulas: two sentences, of five words and of three, four queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from harness.contracts import Context, Memory, Source
from harness.core.spec import Incompatible
from variants.initializers import Xavier

Array = NDArray[np.float64]
LENGTHS = (5, 3)
MASK_BS = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


def made(kind: str, memory: int = 3, query: int = 2, **settings: Any) -> Any:
    torch.manual_seed(0)
    context = Context.kinds[kind].Config.model_validate(settings).build(memory=memory, query=query).double().eval()
    with torch.no_grad():
        for parameter in context.parameters():
            parameter.normal_()
    return context


def inputs(memory: int = 3, query: int = 2, steps: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 5, memory).double(), torch.randn(2, steps, query).double()


def walk(context: Any, values_BSM: torch.Tensor, query_BTH: torch.Tensor) -> tuple[Array, Array, Any]:
    """Ask step by step: the contexts, the weights, and what is remembered in the end."""
    memory = Memory(values_BSM, MASK_BS, ())
    source = Source(memory, context.keys(memory))
    asked, after = [], context.start(source)
    with torch.no_grad():
        for query_B1H in query_BTH.split(1, 1):
            shown, weights, after = context(query_B1H, source, after)
            asked.append((shown, weights))
    shown, weights = (torch.cat(parts, 1).numpy() for parts in zip(*asked, strict=True))
    assert shown.shape[-1] == context.width
    return shown, weights, after


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def arrays(*tensors: torch.Tensor) -> list[Any]:
    return [tensor.detach().numpy() for tensor in tensors]


# ------------------------------------------------------------------------------------------------------- coverage


@pytest.mark.parametrize("fertility", (0, 2))
def test_coverage(fertility: int) -> None:
    context, (values, queries) = made("coverage", width=4, fertility=fertility), inputs()
    shown, weights, after = walk(context, values, queries)
    w, u, b = arrays(context.query.weight, context.memory.weight, context.memory.bias)
    c, v = arrays(context.seen.weight[:, 0], context.score.weight[0])
    m, q = arrays(values, queries)
    for row, length in enumerate(LENGTHS):
        seen = np.zeros(length)
        worth = [1.0] * length
        if fertility:
            worth = [2 * sigmoid(arrays(context.fertility.weight)[0][0] @ m[row, s]) for s in range(length)]
        for t in range(4):
            scores = [v @ np.tanh(w @ q[row, t] + u @ m[row, s] + b + c * seen[s]) for s in range(length)]
            want = softmax(np.array(scores))
            np.testing.assert_allclose(weights[row, t], np.pad(want, (0, 5 - length)), atol=1e-12)
            np.testing.assert_allclose(shown[row, t], sum(want[s] * m[row, s] for s in range(length)), atol=1e-12)
            seen += want / worth
        np.testing.assert_allclose(after[row, :length], seen, atol=1e-12)


def test_a_word_worth_nothing_counts_much_but_not_infinitely() -> None:
    context = made("coverage", width=4, fertility=2).float()
    values, queries = (part.float() for part in inputs())
    shown, _, after = walk(context, 1e4 * values, queries)
    assert np.isfinite(shown).all() and bool(after.isfinite().all())


@pytest.mark.parametrize("radius", (0, 1, 2))
def test_location_aware(radius: int) -> None:
    context, (values, queries) = made("location_aware", width=4, filters=3, radius=radius), inputs()
    shown, weights, after = walk(context, values, queries)
    w, u, b = arrays(context.query.weight, context.memory.weight, context.memory.bias)
    z, v, f = arrays(context.seen.weight, context.score.weight[0], context.filters.weight[:, 0])
    m, q = arrays(values, queries)
    for row, length in enumerate(LENGTHS):
        before = np.zeros(length)
        for t in range(4):
            scores = []
            for s in range(length):
                feature = sum(
                    (f[:, radius + d] * before[s + d] for d in range(-radius, radius + 1) if 0 <= s + d < length),
                    np.zeros(3),
                )
                scores.append(v @ np.tanh(w @ q[row, t] + u @ m[row, s] + z @ feature + b))
            before = softmax(np.array(scores))
            np.testing.assert_allclose(weights[row, t], np.pad(before, (0, 5 - length)), atol=1e-12)
            np.testing.assert_allclose(shown[row, t], before @ m[row, :length], atol=1e-12)
        np.testing.assert_allclose(after[row, :length], before, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------- local


def test_local_monotonic() -> None:
    context, (values, queries) = made("local_monotonic", memory=2, score="dot", window=1), inputs(2, steps=6)
    shown, weights, after = walk(context, values, queries)
    m, q = arrays(values, queries)
    for row, length in enumerate(LENGTHS):
        for t in range(6):
            center = min(t, length - 1)  # it stays at the last word
            window = [s for s in range(center - 1, center + 2) if 0 <= s < length]
            want = np.zeros(5)
            want[window] = softmax(np.array([q[row, t] @ m[row, s] for s in window]))
            np.testing.assert_allclose(weights[row, t], want, atol=1e-12)
            np.testing.assert_allclose(shown[row, t], want @ m[row], atol=1e-12)
    assert after.tolist() == [6, 6]


def test_local_predictive() -> None:
    context, (values, queries) = made("local_predictive", memory=2, score="dot", window=2), inputs(2)
    shown, weights, _ = walk(context, values, queries)
    assert not context.remembers
    whole = Source(Memory(values, MASK_BS, ()), values)
    at_once = context(queries, whole, ())
    np.testing.assert_allclose(at_once[0].detach(), shown, atol=1e-12)
    w, v = arrays(context.hidden.weight, context.position.weight[0])
    m, q = arrays(values, queries)
    for row, length in enumerate(LENGTHS):
        for t in range(4):
            p = length * sigmoid(v @ np.tanh(w @ q[row, t]))
            window = [s for s in range(length) if p - 2 <= s <= p + 2]
            aligned = softmax(np.array([q[row, t] @ m[row, s] for s in window]))
            want = np.zeros(5)
            want[window] = [a * np.exp(-((s - p) ** 2) / (2 * 1.0**2)) for a, s in zip(aligned, window, strict=True)]
            np.testing.assert_allclose(shown[row, t], want @ m[row], atol=1e-12)
            np.testing.assert_allclose(weights[row, t], want / want.sum(), atol=1e-12)


def test_a_predicted_position_is_exact_in_long_sources_of_bf16() -> None:
    """bf16 rounds 299 to 300: a window around the middle would slip, and with it the weights."""
    context = made("local_predictive", memory=2, score="dot", window=1).float()
    values, query = torch.randn(1, 597, 2), torch.zeros(1, 1, 2)
    memory = Memory(values, torch.ones(1, 597, dtype=torch.bool), ())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights = context(query, Source(memory, context.keys(memory)), ())[1]
    assert weights[0, 0].nonzero().squeeze(1).tolist() == [298, 299]  # 597 / 2 = 298.5


# ------------------------------------------------------------------------------------------------------ monotonic


def expected(before: Array, stop: list[float]) -> Array:
    """The chance of stopping at each word, by all ways of getting there."""
    after = np.zeros(len(stop))
    for k in range(len(stop)):
        reach = before[k]
        for s in range(k, len(stop)):
            after[s] += reach * stop[s]
            reach *= 1 - stop[s]
    return after


def chunked(stopped: Array, scores: list[float], chunk: int) -> Array:
    spread = np.zeros(len(stopped))
    for s, weight in enumerate(stopped):
        first = max(0, s - chunk + 1)
        spread[first : s + 1] += weight * softmax(np.array(scores[first : s + 1]))
    return spread


@pytest.mark.parametrize("training", (True, False))
@pytest.mark.parametrize("chunk", (1, 2, 3, 8))
def test_monotonic(training: bool, chunk: int) -> None:
    context = made("monotonic", score="general", noise=0.0, chunk=chunk)
    values, queries = inputs()
    shown, weights, after = walk(context.train(training), values, queries)
    maps = [arrays(score.memory.weight)[0] for score in (context.score, getattr(context, "chunk_score", context.score))]
    m, q = arrays(values, queries)
    for row, length in enumerate(LENGTHS):
        stopped = np.eye(length)[0]
        for t in range(4):
            first, second = ([q[row, t] @ (w @ m[row, s]) for s in range(length)] for w in maps)
            stop = [sigmoid(score + context.offset.item() - 1) for score in first]
            stop = [*(p if training else float(p > 0.5) for p in stop[:-1]), 1.0]
            stopped = expected(stopped, stop)
            want = chunked(stopped, second, chunk)
            np.testing.assert_allclose(weights[row, t], np.pad(want, (0, 5 - length)), atol=1e-12)
            np.testing.assert_allclose(shown[row, t], want @ m[row, :length], atol=1e-12)
        np.testing.assert_allclose(after[row, :length], stopped, atol=1e-12)


@pytest.mark.parametrize("steps", (1, 2))
def test_a_chunk_may_be_longer_than_the_source(steps: int) -> None:
    context, (values, queries) = made("monotonic", score="general", chunk=4), inputs(steps=1)
    memory = Memory(values[:, :steps], torch.ones(2, steps, dtype=torch.bool), ())
    source = Source(memory, context.keys(memory))
    _, weights, _ = context(queries, source, context.start(source))
    assert weights.shape == (2, 1, steps)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1).double())


def test_a_monotonic_head_begins_as_published_whatever_the_initializer() -> None:
    """The offset of a score starts at -1, also where an initializer sets vectors to zero."""
    context, (values, queries) = made("monotonic", score="dot", memory=2, noise=0.0), inputs(memory=2, steps=1)
    Xavier(Xavier.Config()).fill(context)
    memory = Memory(values, MASK_BS, ())
    source = Source(memory, context.keys(memory))
    _, weights, _ = context.train()(torch.zeros_like(queries), source, context.start(source))
    assert weights[0, 0, 0].item() == pytest.approx(sigmoid(-1))


def test_a_monotonic_head_never_moves_back_and_is_noisy_in_training_only() -> None:
    context, (values, queries) = made("monotonic", score="general", noise=3.0), inputs()
    _, weights, _ = walk(context, values, queries)
    assert set(weights.flatten()) == {0.0, 1.0}, "one word is chosen"
    assert (np.diff(weights.argmax(-1), axis=1) >= 0).all()
    np.testing.assert_array_equal(walk(context, values, queries)[1], weights)
    one, other = (walk(context.train(), values, queries)[1] for _ in range(2))
    assert np.abs(one - other).max() > 0.01
    np.testing.assert_allclose(one.sum(-1), 1.0)


# ----------------------------------------------------------------------------------------------------- multi-head


def test_multihead_is_torchs_own() -> None:
    context, (values, queries) = made("multihead", width=6, heads=3), inputs()
    torchs = nn.MultiheadAttention(6, 3, batch_first=True).double()
    with torch.no_grad():
        torchs.in_proj_weight.copy_(torch.eye(6).repeat(3, 1))
        torchs.in_proj_bias.zero_()
        torchs.out_proj.load_state_dict(context.out.state_dict())
        projected = context.query(queries), context.key(values), context.value(values)
        want, want_weights = torchs(*projected, key_padding_mask=~MASK_BS)
        memory = Memory(values, MASK_BS, ())
        at_once = context(queries, Source(memory, context.keys(memory)), ())[:2]
    for shown, weights in (walk(context, values, queries)[:2], at_once):
        np.testing.assert_allclose(shown, want, atol=1e-12)
        np.testing.assert_allclose(weights, want_weights, atol=1e-12)


def test_heads_divide_the_width() -> None:
    with pytest.raises(Incompatible, match="3 heads do not divide a context of width 4"):
        made("multihead", width=4, heads=3)
