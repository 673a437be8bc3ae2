"""The notebook of the manual: it runs from its first cell to its last, and what it shows names no machine."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK: dict[str, Any] = json.loads((ROOT / "docs/notebook.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
SMALL = {'"training.updates": 500': '"training.updates": 5', "seeds=3": "seeds=1"}
CLIENT = """
import sys, nbformat
from nbclient import NotebookClient
NotebookClient(nbformat.read(sys.argv[1], 4), timeout=600).execute()
"""


def small(text: str) -> str:
    for usual, less in SMALL.items():
        text = text.replace(usual, less)
    return text


def test_the_notebook_was_executed_from_top_to_bottom_without_error() -> None:
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    kinds = {output["output_type"] for cell in CODE for output in cell["outputs"]}
    assert "error" not in kinds and "execute_result" in kinds
    assert sum("image/png" in output.get("data", {}) for cell in CODE for output in cell["outputs"]) == 2


def test_the_notebook_is_small_and_names_no_machine() -> None:
    text = json.dumps(
        [{k: v for k, v in o.get("data", o).items() if k != "image/png"} for c in CODE for o in c["outputs"]]
    )
    assert not re.search(r"/(tmp|root|home|work|usr|Users)/|\\\\Users", text)
    assert (ROOT / "docs/notebook.ipynb").stat().st_size < 100_000


def test_links_of_the_notebook_lead_somewhere() -> None:
    words = "".join("".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "markdown")
    found = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", words)]
    assert found and all((ROOT / "docs" / link).is_file() for link in found)


@pytest.mark.slow
def test_every_cell_runs(tmp_path: Path) -> None:
    """By nbclient where it is installed, else as one script."""
    for name in ("harness", "variants", "studies", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    text = "\n".join(small("".join(cell["source"])) for cell in CODE)
    assert all(less in text for less in SMALL.values())
    if importlib.util.find_spec("nbclient") and importlib.util.find_spec("ipykernel"):
        cells = [cell | {"source": small("".join(cell["source"]))} for cell in NOTEBOOK["cells"]]
        (tmp_path / "docs/notebook.ipynb").write_text(json.dumps(NOTEBOOK | {"cells": cells}), encoding="utf-8")
        argv = [sys.executable, "-c", CLIENT, "notebook.ipynb"]
    else:
        argv = [sys.executable, "-c", text]
    env = {k: v for k, v in os.environ.items() if not k.startswith("S2S_")}
    env |= {"PYTHONPATH": str(tmp_path), "MPLBACKEND": "Agg"}
    ran = subprocess.run(argv, cwd=tmp_path / "docs", env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert (tmp_path / "runs/notebook/results/endings/nouns/report.html").is_file()
