"""On the PYTHONPATH of a child: it writes down what it computes, and waits where it is told to, to be killed there.

``FAULTS_AUDIT`` names the file that lines are added to; ``FAULTS_HOLD`` names a step (``train``, ``report``, ...) whose
work is done but not yet declared finished when the process begins to wait; ``decode KEY`` means that one stage alone,
and ``checkpoint`` the instant after a checkpoint of a training.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

HOLD_SECONDS = 30.0


def tell(what: str, step: str, key: str = "", **more: Any) -> None:
    """Add one line to the audit, whole even where several processes write."""
    line = json.dumps({"time": time.time(), "pid": os.getpid(), "what": what, "step": step, "key": key, **more}) + "\n"
    file = os.open(os.environ["FAULTS_AUDIT"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, line.encode())
    os.close(file)


def _worked(step: str, key: str = "") -> None:
    tell("produced", step, key)
    if os.environ.get("FAULTS_HOLD") in (step, f"{step} {key}"):
        time.sleep(HOLD_SECONDS)


def audit_store(module: Any) -> None:
    """Tell of every stage that is computed: its beginning, its outputs written, and its record in place."""
    make = module.Store.make

    @wraps(make)
    def audited(self: Any, stage: Any, produce: Callable[[Any], Any], provenance: Any, **options: Any) -> Any:
        def counted(work: Any) -> Any:
            done = self.record(stage.name, stage.key) is not None
            tell("begin", stage.name, stage.key, done=done, resumed=(work / "checkpoint.pt").exists())
            facts = produce(work)
            _worked(stage.name, stage.key)
            return facts

        record, found = make(self, stage, counted, provenance, **options)
        if not found:
            tell("end", stage.name, stage.key)
        return record, found

    module.Store.make = audited


def hold_past_a_checkpoint(module: Any) -> None:
    """Wait after a checkpoint where that was asked for."""
    write = module.write

    @wraps(write)
    def held(*args: Any) -> None:
        write(*args)
        if os.environ.get("FAULTS_HOLD") == "checkpoint":
            _worked("checkpoint")

    module.write = held


def _step(owner: Any, function: str, step: str) -> None:
    plain = getattr(owner, function)

    @wraps(plain)
    def audited(*args: Any, **options: Any) -> Any:
        tell("begin", step)
        made = plain(*args, **options)
        _worked(step)
        tell("end", step)
        return made

    setattr(owner, function, audited)


PATCHES: dict[str, Callable[[Any], None]] = {
    "harness.storage.store": audit_store,
    "harness.storage.checkpoint": hold_past_a_checkpoint,
    "harness.report.pages": lambda module: _step(module, "write", "report"),
    "harness.tracking.mlflow_store": lambda module: _step(module.MlflowStore, "sync", "mirror"),
}


class Patching(importlib.abc.MetaPathFinder):
    """Finds modules as ever, and patches those that are watched right after they are loaded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of a watched module with a loader that patches; None for all others."""
        if name not in PATCHES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def patched(module: Any) -> None:
                load(module)
                PATCHES[name](module)

            spec.loader.exec_module = patched  # type: ignore[method-assign]
        return spec


if os.environ.get("FAULTS_AUDIT"):
    sys.meta_path.insert(0, Patching())
