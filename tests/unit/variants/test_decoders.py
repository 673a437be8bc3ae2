"""The recurrent decoder against its equations, written out step by step with torch's own cell."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from harness.contracts import Decoder, Encoder, Memory
from harness.core.spec import Incompatible

GRID = list(itertools.product(("input", "readout", "both"), (False, True), ("direct", "tanh"), ("concat", "add")))
IDS = ["-".join(map(str, point)) for point in GRID]


def parts(place: str, feed: bool, readout: str, merge: str, layers: int = 1, sees: str = "state") -> tuple[Any, Memory]:
    torch.manual_seed(0)
    encoder = Encoder.kinds["rnn"].Config.model_validate({"cell": {"kind": "gru", "hidden": 5}}).build(embedded=2)
    config = Decoder.kinds["rnn"].Config.model_validate(
        {
            "cell": {"kind": "gru", "hidden": 4, "layers": layers},
            "bridge": "linear",
            "context": {"kind": "attention", "score": "general", "place": place, "merge": merge},
            "feed": feed,
            "readout": readout,
            "readout_sees": sees,
        }
    )
    decoder = config.build(embedded=3, encoder=encoder).double()
    values_BSM = torch.randn(2, 4, 5, dtype=torch.double)
    mask_BS = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    return decoder, Memory(values_BSM, mask_BS, (torch.randn(2, 1, 5, dtype=torch.double),))


def by_equations(decoder: Any, memory: Memory, words: torch.Tensor, feed: bool, merge: str) -> torch.Tensor:
    """Bahdanau et al. 2015 and Luong et al. 2015, one step after the other."""
    place, cell = decoder.context.place, nn.GRUCell(decoder.cell.entering, 4).double()
    cell.load_state_dict({name[:-3]: value for name, value in decoder.cell.fused.state_dict().items()})

    def attend(state: torch.Tensor) -> torch.Tensor:
        scores = torch.einsum("bh,hm,bsm->bs", state, decoder.context.score.memory.weight, memory.values_BSM)
        weights = scores.masked_fill(~memory.mask_BS, -torch.inf).softmax(-1)
        return torch.einsum("bs,bsm->bm", weights, memory.values_BSM)

    def merged(x: torch.Tensor, context: torch.Tensor, join: Any) -> torch.Tensor:
        return torch.cat([x, context], -1) if merge == "concat" else x + context @ join.project.weight.T

    state = decoder.bridge(memory)[0][:, 0]
    fed, spoken = torch.zeros(2, decoder.width, dtype=torch.double), []
    for word in words.unbind(1):
        if place != "readout":
            context = attend(state)
            word = merged(word, context, decoder.enter)
        state = cell(torch.cat([word, fed], -1) if feed else word, state)
        if place == "readout":
            context = attend(state)
        said = merged(state, context, decoder.leave) if place != "input" else state
        if isinstance(decoder.readout, nn.Sequential):
            said = torch.tanh(said @ decoder.readout[0].weight.T)
        spoken.append(said)
        fed = said
    return torch.stack(spoken, 1)


@pytest.mark.parametrize(("place", "feed", "readout", "merge"), GRID, ids=IDS)
def test_the_decoder_follows_its_equations(place: str, feed: bool, readout: str, merge: str) -> None:
    decoder, memory = parts(place, feed, readout, merge)
    words = torch.randn(2, 5, 3, dtype=torch.double)
    said = decoder.advance(words, *decoder.start(memory))[0].features_BTR
    torch.testing.assert_close(said, by_equations(decoder, memory, words, feed, merge))
    assert said.shape[-1] == decoder.width


def test_the_readout_sees_the_last_word_where_it_should() -> None:
    """Beside state and context: ``tanh(W [h; c; y])``."""
    decoder, memory = parts("readout", False, "tanh", "concat", sees="word")
    words = torch.randn(2, 5, 3, dtype=torch.double)
    state, source = decoder.start(memory)
    output_BTH, _ = decoder.cell(words, state[0])
    context_BTC = decoder.context(output_BTH, source, ())[0]
    seen = torch.cat([output_BTH, context_BTC, words], -1)
    want = torch.tanh(seen @ decoder.readout[0].weight.T)
    torch.testing.assert_close(decoder.advance(words, state, source)[0].features_BTR, want)


def test_a_prefix_decoder_is_one_network_over_source_and_target() -> None:
    torch.manual_seed(0)
    encoder = Encoder.kinds["none"].Config().build(embedded=3)
    cell = {"kind": "gru", "hidden": 4, "layers": 2}
    decoder = Decoder.kinds["prefix"].Config.model_validate({"cell": cell}).build(embedded=3, encoder=encoder)
    source, target = torch.randn(2, 4, 3), torch.randn(2, 5, 3)
    mask_BS = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    said = decoder.advance(target, *decoder.start(encoder(source, mask_BS)))[0].features_BTR
    for row, length in enumerate((4, 2)):
        whole = torch.cat([source[row, :length], target[row]]).unsqueeze(0)
        torch.testing.assert_close(said[row], decoder.cell.fused(whole)[0][0, length:])


def test_a_prefix_of_another_width_is_refused() -> None:
    encoder = Encoder.kinds["rnn"].Config.model_validate({"cell": {"kind": "gru", "hidden": 5}}).build(embedded=3)
    config = Decoder.kinds["prefix"].Config.model_validate({"cell": {"kind": "gru", "hidden": 4}})
    with pytest.raises(Incompatible, match="width 5 and a word vector 3"):
        config.build(embedded=3, encoder=encoder)


def test_the_query_is_the_top_layer() -> None:
    decoder, memory = parts("readout", False, "direct", "concat", layers=2)
    words = torch.randn(2, 1, 3, dtype=torch.double)
    readout, ((state_BLH,), *_) = decoder.advance(words, *decoder.start(memory))
    torch.testing.assert_close(readout.features_BTR[:, 0, :4], state_BLH[:, 1])


@pytest.mark.parametrize("place", ("input", "both"))
def test_at_the_input_the_query_is_the_old_state_of_the_top_layer(place: str) -> None:
    decoder, memory = parts(place, False, "direct", "concat", layers=2)
    state, source = decoder.start(memory)
    weights_BTS = decoder.advance(torch.randn(2, 1, 3, dtype=torch.double), state, source)[0].weights_BTS
    torch.testing.assert_close(weights_BTS, decoder.context(state[0][0][:, 1:], source, ())[1])


@pytest.mark.parametrize(("place", "feed", "walks"), (("readout", False, False), ("readout", True, True)))
def test_time_is_walked_only_where_it_must_be(place: str, feed: bool, walks: bool) -> None:
    assert parts(place, feed, "tanh", "concat")[0].walks == walks
    assert parts("input", feed, "tanh", "concat")[0].walks and parts("both", feed, "tanh", "concat")[0].walks


def test_a_static_context_at_the_input_does_not_walk() -> None:
    decoder, _ = parts("readout", False, "direct", "concat")
    encoder = Encoder.kinds["rnn"].Config.model_validate({"cell": {"kind": "gru", "hidden": 5}}).build(embedded=2)
    for context in ("none", {"kind": "mean", "place": "both"}, {"kind": "final", "place": "input"}):
        config = type(decoder).Config.model_validate({"cell": "gru", "bridge": "copy", "context": context})
        assert not config.build(embedded=3, encoder=encoder).walks
