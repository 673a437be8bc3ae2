"""What a model is asked about the references and about what it said, against slow ways to ask the same."""

from __future__ import annotations

import sys
from typing import Any

import choices
import pytest
import torch
from test_shape_suffixes import Spy
from torch import Tensor

from harness.contracts import BOS, EOS, PAD, Search, sayable
from harness.core.spec import read
from harness.trial import decode, decoded
from harness.trial.decode import GRID, examine, hypotheses
from harness.trial.decoded import Hypothesis
from harness.trial.decoding_choice import DecodingChoice
from harness.trial.overheard import Overheard
from harness.trial.pairs import Pairs
from harness.trial.vocabulary import learn
from variants.tokenizers import Words

SCORE = {"kind": "additive", "width": 4}
CONTEXTS: dict[str, Any] = {
    "none": {"kind": "none"},
    "before": {"kind": "attention", "score": SCORE, "mask": True, "place": "input", "merge": "concat"},
    "after": {"kind": "attention", "score": SCORE, "mask": True, "place": "readout", "merge": "add"},
    "unmasked": {"kind": "attention", "score": SCORE, "mask": False, "place": "readout", "merge": "concat"},
}
SOURCES = [[3, 4, 5, 6, 7], [8, 9, 3], [5], [4, 4, 4, 8], [10, 9]]
TARGETS = [[3, 4], [8, 9, 3, 11, 12, 4], [], [5, 5, 5], [12]]
PAIRS = Pairs.of(SOURCES, TARGETS)
OWN = [([5, 6], False), ([7, 4, 7, 7], True), ([], False), ([9], True), ([12, 3, 3], False)]
SAID = [Hypothesis("", tokens, -1.0, truncated) for tokens, truncated in OWN]


def model(context: str) -> Any:
    cell = {"kind": "gru", "hidden": 6, "layers": 1, "dropout": 0.0}
    return choices.build(
        {
            "embeddings": {"kind": "separate", "width": 5},
            "encoder": {"kind": "rnn", "cell": cell, "bidirectional": True, "reverse": False, "pack": True},
            "decoder": {
                "kind": "rnn",
                "cell": cell,
                "bridge": {"kind": "linear", "activation": "tanh"},
                "context": CONTEXTS[context],
                "feed": False,
                "readout": "tanh",
                "dropout": 0.0,
            },
            "output": {"kind": "linear"},
        }
    )


def found(built: Any, limit: int = 7) -> list[Hypothesis]:
    class Numbers:
        def decode(self, ids: list[int]) -> str:
            return " ".join(map(str, ids))

        def encode(self, texts: list[str]) -> list[list[int]]:
            return [list(map(int, text.split())) for text in texts]

    return hypotheses(built, Search.kinds["greedy"].Config().build(), PAIRS, limit, 2, Numbers())  # type: ignore[arg-type]


def source(built: Any, row: int) -> Tensor:
    """One source alone, as wide as the split where padding is heard."""
    words = [*SOURCES[row], EOS]
    return torch.tensor([words + [PAD] * (6 - len(words) if built.hears_padding else 0)])


def heard(words: list[int]) -> Tensor:
    return torch.tensor([[BOS, *words]])


def test_what_the_search_learned_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model("none")
    listening = Overheard(made, PAIRS, 2, says_best=True)
    said = found(listening, limit=4)
    enough = [len(one.tokens) + (not one.truncated) > len(words) for one, words in zip(said, TARGETS, strict=True)]
    assert any(enough) and not all(enough), "one was cut before its reference ends"
    read: list[int] = []
    walked: list[int] = []
    asked = type(made).read, type(made).next_logp
    monkeypatch.setattr(type(made), "read", lambda own, ids: (read.append(len(ids)), asked[0](own, ids))[1])
    monkeypatch.setattr(type(made), "next_logp", lambda own, *args: (walked.append(1), asked[1](own, *args))[1])
    examine(made, PAIRS, said, 2, listening)
    missing = [words for words, known in zip(TARGETS, enough, strict=True) if not known]
    assert sum(read) == len(missing), "sources of unfinished walks alone"
    assert len(walked) <= sum(len(words) + 1 for words in missing)
    examine(made, PAIRS, said, 2)
    assert sum(read) == len(missing) + len(SOURCES) and len(walked) > 2 * sum(len(words) + 1 for words in missing)


@pytest.fixture(params=CONTEXTS)
def built(request: pytest.FixtureRequest) -> Any:
    return model(request.param)


def test_names_of_tensors_tell_their_shapes(built: Any) -> None:
    spy = Spy()
    sys.setprofile(spy)
    try:
        examine(built, PAIRS, SAID, 2)
    finally:
        sys.setprofile(None)
    assert not spy.found
    assert {"decode.py:examine", "walks.py:on_its_own"} <= spy.seen


def test_batching_changes_nothing(built: Any) -> None:
    alone, together = (examine(built, PAIRS, SAID, size) for size in (1, 5))
    assert alone.oracle == together.oracle
    torch.testing.assert_close(alone.nll_N2, together.nll_N2)
    torch.testing.assert_close(alone.free_nll_N2, together.free_nll_N2)
    assert alone.attention.keys() == together.attention.keys()
    for name in alone.attention:
        torch.testing.assert_close(alone.attention[name], together.attention[name])


def test_nll_of_the_references_forced_and_free(built: Any) -> None:
    made = examine(built, PAIRS, SAID, 3)
    for row, words in enumerate(TARGETS):
        targets_T = torch.tensor([*words, EOS])
        for got, gold in ((made.nll_N2, None), (made.free_nll_N2, torch.zeros(1, len(words) + 1, dtype=torch.bool))):
            state, seen = built.read(source(built, row))
            readout = built.follow(state, seen, heard(words), gold)
            torch.testing.assert_close(got[row, 0], built.output.nll(readout, seen, targets_T.unsqueeze(0)).sum())
            assert got[row, 1] == len(words) + 1


def test_oracle_words_are_greedy_without_eos_as_long_as_the_reference(built: Any) -> None:
    made = examine(built, PAIRS, SAID, 3)
    for row, words in enumerate(TARGETS):
        own: list[int] = []
        for _ in words:
            state, seen = built.read(source(built, row))
            logp_V = sayable(built.next_logp(built.follow(state, seen, heard(own)), seen))[0]
            logp_V[EOS] = -torch.inf
            own.append(int(logp_V.argmax()))
        assert made.oracle[row] == own


def test_the_length_changes_what_is_said_only_where_it_ends(built: Any) -> None:
    said_by_search = found(built)
    assert any(said.tokens for said in said_by_search)
    for said, oracle, words in zip(said_by_search, examine(built, PAIRS, SAID, 3).oracle, TARGETS, strict=True):
        shared = min(len(said.tokens), len(words))
        assert oracle[:shared] == said.tokens[:shared]


def test_attention_of_examples_is_that_on_the_own_hypothesis(built: Any) -> None:
    made = examine(built, PAIRS, SAID, 2).attention
    assert bool(made) == (built.decoder.context.width > 0)
    for row in range(len(SOURCES)) if made else []:
        tokens, truncated = OWN[row]
        steps = len(tokens) + (not truncated)
        weights_TS = built(source(built, row), heard(tokens)).weights_BTS[0, :steps, : len(SOURCES[row]) + 1]
        torch.testing.assert_close(made[f"example_{row}"].double(), weights_TS, rtol=1e-5, atol=1e-6)


def test_rows_of_the_mean_are_probabilities_where_padding_is_masked(built: Any) -> None:
    mean_GG = examine(built, PAIRS, SAID, 2).attention.get("mean")
    if mean_GG is not None:
        assert mean_GG.shape == (GRID, GRID) and bool((mean_GG >= 0).all())
        if built.hears_padding:
            assert bool((mean_GG.sum(1) < 1).all())
        else:
            torch.testing.assert_close(mean_GG.sum(1), torch.ones(GRID, dtype=torch.float64))


def grid(weights: list[list[float]], steps: int, sources: int) -> Tensor:
    made = decode._maps(torch.tensor([weights]), torch.tensor([99]), torch.tensor([steps]), torch.tensor([sources]))
    assert set(made) == {"mean"}, "only the first sentences are examples"
    return made["mean"]


def test_the_grid_by_hand() -> None:
    # Two steps: the first looks at the second of three words, the second half at the first and half at the third.
    made = grid([[0, 1, 0], [0.5, 0, 0.5]], 2, 3)
    quarter = GRID // 3
    upper = [0.0] * quarter + [1 / quarter] * quarter + [0.0] * quarter
    lower = [0.5 / quarter] * quarter + [0.0] * quarter + [0.5 / quarter] * quarter
    torch.testing.assert_close(made, torch.tensor([upper] * 6 + [lower] * 6, dtype=torch.float64))


def test_padding_does_not_reach_the_grid() -> None:
    torch.testing.assert_close(grid([[0, 1], [1, 0]], 2, 2), grid([[0, 1, 0], [1, 0, 0], [0, 0.5, 0.5]], 2, 2))


def test_more_steps_than_cells() -> None:
    steps = 5 * GRID
    torch.testing.assert_close(grid(torch.eye(steps).tolist(), steps, steps), torch.eye(GRID, dtype=torch.float64))


def test_what_is_written_is_read(tmp_path: Any) -> None:
    words = read(Words.Config, {})
    texts = ["a b c d e f g h i"]
    vocabulary, _ = learn(words, words, False, texts, texts)
    choice = read(DecodingChoice, {"search": "greedy", "limit": 7, "batch_size": 2})
    for context in ("none", "after"):
        folder = tmp_path / context
        folder.mkdir()
        facts = decode.decode(
            model(context).float(), choice, PAIRS, vocabulary, vocabulary, folder, torch.device("cpu"), []
        )
        written = decoded.load(folder)
        assert len(written.hypotheses) == len(written.oracle) == len(SOURCES)
        assert [len(text.split()) for text in written.oracle] == [len(target) for target in TARGETS]
        assert facts["truncated"] == sum(h.truncated for h in written.hypotheses)
        attention = decoded.load_attention(folder)
        assert (attention is None) == (context == "none")
        for (labels, said, weights_TS), ids in zip(attention[1] if attention else [], SOURCES, strict=False):
            assert labels == [vocabulary.token(number) for number in [*ids, EOS]]
            assert weights_TS.shape == (len(said), len(labels))
