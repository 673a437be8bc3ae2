from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from harness.contracts.metric import percent
from harness.core.spec import SpecError, digest, encode, override, read
from harness.study.bases import read_base
from harness.trial.pipeline import TrialChoice
from harness.trial.score import METRICS, ScoringChoice, corpus_scores, load, naming, record, score, sentence_statistics
from variants.metrics_words import edit_distance
from variants.tokenizers import Characters

CASES = Path(__file__).resolve().parents[3] / "../shared/cases"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not on this machine")

ROOT = Path(__file__).resolve().parents[3]
words = st.sampled_from(["a", "b", "c", "dd", "eee", ".", "The", "the", "三"])
sentence = st.lists(words, max_size=8).map(" ".join)
corpus = st.lists(st.tuples(sentence, st.lists(sentence, min_size=1, max_size=3)), min_size=1, max_size=6)


def scored(hypotheses, references, **options):
    """Corpus scores with the tokenizer and case of most tests."""
    options = {"tokenize": "13a", "lowercase": False} | options
    return corpus_scores(sentence_statistics(record(hypotheses, references, **options)))


def streams(references):
    most = max(map(len, references))
    return [[texts[i] if i < len(texts) else None for texts in references] for i in range(most)]


@settings(max_examples=150, deadline=None)
@given(corpus, st.sampled_from(["13a", "none", "char", "zh"]), st.booleans())
def test_sums_reproduce_sacrebleu(pairs, tokenize, lowercase):
    hypotheses, references = [h for h, _ in pairs], [r for _, r in pairs]
    got = scored(hypotheses, references, tokenize=tokenize, lowercase=lowercase)
    asian = tokenize in ("zh", "char")
    oracles = {
        "bleu": BLEU(tokenize=tokenize, lowercase=lowercase, force=True),
        "chrf": CHRF(lowercase=lowercase),
        "ter": TER(normalized=asian, asian_support=asian),
    }
    for name, oracle in oracles.items():
        expected = oracle.corpus_score(hypotheses, streams(references)).score
        assert got[name] == pytest.approx(expected, abs=1e-9), name


def test_the_empty_hypothesis_scores_nothing():
    got = scored([""], [["a b c d e"]])
    assert (got["bleu"], got["chrf"], got["ter"], got["exact_match"], got["length_ratio"]) == (0, 0, 100, 0, 0)


def test_a_perfect_corpus_reaches_the_best_value_of_every_metric():
    texts = ["one two three four five", "six seven eight nine ten"]
    nll = np.array([[0.0, 6], [0.0, 6]])
    options = {"nll": nll, "free_nll": nll, "truncated": [False, False], "value": lambda text: 3.0}
    options |= {"model_scores": [0.0, 0.0], "oracle": texts, "proven": [True, True]}
    got = scored(texts, [[text] for text in texts], **options)
    assert set(got) == {name for name, metric in METRICS.items() if metric.default}
    for name, metric in METRICS.items():
        if name in got and metric.best is not None:
            assert got[name] == pytest.approx(metric.best), name


def test_metrics_of_ours_by_hand():
    hypotheses = ["a b c", "x  y", "p q r s"]
    references = [["a b d", "a c"], ["x y"], ["p r s"]]
    nll = np.array([[2.0, 4], [1.0, 3], [3.0, 5]])
    got = scored(hypotheses, references, nll=nll, free_nll=nll * [2, 1], truncated=[False, False, True])
    assert got["exact_match"] == pytest.approx(100 / 3)
    # 2/3 against the first reference, 2/2, and 1/4: only p is in place.
    assert got["token_accuracy"] == pytest.approx(100 * (2 + 2 + 1) / (3 + 2 + 4))
    # one edit to either reference of mean length 2.5; none; one insertion over 3.
    assert got["token_edit_rate"] == pytest.approx(100 * 2 / (2.5 + 2 + 3))
    assert got["nll"] == pytest.approx(0.5)
    assert got["perplexity"] == pytest.approx(np.exp(0.5))
    assert got["free_nll"] == pytest.approx(1.0)
    assert got["truncated"] == pytest.approx(100 / 3)
    assert got["length_ratio"] == pytest.approx((3 + 2 + 4) / (3 + 2 + 3))
    assert "numeric_error" not in got


def test_best_reference_is_the_nearest_quotient_not_the_first():
    assert scored(["a b"], [["b a", "a c"]])["token_accuracy"] == 50


@pytest.mark.parametrize(
    ("said", "truth", "error"),
    [("100", "100", 0), ("90", "100", 10), ("900", "100", 100), ("1", "0", 100), ("0.5", "0", 50), ("?", "7", 100)],
)
def test_numeric_error(said, truth, error):
    def value(text):
        return float(text) if text != "?" else None

    assert scored([said], [[truth]], value=value)["numeric_error"] == pytest.approx(error)


@pytest.mark.parametrize(("left", "right", "edits"), [("kitten", "sitting", 3), ("", "abc", 3), ("ab", "ba", 2)])
def test_edit_distance(left, right, edits):
    assert edit_distance(left, right) == edit_distance(right, left) == edits


@given(st.text("ab", max_size=7), st.text("ab", max_size=7))
def test_edit_distance_against_the_definition(left, right):
    def slow(a, b):
        if not a or not b:
            return len(a) + len(b)
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))

    assert edit_distance(left, right) == slow(left, right)


def test_from_sums_is_vectorized_over_leading_axes():
    hypotheses = ["a b c d e", "a b", "c d e f"]
    statistics = sentence_statistics(
        record(hypotheses, [["a b c d f"], ["b a"], ["c d e f"]], tokenize="none"), METRICS.values()
    )
    counts = np.random.default_rng(0).multinomial(3, [1 / 3] * 3, size=(4, 5)).astype(float)
    for metric in METRICS.values():
        if metric.array in statistics:
            sums = counts @ statistics[metric.array]
            together = metric.score(sums)
            assert together.shape == (4, 5)
            assert together[2, 3] == pytest.approx(float(metric.score(sums[2, 3])), abs=1e-12)


def test_nothing_over_nothing():
    assert percent(np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 4.0]])).tolist() == [0, 100, 25]


def test_only_the_wanted_statistics_are_computed():
    wanted = [METRICS["bleu"], METRICS["exact_match"]]
    assert set(sentence_statistics(record(["a"], [["a"]], tokenize="none"), wanted)) == {"bleu", "exact_match"}


def test_case():
    assert scored(["A b"], [["a B"]])["exact_match"] == 0
    assert scored(["A b"], [["a B"]], lowercase=True)["exact_match"] == 100


@needs_cases
def test_a_hypothesis_that_the_tokenizer_lower_cased_equals_its_reference():
    (reference,) = ((CASES / "final-sigma.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")[1:],)
    learned = read(Characters.Config, {"lowercase": True}).build().learn(reference)
    said = str(learned.decoder.decode(learned.encode(reference[0]).tokens))
    found = scored([said], [reference], lowercase=True)
    assert found["exact_match"] == 100 and found["chrf"] == 100 and found["token_accuracy"] == 100


def test_signatures_name_every_metric_and_its_version():
    scored = record(["a", "b"], [["a"], ["b", "c"]], tokenize="13a")
    made = {name: metric.signature(scored) for name, metric in METRICS.items()}
    assert all("version:" in text for text in made.values())
    assert made["bleu"].startswith("nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp")
    bleu = BLEU(tokenize="zh", lowercase=True)
    bleu.corpus_score(["a"], [["a"]])
    chinese = record(["a"], [["a"]], tokenize="zh", lowercase=True)
    assert METRICS["bleu"].signature(chinese) == str(bleu.get_signature())


@pytest.mark.parametrize(
    ("references", "options", "message"),
    [
        ([["a"]], {"tokenize": "13b"}, "did you mean '13a'"),
        ([[]], {}, "at least one reference"),
        (["a"], {}, "at least one reference"),
        ([["a"], ["b"]], {}, "2 rows for 1 hypotheses"),
        ([["a"]], {"nll": np.zeros((2, 2))}, "nll has 2 rows"),
        ([["a"]], {"value": lambda text: None}, "not a number"),
    ],
)
def test_mistakes_are_named(references, options, message):
    with pytest.raises(SpecError, match=message):
        scored(["a"], references, **options)


@pytest.mark.slow
def test_speed():
    rng = np.random.default_rng(1)
    vocabulary = np.array([f"w{i}" for i in range(200)])
    texts = [" ".join(rng.choice(vocabulary, 15)) for _ in range(1000)]
    noisy = [" ".join(word if rng.random() < 0.7 else "x" for word in text.split()) for text in texts]
    start = time.perf_counter()
    scored(noisy, [[text] for text in texts])
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("said", "reference", "rate", "known"),
    [
        ("a b a b a b", "a b c", 3 / 5, 0),  # a b and b a are new once each; three of five repeat
        ("a a a", "x x x y", 1 / 2, 1 / 3),
        ("a b c b", "a", 0, 0),
        ("a", "", 0, 0),
        ("", "a b", 0, 0),
    ],
)
def test_repeated_bigrams(said, reference, rate, known):
    statistics = sentence_statistics(record([said], [[reference]], tokenize="none"))["repetition"]
    assert corpus_scores({"repetition": statistics})["repetition"] == pytest.approx(100 * rate)
    assert float(percent(statistics.sum(0)[2:])) == pytest.approx(100 * known)


def test_repeats_of_several_references_are_added_up():
    statistics = sentence_statistics(record(["a b"], [["a a a", "b c"]], tokenize="none"))["repetition"]
    assert statistics.tolist() == [[0, 1, 1, 3]]


def test_errors_are_of_the_search_or_of_the_model():
    # right; missed by the search; preferred by the model; as probable up to rounding; cut at the limit, and right but cut
    options = {
        "model_scores": [-9.0, -5.0, -1.0, -2.0, -9.0, -9.0],
        "nll": np.array([[1.0, 2], [3.0, 2], [3.0, 2], [2.0 - 1e-5, 2], [1.0, 2], [1.0, 2]]),
        "truncated": [False, False, False, False, True, True],
    }
    got = scored(["a", "x", "x", "x", "x", "a"], [["a", "b"]] * 6, **options)
    assert got["search_error"] == pytest.approx(100 / 6)
    assert got["model_error"] == pytest.approx(200 / 6)
    cut_and_wrong = 100 / 6
    assert got["exact_match"] + got["search_error"] + got["model_error"] + cut_and_wrong == pytest.approx(100)


def test_the_exposure_gap_is_per_token():
    got = scored(
        ["a", "b"], [["a"], ["b"]], nll=np.array([[2.0, 4], [1.0, 2]]), free_nll=np.array([[5.0, 4], [4.0, 2]])
    )
    assert got["exposure_gap"] == pytest.approx((3 + 3) / (4 + 2))
    assert got["exposure_gap"] == pytest.approx(got["free_nll"] - got["nll"])


def test_oracle_hypotheses_are_scored_like_any_other():
    got = scored(["x", "x"], [["a b", "c"], ["d e"]], oracle=["a b", "d x"])
    plain = scored(["a b", "d x"], [["a b", "c"], ["d e"]])
    assert (got["oracle_exact_match"], got["oracle_token_accuracy"]) == (plain["exact_match"], plain["token_accuracy"])
    assert got["exact_match"] == 0


def test_diagnostics_are_there_whatever_is_asked_for(tmp_path):
    choice = ScoringChoice(tokenize="none", metrics=("exact_match",))
    facts = score(choice, record(["a b"], [["a c"]], tokenize="none", truncated=[False]), tmp_path)
    assert set(facts["metrics"]) == {"exact_match", "length_ratio", "truncated", "repetition"}
    assert set(load(tmp_path)) >= {"bleu"}, "which the length ratio needs"


def test_a_metric_with_settings_or_a_name_is_chosen_beside_names():
    choice = read(
        ScoringChoice, {"metrics": ["bleu", {"kind": "tutorial_bleu", "orders": 4}, {"kind": "rouge_l", "name": "r"}]}
    )
    assert [name for name, metric in choice.wanted.items() if not metric.diagnostic] == ["bleu", "tutorial_bleu", "r"]
    assert choice.wanted["tutorial_bleu"].cfg.orders == 4
    with naming(choice.own):
        assert METRICS["r"].title == "r (%)" and METRICS["tutorial_bleu"].cfg.orders == 4
    assert "r" not in METRICS and METRICS["tutorial_bleu"].cfg.orders == 2


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["blue"], "no metric is called 'blue'; did you mean 'bleu'"),
        (["rouge_l", {"kind": "rouge_l", "beta": 2.0}], "two metrics are called 'rouge_l'; give one of them a `name`"),
        ([{"kind": "rouge_l", "name": "nll"}], "'nll' is what another metric is called"),
        ([{"kind": "rouge_l", "gamma": 1}], "unknown setting 'gamma' of metric 'rouge_l'"),
        ([{"kind": "rouge_l", "name": "Two Words"}], "name"),
    ],
)
def test_choices_that_cannot_be_meant(metrics, message):
    with pytest.raises(SpecError, match=message):
        read(ScoringChoice, {"metrics": metrics})


def test_digests_of_scoring_are_those_of_before():
    """Golden: computed when metrics were names alone."""
    known = {"tokenize": "none", "lowercase": False}
    assert encode(ScoringChoice(**known)) == known | {"metrics": []}
    named = ScoringChoice(**known, metrics=("bleu", {"kind": "nll"}))
    assert encode(named, meaning=True) == known | {"metrics": ["bleu", "nll"]}


def test_metrics_that_share_statistics_count_alike():
    class Other(type(METRICS["nll"])):
        def statistics(self, scored):
            return None

    scored = record(["a"], [["a"]], tokenize="none", nll=np.ones((1, 2)))
    with pytest.raises(SpecError, match="count differently and share the name 'nll'"):
        sentence_statistics(scored, [METRICS["nll"], Other(METRICS["nll"].cfg)])


def test_statistics_of_a_wrong_shape_are_named():
    class Flat(type(METRICS["exact_match"])):
        def statistics(self, scored):
            return np.ones(len(scored.hypotheses))

    with pytest.raises(SpecError, match="statistics of metric 'exact_match' are 1, not 1 sentences x K counts"):
        sentence_statistics(record(["a"], [["a"]], tokenize="none"), [Flat(METRICS["exact_match"].cfg)])


@pytest.mark.parametrize(
    ("target", "scoring", "tokenize"),
    [
        ("words", {}, "13a"),
        ("bpe", {}, "13a"),
        ("characters", {}, "char"),
        ("characters", {"tokenize": "auto"}, "char"),
        ("characters", {"tokenize": "zh"}, "zh"),
    ],
)
def test_the_default_tokenizer_of_metrics_follows_the_target(target, scoring, tokenize):
    base = read_base(ROOT / "studies/bases/numbers.yaml")[0]
    choice = read(TrialChoice, override(TrialChoice, base, {"data.target.kind": target, "decoding.scoring": scoring}))
    assert choice.decoding.scoring.tokenize == tokenize
    explicit = override(TrialChoice, base, {"data.target.kind": target, "decoding.scoring": {"tokenize": tokenize}})
    assert digest(read(TrialChoice, explicit)) == digest(choice), "a default that is written out is the same trial"
