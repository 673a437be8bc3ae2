"""Transformers against torch's own layers with the same parameters, and what torch has not by the equations."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from harness.contracts import Decoder, Encoder, Memory, transformer_layers
from harness.contracts.transformer_layers import onward
from harness.core.spec import Incompatible

D, HEADS, INNER = 8, 2, 12
MASK_BS = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
KINDS = list(itertools.product(("pre", "post"), ("relu", "gelu")))
SETTINGS: dict[str, Any] = {"width": D, "heads": HEADS, "inner": INNER, "positions": "none"}


def embedded(steps: int, width: int = D) -> torch.Tensor:
    return torch.randn(2, steps, width, dtype=torch.double, generator=torch.Generator().manual_seed(1))


def roughen(part: nn.Module) -> Any:
    """Random values everywhere, so that no bias or scale is at its neutral value."""
    torch.manual_seed(0)
    for parameter in part.double().eval().parameters():
        nn.init.normal_(parameter, 0.0, 0.5)
    return part


def encoder(kind: str = "transformer", **settings: Any) -> Any:
    config = Encoder.kinds[kind].Config.model_validate((SETTINGS if kind == "transformer" else {}) | settings)
    return roughen(config.build(embedded=D))


def decoder(read: Any, kind: str = "transformer", **settings: Any) -> Any:
    config = Decoder.kinds[kind].Config.model_validate(SETTINGS | settings)
    return roughen(config.build(embedded=D, encoder=read))


def give(theirs: nn.MultiheadAttention, ours: Any) -> None:
    """Copy attention into torch's layer, whose biases ours does not have."""
    theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
    theirs.in_proj_bias.zero_()
    theirs.out_proj.weight.copy_(ours.merge.weight)
    theirs.out_proj.bias.zero_()


@torch.no_grad()
def torchs(stack: Any, kind: Any, norm: str, activation: Any) -> list[Any]:
    """Torch's own layers with the parameters of a stack."""
    made = []
    for layer in stack.layers:
        same = kind(D, HEADS, INNER, 0.0, activation, batch_first=True, norm_first=norm == "pre").double().eval()
        give(same.self_attn, layer.own)
        arounds = [layer.around_own]
        if hasattr(layer, "cross"):
            give(same.multihead_attn, layer.cross)
            arounds.append(layer.around_cross)
        for number, around in enumerate([*arounds, layer.around_feed], 1):
            getattr(same, f"norm{number}").load_state_dict(around.norm.state_dict())
        same.linear1.load_state_dict(layer.feed.enter.state_dict())
        same.linear2.load_state_dict(layer.feed.leave.state_dict())
        made.append(same)
    return made


@pytest.mark.parametrize(("norm", "activation"), KINDS)
def test_the_encoder_is_torchs_own(norm: str, activation: str) -> None:
    made, x_BSD = encoder(norm=norm, activation=activation), embedded(4)
    memory = made(x_BSD, MASK_BS)
    for layer in torchs(made.stack, nn.TransformerEncoderLayer, norm, activation):
        x_BSD = layer(x_BSD, src_key_padding_mask=~MASK_BS)
    x_BSD = made.stack.norm(x_BSD) * MASK_BS.unsqueeze(-1)
    torch.testing.assert_close(memory.values_BSM, x_BSD)
    torch.testing.assert_close(memory.final[0][:, 0], torch.stack([x_BSD[0].mean(0), x_BSD[1, :2].mean(0)]))
    assert made.shape[:2] == (1, ((D,),))


@pytest.mark.parametrize(("norm", "activation"), KINDS)
def test_the_decoder_is_torchs_own(norm: str, activation: str) -> None:
    made, x_BTD = decoder(encoder(), norm=norm, activation=activation), embedded(5)
    memory = Memory(embedded(4) + 1, MASK_BS, ())
    readout, _ = made.advance(x_BTD, *made.start(memory))
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.double)
    for layer in torchs(made.stack, nn.TransformerDecoderLayer, norm, activation):
        before, x_BTD = x_BTD, layer(x_BTD, memory.values_BSM, causal, memory_key_padding_mask=~MASK_BS)
    torch.testing.assert_close(readout.features_BTR, made.stack.norm(x_BTD))
    weights = cross_weights(layer, before, memory, causal)
    torch.testing.assert_close(readout.weights_BTS, weights)


def cross_weights(layer: Any, x_BTD: torch.Tensor, memory: Memory, causal: torch.Tensor) -> torch.Tensor:
    """The weights of a layer's attention to the memory, the mean of its heads, by torch's own attention."""
    if layer.norm_first:
        own_BTD = layer.norm1(x_BTD)
        query_BTD = layer.norm2(x_BTD + layer.self_attn(own_BTD, own_BTD, own_BTD, attn_mask=causal)[0])
    else:
        query_BTD = layer.norm1(x_BTD + layer.self_attn(x_BTD, x_BTD, x_BTD, attn_mask=causal)[0])
    return layer.multihead_attn(query_BTD, memory.values_BSM, memory.values_BSM, key_padding_mask=~MASK_BS)[1]


@pytest.mark.parametrize(("activation", "gate"), (("glu", torch.sigmoid), ("geglu", F.gelu), ("swiglu", F.silu)))
def test_gated_networks_by_their_equation(activation: str, gate: Any) -> None:
    feed, x_BTD = encoder(activation=activation).stack.layers[0].feed, embedded(3)
    w, v, out = ((part.weight, part.bias) for part in (feed.enter, feed.gate, feed.leave))
    want = (gate(x_BTD @ w[0].T + w[1]) * (x_BTD @ v[0].T + v[1])) @ out[0].T + out[1]
    torch.testing.assert_close(feed(x_BTD), want)


def test_shared_layers_are_one_layer_applied_again() -> None:
    made, x_BSD = encoder(layers=3, shared=True, norm="post"), embedded(4)
    assert len(made.stack.layers) == 1
    memory = made(x_BSD, MASK_BS)
    (layer,) = torchs(made.stack, nn.TransformerEncoderLayer, "post", "relu")
    for _ in range(3):
        x_BSD = layer(x_BSD, src_key_padding_mask=~MASK_BS)
    torch.testing.assert_close(memory.values_BSM, x_BSD * MASK_BS.unsqueeze(-1))


def test_rotated_attention_by_its_equation() -> None:
    """One layer, its self-attention alone: queries and keys turned by their place, values as they are."""
    made, x_BSD = encoder(positions="rotary", layers=1), embedded(4)
    layer, place = made.stack.layers[0], torch.arange(4, dtype=torch.double)
    normed = layer.around_own.norm(x_BSD)
    read = []
    for head in range(HEADS):
        own = slice(head * 4, head * 4 + 4)
        query, key, value = (normed @ part.weight[own].T for part in (layer.own.query, layer.own.key, layer.own.value))
        angle = torch.stack([place, place / 100], -1)
        query, key = (
            torch.view_as_complex(part.unflatten(-1, (2, 2)).contiguous()) * torch.polar(torch.ones_like(angle), angle)
            for part in (query, key)
        )
        scores = (query @ key.conj().mT).real / 2
        read.append(scores.masked_fill(~MASK_BS.unsqueeze(1), -torch.inf).softmax(-1) @ value)
    want = x_BSD + torch.cat(read, -1) @ layer.own.merge.weight.T
    want = made.stack.norm(want + layer.feed(layer.around_feed.norm(want))) * MASK_BS.unsqueeze(-1)
    torch.testing.assert_close(made(x_BSD, MASK_BS).values_BSM, want)


def test_attention_across_turns_both_sides_by_its_equation() -> None:
    """One layer: queries to the memory turned by the place in the target, its keys by the place in the source, in pieces too."""
    read = encoder("none")
    made, source, target = (
        decoder(read, positions={"kind": "rotary", "across": True}, layers=1),
        embedded(4),
        embedded(3) + 1,
    )
    memory = read(source, MASK_BS)
    layer, state = made.stack.layers[0], made.start(memory)
    place_T1, place_S1 = (torch.arange(steps, dtype=torch.double).unsqueeze(1) for steps in (3, 4))
    sight = onward(made.stack.positions, target, 0)
    normed = layer.around_cross.norm(layer.look(target, 0, sight, (state[0][0],))[0])
    want = torch.zeros(2, 3, 4, dtype=torch.double)
    for head in range(HEADS):
        own = slice(head * 4, head * 4 + 4)
        query, key = normed @ layer.cross.query.weight[own].T, source @ layer.cross.key.weight[own].T
        sides = []
        for part, place in ((query, place_T1), (key, place_S1)):
            angle = torch.cat([place, place / 100], 1)
            sides.append(torch.view_as_complex(part.unflatten(-1, (2, 2))) * torch.polar(torch.ones_like(angle), angle))
        scores = (sides[0] @ sides[1].conj().mT).real / 2
        want += scores.masked_fill(~MASK_BS.unsqueeze(1), -torch.inf).softmax(-1) / HEADS
    torch.testing.assert_close(made.advance(target, *state)[0].weights_BTS, want)
    said, heard = [], state[0]
    for step in target.split(1, 1):
        readout, heard = made.advance(step, heard, state[1])
        said.append(readout.weights_BTS)
    torch.testing.assert_close(torch.cat(said, 1), want)
    plain = decoder(read, positions="rotary", layers=1)
    backwards = [
        part.advance(target[:1], *part.start(read(source[:1].flip(1), MASK_BS[:1])))[0] for part in (plain, made)
    ]
    forwards = [part.advance(target[:1], *part.start(read(source[:1], MASK_BS[:1])))[0] for part in (plain, made)]
    assert [torch.allclose(a.features_BTR, b.features_BTR) for a, b in zip(forwards, backwards, strict=True)] == [
        True,
        False,
    ]


@pytest.mark.parametrize("prompt", ("visible", "causal"))
def test_a_prefix_transformer_is_one_network_over_source_and_target(prompt: str) -> None:
    """Sentence by sentence: torch's encoder layers over ``source + target``, under the mask of the prompt."""
    read = encoder("none")
    made, source, target = decoder(read, "transformer_prefix", prompt=prompt), embedded(4), embedded(3) + 1
    said = made.advance(target, *made.start(read(source, MASK_BS)))[0].features_BTR
    for row, length in enumerate((4, 2)):
        x_1TD = torch.cat([source[row, :length], target[row]]).unsqueeze(0)
        hidden = torch.ones(length + 3, length + 3, dtype=torch.bool).triu(1)
        if prompt == "visible":
            hidden[:length, :length] = False
        for layer in torchs(made.stack, nn.TransformerEncoderLayer, "pre", "relu"):
            x_1TD = layer(x_1TD, src_mask=hidden)
        torch.testing.assert_close(said[row], made.stack.norm(x_1TD)[0, length:])


@pytest.mark.parametrize("kind", ("sinusoidal", "rotary", "alibi", "relative"))
def test_a_target_goes_on_counting_after_its_own_source(kind: str) -> None:
    """A visible prompt and a causal one agree on one source word; so does a source cut into prompt and target."""
    read = encoder("none")
    made, words = decoder(read, "transformer_prefix", prompt="causal", positions=kind), embedded(6)
    said = []
    for cut in (1, 2, 4):
        memory = read(words[:, :cut], torch.ones(2, cut, dtype=torch.bool))
        said.append(made.advance(words[:, cut:], *made.start(memory))[0].features_BTR[:, -2:])
    torch.testing.assert_close(said[1], said[0])
    torch.testing.assert_close(said[2], said[0])


def test_word_vectors_are_mapped_and_scaled() -> None:
    narrow = Encoder.kinds["transformer"].Config.model_validate(SETTINGS | {"scale": True}).build(embedded=3)
    x_BSE = torch.randn(2, 4, 3)
    want = x_BSE @ narrow.stack.project.weight.T * 8**0.5
    torch.testing.assert_close(narrow.stack.enter(x_BSE, torch.arange(4).unsqueeze(0)), want)


def test_order_is_heard_through_positions_or_the_mask() -> None:
    none, read, rotary = encoder("none"), encoder(), encoder(positions="rotary")
    assert (none.hears_order, read.hears_order, rotary.hears_order) == (False, False, True)
    assert not decoder(read, positions="rotary").hears_order and decoder(rotary).hears_order
    assert not decoder(none, "transformer_prefix").hears_order
    assert decoder(none, "transformer_prefix", prompt="causal").hears_order
    assert decoder(none, "transformer_prefix", positions="rotary").hears_order
    assert decoder(none, positions={"kind": "rotary", "across": True}).hears_order


def test_what_cannot_be_built_says_why() -> None:
    for settings, reason in (
        ({"heads": 3}, "3 heads cannot share a width of 8"),
        ({"layers": 1, "shared": True}, "no other to share parameters with"),
    ):
        with pytest.raises(Incompatible, match=reason):
            encoder(**settings)
    across = {"kind": "rotary", "across": True}
    for build in (
        lambda: encoder(positions=across),
        lambda: decoder(encoder("none"), "transformer_prefix", positions=across),
    ):
        with pytest.raises(Incompatible, match=r"positions\.across turns attention to a source"):
            build()
    with pytest.raises(Incompatible, match="a causal prompt is a visible one"):
        decoder(encoder("none"), "transformer_prefix", layers=1, prompt="causal")
    with pytest.raises(Incompatible, match="width 4 and a word vector 8"):
        decoder(encoder(width=4), "transformer_prefix")


@pytest.mark.parametrize("most", (0, 2**25))
def test_attention_through_onednn_says_the_same_without_the_fused_kernel(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its many small products are ten times slower there; only where weights would need much memory it is kept."""
    read, fused = encoder(positions="sinusoidal"), F.scaled_dot_product_attention
    made, source, target, calls = decoder(read, layers=2), embedded(4), embedded(3) + 1, []
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *parts: calls.append(1) or fused(*parts))
    monkeypatch.setattr(transformer_layers, "MOST_WEIGHTS", most)

    def learned() -> list[torch.Tensor]:
        readout, _ = made.advance(target, *made.start(read(source, MASK_BS)))
        both = [*read.parameters(), *made.parameters()]
        return [readout.features_BTR, *torch.autograd.grad((readout.features_BTR**2).sum(), both, allow_unused=True)]

    want, plain = learned(), len(calls)
    monkeypatch.setattr(transformer_layers, "through_onednn", lambda: True)
    torch.testing.assert_close(learned(), want)
    assert plain == 5 and len(calls) == (plain if most else 2 * plain)
