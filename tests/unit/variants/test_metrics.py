"""Metrics beyond the usual ones, by hand and against definitions written out otherwise."""

from __future__ import annotations

import collections
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.registry import SLOTS
from harness.trial.score import ScoringChoice, corpus_scores, record, sentence_statistics

ROOT = Path(__file__).resolve().parents[3]
word = st.sampled_from(["a", "b", "c", "dd"])
sentence = st.lists(word, max_size=7).map(" ".join)
corpus = st.lists(st.tuples(sentence, sentence), min_size=1, max_size=5)


def score(choice: Any, hypotheses: list[str], references: list[list[str]], **known: Any) -> float:
    """Return one metric of a corpus, texts cut at white space."""
    metrics = ScoringChoice(metrics=(choice,)).wanted
    name = choice if isinstance(choice, str) else choice.get("name", choice["kind"])
    known = {"tokenize": "none"} | known
    return corpus_scores(sentence_statistics(record(hypotheses, references, **known), [metrics[name]]))[name]


def d2l(hypothesis: str, reference: str, k: int) -> float:
    """The tutorial's own steps: count down the substrings of the label, multiply powers of precisions."""
    pred, label = hypothesis.split(), reference.split()
    value = math.exp(min(0.0, 1 - len(label) / len(pred)))
    for n in range(1, min(k, len(pred)) + 1):
        matches, left = 0, collections.defaultdict(int)
        for i in range(len(label) - n + 1):
            left[" ".join(label[i : i + n])] += 1
        for i in range(len(pred) - n + 1):
            if left[" ".join(pred[i : i + n])] > 0:
                matches += 1
                left[" ".join(pred[i : i + n])] -= 1
        value *= math.pow(matches / (len(pred) - n + 1), math.pow(0.5, n))
    return value


@settings(max_examples=100, deadline=None)
@given(corpus, st.integers(1, 5))
def test_tutorial_bleu_follows_the_tutorial(pairs: list[tuple[str, str]], k: int) -> None:
    expected = [d2l(h, r, k) if h else 0.0 for h, r in pairs]
    got = score({"kind": "tutorial_bleu", "orders": k}, [h for h, _ in pairs], [[r] for _, r in pairs])
    assert got == pytest.approx(np.mean(expected), abs=1e-12)


def test_tutorial_bleu_by_hand() -> None:
    # p1 = 4/5, p2 = 3/4 of "A B B C D" against "A B C D E F"; the brevity penalty is exp(1 - 6/5).
    expected = math.exp(1 - 6 / 5) * (4 / 5) ** 0.5 * (3 / 4) ** 0.25
    assert score("tutorial_bleu", ["A B B C D"], [["A B C D E F"]]) == pytest.approx(expected)
    assert score("tutorial_bleu", ["a b", ""], [["a b"], ["a"]]) == 0.5, "an empty hypothesis is worth nothing"


@pytest.mark.parametrize("kind", ["word_error_rate", "phone_error_rate"])
def test_error_rates_by_hand(kind: str) -> None:
    # one substitution of three; two insertions over one: the corpus has three edits over four reference words.
    assert score(kind, ["a x c", "a b c"], [["a b c"], ["a"]]) == pytest.approx(100 * 3 / 4)
    assert score(kind, ["a b c"], [["a"]]) == 200, "more errors than words"
    assert score(kind, [""], [["a b"]]) == 100
    # of two references that with the lower rate: 1 of 4, not 1 of 2.
    assert score(kind, ["a b c x"], [["a b c d", "a b"]]) == pytest.approx(25)


def test_word_error_rate_cuts_at_white_space_whatever_the_tokenizer() -> None:
    assert score("word_error_rate", ["well, no"], [["well no"]], tokenize="13a") == 50
    assert score("word_error_rate", ["Well no"], [["well no"]], lowercase=True) == 0


@settings(max_examples=60, deadline=None)
@given(sentence, sentence.filter(bool))
def test_word_error_rate_is_the_best_alignment(hypothesis: str, reference: str) -> None:
    """The fewest errors over all ways to align both: choose equally many words on both sides, in order."""
    left, right = hypothesis.split(), reference.split()
    fewest = min(
        len(left) + len(right) - 2 * n + sum(left[i] != right[j] for i, j in zip(mine, theirs, strict=True))
        for n in range(min(len(left), len(right)) + 1)
        for mine in itertools.combinations(range(len(left)), n)
        for theirs in itertools.combinations(range(len(right)), n)
    )
    assert score("word_error_rate", [hypothesis], [[reference]]) == pytest.approx(100 * fewest / len(right))


def test_phones_may_be_characters_and_stress_may_be_dropped() -> None:
    assert score("phone_error_rate", ["HH AH0 L"], [["HH AH1 L"]]) == pytest.approx(100 / 3)
    assert score({"kind": "phone_error_rate", "stress": False}, ["HH AH0 L"], [["HH AH1 L"]]) == 0
    assert score({"kind": "phone_error_rate", "symbols": "characters"}, ["hɛlo"], [["həl o"]]) == 25


def test_sequence_errors_are_what_is_no_exact_match() -> None:
    assert score("sequence_error_rate", ["a  b", "a", "c"], [["a b"], ["b", "a"], ["d"]]) == pytest.approx(100 / 3)


def test_rouge_l_by_hand() -> None:
    # Lin (2004), section 3.1: "police killed the gunman" against two candidates; beta = 1: 3/4 and 2/4.
    reference = [["police killed the gunman"]]
    assert score("rouge_l", ["police kill the gunman"], reference) == pytest.approx(75)
    assert score("rouge_l", ["the gunman kill police"], reference) == pytest.approx(50)
    # recall 2/4, precision 2/2, beta 2: 5 * .5 * 1 / (.5 + 4 * 1)
    got = score({"kind": "rouge_l", "beta": 2.0}, ["the gunman"], reference)
    assert got == pytest.approx(100 * 5 * 0.5 / 4.5)
    assert score("rouge_l", ["", "x"], [[""], ["y"]]) == 50, "two empty texts agree"


@settings(max_examples=60, deadline=None)
@given(sentence, sentence)
def test_the_longest_common_subsequence_is_the_longest_of_all(left: str, right: str) -> None:
    mine, theirs = left.split(), right.split()
    common = max(
        n for n in range(len(mine) + 1) if set(itertools.combinations(mine, n)) & set(itertools.combinations(theirs, n))
    )
    expected = 1.0 if not mine and not theirs else 2 * common / (len(mine) + len(theirs))
    assert score("rouge_l", [left], [[right]]) == pytest.approx(100 * expected)


def test_labels_and_what_is_none() -> None:
    known = {"labels": lambda: {"noun", "proper noun", "verb"}}
    said, true = ["noun", "verb", "nown", "proper  noun"], [["noun"], ["noun"], ["noun"], ["proper noun"]]
    assert score("label_accuracy", said, true, **known) == 50
    assert score("not_a_label", said, true, **known) == 25
    statistics = sentence_statistics(record(said, true, tokenize="none"), [SLOTS["metric"].kinds["not_a_label"](
        SLOTS["metric"].kinds["not_a_label"].Config())])  # fmt: skip
    assert statistics == {}, "absent where the labels are not known"


def test_a_capital_sigma_at_the_end_of_a_word_is_lower_cased_as_the_tokenizer_does() -> None:
    path = ROOT.parent / "shared/cases/final-sigma.tsv"
    if not path.is_file():
        path = next((p / "shared/cases/final-sigma.tsv" for p in ROOT.parents if (p / "shared/cases").is_dir()), path)
    if not path.is_file():
        pytest.skip("the shared cases are not here")
    references = [line.split("\t")[1] for line in path.read_text(encoding="utf-8").splitlines() if "\t" in line]
    _scores_perfectly(references)


def test_what_a_lower_casing_model_says_of_greek_is_right() -> None:
    _scores_perfectly(["ΟΔΟΣ ΤΗΣ ΠΟΛΗΣ ΜΑΣ", "ΣΟΦΟΣ ΑΝΘΡΩΠΟΣ ΕΙΝΑΙ ΑΥΤΟΣ"])


def _scores_perfectly(references: list[str]) -> None:
    from tokenizers import normalizers

    said = [normalizers.Lowercase().normalize_str(text) for text in references]
    for kind in ("exact_match", "chrf", "token_accuracy"):
        assert score(kind, said, [[text] for text in references], lowercase=True) == pytest.approx(100), kind
