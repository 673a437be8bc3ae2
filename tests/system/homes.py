"""A tiny study with a store and results of its own, to be run by the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
STUDY = {
    "question": "Does masking matter?",
    "expectation": "Not in so few updates.",
    "base": "numbers",
    "set": {
        "data.dataset.train": 200,
        "data.dataset.validation": 20,
        "data.dataset.test": 30,
        "data.dataset.digits": 3,
        "model.encoder.cell.hidden": 8,
        "model.decoder.cell.hidden": 8,
        "training.updates": 30,
        "training.evaluate_every": 10,
    },
    "vary": {"training.loss.mask": [True, False]},
    "seeds": 2,
    "claims": [
        {
            "name": "masking helps, if only a little",
            "better": {"training.loss.mask": True},
            "than": {"training.loss.mask": False},
            "metric": "nll",
        }
    ],
}


def pages(folder: Path) -> str:
    """Return both pages of a report in Markdown: the short one, and its details."""
    return "\n".join((folder / name).read_text("utf-8") for name in ("report.md", "report-details.md"))


class Home(NamedTuple):
    """Where a study, its store and its results are."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "runs"

    @property
    def results(self) -> Path:
        return self.folder / "results" / "small" / "numbers"

    def s2s(self, *words: str, **environment: str) -> str:
        """Run a command that must end well, and return what it prints."""
        done = self.tried(*words, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def tried(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever comes of it."""
        return subprocess.run(**self.command(*words, **environment), capture_output=True, timeout=300)

    def started(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command and do not wait for it."""
        return subprocess.Popen(**self.command(*words, **environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def command(self, *words: str, **environment: str) -> dict[str, Any]:
        """Return what it takes to start a command with this store, and no server but one that is named."""
        homes = {"S2S_STORE": str(self.store), "S2S_RESULTS": str(self.folder / "results"), "COLUMNS": "400"}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        argv = [sys.executable, "-m", "harness", *words]
        return {"args": argv, "env": clean | homes | environment, "cwd": ROOT, "text": True}


def new_home(folder: Path, **changes: Any) -> Home:
    folder.mkdir(exist_ok=True)
    (folder / "small.yaml").write_text(json.dumps(STUDY | changes), encoding="utf-8")
    return Home(folder)
