"""The parent's side of a run: prepares the data of a plan and runs its unfinished trials."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from harness.core.spec import digest
from harness.execution import failures
from harness.execution.scheduler import PAUSE, Others, Rounds
from harness.execution.scheduler import Listen as Listen
from harness.execution.scheduler import Ran as Ran
from harness.execution.scheduler import Settings as Settings
from harness.execution.scheduler import state as state
from harness.storage.store import Busy, Record, Store
from harness.study.grid import Variant
from harness.study.plan import Plan
from harness.trial.encoded import words_of
from harness.trial.pipeline import DATA, Corridor, Trial
from harness.trial.train import count_parameters


def prepare_data(plan: Plan, store: Store, say: Callable[[str], None], *, keep_stale: bool = False) -> dict[str, int]:
    """Prepare the data of every variant and return the number of parameters of each.

    Args:
        plan: the study.
        store: where the prepared data are stored.
        say: called with a note while another run prepares the same data.
        keep_stale: use data that were prepared by code that has changed since.

    Raises:
        OSError: the disk is full, or the store cannot be written.
        SpecError: data cannot be used; nothing has been trained yet.
    """
    torch.set_num_threads(1)  # as in workers: the provenance of data does not depend on the process
    corridor = Corridor(store, plan.folders, "cpu", keep_stale=keep_stale, wait=False)
    words: dict[tuple[str, ...], Any] = {}
    params, counted = {}, {}
    for variant in (v for v in plan.variants if not v.skipped):
        trial = plan.trial(variant, plan.seeds[0])
        keys = tuple(stage.key for stage in trial.stages.values() if stage.name in DATA)
        if keys not in words:
            words[keys] = words_of(_prepared(corridor, trial, say)["prepare"].facts)
        c = variant.choice
        model = keys, digest(c.model), c.training.members
        if model not in counted:  # variants of one model are many
            counted[model] = count_parameters(c.model, words[keys], c.training.members)
        params[variant.name] = counted[model]
    return params


def _prepared(corridor: Corridor, trial: Trial, say: Callable[[str], None]) -> dict[str, Record]:
    """Prepare the data of a trial, its further test sets too; wait while another run prepares them."""
    others, owner = Others(corridor.store), ""
    while True:
        try:
            return {name: record for name, record, _ in corridor.run(trial, lambda _: None, DATA)}
        except Busy as busy:
            if busy.owner != owner:
                say(f"the data are being prepared by another run ({busy.owner}); this one waits for it")
            if note := others.silent(busy.owner, busy.work):
                say(note)
            owner = busy.owner
            time.sleep(PAUSE)
        except Exception as error:  # libraries report a full disk by errors of their own
            if disk := failures.disk_trouble(error, corridor.store.root):
                raise disk from None
            raise


def execute(plan: Plan, store: Store, settings: Settings, listen: Listen) -> Ran:
    """Run every unfinished trial of a plan; the same call again resumes.

    Raises:
        OSError: the disk is full, or the store cannot be written; finished stages are kept.
    """
    trials = {title(variant, seed): trial for variant, seed, trial in plan.trials()}
    return Rounds(trials, store, plan.folders, settings, listen).run()


def title(variant: Variant, seed: int) -> str:
    """Return the title of a trial, for people."""
    return f"{variant.name} · seed {seed}"
