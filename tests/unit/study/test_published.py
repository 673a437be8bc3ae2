"""Published values of a study file: about one variant each, with a source; the plan holds values, not words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.core.spec import SpecError
from harness.storage.store import Store
from harness.study import frozen_plan, planning
from harness.study.plan import Plan
from harness.study.published import NOT_OPENED, values

ROOT = Path(__file__).resolve().parents[3]
SOURCE = {"authors": "Lake and Baroni", "year": 2018}
CLIP = "training.clip"


def block(**said: Any) -> dict[str, Any]:
    value = {"variant": {CLIP: 1.0}, "value": 13.8}
    return {"source": SOURCE, "metric": "bleu", "differs": "the data", "values": [value]} | said


def plan(folder: Path, *blocks: dict[str, Any], base: Any = "numbers", **said: Any) -> Plan:
    file = {"question": "?", "expectation": "?", "base": base, "seeds": 2, "vary": {CLIP: [1.0, 2.0]}} | said
    (folder / "s.yaml").write_text(json.dumps(file | ({"published": list(blocks)} if blocks else {})), encoding="utf-8")
    return planning.resolve(planning.load(str(folder / "s.yaml")))


def test_a_value_is_about_one_variant_by_its_name_or_its_factors(tmp_path: Path) -> None:
    pair = [{"variant": "clip=1.0", "value": 1}, {"variant": {CLIP: 2.0}, "value": 2.5, "sd": 0.5, "seeds": 3}]
    made = plan(tmp_path, block(values=pair, metric="primary"))
    found = values(made.published, {v.name: v.factors for v in made.variants})
    assert [(v.variant, v.value, v.sd, v.seeds) for v in found] == [
        ("clip=1.0", 1, None, None),
        ("clip=2.0", 2.5, 0.5, 3),
    ]
    assert {v.metric for v in found} == {"exact_match"} and found[0].source == f"Lake and Baroni 2018 ({NOT_OPENED})"


def test_a_difference_names_both_variants_may_be_negative_and_is_part_of_the_plan(tmp_path: Path) -> None:
    said = {"variant": "clip=1.0", "than": {CLIP: 2.0}, "value": -140.0}
    made = plan(tmp_path, block(values=[said, {"variant": "clip=1.0", "value": 1}], metric="exact_match"))
    found = values(made.published, {v.name: v.factors for v in made.variants})
    assert [(v.variant, v.than, v.value, v.title) for v in found] == [
        ("clip=1.0", "clip=2.0", -140.0, "clip=1.0 less clip=2.0"),
        ("clip=1.0", "", 1, "clip=1.0"),
    ]
    score = plan(tmp_path, block(values=[said | {"than": None}, {"variant": "clip=2.0", "value": 1}], metric="bleu"))
    assert made.frozen()["published"][0]["values"][0] == ["clip=1.0", -140.0, {CLIP: 2.0}]
    assert score.frozen()["published"][0]["values"][0] == ["clip=1.0", -140.0]


def test_a_source_that_was_opened_is_printed_with_its_table(tmp_path: Path) -> None:
    opened = SOURCE | {"table": "table 2", "opened": True}
    made = plan(tmp_path, block(source=opened))
    assert (
        values(made.published, {v.name: v.factors for v in made.variants})[0].source == "Lake and Baroni 2018, table 2"
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"values": [{"variant": "clip=3", "value": 1}]}, "values.0.variant: no variant is called 'clip=3'.*clip="),
        ({"values": [{"variant": {CLIP: 3}, "value": 1}]}, "no variant has training.clip = 3"),
        ({"values": [{"variant": {"training.lr": 3}, "value": 1}]}, "does not vary 'training.lr'"),
        ({"values": [{"variant": v, "value": 1} for v in ("clip=1.0", {CLIP: 1.0})]}, "'clip=1.0' has two values"),
        ({"values": [{"variant": "clip=1.0", "value": 101}], "metric": "exact_match"}, "better than the best"),
        ({"values": [{"variant": "clip=1.0", "value": 1, "sd": 1, "seeds": 1}]}, "one seed has no standard deviation"),
        ({"values": [{"variant": "clip=1.0", "than": "clip=3", "value": 1}]}, "values.0.than: no variant is called 'clip=3'"),
        ({"values": [{"variant": "clip=1.0", "than": {CLIP: 1.0}, "value": 1}]}, "does not differ from itself"),
        ({"values": [{"variant": "clip=1.0", "than": "clip=2.0", "value": v} for v in (1, 2)]}, "has two values"),
        (
            {"values": [{"variant": a, "than": b, "value": 1} for a, b in (("clip=1.0", "clip=2.0"), ("clip=2.0", "clip=1.0"))]},
            "has two values",
        ),
        ({"metric": "blue"}, "published.0.metric: 'blue' is not computed.*bleu"),
        ({"on": "long"}, "no test set 'long'.*leave `on` out"),
        ({"base": "scan"}, "no base of this study is called 'scan'"),
        ({"source": SOURCE | {"opened": True}}, "`opened: true` needs `table`"),
        ({"source": {"authors": "A"}}, "source.year"),
        ({"differs": " "}, "differs"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_with_its_line(said: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message) as error:
        plan(tmp_path, block(**said))
    assert error.value.place.endswith("s.yaml:1")


@pytest.mark.parametrize("missing", ["source", "metric", "differs", "values"])
def test_no_value_without_a_source_and_what_differs(missing: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"published.0.{missing}"):
        plan(tmp_path, {name: value for name, value in block().items() if name != missing})


def test_a_value_of_several_variants_or_of_one_that_does_not_run_is_refused(tmp_path: Path) -> None:
    more = {"training.batch_size": [8, 16]}
    with pytest.raises(SpecError, match="about one variant, and 2 fit"):
        plan(tmp_path, block(), vary={CLIP: [1.0, 2.0]} | more)
    with pytest.raises(SpecError, match=r"'clip=1\.0' does not run"):
        plan(tmp_path, block(), exclude=[{"when": {CLIP: 1.0}, "reason": "too slow"}])
    gap = block(values=[{"variant": {CLIP: 2.0}, "than": {CLIP: 1.0}, "value": 3}])
    with pytest.raises(SpecError, match=r"values\.0\.than: 'clip=1\.0' does not run"):
        plan(tmp_path, gap, exclude=[{"when": {CLIP: 1.0}, "reason": "too slow"}])


def test_blocks_about_other_bases_are_left_out(tmp_path: Path) -> None:
    blocks = [block(base="scan"), block()]
    made = plan(tmp_path, *blocks, base=["numbers", "scan"])
    assert made.published == made.file.published[1:]
    other = planning.load(str(tmp_path / "s.yaml"), base="scan")
    assert other.published == other.file.published
    assert not planning.load(str(tmp_path / "s.yaml"), base="dates").published, "a base that the study does not name"


def test_values_are_part_of_the_plan_and_words_are_not(tmp_path: Path) -> None:
    without, known = plan(tmp_path), plan(tmp_path, block())
    worded = plan(tmp_path, block(differs="data and sizes", source=SOURCE | {"table": "table 1", "opened": True}))
    other = plan(tmp_path, block(values=[{"variant": {CLIP: 1.0}, "value": 14.8}]))
    assert known.digest == worded.digest and known.frozen() == worded.frozen()
    assert len({without.digest, known.digest, other.digest}) == 3 and "published" not in without.frozen()
    assert [t.digest for _, _, t in without.trials()] == [t.digest for _, _, t in known.trials()]
    store = Store(tmp_path / "runs")
    frozen_plan.freeze(known, store)
    assert frozen_plan.check(worded, store)
    with pytest.raises(SpecError, match=r"(?s)changed since its plan was frozen.*published"):
        frozen_plan.check(without, store)
