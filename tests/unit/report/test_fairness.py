from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import variants  # noqa: F401
from harness.analysis import Comparison, Outcome, TestSet
from harness.analysis.comparable import comparable, mixed
from harness.core.spec import SpecError
from harness.report import fairness
from harness.report.facts import StudyFacts
from harness.study import planning
from harness.study.claims import Claim
from harness.trial.score import corpus_scores

WORDS = {"dataset_sha256": "ab" * 32, "source_words": 1200, "target_words": 900}
CLAIM = Claim(name="a helps", better={"x": 1}, than={"x": 2}, metric="exact_match")


def outcome(variant="a", seed=1, **changes):
    statistics = {
        "exact_match": np.array([[1.0, 1.0], [0.0, 1.0]]),
        "nll": np.array([[2.0, 4.0], [6.0, 4.0]]),
    }
    known = {
        "costs": {"params": 1000, "updates": 50, "target_tokens": 800, "train_seconds": 10.0 + seed},
        "statistics": statistics,
        "metrics": corpus_scores(statistics),
        "signatures": {
            "exact_match": "case:mixed|version:1",
            "nll": "tokens:model.11|v:1",
            "perplexity": "tokens:model.11|v:1",
        },
        "stages": {"prepare": "p1"},
        "test": TestSet(references=[["x"], ["y"]]),
    }
    return Outcome(f"{variant}{seed}", variant, seed, "ok", **(known | changes))


def characters(o):
    """The same trial over another vocabulary."""
    return replace(o, signatures=o.signatures | dict.fromkeys(("nll", "perplexity"), "tokens:model.22|v:1"))


def facts(**changes):
    known = {"name": "s", "base": "b", "question": "?", "expectation": "", "digest": "d", "command": "c"}
    known |= {"claims": [CLAIM], "provenance": {"data": {"p1": WORDS}}}
    return StudyFacts(**(known | changes))


def answered(p=0.01, seeds=5, **changes):
    return Comparison("a helps", "exact_match", "a", "b", p=p, seeds_a=seeds, seeds_b=seeds, **changes)


# ------------------------------------------------------------------------------------------------------- comparable


def test_what_is_computed_alike_may_stand_in_one_table():
    outcomes = [outcome("a"), outcome("b", 2)]
    assert mixed(outcomes) == {}
    assert comparable(outcomes) == (outcomes, {})


def test_likelihoods_over_two_vocabularies_are_left_out_with_the_reason():
    outcomes = [outcome("a", 1), outcome("a", 2), characters(outcome("b", 1))]
    shown, refused = comparable(outcomes)
    assert refused == dict.fromkeys(("nll", "perplexity"), "tokens is model.11 for a but model.22 for b")
    assert [set(o.metrics) for o in shown] == [{"exact_match"}] * 3
    assert [set(o.statistics) for o in shown] == [{"exact_match"}] * 3
    assert "nll" in outcomes[0].metrics


def test_a_statistic_stays_while_one_of_its_metrics_does():
    other = outcome("b", signatures=outcome().signatures | {"perplexity": "tokens:model.11|v:2"})
    shown, refused = comparable([outcome("a"), other])
    assert list(refused) == ["perplexity"] and "nll" in shown[0].metrics and "nll" in shown[0].statistics


def test_failed_trials_and_unstated_signatures():
    failed = replace(characters(outcome("b")), status="diverged")
    assert mixed([outcome("a"), failed]) == {}
    assert mixed([outcome("a", signatures={}), outcome("b", signatures={})]) == {}
    assert "not stated for b" in mixed([outcome("a"), outcome("b", signatures={})])["exact_match"]


def test_many_variants_are_counted():
    outcomes = [*(outcome(v) for v in "abcde"), characters(outcome("z"))]
    assert mixed(outcomes)["nll"] == "tokens is model.11 for a, b, c and 2 more but model.22 for z"


def plan(tmp_path, claim, vary):
    (tmp_path / "s.yaml").write_text(
        f"question: q\nexpectation: e\nbase: numbers\nvary: {vary}\nseeds: 2\nclaims:\n  - {claim}\n", encoding="utf-8"
    )
    return planning.load(str(tmp_path / "s.yaml"))


TOKENS = "{data.target.kind: [words, characters]}"
SCORING = "{decoding.scoring.tokenize: [none, char], training.updates: [10, 20]}"


@pytest.mark.parametrize("metric", ["nll", "perplexity", "free_nll"])
def test_a_claim_on_likelihoods_over_different_tokens_is_refused(tmp_path, metric):
    claim = (
        f"{{name: c, better: {{data.target.kind: words}}, than: {{data.target.kind: characters}}, metric: {metric}}}"
    )
    with pytest.raises(SpecError, match=r"not the same measure.*words.*characters") as error:
        plan(tmp_path, claim, TOKENS)
    assert error.value.path == "claims.0.metric"
    assert error.value.place.endswith(":7")


def test_a_claim_on_two_tokenizations_is_refused_and_one_that_does_not_depend_on_them_is_not(tmp_path):
    sides = "better: {decoding.scoring.tokenize: none}, than: {decoding.scoring.tokenize: char}"
    with pytest.raises(SpecError, match=r"tok:none.*tok:char"):
        plan(tmp_path, f"{{name: c, {sides}, metric: bleu}}", SCORING)
    plan(tmp_path, f"{{name: c, {sides}, metric: exact_match}}", SCORING)
    sides = "better: {data.target.kind: words}, than: {data.target.kind: characters}"
    plan(tmp_path, f"{{name: c, {sides}, metric: bleu}}", TOKENS)


LONG, RARE = "when: {sentences: long}", "when: {sentences: rare}, rather_than: {sentences: common}"


@pytest.mark.parametrize(
    ("varied", "values", "subset", "refused"),
    [
        ("data.source.kind", ("words", "characters"), LONG, "long"),
        ("data.source.kind", ("words", "characters"), RARE, "rare"),
        ("data.target.kind", ("words", "characters"), RARE, ""),
        ("data.dataset.train", (100, 200), LONG, ""),
        ("data.dataset.train", (100, 200), RARE, "rare"),
        ("data.longest", (5, 50), RARE, "rare"),
    ],
)
def test_a_claim_on_sentences_that_are_others_in_each_variant_is_refused(tmp_path, varied, values, subset, refused):
    claim = f"{{name: c, better: {{{varied}: {values[0]}}}, than: {{{varied}: {values[1]}}}, metric: bleu, {subset}}}"
    vary = f"{{{varied}: [{values[0]}, {values[1]}]}}"
    if not refused:
        plan(tmp_path, claim, vary)
        return
    with pytest.raises(SpecError, match=f"{refused} ones are other sentences") as error:
        plan(tmp_path, claim, vary)
    assert error.value.path == "claims.0.when.sentences" and error.value.place.endswith(":7")


def test_variants_beside_the_claim_may_be_measured_otherwise(tmp_path):
    sides = "better: {training.updates: 20, decoding.scoring.tokenize: none}"
    sides += ", than: {training.updates: 10, decoding.scoring.tokenize: none}"
    plan(tmp_path, f"{{name: c, {sides}, metric: bleu}}", SCORING)


# ---------------------------------------------------------------------------------------------------------- matched


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (100, 100, "equal"),
        (100, 105, "near, 5.0 %"),
        (100, 105.1, "apart by 5.1 %"),
        (100, 199, "apart by 99.0 %"),
        (100, 350, "apart, 3.5 times as much"),
        (0, 3, "not within any factor"),
        (0, 0, "equal"),
    ],
)
def test_distance(low, high, said):
    assert fairness.distance(low, high) == said


def test_what_is_just_less_than_twice_as_much_is_not_apart_by_a_hundred_percent():
    assert fairness.distance(1000, 1999.6) == "apart, 2.0 times as much"
    assert fairness.distance(1000, 1999.4) == "apart by 99.9 %"


def test_matched_quantities_of_every_variant():
    big = {"params": 1200, "updates": 50, "target_tokens": 816, "train_seconds": 40.0}
    outcomes = [outcome("a", 1), outcome("a", 3), outcome("b", 1, costs=big), replace(outcome("c"), status="error")]
    study_facts = facts(matched={"tokens": "800 in every variant"})
    rows = {row[0]: row[1:] for row in fairness.matched_table(study_facts, outcomes).rows}
    assert rows["parameters"] == ["no match", "1,000", "1,200", "apart by 20.0 %"]
    assert rows["updates made"] == ["no match", "50", "50", "equal"]
    assert rows["target tokens seen"] == ["800 in every variant", "800", "816", "near, 2.0 %"]
    assert rows["training time (s)"] == ["no match", "12.0", "40.0", "apart, 3.3 times as much"]
    assert rows["data, sha256"] == ["no match", "abababababab", "abababababab", "equal"]
    arms = fairness.arms_table(study_facts, outcomes)
    assert [row[0] for row in arms.rows] == ["a", "b"]
    assert arms.rows[0][1:] == ["1,000", "50", "800", "12.0", "abababababab", "source 1,200, target 900"]


def test_other_data_and_vocabularies_are_told():
    data = {"p1": WORDS, "p2": WORDS | {"dataset_sha256": "cd" * 32, "target_words": 30}}
    outcomes = [outcome("a"), outcome("b", stages={"prepare": "p2"})]
    rows = {r[0]: r[-1] for r in fairness.matched_table(facts(provenance={"data": data}), outcomes).rows}
    assert rows["data, sha256"] == rows["vocabularies"] == "2 different ones"


def test_what_is_not_known_is_left_away():
    bare = [outcome("a", costs={}), outcome("b", costs={})]
    assert fairness.matched_table(facts(provenance={}), bare).rows == []
    assert fairness.arms_table(facts(provenance={}), []).rows == []


# -------------------------------------------------------------------------------------------------------- checklist


def answers(study_facts, outcomes, comparisons):
    return [row[1] for row in fairness.checklist_table(study_facts, outcomes, comparisons).rows]


def test_a_study_that_does_all_of_it():
    assert answers(facts(), [outcome("a"), outcome("b")], [answered()]) == ["yes"] * 4


def test_bleu_alone_is_not_enough():
    statistics = {"bleu": np.ones((2, 10))}
    outcomes = [outcome("a", statistics=statistics, metrics=corpus_scores(statistics))]
    assert answers(facts(), outcomes, [answered()])[0] == "no"
    assert answers(facts(claims=[CLAIM.changed(metric="bleu")]), [outcome("a")], [answered()])[0] == "partly"


def test_significance_is_tested_where_there_is_a_p_value():
    one = answered(p=float("nan"), seeds=1)
    claims = [CLAIM, CLAIM.changed(name="other")]
    assert answers(facts(), [outcome()], [one])[1] == "no"
    assert answers(facts(claims=claims), [outcome()], [answered(), one])[1] == "partly"
    assert answers(facts(claims=[]), [outcome()], [answered()])[1] == "no"


def test_scores_that_do_not_follow_from_their_sentences_are_found():
    copied = outcome("b")
    copied = replace(copied, metrics=copied.metrics | {"exact_match": 50.1})
    assert answers(facts(), [outcome("a"), copied], [answered()])[2] == "no"
    assert answers(facts(), [outcome("a", signatures={})], [answered()])[2] == "no"
    assert answers(facts(), [outcome("a"), characters(outcome("b"))], [answered()])[2] == "partly"


def test_other_preparations_or_test_sets_are_found():
    assert answers(facts(), [outcome("a"), outcome("b", stages={"prepare": "p2"})], [answered()])[3] == "no"
    other = outcome("b", test=TestSet(references=[["x"], ["z"]]))
    table = fairness.checklist_table(facts(axes={"data.dataset.split": ["iid", "length"]}), [outcome("a"), other], [])
    assert table.rows[3][1] == "no" and "the study varies data.dataset.split" in table.rows[3][2]


def test_a_test_that_was_trained_on_or_cannot_be_matched_is_found():
    def checked(tokens, cased, lowercase):
        shared = {"sources": tokens, "references": 0, "pairs": 0}
        prepared = WORDS | {
            "test": {"pairs": 4, "source_tokens": 9},
            "overlap": {"test": {"text": dict.fromkeys(shared, 0), "tokens": shared}},
            "ceiling": {"test": {"rows": 4, "cased": cased, "lowercase": lowercase}},
        }
        return answers(facts(provenance={"data": {"p1": prepared}}), [outcome("a")], [answered()])[4:]

    assert checked(0, 4, 4) == ["yes", "yes"]
    assert checked(1, 3, 4) == ["partly", "partly"]
    assert checked(4, 3, 3) == ["no", "no"]


def test_the_same_is_asked_of_every_further_test_set():
    shared = {"sources": 4, "references": 0, "pairs": 0}
    gen = {
        "test": {"pairs": 4, "source_tokens": 9},
        "overlap": {"test": {"tokens": shared}},
        "ceiling": {"test": {"rows": 4, "cased": 2, "lowercase": 4}},
    }
    study = facts(provenance={"data": {}, "tests": {"gen": {"t1": gen}}})
    rows = fairness.checklist_table(study, [outcome("a")], [answered()]).rows[4:]
    assert [row[:2] for row in rows] == [
        ["Are the sources of test set gen new to the model?", "no"],
        ["Can a perfect model match every reference of test set gen?", "partly"],
    ]


def test_of_several_preparations_the_most_trained_on_answers_for_its_own_rows():
    def prepared(rows, shared):
        counts = {"sources": shared, "references": 0, "pairs": 0}
        return WORDS | {
            "test": {"pairs": rows, "source_tokens": 9},
            "overlap": {"test": {"text": counts, "tokens": counts}},
            "ceiling": {"test": {"rows": rows, "cased": rows, "lowercase": rows}},
        }

    both = facts(provenance={"data": {"p1": prepared(100, 10), "p2": prepared(4, 4)}})
    outcomes = [outcome("a"), outcome("b", stages={"prepare": "p2"})]
    (_, said, why) = fairness.checklist_table(both, outcomes, [answered()]).rows[4]
    assert said == "no" and "of 4 rows: sources 4" in why


def test_sections():
    outcomes = [outcome("a"), outcome("b")]
    assert [s.name for s in fairness.sections(facts(), outcomes, [answered()])] == ["matched", "checklist"]
    made = fairness.sections(facts(), [outcome("a"), characters(outcome("b"))], [answered()])
    assert made[-1].name == "left_out" and len(made[-1].tables[0].rows) == 2
    failed = [replace(o, status="error") for o in outcomes]
    assert not any(table.rows for s in fairness.sections(facts(), failed, []) for table in s.tables)
