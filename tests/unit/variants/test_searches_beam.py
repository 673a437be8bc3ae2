"""Beam search with penalties, blocked repetition, groups and constraints: by hand, and against all sequences there are."""

from __future__ import annotations

import itertools
import math
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.contracts import BOS, EOS, PAD, UNK, Search
from harness.core.spec import Incompatible, SpecError, read
from harness.trial.model import Seq2Seq
from unit.variants.test_searches import LONG, TRAP, A, B, Tree, find, tiny, words

LIMIT = 4
SOURCE_BS = torch.tensor([[4, 5, 6], [6, 4, 0], [7, 0, 0]])
IDS = {"?": UNK, "a": UNK + 1, "b": UNK + 2}


class WithUnknown(Tree):
    """The same trees over six words: UNK stands where A stood, and A and B come after it."""

    @staticmethod
    def odds(tree: dict[str, dict[int, float]], prefix: list[int]) -> list[float]:
        old = Tree.odds(tree, [word - (word > UNK) for word in prefix])
        return [*old[:UNK], log(1e-12), *old[UNK:]]


def constrained(**settings: Any) -> Search:
    made: Search = read(Search.kinds["constrained"].Config, settings).build()
    made.prepare(lambda texts: [[IDS[letter] for letter in text] for text in texts])
    return made


def said(search: Search, *trees: Any, limit: int = LIMIT) -> list[str]:
    found = search.find(WithUnknown(*trees), torch.arange(len(trees)).unsqueeze(1), limit)
    return words(found._replace(tokens_BT=found.tokens_BT - (found.tokens_BT > UNK).long()))


@pytest.mark.parametrize(
    ("penalty", "below", "above"),
    (
        # LONG: one word has 0.4, three words have 0.384. Of equal rank where log .4 = log .384 / 3^alpha: 0.0397,
        # and where log .4 + alpha = log .384 + 3 alpha: 0.0204.
        ("average", 0.038, 0.042),
        ("reward", 0.019, 0.022),
    ),
)
def test_length_is_paid_for_by_each_formula(penalty: str, below: float, above: float) -> None:
    assert words(find("beam", LONG, width=2, penalty=penalty, length_penalty=below)) == ["$"]
    assert words(find("beam", LONG, width=2, penalty=penalty, length_penalty=above)) == ["AA$"]


def ways(settings: dict[str, Any]) -> list[list[int]]:
    """All sequences that end within the limit and that the settings allow."""
    bodies = (list(body) for size in range(LIMIT) for body in itertools.product((UNK, 4), repeat=size))
    size, least = settings.get("no_repeat", 0), settings.get("min_length", 0)
    allowed = []
    for body in bodies:
        spans = [tuple(body[i : i + size]) for i in range(len(body) - size + 1)] if size else []
        if len(set(spans)) == len(spans) and len(body) >= least:
            allowed.append([*body, EOS])
    return allowed


def ranked(model: Seq2Seq, source_BS: torch.Tensor, way: list[int], settings: dict[str, Any]) -> tuple[float, float]:
    """The rank of a sequence by its definition, and its log-probability."""
    state, source = model.read(source_BS)
    readout = model.follow(state, source, torch.tensor([[BOS, *way[:-1]]]))
    score = -model.output.nll(readout, source, torch.tensor([way])).sum().item()
    alpha, length = settings.get("length_penalty", 0.0), len(way)
    by = {
        "gnmt": score / ((5 + length) / 6) ** alpha,
        "average": score / length**alpha,
        "reward": score + alpha * length,
    }
    attended = readout.weights_BTS[0].sum(0)[source_BS[0] != PAD]
    coverage = sum(math.log(min(mass, 1.0)) for mass in attended.tolist())
    return by[settings.get("penalty", "gnmt")] + settings.get("coverage_penalty", 0.0) * coverage, score


@pytest.mark.parametrize(
    "settings",
    (
        {"penalty": "average", "length_penalty": 1.0},
        {"penalty": "average", "length_penalty": 3.0},
        {"penalty": "reward", "length_penalty": 1.5},
        {"coverage_penalty": 0.5},
        {"coverage_penalty": 4.0, "length_penalty": 1.0},
        {"no_repeat": 1},
        {"no_repeat": 2, "length_penalty": 3.0},
        {"min_length": 1},
        {"min_length": 3},
        {"min_length": 2, "no_repeat": 2, "penalty": "reward", "length_penalty": 1.0},
    ),
    ids=str,
)
def test_a_wide_beam_finds_the_best_of_all_sequences(settings: dict[str, Any]) -> None:
    for seed in range(4):
        model = tiny(seed)
        found = read(Search.kinds["beam"].Config, {"width": 40, **settings}).build().find(model, SOURCE_BS, LIMIT)
        for row in range(len(SOURCE_BS)):
            scored = {tuple(way): ranked(model, SOURCE_BS[row : row + 1], way, settings) for way in ways(settings)}
            best = max(scored, key=scored.__getitem__)
            assert tuple(word for word in found.tokens_BT[row].tolist() if word != PAD) == best
            assert found.score_B[row].item() == pytest.approx(scored[best][1])


def test_where_nothing_else_may_follow_a_short_hypothesis_ends() -> None:
    # PAD and BOS are never said, so that only A, B and EOS are left: after both words nothing new is.
    assert words(find("beam", {"": {A: 0.9}, "A": {B: 0.9}}, limit=6, width=2, no_repeat=1, min_length=5)) == ["AB$"]


def test_a_sequence_is_blocked_just_when_it_would_come_again() -> None:
    endless = {"": {A: 0.9}, "A": {A: 0.9}, "AA": {A: 0.9}, "AAA": {A: 0.9}, "AAAA": {A: 0.9}}
    for size in (1, 2, 3):
        longest = "A" * size  # one more A would say the last `size` words twice
        assert words(find("beam", endless, limit=6, width=1, no_repeat=size))[0].startswith(longest)
        assert not words(find("beam", endless, limit=6, width=1, no_repeat=size))[0].startswith(longest + "A")


def test_groups_pay_for_words_of_earlier_groups() -> None:
    # Two groups of one: the second leaves A (0.5) for B (0.4) where a word's use costs more than log(.5 / .4) = 0.223.
    assert words(find("beam", TRAP, width=2, groups=2, diversity=0.2)) == ["A$"]
    found = find("beam", TRAP, width=2, groups=2, diversity=0.25)
    assert words(found) == ["B$"] and found.score_B.tolist() == pytest.approx([log(0.4 * 0.9)], abs=1e-5)


def test_groups_share_a_width() -> None:
    with pytest.raises(SpecError, match="5 cannot be divided into 2 groups"):
        read(Search.kinds["beam"].Config, {"width": 5, "groups": 2})


def test_coverage_needs_attention() -> None:
    class Model:
        class decoder:
            weighs = False

    read(Search.kinds["beam"].Config, {}).build().check(Model)
    with pytest.raises(Incompatible, match="attention"):
        read(Search.kinds["beam"].Config, {"coverage_penalty": 0.1}).build().check(Model)


def test_only_outputs_are_said_and_keep_their_score() -> None:
    assert said(constrained(outputs=("aa", "b")), TRAP, LONG) == ["B$", "AA$"]
    score_B = constrained(outputs=("a", "ab")).find(WithUnknown(TRAP), torch.tensor([[0]]), LIMIT).score_B
    assert said(constrained(outputs=("a", "ab")), TRAP) == ["A$"]
    assert score_B.tolist() == pytest.approx([log(0.5 * 0.4)], abs=1e-5), "not renormalized"
    assert said(constrained(outputs=("aaa",)), TRAP, limit=2) == ["AA"], "cut at the limit"


def test_what_must_be_said_goes_before_what_may_not() -> None:
    assert said(constrained(outputs=("bb",), no_repeat=1, min_length=3), TRAP) == ["BB$"]


def test_a_prefix_is_said_first_and_the_rest_is_free() -> None:
    assert said(constrained(prefix="a", width=2), TRAP, LONG) == ["A$", "AA$"]
    assert said(constrained(prefix="ba"), TRAP) == ["BA$"]


def test_outputs_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("aa\n\nb\n", encoding="utf-8")
    assert said(constrained(file=str(file)), TRAP, LONG) == ["B$", "AA$"]
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(Incompatible, match="holds no outputs"):
        constrained(file=str(file))


def test_outputs_of_unknown_words_and_no_or_two_constraints_are_refused() -> None:
    with pytest.raises(Incompatible, match=r"no words for all of 'a\?'"):
        constrained(outputs=("b", "a?"))
    for settings in ({}, {"prefix": "a", "outputs": ("b",)}):
        with pytest.raises(SpecError, match="name one constraint"):
            constrained(**settings)
