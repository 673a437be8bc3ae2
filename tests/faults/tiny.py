"""A tiny real study: run as a user runs it, with an audit of what is computed, and what of it must never differ."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

ROOT = Path(__file__).resolve().parents[2]
HOOKS = Path(__file__).parent / "hooks"
STAGES = ("prepare", "train", "decode", "score")
COSTS = ["train_seconds", "target_tokens_per_second", "decode_sentences_per_second", "peak_memory_mb"]
"""Columns of trials.csv that are measured and differ from run to run."""
SIZES: dict[str, Any] = {
    "data.dataset.train": 300,
    "data.dataset.validation": 40,
    "data.dataset.test": 40,
    "data.dataset.digits": 3,
    "model.embeddings.width": 8,
    "model.embeddings.dropout": 0.1,
    "model.encoder.cell.hidden": 8,
    "model.decoder.cell.hidden": 8,
    "training.batch_size": 32,
    "training.updates": 400,
    "training.evaluate_every": 40,
}
CASES: dict[str, Any] = {
    "plain": {},
    "sampled": {"training.teacher_forcing.ratio": 0.7, "training.patience": 3},
    "plain, beam": {"decoding.search": {"kind": "beam", "width": 2, "length_penalty": 0.0}},
}
"""Two trainings a seed: one with every random stream and early stopping, one decoded twice."""


def study_file(
    folder: Path,
    name: str = "tiny",
    *,
    cases: dict[str, Any] | None = None,
    seeds: int = 2,
    claims: bool = True,
    **sizes: Any,
) -> Path:
    """Write a study file and return it; ``sizes`` are dotted paths with two underscores for a dot."""
    cases = CASES if cases is None else cases
    claimed = [{"name": "a claim", "better": {"case": "plain"}, "than": {"case": list(cases)[-1]}, "metric": "nll"}]
    said = {
        "question": "Does it end with the same numbers?",
        "expectation": "Yes.",
        "base": str(ROOT / "studies/bases/numbers.yaml"),
        "set": SIZES | {path.replace("__", "."): value for path, value in sizes.items()},
        "cases": cases,
        "seeds": seeds,
        "claims": claimed if claims and len(cases) > 1 else [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(json.dumps(said), encoding="utf-8")
    return folder / f"{name}.yaml"


class Home:
    """A folder with a store, results and an audit of its own."""

    def __init__(self, folder: Path, store: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.store, self.results = folder, store or folder / "runs", folder / "results"
        self.audit = folder / "audit.jsonl"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a command that works here."""
        own = {
            "S2S_STORE": str(self.store),
            "S2S_RESULTS": str(self.results),
            "FAULTS_AUDIT": str(self.audit),
            "PYTHONPATH": os.pathsep.join([str(HOOKS), str(ROOT)]),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }
        return os.environ | own | more

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        """Start ``s2s`` in a session of its own; what it says goes to ``said.txt``."""
        with (self.folder / "said.txt").open("a", encoding="utf-8") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "harness", *words],
                env=self.environment(**more),
                cwd=ROOT,
                stdout=said,
                stderr=said,
                start_new_session=True,
                text=True,
                preexec_fn=_hear_signals,
            )

    def call(self, *words: str, code: int = 0, **more: str) -> str:
        """Run ``s2s`` to its end and return what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "harness", *words], env=self.environment(**more), cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, preexec_fn=_hear_signals,
        )  # fmt: skip
        assert done.returncode == code, f"exit code {done.returncode}: {done.stdout}"
        return done.stdout

    def settled(self, study: Path) -> tuple[int, int]:
        """Return what MLflow shows in the end: a run waits a minute for it and leaves the rest to ``s2s sync``."""
        if "s2s sync" in self.said():
            self.call("sync", str(study))
        return mirrored(self.store)

    def said(self) -> str:
        """Return all that started commands have said."""
        path = self.folder / "said.txt"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def events(self) -> list[dict[str, Any]]:
        """Return the audit."""
        text = self.audit.read_text(encoding="utf-8") if self.audit.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def living(self) -> list[psutil.Process]:
        """Return all processes that work in this store, however they were started."""
        mark, found = f"S2S_STORE={self.store}".encode(), []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if mark in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                    found.append(process)
        return [p for p in found if p.pid != os.getpid() and p.status() != psutil.STATUS_ZOMBIE]

    def quiet(self, seconds: float = 20.0) -> bool:
        """Wait until no process works here any more, and say whether that came to be."""
        latest = time.monotonic() + seconds
        while self.living() and time.monotonic() < latest:
            time.sleep(0.05)
        return not self.living()

    def results_of(self, study: str = "tiny") -> dict[str, Any]:
        """Return all that must be the same however often a run was interrupted."""
        folder = self.results / study / "numbers"
        trials = pd.read_csv(folder / "trials.csv").drop(columns=COSTS)
        return {
            "trials.csv": trials.to_csv(index=False),
            "comparisons.csv": (folder / "comparisons.csv").read_text(encoding="utf-8"),
            "files": self.outputs(),
        }

    def outputs(self) -> dict[str, str]:
        """Return the sha256 of every output of every finished stage; what is measured is left out."""
        found = {}
        for path in sorted((self.store / "stages").glob("*/*/*")):
            if path.name not in ("stage.json", "clock.jsonl", "trial.json"):
                found[str(path.relative_to(self.store))] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def left_behind(self) -> list[str]:
        """Return what an interrupted run left in the store that a finished one does not have."""
        work = self.store / "work"
        parts = [p for p in self.store.rglob("*") if p.name.endswith(".part") or p.name.startswith(".")]
        found = [*(work.iterdir() if work.exists() else ()), *parts]
        return sorted(str(path.relative_to(self.store)) for path in found)


def _hear_signals() -> None:
    """Let a child hear Ctrl-C although it was started in the background, and a closed terminal although under nohup."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def computed_again(events: Iterable[dict[str, Any]]) -> list[str]:
    """Return every stage that was computed although a finished one was there, or finished twice."""
    events = list(events)
    again = [f"{e['step']} {e['key']} begun when it was done" for e in events if e["what"] == "begin" and e.get("done")]
    ended = Counter((e["step"], e["key"]) for e in events if e["what"] == "end" and e["key"])
    return again + [f"{step} {key} finished {count} times" for (step, key), count in ended.items() if count > 1]


def interrupted(events: Iterable[dict[str, Any]]) -> Counter[str]:
    """Return how many computations of each stage were begun and never finished, the record being in place or not."""
    events = [e for e in events if e["step"] in STAGES]
    begun = Counter(e["step"] for e in events if e["what"] == "begin")
    begun.subtract(Counter(e["step"] for e in events if e["what"] == "end"))
    return begun


def mirrored(store: Path) -> tuple[int, int]:
    """Return how many runs of trials MLflow shows as complete, and how many runs it has twice."""
    if not (store / "mlflow" / "mlflow.db").exists():
        return 0, 0
    with closing(sqlite3.connect(store / "mlflow" / "mlflow.db")) as database:
        query = (
            "SELECT runs.experiment_id || ' ' || k.value, m.value = r.value FROM runs "
            "JOIN tags k ON k.run_uuid = runs.run_uuid AND k.key = 's2s.key' "
            "LEFT JOIN tags m ON m.run_uuid = runs.run_uuid AND m.key = 's2s.mirrored' "
            "LEFT JOIN tags r ON r.run_uuid = runs.run_uuid AND r.key = 's2s.record' "
            "WHERE runs.lifecycle_stage = 'active'"
        )
        rows = database.execute(query).fetchall()
    keys = Counter(key for key, _ in rows)
    return sum(bool(whole) and " trial " in key for key, whole in rows), sum(n > 1 for n in keys.values())
