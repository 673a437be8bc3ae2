"""Every command in a process of its own, which has loaded nothing of the harness: in a checkout, and where only a wheel is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from system.documents import known

from harness.analysis.runs import diff

HOME = Path(__file__).resolve().parents[2]
SPLITS = "{kind: numbers, source: en, reference: digits, train: 9, validation: 3, test: 3}"
STATED = ["--delta", "2", "--sd-seed", "1", "--sd-sentence", "40", "--sentences", "500"]
MASKING = str(HOME / "results/masking/numbers")
COMPARED = sum(row.found == "identical" for row in diff(MASKING, MASKING).scores)
"""In this process, which has loaded the metrics."""
NOTHING = "nothing of this study is in the store"


class Example(NamedTuple):
    """What is typed, the exit code, and what is printed."""

    argv: list[str]
    code: int
    said: str


EXAMPLES = [
    Example(["list"], 0, "attention"),
    Example(["list", "dataset"], 0, "hub"),
    Example(["show", "bahdanau2015"], 0, "ours"),
    Example(["show", "masking:1"], 0, "cross_entropy"),
    Example(["validate", "masking"], 0, "masking on numbers is valid"),
    Example(["validate", "masking", "--set", "preset=bahdanau2015"], 0, "is valid"),
    Example(["plan", "decoding", "--preset", "luong2015", "--set", "training.updates=20"], 0, "to run: "),
    Example(["register", "cells"], 0, "is registered"),
    Example(["power", "masking", *STATED], 0, "seeds"),
    Example(["run", "nosuch"], 2, "no study is called 'nosuch'"),
    Example(["watch"], 2, "no run of any study is known here"),
    Example(["report", "null"], 0, "0 of 60 trials"),
    Example(["diff", "nowhere", "nowhere"], 2, "nowhere"),
    Example(["diff", MASKING, MASKING], 0, f"{COMPARED} means compared: {COMPARED} identical"),
    Example(["index"], 0, "index.html"),
    Example(["data", SPLITS], 0, "sha256"),
    Example(["data", "files"], 2, "train"),
    Example(["try", "abcdef", "one"], 2, "abcdef"),
    Example(["init", "here"], 0, "s2s run mine"),
    Example(["new", "part", "attention", "my_score"], 0, "written: "),
    Example(["new", "study", "hearing"], 0, "written: studies/hearing.yaml"),
    Example(["new", "base", "mine", "--like", "files"], 0, "written: studies/bases/mine.yaml"),
    Example(["validate", "hearing", "--base", "mine"], 0, "is valid"),
    Example(["sync", "masking"], 2, NOTHING),
    Example(["tune", "masking"], 2, "does not say what to tune"),
    Example(["verify", "masking"], 2, NOTHING),
    Example(["export", "masking"], 2, NOTHING),
    Example(["import", "nothing.tar"], 2, "nothing.tar"),
    Example(["gc"], 0, "remove"),
]
UNTRIED = {"ui"}  # starts a server; tests/system/test_mlflow_page.py opens it
HOST = """
# Loads what the harness stands on, never the harness; then a child of this process is as fresh as a new one, and soon there.
import json, os, sys
import pydantic, ruamel.yaml, rich, typer, torch, sacrebleu, safetensors.torch, tokenizers, numpy
torch._meta_registrations
for line in sys.stdin:
    argv, out = json.loads(line)
    if not (child := os.fork()):
        handle = os.open(out, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, 1), os.dup2(handle, 2)
        assert not any(name.partition(".")[0] in ("harness", "variants") for name in sys.modules)
        sys.argv = ["s2s", *argv]
        from harness.cli.app import main
        main()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def perform(folder: Path, path: Path, examples: list[Example]) -> list[str]:
    """Type examples in a folder, with the harness that is at ``path``, and return what went wrong."""
    env = os.environ | {"PYTHONPATH": str(path), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1"}
    env["XDG_CACHE_HOME"] = str(folder.parent / "cache")
    env = {name: value for name, value in env.items() if not name.startswith("S2S_")}
    lines = "".join(json.dumps([e.argv, str(folder.parent / f"{i}.out")]) + "\n" for i, e in enumerate(examples))
    ran = subprocess.run(
        [sys.executable, "-c", HOST], input=lines, cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    wrong = []
    for i, (example, code) in enumerate(zip(examples, ran.stdout.split(), strict=True)):
        out = (folder.parent / f"{i}.out").read_text(encoding="utf-8")
        if int(code) != example.code or example.said not in " ".join(out.split()) or "Traceback" in out:
            wrong.append(f"s2s {' '.join(example.argv)} ended with {code}:\n{out}")
    return wrong


def test_every_command_has_an_example() -> None:
    for command in set(known()) - UNTRIED:
        assert any(example.argv[: len(command.split())] == command.split() for example in EXAMPLES), command


def copied(to: Path) -> Path:
    """Return a copy of the sources, as a checkout has them."""
    for name in ("harness", "variants", "studies"):
        shutil.copytree(HOME / name, to / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(HOME / name, to)
    return to


def test_commands_that_need_parts_load_them(tmp_path: Path) -> None:
    wanted = (
        ["list", "dataset"],
        ["new", "base", "mine", "--like", "files"],
        ["show", "bahdanau2015"],
        ["diff", MASKING, MASKING],
    )
    (tmp_path / "empty").mkdir()
    assert not perform(tmp_path / "empty", HOME, [example for example in EXAMPLES if example.argv in wanted])


@pytest.mark.slow
def test_every_command_works_in_a_checkout(tmp_path: Path) -> None:
    checkout = copied(tmp_path / "checkout")
    (checkout / "tests/unit/variants").mkdir(parents=True)
    assert not perform(checkout, checkout, EXAMPLES)
    assert (checkout / "variants/attention_my_score.py").exists()


@pytest.mark.slow
def test_every_command_works_where_only_a_wheel_is(tmp_path: Path) -> None:
    source = copied(tmp_path / "source")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(list(map(str, build)), check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    shutil.rmtree(source)
    (tmp_path / "empty").mkdir()
    assert not perform(tmp_path / "empty", tmp_path / "installed", EXAMPLES)
    assert (tmp_path / "empty/attention_my_score.py").exists()


@pytest.mark.parametrize("shipped", ["studies", "studies/bases", "studies/replications"])
def test_what_is_shipped_is_in_the_package(shipped: str) -> None:
    inside = HOME / "harness/shipped" / Path(shipped).relative_to("studies")
    assert {path.name for path in inside.glob("*.yaml")} == {path.name for path in (HOME / shipped).glob("*.yaml")}


def test_the_index_names_the_best_variants(tmp_path: Path) -> None:
    """In a process of its own, in which nothing but the command has loaded the metrics."""
    shutil.copytree(HOME / "results/counting", tmp_path / "results/counting")
    env = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "harness", "index"], cwd=tmp_path, env=env, check=True)
    trials = pd.read_csv(HOME / "results/counting/counting/trials.csv")
    best = trials.groupby("variant")["exact_match"].mean().max()
    assert f"{best:.2f}" in (tmp_path / "results/index.md").read_text(encoding="utf-8")
