"""The section on published values: counts of agreement, never a bare yes; absent where a study names none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.analysis import compare_all
from harness.report import contents, pages
from harness.study.labels import Labels
from harness.study.published import PublishedValue
from unit.report.test_pages import facts, synthetic

TRUE, FALSE = "mask=true, token", "mask=false, token"


def value(variant, number, metric="exact_match", alone=""):
    return PublishedValue(1, variant, metric, "", number, 1.5, 3, "Doe 2001, table 1", "sizes", alone)


def section(*values, outcomes=None, name="published"):
    outcomes = outcomes or synthetic(seeds=3, sentences=60)
    study = replace(facts(), published=list(values))
    found = contents.sections(study, outcomes, compare_all(outcomes, [], "d"), ["exact_match"])
    return next((s for s in found if s.name == name), None)


def test_it_counts_and_names_what_it_counted():
    ours = {
        v: [o.metrics["exact_match"] for o in synthetic(seeds=3, sentences=60) if o.variant == v] for v in (TRUE, FALSE)
    }
    means = {name: sum(own) / 3 for name, own in ours.items()}
    up, down = sorted(means, key=lambda name: -means[name])
    found = section(value(up, round(means[up], 1), alone="a mask"), value(down, 0.0))
    assert found.about.startswith("Order agreed in 1 of 1 pairs; inside our interval in 1 of 2 values. ")
    assert not found.folded and [row[7] for row in found.tables[0].rows] == ["yes", "no"]
    assert found.tables[0].caption == "Doe 2001, table 1. What differs here: sizes"
    assert [row[8] for row in found.tables[0].rows] == ["a mask", "–"]
    swapped = section(value(up, 1.0), value(down, 2.0))
    assert swapped.about.startswith("Order agreed in 0 of 1 pairs")
    order = section(value(up, 1.0), value(down, 2.0), name="published-order")
    assert order.folded and order.tables[0].rows[0][5] == "does not agree"


def test_without_values_or_scores_there_is_none():
    assert section() is None
    assert section(value(TRUE, 1.0, metric="bleu"), outcomes=synthetic(seeds=2, sentences=60)) is None


def test_programs_read_names_of_the_plan_and_people_labels(tmp_path: Path):
    outcomes = synthetic(seeds=2, sentences=60)
    labels = Labels({TRUE: "masked"}, {TRUE: "masked"})
    study = replace(facts(), published=[value(TRUE, 50.0), value(FALSE, 40.0)], labels=labels)
    pages.write(tmp_path, study, outcomes, compare_all(outcomes, [], "d"))
    assert (
        f'"{TRUE}"' in (tmp_path / "published.csv").read_text()
        and "published.csv" in (tmp_path / "report.md").read_text()
    )
    assert "masked" in (tmp_path / "tables/published_1.csv").read_text()
    for page in ("report.md", "report.html"):
        assert "Order agreed in" in (tmp_path / page).read_text()
    pages.write(tmp_path, replace(study, published=[]), outcomes, compare_all(outcomes, [], "d"))
    assert not (tmp_path / "published.csv").exists() and "ublished" not in (tmp_path / "report.md").read_text()


def test_a_difference_says_from_what_it_is_taken_and_has_a_sign():
    said = value(TRUE, 30.0)._replace(than=FALSE, sd=None, seeds=None), value(FALSE, 50.0)._replace(table=2)
    found, order = (section(*said, name=name) for name in ("published", "published-order"))
    row = found.tables[0].rows[0]
    assert row[0] == f"{TRUE} less {FALSE}" and row[2] == "+30.00" and row[4].startswith("+")
    missing = section(value(TRUE, 30.0)._replace(than="gone"), value(FALSE, 50.0)._replace(table=2))
    assert missing.tables[0].rows[0][4] == "–", "without a score of ours there is no sign"
    assert order.tables[0].rows[0][:2] == [TRUE, FALSE] and found.about.startswith("Order agreed in 1 of 1 pairs")
