"""Convolutional encoder and decoder against their equations, word by word and window by window."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from harness.contracts import Decoder, Encoder, Memory
from harness.core.spec import Incompatible

HALF = sqrt(0.5)
LENGTHS = (4, 2)
MASK_BS = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)


def encoder(**settings: Any) -> Any:
    torch.manual_seed(0)
    plain = {"hidden": 3, "layers": 2, "longest": 9} | settings
    return Encoder.kinds["convolutional"].Config.model_validate(plain).build(embedded=5).double().eval()


def decoder(reader: Any, score: str = "dot", **settings: Any) -> Any:
    torch.manual_seed(1)
    plain = {"hidden": 4, "layers": 2, "score": score, "longest": 9} | settings
    return Decoder.kinds["convolutional"].Config.model_validate(plain).build(embedded=5, encoder=reader).double().eval()


def words(steps: int = 4) -> torch.Tensor:
    return torch.randn(2, steps, 5, dtype=torch.double, generator=torch.Generator().manual_seed(2))


def window(layer: Any, inputs: list[torch.Tensor]) -> torch.Tensor:
    """One step of a gated convolution: a matrix for every place of the window, one half a gate of the other."""
    weight, bias = layer.convolve.weight, layer.convolve.bias
    value, gate = (bias + sum(weight[:, :, i] @ x for i, x in enumerate(inputs))).chunk(2)
    return value * torch.sigmoid(gate)


@pytest.mark.parametrize("kernel", (1, 2, 3, 4))
def test_the_encoder_follows_its_equations_sentence_by_sentence(kernel: int) -> None:
    made, read = encoder(kernel=kernel), words()
    memory = made(read, MASK_BS)
    left, right = kernel // 2, (kernel - 1) // 2
    nothing = torch.zeros(3, dtype=torch.double)
    for row, length in enumerate(LENGTHS):
        entered = [read[row, s] + made.places.table.weight[s] for s in range(length)]
        x = [made.enter(e) for e in entered]
        for layer in made.layers:
            around = [*[nothing] * left, *x, *[nothing] * right]
            x = [HALF * (x[s] + window(layer, around[s : s + kernel])) for s in range(length)]
        values = torch.stack([HALF * (made.leave(h) + e) for h, e in zip(x, entered, strict=True)])
        torch.testing.assert_close(memory.values_BSM[row, :length], values)
        torch.testing.assert_close(memory.final[0][row, 0], values.mean(0))
    assert not bool(memory.values_BSM[~MASK_BS].any())
    assert made.width == 5 and made.shape[:2] == (1, ((5,),))


def test_a_gated_convolution_is_torchs_own() -> None:
    made, read = encoder(layers=1), words()
    layer = made.layers[0]
    x = made.enter(read + made.places.table.weight[:4])
    gated = F.glu(F.conv1d(x.mT, layer.convolve.weight, layer.convolve.bias, padding=1), 1).mT
    want = HALF * (made.leave(HALF * (x + gated)) + read + made.places.table.weight[:4])
    torch.testing.assert_close(made(read, torch.ones_like(MASK_BS)).values_BSM, want)


def by_equations(made: Any, memory: Memory, heard: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gehring et al. 2017, sections 3.2 to 3.5, one sentence, word and layer after the other."""
    said, looked = [], []
    for row, real in enumerate(memory.mask_BS):
        values = memory.values_BSM[row, real]
        g = [word + made.places.table.weight[t] for t, word in enumerate(heard[row])]
        x = [made.enter(word) for word in g]
        for layer in made.layers:
            past = [torch.zeros(4, dtype=torch.double)] * made.kept + x
            after = []
            for t in range(len(x)):
                v = window(layer.gated, past[t : t + made.kept + 1])
                weights = (values @ (HALF * (layer.ask(v) + g[t]))).softmax(0)
                c = len(values) * sqrt(1 / len(values)) * (weights @ values)
                after.append(HALF * (x[t] + HALF * (v + layer.answer(c))))
                looked += [F.pad(weights, (0, len(real) - len(values)))] if layer is made.layers[-1] else []
            x = after
        said.append(torch.stack(x))
    return torch.stack(said), torch.stack(looked).view(len(said), -1, MASK_BS.shape[1])


@pytest.mark.parametrize("kernel", (2, 3))
def test_the_decoder_follows_its_equations(kernel: int) -> None:
    reader, heard = encoder(), words(6)
    made, memory = decoder(reader, kernel=kernel), reader(words(), MASK_BS)
    readout, _ = made.advance(heard, *made.start(memory))
    features, weights = by_equations(made, memory, heard)
    torch.testing.assert_close(readout.features_BTR, features)
    torch.testing.assert_close(readout.weights_BTS, weights)
    assert made.width == 4


def test_the_state_is_the_last_inputs_of_every_layer_and_the_number_of_words() -> None:
    reader = encoder()
    made = decoder(reader, kernel=3)
    state, source = made.start(reader(words(), MASK_BS))
    readout, (heard, caches) = made.advance(words(5), state, source)
    assert heard.tolist() == [5, 5] and [cache.shape for cache in caches] == [(2, 2, 4)] * 2
    first = made.enter(words(5) + made.places.table.weight[:5])
    torch.testing.assert_close(caches[0], first[:, -2:])
    assert readout.features_BTR.shape == (2, 5, 4)


def test_a_word_is_forgotten_after_as_many_as_the_windows_reach() -> None:
    reader = encoder()
    made, memory = decoder(reader, kernel=3), reader(words(), MASK_BS)
    other = words(8)
    other[:, 1] += 1
    changed = [made.advance(heard, *made.start(memory))[0].features_BTR for heard in (words(8), other)]
    same = (changed[0] == changed[1]).all(-1).all(0).tolist()
    assert same == [True, False, False, False, False, False, True, True], "layers * (kernel - 1) = 4 later ones hear it"


def test_a_text_with_more_words_than_places_is_refused_with_what_to_do() -> None:
    reader = encoder(longest=4)
    assert reader(words(), MASK_BS).values_BSM.shape == (2, 4, 5)
    with pytest.raises(ValueError, match=r"a text of 5 tokens .* 4 places .* raise 'longest'"):
        reader(words(5), torch.ones(2, 5, dtype=torch.bool))
    made = decoder(reader, longest=2)
    state, source = made.start(reader(words(), MASK_BS))
    _, state = made.advance(words(2), state, source)
    with pytest.raises(ValueError, match="3 tokens"):
        made.advance(words(1), state, source)


def test_dropout_is_at_convolutions_and_at_the_readout() -> None:
    reader = encoder(dropout=0.5)
    made = decoder(encoder(), dropout=0.5)
    assert not torch.equal(reader.train()(words(), MASK_BS).values_BSM, reader(words(), MASK_BS).values_BSM)
    memory = reader.eval()(words(), MASK_BS)
    readout, _ = made.train().advance(words(6), *made.start(memory))
    assert bool((readout.features_BTR == 0).any())


def test_the_papers_score_needs_a_memory_as_wide_as_a_word() -> None:
    bag = Encoder.kinds["bag"].Config.model_validate({"hidden": 7}).build(embedded=5)
    with pytest.raises(Incompatible):
        decoder(bag)
    assert not decoder(bag, "general").hears_order
