"""How MLflow's page opens on a study: variants compared by the primary metric, and links in the description."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.tracking.records import KIND, VARIANT, StudyRecord

KEY = "comparison"
"""Name of the view in addresses."""
TAG = f"mlflow.sharedViewState.{KEY}"
"""Tag of an experiment in which MLflow's page looks for the view."""
LINKS = 400
"""Characters that the links in a description take at most."""
MOST_COLUMNS = 8
"""Varied settings that the table shows at most."""


def address(experiment: str) -> str:
    """Return the part of an address, after that of the server, at which the page shows the comparison of variants."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={KEY}&compareRunsMode=CHART"


def tags(study: StudyRecord) -> dict[str, str]:
    """Return tags of an experiment: its primary metric, and the view that begins with a chart of it."""
    if not study.primary:
        return {}
    return {
        "mlflow.experiment.primaryMetric.name": study.primary,
        "mlflow.experiment.primaryMetric.greaterIsBetter": str(study.direction == "higher"),
        TAG: json.dumps(_view(study)),
    }


def description(question: str, experiment: str, report: Mapping[str, Any] | None = None) -> str:
    """Return the question of a study with links to the comparison of variants and to the report.

    Args:
        question: of the study.
        experiment: its id.
        report: ``run``, the id of the run that holds the report, and ``file``, its place there; None while there is none.
    """
    links = [f"[Compare variants]({address(experiment)})"]
    if report:
        links.append(f"[Report](#/experiments/{experiment}/runs/{report['run']}/artifacts/{report['file']})")
    return " ".join(filter(None, [question, " · ".join(links)]))  # one paragraph: the page folds all but the first


def _view(study: StudyRecord) -> dict[str, Any]:
    """Return what MLflow's page keeps of a view: columns, order, and charts, the primary metric's first."""
    section, _, short = study.primary.rpartition("/")
    end = {"deleted": False, "isGenerated": True}
    factors = list(dict.fromkeys(path for variant in study.variants for path in variant.factors))[:MOST_COLUMNS]
    return {
        "searchFilter": f"tags.`{KIND}` = '{VARIANT}'",  # a table that is sorted does not nest trials in variants
        "orderByKey": f"metrics.`{study.primary}`",
        "orderByAsc": study.direction == "lower",
        "selectedColumns": [f"metrics.`{study.primary}`", *(f"params.`{path}`" for path in factors)],
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,
        "compareRunSections": [{"uuid": "first", "name": section, "display": True, "isReordered": True, **end}],
        "compareRunCharts": [
            {
                "uuid": "primary",
                "type": "BAR",
                "runsCountToCompare": 100,
                "metricSectionId": "first",
                "metricKey": study.primary,
                "displayName": short,
                **end,
            }
        ],
    }
