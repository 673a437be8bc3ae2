"""A user's own file: run because it was named, everywhere the same, and its mistakes are the user's, with a line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core import conformance, plugins
from harness.core.fingerprint import _code, _together, fingerprint
from harness.core.registry import SLOTS
from harness.core.spec import SpecError
from harness.study import planning

HOME = Path(__file__).resolve().parents[3]
PART = '''"""The attention 'halved'."""

from __future__ import annotations

from torch import Tensor

from harness.contracts import Attention
from harness.core.registry import register
from variants.attention import General


@register("halved")
class Halved(General):
    """Half of ``q . W m``."""

    class Config(Attention.Config):
        """No settings."""

    def forward(self, query_BTH: Tensor, keys_BSA: Tensor) -> Tensor:
        """Return scores, B x T x S."""
        return 0.5 * super().forward(query_BTH, keys_BSA)
'''
STUDY = """question: Does half an attention do?
expectation: It does.
base: numbers
set:
  data.dataset.train: 40
  data.dataset.validation: 10
  data.dataset.test: 10
  training.updates: 2
  training.evaluate_every: 1
  model.decoder.context: {kind: attention, score: general, place: readout, merge: concat, mask: true}
vary: {model.decoder.context.score.kind: [general, halved]}
seeds: 1
"""


@pytest.fixture
def clean() -> Iterator[None]:
    """Leave the registry as it was."""
    before = dict(SLOTS["attention"].kinds)
    yield
    SLOTS["attention"].kinds.clear()
    SLOTS["attention"].kinds.update(before)
    for name in list(plugins.LOADED):
        del plugins.LOADED[name]
        sys.modules.pop(name, None)
    _together.cache_clear()
    _code.cache_clear()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "halved.py"
    path.parent.mkdir()
    path.write_text(PART, encoding="utf-8")
    return path


@pytest.mark.usefixtures("clean")
def test_a_file_fills_a_slot_and_leaves_nothing_behind(file: Path) -> None:
    plugins.load([str(file), str(file)])
    part = SLOTS["attention"].kinds["halved"]
    assert plugins.file_of(part.__module__) == str(file)
    assert plugins.file_of("variants.attention") == "variants/attention.py"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.usefixtures("clean")
def test_its_code_counts_and_what_it_leads_to(file: Path) -> None:
    plugins.load([str(file)])
    name = SLOTS["attention"].kinds["halved"].__module__
    before = fingerprint([name])
    _together.cache_clear()
    _code.cache_clear()
    file.write_text(PART + "# a comment\n", encoding="utf-8")
    assert fingerprint([name]) == before
    _together.cache_clear()
    _code.cache_clear()
    file.write_text(PART.replace("0.5 *", "0.25 *"), encoding="utf-8")
    assert fingerprint([name]) != before
    assert fingerprint([name]) != fingerprint([], alone=[name]), "the modules that it imports count too"


@pytest.mark.usefixtures("clean")
def test_it_runs_as_it_is_now_not_as_it_was_compiled(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    at = file.stat().st_mtime_ns
    plugins.load([str(file)])
    assert list(file.parent.iterdir()) == [file]
    [name] = plugins.LOADED
    before = plugins.LOADED.pop(name).sha256
    file.write_text(PART.replace("0.5 *", "0.7 *"), encoding="utf-8")
    os.utime(file, ns=(at, at))  # of the same size, and written in the same moment
    plugins.load([str(file)])
    assert plugins.LOADED[name].sha256 != before
    assert 0.7 in SLOTS["attention"].kinds["halved"].forward.__code__.co_consts


@pytest.mark.usefixtures("clean")
def test_another_process_refuses_what_has_changed(file: Path) -> None:
    plugins.load([str(file)])
    told = json.loads(json.dumps(plugins.loaded()))
    plugins.load_same(told)
    with pytest.raises(SpecError, match="changed while the study ran"):
        plugins.load_same([[told[0][0], told[0][1], "0" * 64]])


@pytest.mark.usefixtures("clean")
def test_the_command_names_it(file: Path) -> None:
    plugins.load([str(file)])
    assert planning.command("x", None, {}, None) == f"make study name=x args='--plugin {file}'"


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        ("x = 1\ny = (\n", r"halved.py:2: SyntaxError: '\(' was never closed"),
        ("import nothing_like_it\n", "halved.py:1: ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("\n\ndef f():\n    return 1 / 0\n\nf()\n", "halved.py:4: ZeroDivisionError"),
        ("raise SystemExit(0)\n", "halved.py:1: SystemExit: 0"),
        ("x = 1\n", "registers no part"),
        (PART.replace('"halved"', '"dot"'), "halved.py:12: ValueError: attention 'dot' is taken by variants.attention"),
        ("\0", "halved.py:1: .*null bytes"),
        ("# é", None),
    ],
)
def test_a_mistake_in_it_is_one_line_with_its_own_line_number(file: Path, text: str | None, said: str | None) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_bytes(text.encode("latin-1" if said is None else "utf-8"))
    with pytest.raises(SpecError, match=said) as caught:
        plugins.load([str(file)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["halved.txt", "ha-lved.py", "halved", "", "a.b.py"])
def test_what_is_no_plugin_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a plugin is a Python file"):
        plugins.load([str(tmp_path / name)])


@pytest.mark.usefixtures("clean")
def test_two_of_one_name_are_refused(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / file.name)
    plugins.load([str(file)])
    with pytest.raises(SpecError, match="another plugin has the name halved"):
        plugins.load([str(tmp_path / file.name)])


# ------------------------------------------------------------------------------------------------------ whole commands


def s2s(work: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the installed script does: what Python puts first on its path is the script's folder."""
    script = work.parent / "bin" / "s2s"
    script.parent.mkdir(exist_ok=True)
    script.write_text(
        f"import sys\nsys.path.insert(1, {str(HOME)!r})\nfrom harness.cli.app import main\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("S2S_", "PYTHON"))}
    return subprocess.run(
        [sys.executable, script, *argv], cwd=work, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    shutil.copytree(HOME / "studies/bases", folder / "studies/bases")
    (folder / "studies/halves.yaml").write_text(STUDY, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_study_of_a_plugin_runs_and_says_what_ran(work: Path, file: Path) -> None:
    asked = ["--plugin", os.path.relpath(file, work)]
    ran = s2s(work, "run", "halves", "--jobs", "1", "--no-track", *asked)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    report = work / "results/halves/numbers"
    made_with = json.loads((report / "provenance.json").read_text("utf-8"))["made_with"]
    sha256 = hashlib.sha256(PART.encode()).hexdigest()
    assert made_with and all(made["plugins"] == {asked[1]: sha256} for made in made_with)
    assert f"s2s run halves --plugin {asked[1]}" in (report / "report.md").read_text("utf-8")
    assert "nothing to do" in s2s(work, "run", "halves", "--no-track", *asked).stdout
    file.write_text(PART.replace("0.5 *", "0.25 *"), encoding="utf-8")
    plan = json.loads(s2s(work, "plan", "halves", "--json", *asked).stdout)
    states = {row["variant"]: [trial["state"] for trial in row["trials"]] for row in plan["variants"]}
    assert states == {"score=general": ["done"], "score=halved": ["stale"]}
    without = s2s(work, "run", "halves", "--no-track")
    assert without.returncode == 2 and "no attention is called 'halved'" in without.stderr


@pytest.mark.full
@pytest.mark.slow
def test_no_file_that_lies_around_runs(work: Path) -> None:
    mark = work / "it-ran"
    evil = f"open({str(mark)!r}, 'a').write(__name__ + chr(10))\n"
    names = ["variants/evil.py", "variants/__init__.py", "torch.py", "random.py", "multiprocessing.py", "sitecustomize.py",
             "conftest.py", "halved.py", "plugin_halved.py", "studies/halved.py", "results/halves/numbers/evil.py"]  # fmt: skip
    for name in names:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(evil, encoding="utf-8")
    (work / "studies/halves.yaml").write_text(STUDY.replace(", halved]", ", dot]"), encoding="utf-8")
    for argv in (["list"], ["run", "halves", "--jobs", "1"], ["report", "halves"], ["sync", "halves"], ["index"]):
        ran = s2s(work, *argv)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not mark.exists(), mark.read_text("utf-8")


def broken(before: str, after: str) -> str:
    assert before in PART
    return PART.replace(before, after)


ALONE = broken("Halved(General)", "Halved(Attention)")


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ALONE, r"halved\.py:13: Halved has no `keys`, which every Attention needs"),
        (
            broken("    def forward", "    def __init__(self, cfg):\n        pass\n\n    def forward"),
            r"halved\.py:13: Halved\.__init__ cannot be called as the contract says \(.*memory.*\): __init__\(self, cfg: ",
        ),
        (
            broken("query_BTH: Tensor, keys_BSA: Tensor)", "query_BTH: Tensor)"),
            r"halved\.py:13: Halved\.forward cannot be called as the contract says \(too many positional arguments\): forward",
        ),
    ],
)
def test_a_part_that_breaks_its_contract_is_refused_with_its_line(file: Path, text: str, message: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=message):
        plugins.load([str(file)])
    assert "halved" not in SLOTS["attention"].kinds and not plugins.LOADED


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            "super().forward(query_BTH, keys_BSA)[:, :, :1, None]",
            r"halved\.py: a model with this part cannot be computed; \w+: ",
        ),
        ("keys_BSA @ keys_BSA", r"halved\.py:21: a model with this part cannot be computed; RuntimeError: "),
        ("self.nothing", r"halved\.py:21: a model with this part cannot be computed; AttributeError: .*'nothing'"),
    ],
)
def test_a_part_that_cannot_be_computed_is_refused_before_a_run(
    file: Path, answer: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(HOME)
    file.write_text(broken("0.5 * super().forward(query_BTH, keys_BSA)", answer), encoding="utf-8")
    study = file.parent / "s.yaml"
    study.write_text(STUDY, encoding="utf-8")
    with pytest.raises(SpecError, match=r"no attention is called 'halved'; .*--plugin FILE\.py"):
        planning.load(str(study))
    plugins.load([str(file)])
    with pytest.raises(SpecError, match=message):
        planning.load(str(study))


def test_every_registered_part_keeps_to_its_contract() -> None:
    for contract in SLOTS.values():
        for part in contract.kinds.values():
            assert not list(conformance.faults(part)), part


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that offers parts under two names, as an installer lays it out."""
    about = tmp_path / "halves-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: halves\nVersion: 1.2\n", encoding="utf-8")
    points = f"[{plugins.GROUP}]\nhalf-scores = halves.parts.halved\nalone = halved_alone\ngone = halves.gone\n"
    (about / "entry_points.txt").write_text(points, encoding="utf-8")
    for path in (tmp_path / "halves/parts/halved.py", tmp_path / "halved_alone.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PART, encoding="utf-8")
    for package in ("halves", "halves/parts"):
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("clean")
def test_a_package_offers_parts_by_a_name_and_nothing_is_loaded_unnamed(installed: Path) -> None:
    assert plugins.offered() == dict.fromkeys(("alone", "gone", "half-scores"), "halves 1.2")
    assert not plugins.LOADED and "halves" not in sys.modules
    plugins.load(["half-scores"])
    assert [plugin.path for plugin in plugins.loaded()] == [str(installed / "halves/parts/halved.py")]
    assert SLOTS["attention"].kinds["halved"].__module__ == "plugin_halved" and "halves" not in sys.modules
    assert plugins.file_of("plugin_halved") == "half-scores"


@pytest.mark.usefixtures("clean")
def test_a_module_by_itself_can_be_offered(installed: Path) -> None:
    plugins.load(["alone"])
    assert [plugin.path for plugin in plugins.loaded()] == [str(installed / "halved_alone.py")]


@pytest.mark.usefixtures("clean", "installed")
def test_a_name_that_no_package_offers_or_keeps_is_an_error() -> None:
    with pytest.raises(SpecError, match=r"no installed package offers parts by this name.*: alone, gone, half-scores"):
        plugins.load(["halfscores"])
    with pytest.raises(
        SpecError, match=r"halves 1\.2 offers it as the module halves\.gone, which is no file of its own"
    ):
        plugins.load(["gone"])


@pytest.mark.usefixtures("clean")
def test_what_packages_offer_is_listed(installed: Path) -> None:
    env = os.environ | {"PYTHONPATH": f"{HOME}:{installed}"}
    told = subprocess.run(
        [sys.executable, "-m", "harness", "list"], env=env, capture_output=True, text=True, check=True
    )
    assert "half-scores: halves 1.2" in told.stdout and "by --plugin NAME" in told.stdout


@pytest.mark.usefixtures("clean")
def test_a_name_of_several_packages_names_none(installed: Path) -> None:
    again = installed / "others-3.dist-info"
    again.mkdir()
    (again / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 3\n", encoding="utf-8")
    (again / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nalone = others.scores\n", encoding="utf-8")
    with pytest.raises(
        SpecError, match=r"several packages offer parts by this name: halves 1\.2, others 3; name the file"
    ):
        plugins.load(["alone"])
