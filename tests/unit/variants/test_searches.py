"""Searches on hand-made trees of probabilities, and against all sequences there are."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from math import log
from typing import Any

import pytest
import torch

from harness.contracts import BOS, EOS, PAD, UNK, Found, Readout, Search, Source, Words, best_words, sayable
from harness.core import fast_paths
from harness.core.spec import read
from harness.trial.model import ModelChoice, Seq2Seq

A, B = 3, 4


class Tree:
    """A model that gives each prefix its own distribution over five words; its state is the prefix itself."""

    def __init__(self, *trees: dict[str, dict[int, float]]) -> None:
        self.trees = trees

    def next_logp(self, readout: Readout, source: Source) -> torch.Tensor:
        return readout.features_BTR[:, -1]

    def read(self, source_BS: torch.Tensor) -> tuple[Any, Source]:
        return (source_BS[:, :1], source_BS[:, :0]), Source(None, ())  # type: ignore[arg-type]

    def advance(self, heard_BT: torch.Tensor, state: Any, source: Source) -> tuple[Readout, Any]:
        which_B1, past_BT = state
        steps = []
        for word_B1 in heard_BT.split(1, 1):
            past_BT = torch.cat([past_BT, word_B1], 1)
            rows = zip(which_B1[:, 0].tolist(), past_BT.tolist(), strict=True)
            steps.append([self.odds(self.trees[tree], prefix[1:]) for tree, prefix in rows])
        return Readout(torch.tensor(steps).transpose(0, 1), torch.zeros(len(heard_BT), len(steps), 0)), (
            which_B1,
            past_BT,
        )

    @staticmethod
    def odds(tree: dict[str, dict[int, float]], prefix: list[int]) -> list[float]:
        given = tree.get("".join("..$AB"[word] for word in prefix), {EOS: 1.0})
        rest = (1 - sum(given.values())) / 5
        return [log(given.get(word, 0.0) + rest + 1e-12) for word in range(5)]


# Greedy takes A (0.5) and then at best 0.5 * 0.4; the better way begins with B: 0.4 * 0.9.
TRAP = {"": {A: 0.5, B: 0.4, EOS: 0.1}, "A": {A: 0.35, B: 0.25, EOS: 0.4}, "B": {EOS: 0.9, A: 0.1}}
# EOS alone has 0.3 and leaves the beam of two at once, though both rivals look better and end up worse.
PATIENCE = {"": {A: 0.36, B: 0.34, EOS: 0.3}, "A": {A: 0.5, B: 0.5}, "B": {A: 0.5, B: 0.5}}
# One word has 0.4; three words have 0.6 * 0.8 * 0.8 = 0.384: longer wins only if length is paid for.
LONG = {"": {EOS: 0.4, A: 0.6}, "A": {A: 0.8, EOS: 0.2}, "AA": {EOS: 0.8, A: 0.2}}
# Padding and BOS are the most probable, and yet are never said.
SILENT = {"": {PAD: 0.4, BOS: 0.3, A: 0.2, EOS: 0.1}}
# No EOS within four words.
ENDLESS = {"".join(said): {A: 0.6, B: 0.4} for length in range(4) for said in itertools.product("AB", repeat=length)}


def find(kind: str, *trees: Any, limit: int = 4, **settings: Any) -> Found:
    source_BS = torch.arange(len(trees)).unsqueeze(1)
    return Search.kinds[kind].Config(**settings).build().find(Tree(*trees), source_BS, limit)


def words(found: Found) -> list[str]:
    return ["".join("__$AB"[word] for word in row).rstrip("_") for row in found.tokens_BT.tolist()]


def test_greedy_falls_into_the_trap_and_a_beam_does_not() -> None:
    assert words(find("greedy", TRAP)) == ["A$"] and words(find("recompute", TRAP)) == ["A$"]
    found = find("beam", TRAP, width=2)
    assert words(found) == ["B$"]
    assert found.score_B.tolist() == pytest.approx([log(0.4 * 0.9)], abs=1e-5)


def test_a_hypothesis_that_ended_is_not_lost_to_rivals_that_end_up_worse() -> None:
    found = find("beam", PATIENCE, width=3)
    assert words(found) == ["$"] and found.score_B.tolist() == pytest.approx([log(0.3)], abs=1e-5)


def test_length_is_paid_for_by_the_formula() -> None:
    plain = find("beam", LONG, width=2)
    paid = find("beam", LONG, width=2, length_penalty=1.0)
    assert words(plain) == ["$"] and words(paid) == ["AA$"]
    assert paid.score_B.tolist() == pytest.approx([log(0.6 * 0.8 * 0.8)], abs=1e-5)
    # Three words weigh (8 / 6) ** alpha, one word 1: the turning point is log(log .384 / log .4) / log(8 / 6) = 0.152.
    assert words(find("beam", LONG, width=2, length_penalty=0.14)) == ["$"]
    assert words(find("beam", LONG, width=2, length_penalty=0.16)) == ["AA$"]


@pytest.mark.parametrize(
    ("kind", "settings", "few", "all_rows"),
    (
        *(
            (kind, more, [4, 3, 2, 2], 4)
            for kind, more in (("greedy", {}), ("recompute", {}), ("sampling", {"top_k": 1}))
        ),
        # One prefix of each sentence, then two of each that is endless and one of what says A alone.
        ("beam", {"width": 2}, [4, 5, 4, 4], 8),
    ),
)
def test_sentences_that_have_ended_are_no_longer_computed(
    monkeypatch: pytest.MonkeyPatch, kind: str, settings: dict[str, Any], few: list[int], all_rows: int
) -> None:
    rows: list[int] = []
    advance = Tree.advance
    monkeypatch.setattr(Tree, "advance", lambda *args: (rows.append(len(args[1])), advance(*args))[1])
    trees = [ENDLESS, {"": {EOS: 1.0}}, {"": {A: 1.0}, "A": {EOS: 1.0}}, ENDLESS]
    search = Search.kinds[kind].Config(**settings).build()
    for drops, want in ((True, few), (False, [all_rows] * 4)):
        rows.clear()
        with nullcontext() if drops else fast_paths.off():
            found = search.find(Tree(*trees), torch.arange(4).unsqueeze(1), 4)
        assert words(found) == ["AAAA", "$", "A$", "AAAA"]
        assert rows == want


def test_a_few_sentences_that_have_ended_are_computed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    advance = Tree.advance
    monkeypatch.setattr(Tree, "advance", lambda *args: (rows.append(len(args[1])), advance(*args))[1])
    assert words(find("greedy", *[ENDLESS] * 8, {"": {EOS: 1.0}}, limit=3)) == ["AAA"] * 8 + ["$"]
    assert rows == [9, 9, 9]


@pytest.mark.parametrize("size", (5, 20, 300, 2000))
@pytest.mark.parametrize("count", (1, 2, 5, 40))
def test_the_best_words_are_those_of_a_whole_sort(size: int, count: int) -> None:
    logp_NV = torch.randn(7, size, generator=torch.Generator().manual_seed(size)).log_softmax(-1)
    logp_NV[:, :2] = 1.0  # PAD and BOS, never said
    logp_NV[0, 4:] = -torch.inf
    logp_NV[1, -1] = 0.5
    best_NK, word_NK = best_words(logp_NV, count)
    assert torch.equal(best_NK, sayable(logp_NV).topk(min(count, size - 2), 1).values)
    assert torch.equal(best_NK, logp_NV.gather(1, word_NK)) and bool((word_NK > BOS).all())
    assert all(len(set(row)) == len(row) for row in word_NK.tolist())
    assert torch.equal(best_words(logp_NV.round(), 1)[1][:, 0], sayable(logp_NV.round()).argmax(-1)), (
        "the first of equals"
    )


def test_what_nobody_says_is_never_said_but_keeps_its_probability() -> None:
    for kind in ("greedy", "recompute", "beam"):
        found = find(kind, SILENT)
        assert words(found) == ["A$"] and found.score_B.tolist() == pytest.approx([log(0.2)], abs=1e-5)


def test_sentences_of_one_batch_are_searched_each_for_itself() -> None:
    together = find("beam", TRAP, LONG, PATIENCE, SILENT, width=3, length_penalty=1.0)
    alone = [find("beam", tree, width=3, length_penalty=1.0) for tree in (TRAP, LONG, PATIENCE, SILENT)]
    assert words(together) == [words(found)[0] for found in alone]
    assert together.score_B.tolist() == pytest.approx([found.score_B.item() for found in alone])


def test_without_an_end_within_the_limit_the_best_prefix_is_cut() -> None:
    endless = {prefix: {A: 0.6, B: 0.4} for prefix in ("", "A", "B", "AA", "AB", "BA", "BB")}
    for kind, settings in (("greedy", {}), ("recompute", {}), ("beam", {"width": 2})):
        found = find(kind, endless, limit=3, **settings)
        assert words(found) == ["AAA"] and found.score_B.tolist() == pytest.approx([3 * log(0.6)], abs=1e-5)


def test_an_ended_hypothesis_goes_before_a_cut_one() -> None:
    endless = {"": {A: 0.9, EOS: 0.1}} | {prefix: {A: 0.9, B: 0.1} for prefix in ("A", "AA")}
    assert words(find("beam", endless, limit=3, width=2)) == ["$"]
    assert words(find("greedy", endless, limit=3)) == ["AAA"]


def test_nothing_is_said_after_eos() -> None:
    """However well a second EOS is paid: after any prefix that a tree does not name, EOS is certain."""
    for kind, settings in (("greedy", {}), ("recompute", {}), ("beam", {"width": 3, "length_penalty": 2.0})):
        assert words(find(kind, {"": {EOS: 0.9, A: 0.1}}, **settings)) == ["$"]


def test_a_beam_stops_when_nothing_can_win(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    advance = Tree.advance
    monkeypatch.setattr(Tree, "advance", lambda *args: (steps.append(1), advance(*args))[1])
    find("beam", {"": {EOS: 0.9, A: 0.1}}, limit=50, width=3)
    assert len(steps) == 1
    # With a price on length "A..." could still win up to where 50 words would normalize it.
    find("beam", {"": {EOS: 0.9, A: 0.1}}, limit=50, width=3, length_penalty=2.0)
    assert len(steps) > 2


def everything(model: Seq2Seq, source_BS: torch.Tensor, limit: int, alpha: float) -> tuple[list[int], float]:
    """The best of all sequences that end within the limit, by the definition."""
    ways = [[*body, EOS] for size in range(limit) for body in itertools.product((UNK, 4), repeat=size)]
    best = (-float("inf"), [0], 0.0)
    for way in ways:
        state, source = model.read(source_BS)
        readout = model.follow(state, source, torch.tensor([[BOS, *way[:-1]]]))
        score = -model.output.nll(readout, source, torch.tensor([way])).sum().item()
        best = max(best, (score / ((5 + len(way)) / 6) ** alpha, way, score))
    return best[1], best[2]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("alpha", (0.0, 0.7, 3.0))
def test_a_wide_beam_is_exhaustive_search(seed: int, alpha: float) -> None:
    model = tiny(seed)
    source_BS = torch.tensor([[4, 5, 6], [6, 4, 0], [7, 0, 0]])
    found = Search.kinds["beam"].Config(width=40, length_penalty=alpha).build().find(model, source_BS, 4)
    for row in range(3):
        want, score = everything(model, source_BS[row : row + 1], 4, alpha)
        assert [word for word in found.tokens_BT[row].tolist() if word != PAD] == want
        assert found.score_B[row].item() == pytest.approx(score)


def tiny(seed: int) -> Seq2Seq:
    """A model of five target words with numbers large enough to disagree with itself from sentence to sentence."""
    choice = ModelChoice.model_validate(
        {
            "embeddings": {"kind": "separate", "width": 4},
            "encoder": {"kind": "rnn", "cell": {"kind": "gru", "hidden": 4}},
            "decoder": {
                "kind": "rnn",
                "cell": {"kind": "lstm", "hidden": 4},
                "bridge": "copy",
                "context": {"kind": "attention", "score": "dot"},
                "feed": True,
            },
            "output": "linear",
        }
    )
    torch.manual_seed(seed)
    model = Seq2Seq(choice, Words(8, 5)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def test_drifting_shows_the_decoder_its_own_state_as_the_context() -> None:
    """Against the published loop: the context of each step is the top layer of the state before it."""
    cell = {"kind": "gru", "hidden": 4, "layers": 2}
    plain = {
        "embeddings": {"kind": "separate", "width": 3},
        "encoder": {"kind": "rnn", "cell": cell, "bidirectional": False},
        "decoder": {"kind": "rnn", "cell": cell, "bridge": "copy", "context": {"kind": "final", "place": "input"}},
        "output": "linear",
    }
    torch.manual_seed(3)
    model = Seq2Seq(read(ModelChoice, plain), Words(9, 9)).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=1.5)
    source_BS = torch.tensor([[4, 5, 6], [7, 8, 4]])
    found = Search.kinds["drifting"].Config().build().find(model, source_BS, 8)
    said, (state_BLH,) = [], model.encoder(model.embeddings.source(source_BS), source_BS != PAD).final
    word_B = torch.full((2,), BOS)
    for _ in range(found.tokens_BT.shape[1]):
        entering_B1X = torch.cat([model.embeddings.target(word_B), state_BLH[:, -1]], -1).unsqueeze(1)
        output_B1H, (state_BLH,) = model.decoder.cell(entering_B1X, (state_BLH,))
        logits_BV = model.output.project(output_B1H[:, 0])
        logits_BV[:, [PAD, BOS]] = -torch.inf
        word_B = logits_BV.argmax(-1)
        said.append(word_B)
    for row, words in zip(found.tokens_BT.tolist(), torch.stack(said, 1).tolist(), strict=True):
        length = words.index(EOS) + 1 if EOS in words else len(words)
        assert row[:length] == words[:length] and not any(row[length:])
    greedy = Search.kinds["greedy"].Config().build().find(model, source_BS, 8)
    assert found.tokens_BT.tolist() != greedy.tokens_BT.tolist(), "the drift shows in this example"
