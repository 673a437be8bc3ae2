"""The Python interface, as ``import harness`` offers it: load a study, run it, read its trials and answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import variants  # noqa: F401 (fills the registry)
from harness.core import plugins as plugin_files
from harness.execution.entry import MODULES, entry_of, perform
from harness.execution.local_pool import Workers, logs_of, slots
from harness.execution.runner import Listen, Settings
from harness.storage.store import Store, default_store
from harness.study import frozen_plan, planning
from harness.study.plan import Plan
from harness.trial.decoded import Hypothesis
from harness.workflows.try_model import Attended, TrainedModel

if TYPE_CHECKING:  # imported where they are used: loading a study needs no statistics, and scipy takes a second
    import pandas as pd

    from harness.analysis.interim import LatestLook
    from harness.workflows.write_report import StudyAnswer

__all__ = ["Attended", "Hypothesis", "Study", "TrainedModel", "bases", "load_model", "load_study"]


def bases(name: str, base: str | None = None) -> list[str]:
    """Return the bases that a study runs on: the one asked for, or those that its file names.

    Raises:
        SpecError: there is no such study or base.
    """
    return planning.bases(name, base)


def load_study(
    name: str,
    *,
    base: str | None = None,
    sets: Mapping[str, Any] | None = None,
    seeds: int | None = None,
    plugins: Iterable[str] = (),
    store: Path | str | None = None,
) -> Study:
    """Read a study file and expand it to a plan; nothing is run, and no data are read.

    Args:
        name: a study in ``studies/``, or the path of a study file.
        base: the base to use; if None, the first that the file names.
        sets: choices to override in every variant, by dotted path: ``{"training.updates": 500}``.
        seeds: the number of seeds in place of the file's; a list is cut, or goes on from its largest seed.
        plugins: files that register parts of your own.
        store: the folder of finished work; if None, ``S2S_STORE`` or ``runs``.

    Raises:
        SpecError: the study, its base or a claim is invalid, with the file, the line and the path.
    """
    plugin_files.load(plugins)
    plan = planning.load(name, base=base, sets=sets, seeds=seeds)
    return Study(plan, _store(store))


def load_model(trial: str, *, plugins: Iterable[str] = (), store: Path | str | None = None) -> TrainedModel:
    """Load the trained model of a finished trial.

    Args:
        trial: the digest of the trial, or its beginning: the column ``trial`` of ``Study.trials()``.
        plugins: files that register parts of your own.
        store: the folder of finished work; if None, ``S2S_STORE`` or ``runs``.

    Raises:
        SpecError: no finished trial, or more than one, has a digest with this beginning.
    """
    plugin_files.load(plugins)
    return TrainedModel(_store(store), trial)


def _store(folder: Path | str | None) -> Store:
    return default_store() if folder is None else Store(Path(folder))


@dataclass(frozen=True)
class Study:
    """A study on one base, and the store that holds its finished trials.

    A script that calls ``run`` must do so under ``if __name__ == "__main__":``, since worker processes import it.
    """

    plan: Plan
    store: Store

    @property
    def variants(self) -> list[str]:
        """The names of the variants that can run."""
        return [variant.name for variant in self.plan.variants if not variant.skipped]

    @property
    def skipped(self) -> dict[str, str]:
        """The reason for every variant that cannot run."""
        return {variant.name: variant.skipped for variant in self.plan.variants if variant.skipped}

    def run(
        self,
        *,
        jobs: int | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        timeout: float | None = None,
        replan: bool = False,
        tracked: bool = True,
        listen: Listen = lambda name, event: None,
    ) -> StudyAnswer:
        """Run the trials that are not finished, write the report, and return the answer; a second call resumes.

        Args:
            jobs: worker processes; all cores if None.
            device: where models are trained.
            timeout: seconds for the trials of one training.
            replan: accept a study that changed since its plan was frozen.
            tracked: mirror the results into MLflow.
            listen: called with the name of a trial and an event, as they come.

        Raises:
            SpecError: the data cannot be used, or the study changed since its plan was frozen.
        """
        from harness.workflows.run_study import run_study

        logs = {"logs": str(logs_of(self.store.root))}
        with Workers(entry_of(perform), MODULES, slots(device, jobs), logs) as workers:
            settings = Settings(workers, timeout=timeout, replan=replan)
            return run_study(self.plan, self.store, settings, listen, tracked=tracked)

    def report(self) -> StudyAnswer:
        """Write the report of the finished trials; nothing is run.

        Raises:
            SpecError: the study never ran, or changed since its plan was frozen.
        """
        from harness.workflows.write_report import write_report

        with self.store.in_use():
            return write_report(self._frozen(), self.store)

    def trials(self) -> pd.DataFrame:
        """Return one row per trial: variant, seed, status, settings, metrics, costs and digests (``trials.csv``).

        Raises:
            SpecError: the study never ran, or changed since its plan was frozen.
        """
        from harness.analysis import trials_frame

        look = self._look()
        with self.plan.naming():
            return trials_frame(look.outcomes)

    def answers(self) -> pd.DataFrame:
        """Return one row per claim: difference, interval, p values and verdict (``comparisons.csv``).

        Raises:
            SpecError: the study never ran, or changed since its plan was frozen.
        """
        from harness.analysis import comparisons_frame

        return comparisons_frame(self.plan.name, self.plan.base, self._look().comparisons)

    def _frozen(self) -> Plan:
        plan = planning.resolve(self.plan)
        if not frozen_plan.check(plan, self.store):
            raise frozen_plan.missing(plan)
        return plan

    def _look(self) -> LatestLook:
        from harness.analysis.interim import latest_look

        plan = self._frozen()
        with self.store.in_use():
            return latest_look(plan, self.store)
