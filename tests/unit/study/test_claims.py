"""Which variants a claim or an exclusion selects, and which claims a plan can answer."""

from __future__ import annotations

import pytest

from harness.analysis.comparison import FLOOR, ONE_SEED, PILOT
from harness.core.spec import SpecError, encode
from harness.study.claims import RESERVED, Claim, check_claims, groups, select, sides

GRID = {f"{m}-{n}": {"mask": m, "width": n} for m in (True, False) for n in (1, 2)}
MASKING = Claim(name="m", better={"mask": True}, than={"mask": False}, metric="bleu")


def test_selection_keeps_truth_and_numbers_apart() -> None:
    assert select({"mask": True}, GRID, "when") == ["True-1", "True-2"]
    assert select({"mask": False, "width": 2.0}, GRID, "when") == ["False-2"]
    with pytest.raises(SpecError, match="known: true, false") as caught:
        select({"mask": 1}, GRID, "when")
    assert caught.value.path == "when.mask"
    with pytest.raises(SpecError, match="did you mean 'width'") as caught:
        select({"widht": 1}, GRID, "when")
    assert caught.value.path == "when"


def test_a_claim_needs_matched_variants_that_run() -> None:
    check_claims([MASKING], GRID, {})
    check_claims([MASKING], GRID, {"True-1": "excluded: no"})
    for skipped in (("True-1", "True-2"), ("True-1", "False-2")):
        with pytest.raises(SpecError, match=rf"skipped: {skipped[0]} \(excluded: no\)") as caught:
            check_claims([MASKING], GRID, dict.fromkeys(skipped, "excluded: no"))
        assert caught.value.path == "claims.0"


def test_a_report_may_still_ask_for_the_sides_of_what_was_skipped() -> None:
    assert sides(MASKING, GRID) == (["True-1", "True-2"], ["False-1", "False-2"])


LOSSES = {f"{m}-{n}": {"loss.mask": m, "loss.normalize": n} for m in (True, False) for n in ("token", "padded")}


def about(better, than, **changes):
    return Claim(**({"name": "a over b", "better": better, "than": than, "metric": "exact_match"} | changes))


MASK = ({"loss.mask": True}, {"loss.mask": False})


def test_success_rates_compare_one_variant_a_side():
    with pytest.raises(SpecError, match="name more factors") as caught:
        check_claims([about(*MASK, succeeds_at=5)], LOSSES, {})
    assert caught.value.path == "claims.0.succeeds_at"
    token = {"loss.normalize": "token"}
    check_claims([about(*MASK, succeeds_at=5, when=token)], LOSSES, {})


def test_wins_compare_one_variant_a_side():
    with pytest.raises(SpecError, match="name more factors") as caught:
        check_claims([about(*MASK, wins=0.75)], LOSSES, {})
    assert caught.value.path == "claims.0.wins"
    check_claims([about(*MASK, wins=0.75, when={"loss.normalize": "token"})], LOSSES, {})


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, 75])
def test_the_share_of_wins_lies_between_none_and_all(share):
    with pytest.raises(ValueError, match="wins"):
        about(*MASK, wins=share)


@pytest.mark.parametrize(
    "name", ["exploratory", "Confirmatory", " supported ", "REFUTED", "equivalent", "inconclusive", "saturated", "pilot",
             "artifact-level only", "no data", "at the floor", ""],
)  # fmt: skip
def test_words_that_reports_use_name_no_claim(name):
    with pytest.raises(SpecError, match="a word that reports use; say what you expect") as caught:
        check_claims([about(*MASK), about(*MASK, name=name)], LOSSES, {})
    assert caught.value.path == "claims.1.name"
    check_claims([about(*MASK, name=f"it is {name} that masking helps")], LOSSES, {})


def test_every_verdict_is_a_reserved_word():
    verdicts = {ONE_SEED, PILOT, FLOOR, "supported", "refuted", "equivalent", "inconclusive", "saturated", "no data"}
    assert verdicts <= set(RESERVED)


def test_what_claims_gained_later_leaves_older_ones_as_they_were():
    """Claims that do not use it have the digest that they had."""
    plain, more = about(*MASK), about(*MASK, family="secondary", wins=0.75)
    assert not {"wins", "family"} & set(encode(plain, meaning=True))
    assert {"wins", "family"} <= set(encode(more, meaning=True))
    with pytest.raises(ValueError, match="family"):
        about(*MASK, family="third")


def test_a_claim_takes_all_matched_variants():
    both = sides(about({"loss.mask": True}, {"loss.mask": False}), LOSSES)
    assert both == (["True-token", "True-padded"], ["False-token", "False-padded"])
    lacking = {name: factors for name, factors in LOSSES.items() if name != "False-padded"}
    assert sides(about({"loss.mask": True}, {"loss.mask": False}), lacking) == (["True-token"], ["False-token"])
    one = about({"loss.mask": True, "loss.normalize": "token"}, {"loss.mask": False, "loss.normalize": "padded"})
    assert sides(one, LOSSES) == (["True-token"], ["False-padded"])


def test_a_whole_part_is_addressed_by_its_settings():
    variants = {"none": {"context": {"kind": "none"}}, "mean": {"context": {"kind": "mean"}}}
    assert sides(about({"context.kind": "mean"}, {"context.kind": "none"}), variants) == (["mean"], ["none"])


def test_where_a_name_stands_beside_a_mapping_cases_are_the_way_out():
    variants = {"none": {"context": "final"}, "some": {"context": {"kind": "attention", "score": "dot"}}}
    for than in ({"context.kind": "final"}, {"context": "final"}):
        with pytest.raises(SpecError, match="`cases:` gives variants names"):
            check_claims([about({"context.kind": "attention"}, than)], variants)


@pytest.mark.parametrize(
    ("made", "path", "message"),
    [
        (about({"loss.mask": 1}, {"loss.mask": False}), "claims.0.better.loss.mask", "known: true, false"),
        (about({"loss.msk": True}, {"loss.mask": False}), "claims.0.better", "did you mean 'loss.mask'"),
        (about({"loss.mask": True}, {"loss.normalize": "token"}), "claims.0", "on both sides"),
        (about({"loss.mask": True}, {"loss.mask": False}, metric="blue"), "claims.0.metric", "did you mean 'bleu'"),
        (about({"loss.mask": True}, {"loss.mask": False}, metric="length_ratio"), "claims.0.metric", "state `within`"),
        (about({"loss.mask": True}, {"loss.mask": False}, by=1, within=2), "claims.0", "not both"),
    ],
)
def test_claims_that_cannot_be_answered(made, path, message):
    with pytest.raises(SpecError, match=message) as caught:
        check_claims([made], LOSSES)
    assert caught.value.path == path


def test_a_misspelled_value_names_the_nearest():
    variants = {kind: {"model.score.kind": kind, "loss.mask": True} for kind in ("additive", "general")}
    with pytest.raises(SpecError, match=r"did you mean 'additive'[?] known: 'additive', 'general'"):
        select({"model.score.kind": "aditive"}, variants, "better")
    with pytest.raises(SpecError, match=r"no variant has loss.mask = 'true'; known: true"):
        select({"loss.mask": "true"}, variants, "better")


def test_claims_without_match_or_with_one_name():
    apart = {"a": {"x": "a", "y": 1}, "b": {"x": "b", "y": 2}}
    with pytest.raises(SpecError, match="no two variants"):
        check_claims([about({"x": "a"}, {"x": "b"})], apart)
    with pytest.raises(SpecError, match="no variant has all of"):
        check_claims([about({"x": "a", "y": 2}, {"x": "b"})], apart)
    with pytest.raises(SpecError, match="two claims are called"):
        check_claims([about({"x": "a", "y": 1}, {"x": "b"})] * 2, {"a": {"x": "a", "y": 1}, "b": {"x": "b"}} | apart)


# ----------------------------------------------------------------------------------------------- conditions and trends


RATIOS = {
    f"{r}-{c}": {"forcing.ratio": r, "cell": c} for r in (0.5, 0, 1) for c in ("gru", "lstm") if (r, c) != (0, "lstm")
}


def rising(path="forcing.ratio", **changes):
    return Claim(**({"name": "more is better", "better_with_more": path, "metric": "exact_match"} | changes))


def test_the_levels_of_a_trend_ascend_and_match():
    found = groups(rising(), RATIOS)
    assert [(g.said, g.variants) for g in found] == [({"forcing.ratio": r}, [f"{r}-gru"]) for r in (0, 0.5, 1)]
    with pytest.raises(SpecError, match="more than two sides"):
        sides(rising(), RATIOS)
    mixed = {str(value): {"mask": value} for value in (True, 2, 3, 4)}
    with pytest.raises(SpecError, match="needs numbers; mask is true, 2, 3, 4"):
        groups(rising("mask"), mixed)


def test_a_condition_selects_before_sides_match():
    found = groups(about(*MASK, when={"loss.normalize": "token"}), LOSSES)
    assert [g.variants for g in found] == [["True-token"], ["False-token"]]


def test_an_interaction_has_four_groups_that_match():
    made = about(*MASK, when={"loss.normalize": "token"}, rather_than={"loss.normalize": "padded"})
    found = groups(made, LOSSES)
    assert [(g.condition, g.variants) for g in found] == [
        (0, ["True-token"]), (0, ["False-token"]), (1, ["True-padded"]), (1, ["False-padded"]),
    ]  # fmt: skip
    # Four factors: only what all four groups have takes part.
    wide = {f"{name}-{x}": own | {"x": x} for name, own in LOSSES.items() for x in (1, 2)}
    del wide["False-padded-2"]
    assert groups(made, wide)[0].variants == ["True-token-1"]


def test_sentences_select_no_variants():
    made = about(*MASK, when={"sentences": "long"}, rather_than={"sentences": "short"})
    check_claims([made], LOSSES)
    found = groups(made, LOSSES)
    assert found[0].variants == found[2].variants == ["True-token", "True-padded"]


TOKEN, PADDED = {"loss.normalize": "token"}, {"loss.normalize": "padded"}


@pytest.mark.parametrize(
    ("made", "path", "message"),
    [
        (about({}, {}), "claims.0", "states `better` and `than`, or `better_with_more`"),
        (about(MASK[0], {}), "claims.0.than", "`better` alone compares with nothing"),
        (about({}, MASK[1]), "claims.0.better", "`than` alone compares with nothing"),
        (about(*MASK, better_with_more="x"), "claims.0", "one question"),
        (rising(better_with_less="x"), "claims.0", "not both"),
        (
            rising("forcing.rate"),
            "claims.0.better_with_more",
            "does not vary 'forcing.rate'; did you mean 'forcing.ratio'",
        ),
        (rising("cell"), "claims.0.better_with_more", "needs numbers; cell is 'lstm', 'gru'"),
        (rising("flag"), "claims.0.better_with_more", "needs numbers; flag is true, false"),
        (rising("width"), "claims.0.better_with_more", "at least 3 levels; width is 1, 2"),
        (rising("moving"), "claims.0", "agree in the factors"),
        (rising(when={"forcing.ratio": 1}), "claims.0.better_with_more", "at least 3 levels"),
        (rising(metric="length_ratio"), "claims.0.metric", "state `within`"),
        (rising(succeeds_at=5), "claims.0.succeeds_at", "state `better` and `than`"),
        (about(*MASK, succeeds_at=5, by=1), "claims.0.succeeds_at", "leave `by` and `within` out"),
        (about(*MASK, succeeds_at=5, within=1), "claims.0.succeeds_at", "leave `by` and `within` out"),
        (about(*MASK, succeeds_at=5, when=TOKEN, rather_than=PADDED), "claims.0.succeeds_at", "two sides"),
        (about(*MASK, succeeds_at=1, metric="length_ratio"), "claims.0.metric", "no seed can be better"),
        (about(*MASK, wins=0.75, by=1), "claims.0.wins", "leave `by`, `within` and `succeeds_at` out"),
        (about(*MASK, wins=0.75, within=1), "claims.0.wins", "leave `by`, `within` and `succeeds_at` out"),
        (about(*MASK, wins=0.75, succeeds_at=5), "claims.0.wins", "leave `by`, `within` and `succeeds_at` out"),
        (about(*MASK, wins=0.75, when=TOKEN, rather_than=PADDED), "claims.0.wins", "two sides"),
        (rising(wins=0.75), "claims.0.wins", "state `better` and `than`"),
        (about(*MASK, wins=0.75, metric="length_ratio"), "claims.0.metric", "no seed can be better"),
        (about(*MASK, rather_than=PADDED), "claims.0.when", "is not set"),
        (
            about(*MASK, when=TOKEN, rather_than={"forcing.ratio": 1}),
            "claims.0.rather_than",
            "in `when`.*: loss.normalize",
        ),
        (about(*MASK, when=TOKEN, rather_than=TOKEN), "claims.0.rather_than", "the same as `when`"),
        (about(*MASK, when={"loss.normalise": "token"}), "claims.0.when", "did you mean 'loss.normalize'"),
        (
            about(*MASK, when=TOKEN, rather_than={"loss.normalize": "x"}),
            "claims.0.rather_than.loss.normalize",
            "known: ",
        ),
        (
            about(*MASK, when={"sentences": "longer"}),
            "claims.0.when.sentences",
            "did you mean 'long'.*common, long, rare",
        ),
        (
            about(*MASK, when={"sentences": "long"}, rather_than={"sentences": "rare"}),
            "claims.0.rather_than.sentences",
            "counterpart of long sentences are the short",
        ),
        (about(*MASK, when={"loss.mask": True}), "claims.0.than.loss.mask", "known: true"),
    ],
)
def test_questions_that_are_none_or_two(made, path, message):
    grid = {
        name: own | {"forcing.ratio": ratio, "cell": "gru" if ratio else "lstm", "flag": own["loss.mask"],
                     "width": 1 if ratio else 2, "moving": ratio * 3}
        for ratio in (0, 0.5, 1) for name, own in ((f"{n}-{ratio}", o) for n, o in LOSSES.items())
    }  # fmt: skip
    with pytest.raises(SpecError, match=message) as caught:
        check_claims([made], grid)
    assert caught.value.path == path


def test_a_trend_under_two_conditions_has_the_same_levels_under_both():
    """The rise from the first to the last level: of equal slopes the one over more levels would be larger."""
    grid = {
        f"{half}-{depth}": {"half": half, "depth": depth}
        for half, last in ((1, 3), (2, 4))
        for depth in range(1, last + 1)
    }
    steeper = rising("depth", when={"half": 1}, rather_than={"half": 2})
    message = "depth is 1, 2, 3 under `when` and 1, 2, 3, 4 under it; use the same levels"
    with pytest.raises(SpecError, match=message) as caught:
        check_claims([steeper], grid, {})
    assert caught.value.path == "claims.0.rather_than"
    del grid["2-4"]
    check_claims([steeper], grid, {})


def test_a_trend_needs_three_levels_that_run():
    check_claims([rising()], RATIOS)
    with pytest.raises(SpecError, match=r"no 3 levels of its trend will run; skipped: 0-gru \(excluded: no\)"):
        check_claims([rising()], RATIOS, {"0-gru": "excluded: no"})


def test_claims_of_before_mean_what_they_meant():
    """What a claim could not say when it was written does not enter its digest."""
    said = {"name": "m", "better": {"mask": True}, "than": {"mask": False}, "metric": "bleu", "by": 0.0, "within": None}
    assert encode(MASKING, meaning=True) == said
