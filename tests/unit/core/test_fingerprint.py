"""Fingerprints follow the code and its imports, not comments, names or places."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from harness.core import fingerprint as module
from harness.core.seeds import Stream, stream_seed

ROOT = Path(__file__).resolve().parents[3]
TOY = {
    "__init__": "",
    "a": '"""A."""\nfrom toy import b\nfrom toy.c import Z as z\nX = b.Y + z\n',
    "b": "Y = 2\n",
    "c": "from toy.d import W\nZ = 3 * W\n",
    "d": "W = 4\n",
}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "toy").mkdir()
    for name, text in TOY.items():
        (tmp_path / "toy" / f"{name}.py").write_text(text, encoding="utf-8")
    yield tmp_path / "toy"
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
        del sys.modules[name]
    module._together.cache_clear()
    module._code.cache_clear()
    module._own_code.cache_clear()
    module._path.cache_clear()


def taken(*names: str) -> str:
    forget()
    return module.fingerprint(names or ("toy.a",))


def test_comments_docstrings_formatting_and_the_order_of_imports_do_not_count(toy: Path) -> None:
    before = taken()
    text = '"""Another text."""\n\n\nfrom toy.c import Z as z\nfrom toy import b   # why\nX = (b.Y + z)\n'
    (toy / "a.py").write_text(text, encoding="utf-8")
    assert taken() == before


def test_imports_for_type_checkers_do_not_count(toy: Path) -> None:
    before = taken()
    text = TOY["a"] + "from typing import TYPE_CHECKING\n"
    (toy / "a.py").write_text(text, encoding="utf-8")
    plain = taken()
    (toy / "a.py").write_text(text + "if TYPE_CHECKING:\n    from toy.e import V\n", encoding="utf-8")
    assert taken() == plain != before


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_code_counts_wherever_the_imports_lead(toy: Path, name: str) -> None:
    before = taken()
    file = toy / f"{name}.py"
    file.write_text(file.read_text(encoding="utf-8") + "V = 4\n", encoding="utf-8")
    assert taken() != before
    assert taken("toy.b") == taken("toy.b", "toy.b")


@pytest.mark.parametrize("old", ["a", "b", "c", "d"])
def test_renaming_a_module_changes_nothing(toy: Path, old: str) -> None:
    before = taken()
    for name, text in TOY.items():
        renamed = re.sub(rf"\b{old}\b", "zz", text)
        (toy / f"{name}.py").unlink()
        (toy / f"{'zz' if name == old else name}.py").write_text(renamed, encoding="utf-8")
    assert taken("toy.zz" if old == "a" else "toy.a") == before


def test_importing_the_same_name_from_another_module_counts(toy: Path) -> None:
    (toy / "b.py").write_text("Y = 2\nW = 5\n", encoding="utf-8")
    (toy / "c.py").write_text("from toy.d import W\nfrom toy.b import Y\n", encoding="utf-8")
    before = taken("toy.c")
    (toy / "c.py").write_text("from toy.b import W\nfrom toy.b import Y\n", encoding="utf-8")
    assert taken("toy.c") != before


def test_alone_a_module_counts_without_its_imports(toy: Path) -> None:
    forget()
    before = module.fingerprint([], alone=["toy.a"])
    (toy / "b.py").write_text("Y = 3\n", encoding="utf-8")
    forget()
    assert module.fingerprint([], alone=["toy.a"]) == before
    (toy / "a.py").write_text(TOY["a"].replace("+", "-"), encoding="utf-8")
    forget()
    assert module.fingerprint([], alone=["toy.a"]) != before


@pytest.mark.usefixtures("toy")
def test_a_module_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"toy\.z"):
        taken("toy.z")


STAGES = """
import variants
from pathlib import Path
from typing import get_args
from harness.core.spec import read
from harness.study.bases import read_base
from harness.trial.pipeline import Trial, TrialChoice
trial = Trial(read(TrialChoice, read_base(Path("studies/bases/numbers.yaml"))[0]), 1, "")
print(*(stage.fingerprint for stage in trial.stages.values()))
"""


def stages(root: Path) -> list[str]:
    """Return the fingerprints of all stages of a trial, as the code in a folder has them."""
    ran = subprocess.run(
        [sys.executable, "-c", STAGES],
        cwd=root,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def replace(root: Path, pattern: str, by: str) -> None:
    for file in [path for folder in ("harness", "variants") for path in (root / folder).rglob("*.py")]:
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(pattern, by, text), encoding="utf-8")


def test_a_renamed_module_makes_no_result_stale_and_one_operator_does(tmp_path: Path) -> None:
    for folder in ("harness", "variants", "studies"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = stages(tmp_path)
    (tmp_path / "harness/trial/batches.py").rename(tmp_path / "harness/contracts/token_batches.py")
    (tmp_path / "harness/trial/flops.py").rename(tmp_path / "harness/trial/operations.py")
    replace(tmp_path, r"\bharness\.trial\.batches\b", "harness.contracts.token_batches")
    replace(tmp_path, r"\bharness\.trial import (.*)\bflops\b", r"harness.trial import \1operations")
    replace(tmp_path, r"\bflops\.(?=[a-z_]+\()", "operations.")
    assert stages(tmp_path) == before
    file = tmp_path / "harness/core/seeds.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(">> 1", ">> 2"), encoding="utf-8")
    assert file.read_text(encoding="utf-8") != text
    after = stages(tmp_path)
    assert after[1] != before[1] and after[3] == before[3], "trainings are seeded by it, scores are not"


EVERY_KIND = """
import sys, json
import variants
from pathlib import Path
from harness.core import fingerprint
from harness.core.spec import override, read
from harness.study.bases import read_base
from harness.trial.pipeline import Trial, TrialChoice
plain = read_base(Path("studies/bases/numbers.yaml")).plain
begin = {"kind": "trained", "training": plain["training"], "dataset": plain["data"]["dataset"]}
changes = {"data.tests": {"gen": plain["data"]["dataset"]}, "training.pretraining": begin}
choice = read(TrialChoice, override(TrialChoice, plain, changes))
def taken():
    for hashes in (fingerprint._together, fingerprint._code, fingerprint._path):
        hashes.cache_clear()
    return {stage.name: stage.fingerprint for stage in Trial(choice, 1, "", {"gen": ""}).stages.values()}
before, found = taken(), {}
for name, old, new in json.loads(sys.argv[1]):
    file = Path(name)
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, (name, old)
    file.write_text(text.replace(old, new), encoding="utf-8")
    found[f"{name}: {new}"] = sorted(kind for kind, code in taken().items() if code != before[kind])
    file.write_text(text, encoding="utf-8")
print(json.dumps([found, taken() == before]))
"""
EDITS = [
    ("harness/trial/prepare.py", "found.revision != revision", "found.revision == revision", ["prepare"]),
    ("harness/trial/test_sets.py", "found.revision != revision", "found.revision == revision", ["test"]),
    ("harness/trial/encode.py", "2 * size * batches", "2 * size + batches", ["prepare", "pretraining_data", "test"]),
    ("harness/trial/pretraining_data.py", "/ max(1,", "* max(1,", ["pretraining_data"]),
    ("harness/trial/pretrain_stage.py", "return facts | {", "return facts & {", ["pretrain"]),
    ("harness/trial/train_stage.py", "per_token * facts", "per_token + facts", ["train"]),
    ("harness/trial/train.py", "total / tokens", "total * tokens", ["pretrain", "train"]),
    ("harness/trial/flops.py", "counter.total) / steps", "counter.total) * steps", ["train"]),
    ("harness/trial/decode_stage.py", "further, model.output", "further, not model.output", ["decode"]),
    ("harness/trial/decode.py", "seconds = time.monotonic() - began", "seconds = time.monotonic() + began", ["decode"]),
    ("harness/trial/score_stage.py", "known.union(", "known.difference(", ["score"]),
    ("harness/trial/score.py", "array.ndim != 2", "array.ndim == 2", ["score"]),
    ("harness/trial/decoded.py", '.split("\\n")[:-1]', '.split("\\n")[:+1]', ["decode", "score"]),
    ("harness/trial/batches.py", "first_B1 + torch", "first_B1 - torch", ["decode", "pretrain", "train"]),
    ("harness/trial/parameters.py", "if keeps(name)", "if not keeps(name)", ["decode", "pretrain", "train"]),
    ("harness/trial/model.py", "ids < size", "ids > size", ["decode", "pretrain", "train"]),
    ("harness/trial/pipeline.py", "!= key:", "== key:", []),
    ("harness/core/provenance.py", "bool(changed)", "not changed", []),
    ("harness/execution/scheduler.py", "self.ran.newly_failed >=", "self.ran.newly_failed >", []),
    ("variants/tokenizers.py", "learned.get_vocab_size() > ", "learned.get_vocab_size() < ", ["prepare"]),
    (
        "variants/data_numbers.py",
        "return total + group + digit",
        "return total + group - digit",
        ["prepare", "pretraining_data", "score", "test"],
    ),
    ("variants/pretraining.py", "not self.cfg.keep or", "not self.cfg.keep and", ["pretrain"]),
    ("variants/losses.py", "rows * steps", "rows + steps", ["pretrain", "train"]),
    ("variants/decoders.py", "self.context.width > 0", "self.context.width < 0", ["decode", "pretrain", "train"]),
    ("variants/searches.py", "if not len(kept)", "if len(kept)", ["decode"]),
    ("variants/metrics_whole.py", "missed = probable > ", "missed = probable < ", ["score"]),
]
"""File, operator, another one in its place, and the kinds of stages that run this code."""


@pytest.mark.slow
def test_an_operator_changes_the_stages_that_run_it_and_no_others(tmp_path: Path) -> None:
    for folder in ("harness", "variants", "studies"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    edits = [edit[:3] for edit in EDITS]
    ran = subprocess.run(
        [sys.executable, "-c", EVERY_KIND, json.dumps(edits)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found, restored = json.loads(ran.stdout)
    assert restored
    assert found == {f"{name}: {new}": kinds for name, _, new, kinds in EDITS}


def test_streams_are_apart_and_stand() -> None:
    seeds = [stream_seed(seed, stream) for seed in (1, 2) for stream in get_args(Stream)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)
    assert stream_seed(1, "init") == 5267816590608909949
