"""Results under the labels of a study, as readers of its report see them; machines read the names of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from harness.analysis import Comparison, Outcome
from harness.report.facts import StudyFacts


class Labelled(NamedTuple):
    """The results of a study under its labels."""

    study: StudyFacts
    outcomes: list[Outcome]
    comparisons: list[Comparison]


def labelled(study: StudyFacts, outcomes: Sequence[Outcome], comparisons: Sequence[Comparison]) -> Labelled:
    """Return the results of a study under its labels; as they are where it has none.

    Args:
        study: facts beside the trials.
        outcomes: all trials of the study.
        comparisons: answers to its claims, and others.
    """
    labels = study.labels
    if not labels.texts:
        return Labelled(study, list(outcomes), list(comparisons))
    tuned = study.tuned and study.tuned.model_copy(
        update={"variants": {labels.variant(name): found for name, found in study.tuned.variants.items()}}
    )
    skipped = [(labels.variant(name), reason) for name, reason in study.skipped]
    published = [
        value._replace(variant=labels.variant(value.variant), than=labels.variant(value.than))
        for value in study.published
    ]
    return Labelled(
        replace(study, tuned=tuned, skipped=skipped, published=published),
        [replace(o, variant=labels.variant(o.variant)) for o in outcomes],
        [replace(c, a=labels.text(c.a), b=labels.text(c.b)) for c in comparisons],
    )
