from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.analysis import Comparison, Outcome
from harness.analysis.answers import PEAK
from harness.analysis.outcome import Tested, TestSet
from harness.report.facts import StudyFacts
from harness.report.headlines import Headline, brackets, headlines, made_with, steps, summary
from harness.report.next_steps import Next, as_lines, together
from harness.report.sentences import answer
from harness.study.claims import Claim
from harness.study.copied import Copied
from harness.workflows.write_report import _verdicts

CLAIM = Claim(name="attention helps", better={"x": 1}, than={"x": 2}, metric="exact_match")
MADE = Comparison(
    "attention helps", "exact_match", "a", "b", delta=27.6, ci_low=17.1, ci_high=38.1, p=0.001, p_holm=0.002,
    verdict="supported", seeds_a=5, seeds_b=5, family=2,
)  # fmt: skip
COPIED = Copied("studies/s.yaml", "s", "s-2", "make study name=s-2")
TRIALS = [
    Outcome(
        f"{variant}{seed}", variant, seed, "ok", costs={"train_seconds": 20.0}, stages={"train": f"{variant}{seed}"}
    )
    for variant in "ab"
    for seed in (1, 2, 3, 4, 5)
]


def one(made, claim=CLAIM, copied=COPIED, outcomes=TRIALS, **more):
    study = StudyFacts("s", "b", "Why?", "", "", "", claims=[claim], copied=copied, **more)
    return headlines(study, outcomes, [made])[0]


def test_an_answer_is_a_sentence_with_size_interval_metric_and_verdict():
    said = one(MADE)
    assert (said.text, said.verdict) == ("Attention helps by 27.60 points [17.10, 38.10] in exact match", "supported")
    assert said.sign == "✓" and said.next is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"verdict": "refuted"}, ": difference 27.60 points [17.10, 38.10] in exact match"),
        (
            {"verdict": "refuted", "delta": -5.0, "ci_low": -7.0, "ci_high": -3.0},
            ": a worse by 5.00 points [3.00, 7.00] in exact match",
        ),
        (
            {"verdict": "refuted", "metric": "nll", "delta": 0.5, "ci_low": 0.3, "ci_high": 0.7},
            ": a worse by 0.5000 nats [0.3000, 0.7000] in NLL (lower is better)",
        ),
        (
            {"verdict": "equivalent", "confidence": 90.0},
            ": difference 27.60 points [17.10, 38.10; 90 %] in exact match",
        ),
        (
            {"metric": "nll", "delta": -0.5, "ci_low": -0.7, "ci_high": -0.3},
            " by 0.5000 nats [0.3000, 0.7000] in NLL (lower is better)",
        ),
        ({"metric": "bleu", "on": "gen"}, ' by 27.60 [17.10, 38.10] in BLEU on the test set "gen"'),
        (
            {"method": "success rates", "metric": "nll"},
            " by 27.6 points [17.1, 38.1] in the share of seeds that succeed in NLL",
        ),
        ({"method": "success rates"}, " by 27.6 points [17.1, 38.1] in the share of seeds that succeed in exact match"),
        ({"ci_low": math.nan, "ci_high": math.nan, "verdict": "pilot"}, ": difference 27.60 points in exact match"),
        ({"kind": "interaction"}, ": difference of differences 27.60 points [17.10, 38.10] in exact match"),
        ({"delta": math.nan, "verdict": "no data"}, ""),
    ],
)
def test_each_kind_of_difference_is_said_in_its_own_units(changes, text):
    assert one(replace(MADE, **changes)).size == text


@pytest.mark.parametrize(
    ("changes", "claim", "text"),
    [
        ({}, {}, "50.00 (a) against 22.40 (b); corrected p 0.002"),
        ({"family": 1}, {}, "50.00 (a) against 22.40 (b); p 0.001"),
        ({"p_holm": 0.001}, {}, "50.00 (a) against 22.40 (b); corrected p 0.001"),
        ({"p": math.nan, "p_holm": math.nan, "verdict": "pilot"}, {}, "50.00 (a) against 22.40 (b)"),
        ({"family": 1}, {"within": 30.0}, "50.00 (a) against 22.40 (b); p 0.001 (TOST)"),
        ({"family": 1}, {"by": 2.0}, "50.00 (a) against 22.40 (b); claimed: by more than 2.00; p 0.001"),
        ({"kind": "interaction"}, {}, "difference 50.00 under a against 22.40 under b; corrected p 0.002"),
        ({"kind": "trend"}, {}, "fitted line from 22.40 at b to 50.00 at a; corrected p 0.002"),
        (
            {"kind": "trend", "note": "the best mean is at 0.5, between the ends"},
            {},
            "fitted line from 22.40 at b to 50.00 at a; corrected p 0.002; the best mean is at 0.5, between the ends",
        ),
        (
            {"method": "success rates", "success_a": 5.0, "success_b": 1.0},
            {"by": 2.0},
            "5 of 5 seeds (a) against 1 of 5 seeds (b); corrected p 0.002",
        ),
        (
            {"method": "wins"},
            {},
            "a wins 50.0 % of pairs of seeds against b, claimed are more than 22.4 %; corrected p 0.002",
        ),
        ({"verdict": "saturated"}, {}, "50.00 (a) against 22.40 (b); every seed reaches the best value there is"),
        (
            {"verdict": "at the floor", "floor": 60.0},
            {},
            "50.00 (a) against 22.40 (b); a system that learned nothing has 60.00",
        ),
        ({"delta": math.nan, "verdict": "no data"}, {}, ""),
    ],
)
def test_a_line_says_what_a_verdict_rests_on(changes, claim, text):
    assert one(replace(MADE, mean_a=50.0, mean_b=22.4, **changes), CLAIM.changed(**claim)).evidence == text


def test_sides_are_named_by_what_sets_them_apart():
    sides = replace(MADE, mean_a=50.0, mean_b=22.4, a="LSTM, rule=count, size=3", b="GRU, rule=count, size=4", family=1)
    assert one(sides).evidence == "50.00 (LSTM, size=3) against 22.40 (GRU, size=4); p 0.001"
    paths = one(replace(sides, a="model.encoder.cell.kind=gru", b="model.encoder.cell.kind=rnn")).evidence
    assert paths.startswith("50.00 (encoder.cell=gru) against 22.40 (encoder.cell=rnn)")
    assert "(rule=count) against" in one(replace(sides, a="rule=count", b="rule=count, size=4")).evidence, (
        "no empty name"
    )


def test_a_margin_that_was_missed_says_in_which_direction():
    worse = replace(MADE, verdict="refuted", delta=-27.6, ci_low=-38.1, ci_high=-17.1)
    equal = CLAIM.changed(within=3.0)
    assert one(replace(MADE, verdict="refuted"), equal).size.startswith(": a better by 27.60 points [17.10,")
    assert one(worse, equal).size.startswith(": b better by 27.60 points [17.10,")
    long = "a model whose name would not leave any room for a sentence"
    assert one(replace(worse, b=long), equal).size.startswith(": a worse by 27.60 points [17.10,")


def test_significant_alone_is_said_where_the_correction_leaves_a_claim_open():
    said = one(replace(MADE, verdict="inconclusive", p=0.04, p_holm=0.08, in_favour=True)).evidence
    assert said.endswith("corrected p 0.080; significant alone, not after the correction")


def test_the_summary_counts_verdicts_and_names_the_best_mean():
    scored = [replace(o, metrics={"exact_match": 50.0 + (o.variant == "b")}) for o in TRIALS]
    study = StudyFacts("s", "b", "Why?", "", "", "", claims=[CLAIM], copied=COPIED, primary="exact_match")
    said = headlines(study, scored, [MADE])
    assert summary(study, scored, said) == (
        "1 claim: 1 supported. Highest mean exact match: b, 51.00 (SD 0.00 over 5 seeds; not tested as the best)."
    )
    assert summary(replace(study, claims=[]), scored, []).endswith("b, 51.00 (SD 0.00 over 5 seeds).")
    elsewhere = [replace(o, test=TestSet("t", [o.variant], [["x"]])) for o in scored]
    assert summary(study, elsewhere, said) == "1 claim: 1 supported.", "means of different sentences have no best"
    assert [step.what for step in steps(study, said)] == ["nothing; every claim is decided"]
    full = headlines(study, scored, [replace(MADE, verdict="saturated")])
    assert [step.what for step in steps(study, full)] == ["nothing that a new study of this kind would decide"]
    opened = headlines(study, scored, [replace(MADE, verdict="inconclusive", needed_seeds=400.0)])
    assert steps(study, opened)[0].what.startswith("no new study of up to 300 seeds a side would decide what is open")


def test_a_side_of_several_variants_says_of_how_many_it_is_the_mean():
    several = [
        replace(o, variant=f"{o.variant}{y}", factors={"x": 1 if o.variant == "a" else 2, "y": y})
        for o in TRIALS
        for y in (1, 2, 3)
    ]
    made = replace(MADE, a="x=1", b="x=2", mean_a=50.0, mean_b=22.4)
    said = one(made, outcomes=several).evidence
    assert said.startswith("50.00 (x=1, mean of 3 variants) against 22.40 (x=2, mean of 3 variants); ")
    assert one(made, CLAIM.changed(when={"y": 2}), outcomes=several).evidence.startswith(
        "50.00 (x=1) against 22.40 (x=2)"
    )
    assert "variants" not in one(replace(made, kind="interaction"), outcomes=TRIALS).evidence


def test_a_margin_is_said_with_the_difference():
    equal = CLAIM.changed(within=30.0)
    assert one(replace(MADE, verdict="equivalent"), equal).size.endswith("in exact match, within ±30.00")
    assert one(replace(MADE, verdict="inconclusive"), equal).size.endswith("in exact match, margin ±30.00")


def test_an_attempt_that_all_claims_share_is_said_once():
    again = replace(MADE, attempt=2, plans_seen=1)
    study = StudyFacts("s", "b", "Why?", "", "", "", claims=[CLAIM] * 2, copied=COPIED)
    assert [one.verdict for one in headlines(study, TRIALS, [again] * 2)] == ["supported"] * 2
    assert brackets([CLAIM] * 2, [again] * 2).endswith("; every verdict is of attempt 2 at this study on this data")
    mixed = [again, MADE]
    assert [one.verdict for one in headlines(study, TRIALS, mixed)] == ["supported, attempt 2", "supported"]
    assert "attempt" not in brackets([CLAIM] * 2, mixed)
    later = [again, replace(again, exploratory="stated later")]
    assert [one.verdict for one in headlines(study, TRIALS, later)] == [
        "supported, attempt 2",
        "exploratory, supported",
    ]
    assert one(again).verdict == "supported, attempt 2", "a single claim has no line for all"


def test_what_a_new_study_would_refute_and_what_it_leaves_open_is_said():
    opened = replace(MADE, verdict="inconclusive", needed_seeds=12.0, in_favour=True)
    against = replace(opened, delta=-5.0, in_favour=False)
    study = StudyFacts(
        "s", "b", "Why?", "", "", "", claims=[CLAIM.changed(name=name) for name in "abcd"], copied=COPIED
    )
    far = replace(opened, needed_seeds=400.0)
    found = steps(study, headlines(study, TRIALS, [opened, against, far, far]))
    assert found[0].why.endswith('for "a", "b", which it would refute')
    assert [step.what for step in found[1:]] == [
        "no new study of up to 300 seeds a side for 2 other open claims, which say why"
    ]
    assert len(steps(study, headlines(study, TRIALS, [opened, against, MADE, MADE]))) == 1


def test_a_trend_past_its_best_level_asks_about_that_level():
    trend = Claim(name="more is better", better_with_more="x", metric="exact_match")
    made = replace(MADE, kind="trend", verdict="inconclusive", needed_seeds=12.0, note=f"{PEAK} 0.5, between the ends")
    assert one(made, trend).next.what.endswith("ask in a new study whether that level beats the ends")
    assert "new study, 12 seeds" in one(replace(made, note=""), trend).next.what
    ruled = {"copied": COPIED._replace(extended=again), "plan": {"unplanned": "combine"}}
    more = replace(made, more_seeds=7.0)
    assert one(more, trend, **ruled).next.what.endswith("beats the ends"), "more seeds make no hill a line"
    assert one(replace(more, note="", delta=-5.0), trend, **ruled).next.refutes
    assert one(replace(made, verdict="refuted", delta=-5.0), trend).size.startswith(": worse by"), (
        "its ends are no variants"
    )


def test_a_secondary_claim_is_called_so():
    assert one(MADE, CLAIM.changed(family="secondary")).evidence.startswith("secondary claim; ")
    assert "secondary" not in one(MADE).evidence
    assert one(replace(MADE, delta=math.nan), CLAIM.changed(family="secondary")).evidence == "secondary claim"


def test_names_keep_their_letters():
    assert one(MADE, CLAIM.changed(name="nGPT wins")).claim == "nGPT wins"
    assert one(MADE, CLAIM.changed(name="the GRU wins")).claim == "The GRU wins"


def test_an_open_claim_names_the_study_that_decides_it_and_its_cost():
    said = one(replace(MADE, verdict="inconclusive", needed_seeds=12.0)).next
    assert said.text == (
        "new study, 12 seeds a side, about 8 minutes of computing (80 % power if the difference is as seen here)"
    )
    assert said.command == (".venv/bin/s2s new study s-2 --like s --seeds 101-112 && make study name=s-2")
    equal = one(replace(MADE, verdict="inconclusive", needed_seeds=12.0), CLAIM.changed(within=30.0)).next
    assert "if there is no difference" in equal.why
    beyond = one(replace(MADE, verdict="inconclusive", needed_seeds=12.0), CLAIM.changed(within=3.0))
    assert (
        beyond.evidence.endswith("better by more than the margin here, but not significantly") and beyond.next is None
    )
    lower = replace(MADE, metric="nll", verdict="inconclusive", needed_seeds=12.0)
    assert one(lower, CLAIM.changed(within=3.0, metric="nll")).evidence.endswith(
        "worse by more than the margin here, but not significantly"
    )
    against = "the difference seen speaks against the claim"
    assert against not in one(replace(MADE, verdict="inconclusive", in_favour=True)).evidence
    assert against in one(replace(MADE, verdict="inconclusive")).evidence
    same = one(replace(MADE, verdict="inconclusive", delta=0.0, standard_error=0.0, needed_seeds=math.inf)).evidence
    assert against not in same and same.endswith("both sides score the same with every seed")


def test_a_claim_near_the_best_value_there_is_asks_for_a_harder_task():
    near = replace(MADE, verdict="inconclusive", needed_seeds=228.0, mean_a=99.9, mean_b=99.3, delta=0.6, p_holm=0.2)
    said = one(near)
    assert said.evidence.endswith("both sides are near the best value there is")
    assert said.next.what.startswith("where both sides are near") and not said.next.command
    assert "228 seeds" in one(replace(near, mean_b=98.0, delta=1.9)).next.what
    rate = {"metric": "word_error_rate", "mean_a": 0.2, "mean_b": 0.9, "delta": -0.7}
    assert one(replace(near, **rate), CLAIM.changed(metric="word_error_rate")).evidence.endswith(
        "near the best value there is"
    )


def test_new_seeds_are_new():
    later = [replace(o, seed=o.seed + 100) for o in TRIALS]
    assert (
        "--seeds 201-212" in one(replace(MADE, verdict="inconclusive", needed_seeds=12.0), outcomes=later).next.command
    )


def test_where_no_command_can_be_given_words_say_what_to_do():
    opened = replace(MADE, verdict="inconclusive", needed_seeds=12.0)
    assert one(opened, copied=None).next.command == ""
    assert one(replace(opened, needed_seeds=400.0)).next is None
    assert one(replace(opened, needed_seeds=400.0)).evidence.endswith("about 400 seeds a side would decide it")
    few = one(replace(opened, needed_seeds=math.inf, needed_sentences=5000.0))
    assert few.evidence.endswith("even 1,000 seeds a side would not decide it; about 5,000 test sentences would")
    assert one(replace(opened, needed_seeds=math.inf)).evidence.endswith("1,000 seeds a side would not decide it")
    assert few.next is None and one(replace(opened, needed_seeds=math.nan)).next is None


def test_too_few_seeds_ask_for_a_study_with_enough():
    said = one(replace(MADE, verdict="pilot"))
    assert "new study, 5 seeds a side" in said.next.what and "three seeds a side" in said.next.why


def test_brackets_are_marked_where_only_p_values_are_corrected():
    assert brackets([CLAIM] * 2, [MADE]) == "95 % intervals"
    two = [replace(MADE, family=2)] * 2
    assert brackets([CLAIM] * 2, two) == "95 % intervals, uncorrected; verdicts follow p corrected for 2 claims (Holm)"
    assert "4 claims, 2 of them not on this page (Holm)" in brackets([CLAIM] * 2, [replace(MADE, family=4)] * 2)
    few = [replace(MADE, family=2, p=0.002, least=0.002)] * 2
    assert brackets([CLAIM] * 2, few).endswith("5 seeds a side allow no p below 0.002")
    two_families = [CLAIM] * 2 + [CLAIM.changed(family="secondary")] * 3
    made = [replace(MADE, family=2)] * 2 + [replace(MADE, family=3)] * 3
    assert "p corrected for 2 primary claims and for 3 secondary claims (Holm)" in brackets(two_families, made)
    apart = brackets([CLAIM] * 2, [replace(MADE, family=1)] * 2)
    assert "uncorrected" in apart and "Holm" not in apart, "a primary and a secondary claim are two families of one"
    assert "(90 % for claims of equivalence, whose p is of two one-sided tests, TOST)" in brackets(
        [CLAIM] * 2, [MADE, replace(MADE, confidence=90.0)]
    )


def test_day_machine_and_commit_are_named_once():
    made = {"processor": "Xeon", "device": "cpu", "git": {"commit": "0123456789abcdef", "dirty": True}}
    study = StudyFacts("s", "b", "", "", "", "", provenance={"finished": "2026-11-29", "made_with": [made, made]})
    assert made_with(study) == [
        ("Finished", "2026-11-29"), ("Machine", "Xeon"), ("Commit", "0123456789ab with changes")
    ]  # fmt: skip
    assert not made_with(StudyFacts("s", "b", "", "", "", ""))


def test_a_claim_is_decided_once_it_has_an_answer():
    made = [Headline("a helps", "", kind, kind) for kind in ("supported", "refuted", "equivalent")]
    assert all(one.decided for one in made)
    undecided = ("inconclusive", "saturated", "no data", "at the floor")
    assert not any(Headline("a", "", kind, kind).decided for kind in undecided)


def test_one_new_study_serves_all_claims_that_wait_for_seeds():
    few, many = Next("12 seeds", "new s-2 12", 12, "80 %"), Next("30 seeds", "new s-2 30", 30, "80 %")
    equal, learn = Next("9 seeds", "new s-2 9", 9, "none"), Next("raise training.updates")
    assert as_lines(together([("a helps", few)])) == ['new s-2 12  # 12 seeds (80 %, for "a helps")']
    lines = ["new s-2 30  # 30 seeds (80 %, for 4 open claims)", "raise training.updates"]
    assert as_lines(together(zip("abcdefg", [few, many, learn, many, None, learn, few], strict=True))) == lines
    assert as_lines(together([("a", few), ("b", equal)])) == ['new s-2 12  # 12 seeds (80 %; none, for "a", "b")']
    assert together([]) == together([("a", None)]) == []


def test_seeds_added_to_a_study_do_not_serve_a_claim_that_needs_a_new_one():
    added, new = Next("add 25 seeds", "run s 30", 30, "80 %", adds=True), Next("20 seeds", "new s-2 20", 20, "80 %")
    lines = ['run s 30  # add 25 seeds (80 %, for "mean")', 'new s-2 20  # 20 seeds (80 %, for "rate")']
    assert as_lines(together([("rate", new), ("mean", added)])) == lines


def test_a_pilot_of_lost_seeds_asks_for_as_many_as_it_lost():
    ruled = {"copied": COPIED._replace(extended=again), "plan": {"unplanned": "combine"}}
    said = one(replace(MADE, verdict="pilot", seeds_a=2, seeds_b=5), **ruled).next
    assert said.command == "s2s run s --seeds 8 --replan" and said.what.startswith("add 3 more seeds")


def test_the_best_mean_is_that_of_the_test_set_which_the_first_claim_is_about():
    longer = [replace(o, metrics={"exact_match": 50.0}, tests={"longer": Tested(metrics={"exact_match": 9.0 + (o.variant == "b")})})
              for o in TRIALS]  # fmt: skip
    study = StudyFacts("s", "b", "Why?", "", "", "", claims=[CLAIM.changed(on="longer")], copied=COPIED)
    said = headlines(study, longer, [MADE])
    best = summary(study, longer, said)
    assert best.endswith(
        'Highest mean exact match on the test set "longer": b, 10.00 (SD 0.00 over 5 seeds; not tested as the best).'
    )
    main = replace(study, claims=[CLAIM])
    assert summary(main, longer, said).endswith(
        "Highest mean exact match: a and 1 other, 50.00 (not tested as the best)."
    ), "both are equal there"


def test_a_share_of_wins_that_was_missed_is_no_loss():
    often = replace(
        MADE, method="wins", verdict="refuted", mean_a=65.4, mean_b=90.0, delta=-24.6, ci_low=-39.9, ci_high=-12.0
    )
    assert one(often).size.startswith(": difference from the claimed share -24.6 points [-39.9, -12.0]")
    assert answer(often, CLAIM.changed(wins=0.9)).meaning == "The data rule out that its seeds win so often."


def test_a_trend_under_two_conditions_is_named():
    steeper = Claim(name="x", better_with_more="depth", when={"c": 1}, rather_than={"c": 2}, metric="exact_match")
    made = replace(MADE, kind="interaction", a="c=1", b="c=2", mean_a=40.0, mean_b=10.0)
    assert answer(made, steeper).evidence.startswith(
        "The rise along depth is 40.00 under c=1 and 10.00 under c=2 in exact"
    )


def test_seeds_too_few_for_any_verdict_are_said_in_the_headline_and_the_terminal():
    few = replace(MADE, verdict="inconclusive", seeds_a=3, seeds_b=3, enough_seeds=4)
    assert one(few).verdict == "inconclusive: 3 seeds cannot decide it, at least 4 are needed"
    assert "inconclusive: 3 seeds cannot decide it, at least 4 are needed (difference" in _verdicts([few])[0]
    assert "No data of 3 seeds a side can decide" in answer(few, CLAIM).meaning


def test_at_the_floor_the_next_step_names_the_budget_and_a_finer_metric():
    low = replace(MADE, verdict="at the floor")
    plain = one(low).next
    assert "training.updates" in plain.what and "evaluate=validation" in plain.what and "finer" not in plain.what
    references = [["no"], ["no"], ["x y"]]
    test = TestSet(sources=["a", "b", "c"], references=references)
    scores = {"exact_match": 0.0, "token_accuracy": 90.0}
    made = [
        replace(o, metrics=scores, test=test, tokenize="13a", factors={"x": 1 + (o.variant == "b")}) for o in TRIALS
    ]
    assert "such as token_accuracy" in one(low, outcomes=made).next.what
    assert as_lines([plain]) == [plain.what], "the terminal has a line"
    pilot = replace(MADE, verdict="artifact-level only", mean_a=0.0, mean_b=0.0, floor=0.0)
    assert one(pilot).next == plain and one(replace(pilot, mean_a=50.0)).next != plain, "one seed is enough to see it"


def again(count):
    return f"s2s run s --seeds {count} --replan" if count else "s2s run s --replan"


def test_where_seeds_may_be_added_they_are_proposed_before_a_new_study():
    opened = replace(MADE, verdict="inconclusive", needed_seeds=12.0, more_seeds=7)
    ruled = {"copied": COPIED._replace(extended=again), "plan": {"unplanned": "combine"}}
    said = one(opened, **ruled).next
    assert said.command == "s2s run s --seeds 12 --replan"
    assert said.what.startswith("add 7 more seeds to this study") and "80 % power if the difference" in said.why
    named = one(opened, **ruled, outcomes=[replace(o, seed=o.seed + 100) for o in TRIALS]).next
    assert named.command == said.command, "a study that lists its seeds keeps them"
    hopeless = replace(opened, more_seeds=math.inf, seeds_a=5, seeds_b=5, enough_seeds=6)
    assert one(hopeless, **ruled).next.command == "s2s run s --seeds 6 --replan"
    assert "new study" in one(replace(opened, more_seeds=math.nan), **ruled).next.what
    assert "new study" in one(opened, CLAIM.changed(succeeds_at=50.0), **ruled).next.what, "the rule is about means"
    assert "new study" in one(opened, copied=ruled["copied"]).next.what, "no rule, no seeds added"


def test_a_sealed_pilot_is_followed_by_what_opens_the_test():
    sealed = {"copied": COPIED._replace(extended=again), "split": "validation"}
    few = one(replace(MADE, verdict="artifact-level only"), **sealed).next
    assert (
        few.command.endswith("--seeds 101-105 && make study name=s-2")
        and "on the test with seeds that the pilot has not seen" in few.what
    )
    whole = one(MADE, **sealed).next
    assert whole.command == "s2s run s --replan" and "open the test for the same trainings" in whole.what
    assert together([("a", whole), ("b", whole)]) == [whole]
