"""What `s2s new` writes works as it is: imports, passes its own test, obeys ruff and the import law."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import new, study
from harness.registry import SLOTS
from harness.spec import SpecError

HOME = Path(__file__).resolve().parents[2]
IMPORTABLE = {"harness.contracts", "harness.registry", "harness.spec"}
WRITE = """
import variants
from harness import new
from harness.registry import SLOTS
for slot in SLOTS:
    for kind in {kinds}:
        new.part(slot, f"my_{{kind}}", kind)
"""


def checkout(folder: Path) -> Path:
    """Return a copy of what a checkout needs."""
    for name in ("harness", "variants", "studies/bases"):
        shutil.copytree(HOME / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests/parts").mkdir(parents=True)
    shutil.copy(HOME / "tests/conftest.py", folder / "tests")
    shutil.copy(HOME / "pyproject.toml", folder)
    return folder


def execute(folder: Path, *argv: str) -> str:
    """Run Python in a checkout of its own and return what it prints."""
    env = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, *argv], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which every slot has a copy of the kind that is copied by default."""
    folder = checkout(tmp_path_factory.mktemp("copies"))
    execute(folder, "-c", WRITE.format(kinds="[new.simplest(slot)]"))
    return folder


def test_every_slot_gets_a_part_and_a_test_that_import_and_pass(copies: Path) -> None:
    assert len(list((copies / "variants").glob("*_my_*.py"))) == len(SLOTS) == len(new.RESULTS)
    execute(copies, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/parts")


def test_what_is_written_obeys_ruff_and_the_import_law(copies: Path) -> None:
    execute(copies, "-m", "ruff", "check", "variants", "tests/parts")
    execute(copies, "-m", "ruff", "format", "--check", "variants", "tests/parts")
    for path in (copies / "variants").glob("*_my_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("harness", "variants"):
                assert node.module in IMPORTABLE, path.name


@pytest.mark.slow
def test_every_kind_can_be_copied(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    execute(folder, "-c", WRITE.format(kinds="list(SLOTS[slot].kinds)"))
    execute(folder, "-m", "ruff", "check", "variants", "tests/parts")
    execute(folder, "-m", "ruff", "format", "--check", "variants", "tests/parts")
    execute(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/parts")


def test_the_generated_test_notices_another_formula(copies: Path) -> None:
    path = next((copies / "variants").glob("attention_my_*.py"))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("torch.tanh(", "torch.sigmoid("), encoding="utf-8")
    try:
        with pytest.raises(AssertionError, match="test_it_computes_its_formula"):
            execute(copies, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/parts/test_{path.name}")
    finally:
        path.write_text(text, encoding="utf-8")


def test_a_copy_takes_what_it_needs_and_no_more() -> None:
    text = new.copied(SLOTS["bridge"].kinds["linear"], "bridge", "bent_line", "linear")
    defined = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    assert defined == ["_Projection", "BentLine"] and '@register("bent_line")' in text
    assert "import torch\n" not in text and "from torch import Tensor, nn\n" in text
    assert '"""A copy of the bridge \'linear\', to be changed; say here what yours is.\n\n    ``activation(' in text


def test_a_copy_registers_nothing_else() -> None:
    text = new.copied(SLOTS["optimizer"].kinds["adamw"], "optimizer", "mine", "adamw")
    assert text.count("@register(") == 1 and "class Adam(" in text and "class Mine(" in text


def test_the_class_of_a_copy_hides_no_other_name() -> None:
    text = new.copied(SLOTS["attention"].kinds["dot"], "attention", "attention", "dot")
    assert "class AttentionAttention(Attention):" in text
    assert "class TrueCell(" in new.copied(SLOTS["cell"].kinds["gru"], "cell", "true", "gru")


def test_where_a_slot_is_and_what_must_be_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HOME)
    assert new.place("attention", "dot") == (
        "model.decoder.context.score",
        {},
        {"model.decoder.context.kind": "attention"},
    )
    assert new.place("optimizer", "sgd") == ("training.optimizer", {"lr": 0.003}, {})
    path, chosen, around = new.place("encoder", "rnn")
    assert (path, around) == ("model.encoder", {}) and set(chosen) == {"cell"}


@pytest.mark.parametrize(
    ("slot", "kind", "like", "message"),
    [
        ("atention", "mine", None, "did you mean 'attention'"),
        ("attention", "Mine", None, "cannot name a kind"),
        ("attention", "2nd", None, "cannot name a kind"),
        ("attention", "../mine", None, "cannot name a kind"),
        ("attention", "lambda", None, "cannot name a kind"),
        ("attention", "null", None, "cannot name a kind"),
        ("attention", "dot", None, "already"),
        ("attention", "mine", "dott", "did you mean 'dot'"),
    ],
)
def test_names_that_are_none_are_refused(
    slot: str, kind: str, like: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(HOME)
    with pytest.raises(SpecError, match=message):
        new.part(slot, kind, like)
    assert not (HOME / f"variants/{slot}_{kind}.py").exists()


def test_outside_of_the_checkout_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="not the checkout that is installed"):
        new.part("attention", "mine")
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_and_then_nothing_is_written(copies: Path) -> None:
    taken = copies / "tests/parts/test_cell_taken.py"
    taken.write_text("mine")
    said = "from harness import new\nfrom harness.spec import SpecError\nimport variants\n"
    said += "try: new.part('cell', 'taken')\nexcept SpecError as error: print(error)"
    assert execute(copies, "-c", said).startswith("tests/parts/test_cell_taken.py: is there already")
    assert taken.read_text() == "mine" and not (copies / "variants/cell_taken.py").exists()
    taken.unlink()


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(HOME / "studies/bases", tmp_path / "studies/bases")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "studies"


def test_a_new_study_is_valid_as_it_is(studies: Path) -> None:
    steps = new.study("hearing")
    plan = study.load("hearing")
    assert [variant.name for variant in plan.variants] == ["ratio=1.0", "ratio=0.5"] and plan.file.claims
    assert "written: studies/hearing.yaml" in steps and "s2s run hearing" in steps
    with pytest.raises(SpecError, match=r"studies/hearing\.yaml: is there already"):
        new.study("hearing")


def test_a_new_base_is_a_copy(studies: Path) -> None:
    assert "written: studies/bases/mine.yaml" in new.base("mine", "scan")
    assert (studies / "bases/mine.yaml").read_bytes() == (studies / "bases/scan.yaml").read_bytes()
    new.study("hearing")
    assert study.load("hearing", base="mine").base == "mine"


@pytest.mark.parametrize("name", ["../up", "Big", "", "a b", "a.yaml"])
def test_names_of_files_are_plain(name: str, studies: Path) -> None:
    before = sorted(studies.rglob("*"))
    for write in (new.study, new.base):
        with pytest.raises(SpecError, match="cannot name a file"):
            write(name)
    assert sorted(studies.rglob("*")) == before


def test_a_base_is_not_copied_from_nowhere_nor_from_a_broken_one(studies: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'numbers'"):
        new.base("mine", "nubmers")
    (studies / "bases/broken.yaml").write_text("data: {}\n")
    with pytest.raises(SpecError, match=r"broken\.yaml:1: data\.dataset: is not set"):
        new.base("mine", "broken")
    assert not (studies / "bases/mine.yaml").exists()


def test_the_steps_name_a_study_that_can_be_run(copies: Path) -> None:
    said = "import variants\nfrom harness import new\nprint(new.part('attention', 'third'))"
    steps = execute(copies, "-c", said)
    assert "set: {model.decoder.context.kind: attention}" in steps
    assert "vary: {model.decoder.context.score.kind: [additive, third]}" in steps
    (copies / "variants/attention_third.py").unlink()
    (copies / "tests/parts/test_attention_third.py").unlink()
