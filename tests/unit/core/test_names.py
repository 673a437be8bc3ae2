"""Names that become paths: what may be one, what cannot be told apart, and that nothing leads out of a folder."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from harness.core import names
from harness.core.spec import SpecError

HOME = Path(__file__).resolve().parents[3]
HOSTILE = [
    "..", ".", "", "/", "/etc/passwd", "../../x", "a/b", "a\\b", "..\\x", "a\0b", "a\nb", "a\tb", "\x1b[2J", "a\u202eb", "a\u200bb",
    "CON", "nul", "aux.yaml", "com1", "LPT9.txt", "a.", "a ", " a", ".hidden", "-rf", "~root", "a:b", "a*", "a?", "a|b", 'a"b',
    "a<b", "x" * 300, "ж" * 150, "\ud800", "\U000e0041", "a\u2028b",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_what_is_no_name_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    for use in (lambda: names.file_name(name, "a study"), lambda: names.inside(tmp_path, name)):
        with pytest.raises(SpecError) as caught:
            use()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["masking", "teacher-forcing", "a b", "v1.2", "Größe", "数字", "null", "β-test", "конь", "x" * 200]
)
def test_names_of_any_language_are_names(name: str, tmp_path: Path) -> None:
    assert names.inside(tmp_path, name) == tmp_path / name


def test_one_spelling_of_two_is_taken() -> None:
    assert names.file_name("e\u0301tude", "a study") == "étude"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("masking", "Masking"),
        ("masking", "m\u0430sking"),  # Cyrillic
        ("TAX", "\u03a4\u0391\u03a7"),  # Greek
        ("masking", "\uff4dasking"),  # wide
        ("strasse", "straße"),
        ("file", "\ufb01le"),
    ],
)
def test_names_that_look_alike_share_no_folder(one: str, other: str, tmp_path: Path) -> None:
    names.inside(tmp_path, one).mkdir()
    assert names.inside(tmp_path, one) == tmp_path / one
    with pytest.raises(SpecError, match="looks like"):
        names.inside(tmp_path, other)
    for name in (one, other):
        (tmp_path / f"{name}.yaml").touch()
    with pytest.raises(SpecError, match="looks like"):
        names.stem(tmp_path / f"{one}.yaml", "a study")


def test_a_folder_in_the_other_form_of_unicode_is_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "étude")).mkdir()  # as some file systems write it
    assert names.inside(tmp_path, "étude").name == "étude"


@pytest.mark.parametrize("name", ["figures", "Tables", "report.md", "index.html"])
def test_names_that_reports_use_are_taken(name: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="reserved for the files of reports"):
        names.inside(tmp_path, name)


# --------------------------------------------------------------------------------- no command writes out of its folders


def tree(folder: Path) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.lstat().st_mtime_ns for path in sorted(folder.rglob("*"))}


COMMANDS = [
    ["run", "NAME.yaml"], ["run", "masking", "--base", "NAME"], ["plan", "NAME"], ["validate", "NAME"], ["report", "NAME"],
    ["power", "NAME"], ["sync", "NAME"], ["show", "NAME"], ["new", "study", "NAME"], ["new", "base", "NAME"],
    ["new", "part", "attention", "NAME"], ["try", "NAME", "one"], ["diff", "NAME", "NAME"], ["data", "NAME"],
    ["data", "{kind: hub, id: NAME, source: a, reference: b}"], ["data", "{kind: files, train: NAME}"],
    ["run", "masking", "--plugin", "NAME"], ["run", "masking", "--set", "NAME=1"],
]  # fmt: skip
TYPED = [
    "../../escaped",
    "/tmp/escaped",
    "..",
    "con",
    "a/../../escaped",
    "--output=escaped:x",
    "x" * 300,
    "\u202eescaped",
]
RUN = """
import sys, contextlib, io
from harness.cli import app as cli
for argv in {all!r}:
    sys.argv = ["s2s", *argv]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            cli.main()
        ended = 0
    except SystemExit as end:
        ended = end.code
    print(repr((argv, ended, "Traceback" in said.getvalue(), said.getvalue()[-300:])))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "typed", [t if t in TYPED[:2] else pytest.param(t, marks=pytest.mark.full) for t in TYPED], ids=ascii
)
def test_no_command_writes_for_a_hostile_name(typed: str, tmp_path: Path) -> None:
    work = tmp_path / "deep" / "er" / "work"
    shutil.copytree(HOME / "studies", work / "studies")
    (work / "mirror").mkdir()
    commands = [[word.replace("NAME", typed) for word in words] for words in COMMANDS]
    commands = [
        words for words in commands if words[:2] != ["new", "part"] or typed != "con"
    ]  # attention_con.py is fine
    before = tree(tmp_path)
    env = os.environ | {"HF_HUB_OFFLINE": "1", "S2S_HUB_MIRROR": str(work / "mirror"), "PYTHONPATH": str(HOME)}
    code = RUN.format(all=commands)
    ran = subprocess.run([sys.executable, "-c", code], cwd=work, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    ended = [ast.literal_eval(line) for line in ran.stdout.splitlines() if line.startswith("([")]
    assert len(ended) == len(commands)
    wrong = [one for one in ended if one[1] != 2 or one[2]]
    assert not wrong
    assert tree(tmp_path) == before, "something was written"
