"""What `s2s new` writes works as it is: imports, passes its own test, obeys ruff and the import law."""

from __future__ import annotations

import ast
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.cli import new
from harness.cli.new_place import place
from harness.cli.new_texts import RESULTS
from harness.cli.templates import copied
from harness.core.registry import SLOTS
from harness.core.spec import SpecError
from harness.study import planning

HOME = Path(__file__).resolve().parents[3]
LINT_IMPORTS = ("-c", "from importlinter.cli import lint_imports_command as lint; lint()")
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the checkout, as if it were the one that is installed."""
    for name in ("harness", "variants", "studies/bases"):
        shutil.copytree(HOME / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests/unit/variants").mkdir(parents=True)
    shutil.copy(HOME / "tests/conftest.py", tmp_path / "tests")
    shutil.copy(HOME / "pyproject.toml", tmp_path)
    here = SimpleNamespace(getfile=lambda part: str(tmp_path / Path(inspect.getfile(part)).relative_to(HOME)))
    monkeypatch.setattr(new, "inspect", here)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def execute(*argv: str) -> None:
    """Run Python in the working folder, with the harness that is there."""
    env = os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, *argv], env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def obeys_the_rules() -> None:
    """Check style and imports of all parts in the working folder."""
    execute("-m", "ruff", "check", "variants", "tests/unit/variants")
    execute("-m", "ruff", "format", "--check", "variants", "tests/unit/variants")
    execute(*LINT_IMPORTS)


def test_every_slot_gets_a_part_and_a_test(checkout: Path) -> None:
    for slot in SLOTS:
        new.part(slot, f"my_{slot}")
    assert len(list((checkout / "variants").glob("*_my_*.py"))) == len(SLOTS)
    assert {key.partition("/")[0] for key in RESULTS} == set(SLOTS)
    obeys_the_rules()
    execute(*PYTEST, *(f"tests/unit/variants/test_{slot}_my_{slot}.py" for slot in ("attention", "search", "dataset")))


@pytest.mark.slow
@pytest.mark.usefixtures("checkout")
def test_every_kind_can_be_copied() -> None:
    for slot in SLOTS:
        for kind in SLOTS[slot].kinds:
            new.part(slot, f"my_{kind}", kind)
    obeys_the_rules()
    execute(*PYTEST, "tests/unit/variants")


def test_a_part_that_reaches_into_the_machine_breaks_the_import_law(checkout: Path) -> None:
    new.part("attention", "mine")
    execute(*LINT_IMPORTS)
    for module in ("harness.storage.store", "harness.analysis.power", "variants.losses"):
        (checkout / "variants/loss_mine.py").write_text(f"import {module}\n", encoding="utf-8")
        with pytest.raises(AssertionError, match=rf"variants\.loss_mine -> {module}"):
            execute(*LINT_IMPORTS)


@pytest.mark.slow
def test_the_generated_test_notices_another_formula(checkout: Path) -> None:
    new.part("attention", "mine", "additive")
    path = checkout / "variants/attention_mine.py"
    path.write_text(path.read_text(encoding="utf-8").replace("torch.tanh(", "torch.sigmoid("), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"FAILED .*test_it_computes_its_formula"):
        execute(*PYTEST, "tests/unit/variants/test_attention_mine.py")


def test_a_copy_takes_what_it_needs_and_no_more() -> None:
    text = copied(SLOTS["bridge"].kinds["linear"], "bridge", "bent_line", "linear")
    defined = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    assert defined == ["_Projection", "BentLine"] and '@register("bent_line")' in text
    assert "import torch\n" not in text and "from torch import Tensor, nn\n" in text
    assert (
        '"""A copy of the bridge \'linear\', for you to change; describe your part here.\n\n    ``activation(' in text
    )


def test_a_copy_registers_nothing_else() -> None:
    text = copied(SLOTS["optimizer"].kinds["adamw"], "optimizer", "mine", "adamw")
    assert text.count("@register(") == 1 and "class Adam(" in text and "class Mine(" in text


def test_the_class_of_a_copy_hides_no_other_name() -> None:
    text = copied(SLOTS["attention"].kinds["dot"], "attention", "attention", "dot")
    assert "class AttentionAttention(Attention):" in text
    assert "class TrueCell(" in copied(SLOTS["cell"].kinds["gru"], "cell", "true", "gru")


def test_where_a_slot_is_and_what_must_be_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HOME)
    assert place("attention", "dot") == (
        "model.decoder.context.score",
        {},
        {"model.decoder.context.kind": "attention"},
    )
    assert place("optimizer", "sgd") == ("training.optimizer", {"lr": 0.003}, {})
    path, chosen, around = place("encoder", "rnn")
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


@pytest.mark.slow
def test_outside_of_the_checkout_a_plugin_is_written_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps = new.part("attention", "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["attention_mine.py"]
    assert "s2s run STUDY --plugin attention_mine.py" in steps and "score.kind: [additive, mine]" in steps
    shown = ["-m", "harness", "list", "attention", "--plugin", "attention_mine.py"]
    env = os.environ | {"PYTHONPATH": str(HOME), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([sys.executable, *shown], env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0 and "mine: A copy of the attention 'additive'" in ran.stdout, ran.stderr


def test_a_working_folder_is_valid_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = new.folder(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    assert planning.load("mine").base == "mine" and "s2s run mine" in steps
    with pytest.raises(SpecError, match=r"studies/mine\.yaml: already exists"):
        new.folder(tmp_path / "here")


def test_nothing_is_overwritten_and_then_nothing_is_written(checkout: Path) -> None:
    taken = checkout / "tests/unit/variants/test_cell_taken.py"
    taken.write_text("mine")
    with pytest.raises(SpecError, match=r"^tests/unit/variants/test_cell_taken\.py: already exists"):
        new.part("cell", "taken")
    assert taken.read_text() == "mine" and not (checkout / "variants/cell_taken.py").exists()


@pytest.mark.usefixtures("checkout")
def test_the_steps_name_a_study_that_can_be_run() -> None:
    steps = new.part("attention", "third")
    assert "set: {model.decoder.context.kind: attention}" in steps
    assert "vary: {model.decoder.context.score.kind: [additive, third]}" in steps


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(HOME / "studies/bases", tmp_path / "studies/bases")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "studies"


@pytest.mark.usefixtures("studies")
def test_a_new_study_is_valid_as_it_is() -> None:
    steps = new.study("hearing")
    plan = planning.load("hearing")
    assert [variant.name for variant in plan.variants] == ["ratio=1.0", "ratio=0.5"] and plan.file.claims
    assert "written: studies/hearing.yaml" in steps and "s2s run hearing" in steps
    with pytest.raises(SpecError, match=r"studies/hearing\.yaml: already exists"):
        new.study("hearing")


@pytest.mark.usefixtures("studies")
def test_a_new_study_takes_the_base_of_its_author() -> None:
    new.study("hearing", "scan")
    assert planning.load("hearing").base == "scan"
    with pytest.raises(SpecError, match="scna"):
        new.study("other", "scna")
    assert not Path("studies/other.yaml").exists()


@pytest.mark.usefixtures("studies")
def test_a_study_is_asked_again_with_new_seeds() -> None:
    """A copy of a shipped study lies in the working folder; one of a study of one's own beside it."""
    new.study_like("masking", "again", "101-103")
    text = Path("studies/again.yaml").read_text(encoding="utf-8")
    assert "\nseeds: [101, 102, 103]\n" in text and planning.load("again").seeds == (101, 102, 103)
    own = Path("elsewhere/own.yaml")
    own.parent.mkdir()
    own.write_text(text, encoding="utf-8")
    said = new.study_like(str(own), "own-2", "7-8")
    assert Path("elsewhere/own-2.yaml").is_file() and "s2s run elsewhere/own-2.yaml" in said
    for wrong in ("5", "9-7", "0-3", "a-b"):
        with pytest.raises(SpecError, match="FIRST-LAST"):
            new.study_like("masking", "other", wrong)


def test_a_new_base_is_a_copy(studies: Path) -> None:
    assert "written: studies/bases/mine.yaml" in new.base("mine", "scan")
    assert (studies / "bases/mine.yaml").read_bytes() == (studies / "bases/scan.yaml").read_bytes()
    new.study("hearing")
    assert planning.load("hearing", base="mine").base == "mine"


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
