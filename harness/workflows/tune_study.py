"""Tunes a study: tries its settings on the validation split and writes the winners into a file that the study can name."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from harness.core.spec import SpecError, encode, read_yaml
from harness.execution.runner import Listen, Settings
from harness.storage.disk import write
from harness.storage.store import Store
from harness.study import planning
from harness.study.plan import Plan
from harness.study.tuned import Tuned
from harness.workflows.run_study import run_study
from harness.workflows.write_report import StudyAnswer, results_folder

HEAD = """\
# Written by `s2s tune {study}`: what was tried on the validation split, and what won. A study names it as `tuned:`.
"""


@dataclass(frozen=True)
class Tuning:
    """What came of the tuning of a study on one base."""

    plan: Plan
    """Of the tuning."""
    answer: StudyAnswer
    found: Tuned | None
    """None while trials are missing."""
    file: Path


def tune_study(
    plan: Plan, tuning: Plan, store: Store, settings: Settings, listen: Listen, *, tracked: bool = True
) -> Tuning:
    """Run the trials of a tuning that are not finished, and write what won; the same call again resumes.

    Args:
        plan: the study.
        tuning: the plan of its tuning (``harness.study.tuning_plan``).
        store: where results are.
        settings: how trials are run.
        listen: hears of events.
        tracked: mirror the results into MLflow.

    Raises:
        SpecError: the data cannot be used, or no setting of a variant could be trained.
    """
    from harness.analysis.expected_best import tuned
    from harness.analysis.load_outcomes import gather

    tuning = planning.resolve(tuning)
    answer = run_study(tuning, store, settings, listen, tracked=tracked)
    file = results_folder(plan).parent / "tuned.yaml"
    if any(status == "missing" for _, status, _ in answer.failed):
        return Tuning(tuning, answer, None, file)
    found = tuned(plan, tuning.digest, gather(tuning, store, keep_stale=settings.keep_stale))
    _write(file, plan, found)
    return Tuning(tuning, answer, found, file)


def _write(file: Path, plan: Plan, found: Tuned) -> None:
    """Write a tuning beside those of other bases.

    Raises:
        SpecError: the file there is no mapping of bases.
    """
    known = read_yaml(file)[0] if file.exists() else {}
    if not isinstance(known, dict):
        raise SpecError("is no file of tunings; move it away", place=str(file))
    text = io.StringIO()
    yaml = YAML(typ="rt")
    yaml.default_flow_style = None
    yaml.width = 4096
    yaml.dump({**known, plan.base: encode(found)}, text)
    write(file, HEAD.format(study=plan.name) + text.getvalue())
