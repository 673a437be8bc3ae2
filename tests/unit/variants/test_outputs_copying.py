"""The pointer-generator against a loop over its formula, and on words that only copying can say."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from harness.contracts import BOS, EOS, PAD, SPECIALS, Embeddings, Memory, Output, Readout, Search, Source, Words
from harness.core.spec import read
from harness.trial import copying
from harness.trial.model import ModelChoice, Seq2Seq
from harness.trial.vocabulary import learn
from variants.tokenizers import Words as WordTokenizer


def test_a_pointer_generator_mixes_two_distributions() -> None:
    torch.manual_seed(0)
    embeddings = Embeddings.kinds["separate"].Config(width=5).build(words=Words(9, 6))
    output = Output.kinds["pointer_generator"].Config().build(readout=3, embeddings=embeddings).double()
    said = Readout(torch.randn(2, 4, 3).double(), torch.rand(2, 4, 5).double().softmax(-1))
    copies_BS = torch.tensor([[4, 7, 4, 9, 2], [3, 6, 6, 2, 0]])  # words of six; from 6 on they are the source's alone
    mask_BS = torch.ones(2, 5, dtype=torch.bool)
    got = output.logp(said, Source(Memory(torch.zeros(2, 5, 1), mask_BS, ()), (), (), copies_BS)).exp().detach().numpy()
    assert got.shape == (2, 4, 11)
    for row in range(2):
        for step in range(4):
            r, a = said.features_BTR[row, step], said.weights_BTS[row, step].numpy()
            gate = torch.sigmoid(output.gate(r)).item()
            want = np.zeros(11)
            want[:6] = gate * output.project(r).softmax(0).detach().numpy()
            for s, word in enumerate(copies_BS[row].tolist()):
                want[word] += (1 - gate) * a[s]
            np.testing.assert_allclose(got[row, step], want, atol=1e-12)
            assert got[row, step].sum() == pytest.approx(1)


def test_a_pointer_generator_takes_weights_of_another_precision() -> None:
    embeddings = Embeddings.kinds["separate"].Config(width=5).build(words=Words(9, 6))
    output = Output.kinds["pointer_generator"].Config().build(readout=3, embeddings=embeddings)
    features, weights, copies = torch.randn(4, 3), torch.full((4, 2), 0.5), torch.tensor([[4, 7]] * 4)
    want = output.mixed(features, weights, copies)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = output.mixed(features, weights.bfloat16(), copies)
    torch.testing.assert_close(got.exp(), want.exp(), rtol=0.05, atol=0.01)


# ------------------------------------------------------------------------------------------------ held-out words

KNOWN = [f"k{i}" for i in range(8)]


def sentence(rng: random.Random, names: str) -> list[str]:
    """Four words in a row, of which half are names that no vocabulary holds."""
    return [rng.choice(KNOWN) if rng.random() < 0.5 else f"{names}{rng.randrange(500)}" for _ in range(4)]


def trained(output: str, texts: list[str], sides: Any, updates: int) -> Seq2Seq:
    """Train a small model with attention to copy its source."""
    plain = {
        "embeddings": {"kind": "separate", "width": 24},
        "encoder": {"kind": "rnn", "cell": {"kind": "gru", "hidden": 24}, "bidirectional": True},
        "decoder": {
            "kind": "rnn",
            "cell": {"kind": "gru", "hidden": 48},
            "bridge": "zero",
            "context": {"kind": "coverage", "width": 24},
        },
        "output": output,
    }
    torch.manual_seed(0)
    source, target = sides
    words = Words(source.size, target.size, False, lambda: (source.tokens(), target.tokens()))
    model = Seq2Seq(read(ModelChoice, plain), words).train()
    adam, rng = torch.optim.Adam(model.parameters(), lr=0.01), random.Random(0)
    for _ in range(updates):
        source_BS, target_BT = encoded(rng.sample(texts, 32), sides, model.output.copies)
        inputs_BT = torch.cat([torch.full((32, 1), BOS), target_BT[:, :-1]], 1)
        state, view = model.read(source_BS)
        loss = model.output.nll(model.follow(state, view, inputs_BT), view, target_BT, target_BT != PAD).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model.eval()


def encoded(texts: list[str], sides: Any, copies: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sources and targets, the same words, all of one length."""
    heard, spoken = copying.sources(*sides, texts) if copies else sides[0].encode(texts), sides[1].encode(texts)
    if copies:
        for ids, text in zip(spoken, texts, strict=True):
            for place, number in copying.changes(*sides, text, text)[1]:
                ids[place] = number
    return tuple(torch.tensor([[*ids, EOS] for ids in side]) for side in (heard, spoken))  # type: ignore[return-value]


@pytest.mark.slow
def test_held_out_words_are_copied_by_the_pointer_and_by_nothing_else() -> None:
    """More than nine in ten of the words that were in no training sentence, against none."""
    rng = random.Random(1)
    tokenizer: Any = read(WordTokenizer.Config, {})
    sides = learn(tokenizer, tokenizer, False, [" ".join(KNOWN)], [" ".join(KNOWN)])
    assert sides[0].size == len(KNOWN) + len(SPECIALS)
    train = [" ".join(sentence(rng, "train")) for _ in range(500)]
    test = [" ".join(sentence(rng, "test")) for _ in range(100)]
    shares = {}
    for output in ("pointer_generator", "linear"):
        model = trained(output, train, sides, 300)
        source_BS, _ = encoded(test, sides, model.output.copies)
        found = Search.kinds["greedy"].Config().build().find(model, source_BS, 8).tokens_BT.tolist()
        right = total = 0
        for ids, text in zip(found, test, strict=True):
            want = text.split()
            said = sides[1].decode([word for word in ids if word not in (PAD, EOS)], want).split()
            names = [place for place, word in enumerate(want) if word.startswith("test")]
            total += len(names)
            right += sum(said[place : place + 1] == want[place : place + 1] for place in names)
        shares[output] = right / total
    assert shares["pointer_generator"] > 0.9 and shares["linear"] < 0.1, shares
