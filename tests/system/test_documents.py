"""The documents hold: links lead somewhere, commands exist and run, examples are valid, the tree is the one that is there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import documents
import pandas as pd
import pytest
from documents import PAGES, ROOT, Typed

from harness.cli import listing
from harness.core.registry import SLOTS
from harness.core.spec import parse_yaml, read
from harness.study import planning
from harness.study.grid import StudyFile
from harness.trial.pipeline import TrialChoice
from harness.trial.prepare import DataChoice

README = ROOT / "README.md"
TYPED = sorted({typed for page in PAGES for typed in documents.commands(page)})
STORY = ("new", "register", "run", "watch", "plan", "power", "report", "verify", "export", "import", "sync", "try")
"""Commands about a study, in the order in which a reader types them."""
SMALL = {"train: 4000": "train: 300", "updates: 2000": "updates: 40", "evaluate_every: 200": "evaluate_every: 20"}
"""What makes the base `numbers` small."""
CHEAP = ("new", "init", "list", "show", "validate", "data", "diff", "index", "gc")
"""Commands that take a second or two."""
ELSEWHERE = re.compile(r"HEAD:|RUN_A|STUDY\[|FILE|SECONDS|HOST|\$|^ray$|^cuda$|^g2p$|^\.\.\.$|^N$|^-$")
"""What a command has that needs more than a fresh clone: a repository, a cluster, a GPU, a file of one's own."""
EXAMPLES = {
    "STUDY": "masking", "SLOT": "cell", "KIND": "my_cell", "NAME": "another", "AGAIN": "yet-another",
    "BASE": "numbers", "DATASET": "numbers", "DIR": "a-folder",
}  # fmt: skip
"""What stands for the words in capitals."""
OWN = {"my_score": "dot"}
"""Parts that a reader is asked to write, and what stands for them here."""
CLAIM = """\
claims: [{name: it helps, better: {case: a}, than: {case: b}, metric: primary}]
cases: {a: {}, b: {model.encoder.reverse: true}}
"""
TEMPLATE = {"question": "Does it?", "expectation": "It does.", "base": "numbers", "seeds": 1}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in documents.links(page):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in documents.anchors(target), f"{page.name}: {link}"


def test_the_chinese_first_page_has_the_commands_links_and_studies_of_the_english_one() -> None:
    english, chinese = README, ROOT / "docs/README.zh.md"
    assert {t.words for t in documents.commands(chinese)} == {t.words for t in documents.commands(english)}
    wanted = {(ROOT / link.partition("#")[0]).resolve() for link in documents.links(english)} - {chinese}
    found = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in documents.links(chinese)} - {README}
    assert found == wanted
    plain = [[parse_yaml(text, page.name) for text in documents.blocks(page, "yaml")] for page in (english, chinese)]
    assert plain[0] == plain[1]


def test_every_page_is_in_the_index() -> None:
    listed = {link.partition("#")[0] for link in documents.links(ROOT / "docs/README.md")}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= listed


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_tree_of_the_readme_is_the_tree() -> None:
    tree = next(text for text in documents.blocks(README, "") if text.startswith("studies/"))
    shown = re.findall(r"^(  )?([\w/]+)/", tree, re.M)
    packages = {path.parent.name for path in (ROOT / "harness").glob("*/__init__.py")}
    assert {name for indent, name in shown if indent} == packages
    assert all((ROOT / name).is_dir() for indent, name in shown if not indent and name != "runs")


# -------------------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("typed", TYPED, ids=str)
def test_every_command_exists_with_its_options(typed: Typed) -> None:
    program, *words = typed.words
    if program == "s2s":
        assert documents.wrong(tuple(words)) == ""
        return
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    target, *settings = words
    assert re.search(rf"^{re.escape(target)}:.*##", text, re.M), "no such target"
    for setting in settings:
        name, _, value = setting.partition("=")
        assert f"$({name})" in text or f"$(if $({name})" in text, f"the Makefile knows no {name}"
        if name == "args" and target in ("study", "plan", "report"):
            command = "run" if target == "study" else target
            assert documents.wrong((command, "masking", *shlex.split(value))) == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_is_named_exists(page: Path) -> None:
    options = {option for params in documents.known().values() for p in params for option in p["options"]}
    named = {span.split()[0].partition("=")[0] for span in documents.spans(page) if span.startswith("--")}
    for program in ("bench", "calibration"):
        options |= set(
            re.findall(r'"(--[a-z-]+)"', (ROOT / f"tests/{program}/__main__.py").read_text(encoding="utf-8"))
        )
    assert named <= options


@pytest.mark.parametrize("command", sorted(documents.known()))
def test_every_command_is_documented(command: str) -> None:
    assert f"`s2s {command}" in (ROOT / "docs/commands.md").read_text(encoding="utf-8")


def test_every_target_is_documented() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert [target for target in targets if f"`make {target}" not in text] == []


def test_every_slot_and_preset_is_documented() -> None:
    rows = re.findall(r"^\| (\w+) \| `", (ROOT / "docs/parts.md").read_text(encoding="utf-8"), re.M)
    assert sorted(rows) == sorted(SLOTS)
    text = (ROOT / "docs/study-files.md").read_text(encoding="utf-8")
    bases = {path.stem for path in (ROOT / "studies/bases").glob("*.yaml")}
    presets = {path.stem for path in (ROOT / "variants/presets").glob("*.yaml")}
    assert [name for name in sorted(bases | presets) if f"`{name}`" not in text] == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what a fresh clone holds, with the data that the documents name and reports to compare."""
    home = tmp_path
    for name in ("harness", "variants", "studies", "results/masking"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(home / "results/masking", home / "mine/masking")
    (home / "tests/unit/variants").mkdir(parents=True)
    for name in ("train", "validation", "test"):
        pairs = (f"{name} {i}\t{i} {name}\n" for i in range(50))
        (home / f"{name}.tsv").write_text("".join(pairs), encoding="utf-8")
    return home


def typed_in(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a fresh process of its own, in a fresh home."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("S2S_")} | {"PYTHONPATH": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "harness", *words], cwd=home, env=env, capture_output=True, text=True, check=False
    )


def runnable(kinds: tuple[str, ...], *pages: Path) -> list[tuple[str, ...]]:
    """Return the complete commands of some kinds on some pages, with examples for words in capitals, kind by kind."""
    alone = [page for page in pages if page not in documents.WALKED]
    typed = {typed.words[1:] for page in alone for typed in documents.commands(page) if typed.words[0] == "s2s"}
    named = [words for words in typed if words[0] in kinds and documents.complete(words)]
    found = {tuple(EXAMPLES.get(word, word) for word in words) for words in named}
    return sorted(
        (words for words in found if not any(map(ELSEWHERE.search, words))), key=lambda w: (kinds.index(w[0]), w)
    )


def failures(home: Path, commands: list[tuple[str, ...]]) -> str:
    """Run commands one after the other, and return what those that fail print."""
    ran = {shlex.join(words): typed_in(home, *words) for words in commands}
    return "\n".join(f"s2s {words}: {r.stdout[-500:]}{r.stderr[-500:]}" for words, r in ran.items() if r.returncode)


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_a_fresh_process(checkout: Path) -> None:
    assert failures(checkout, runnable(CHEAP, README)) == ""


@pytest.mark.slow
@pytest.mark.full
def test_cheap_commands_run_in_a_fresh_process(checkout: Path) -> None:
    assert failures(checkout, runnable(CHEAP, *PAGES)) == ""


@pytest.mark.slow
@pytest.mark.full
def test_the_commands_about_a_study_run_in_turn(checkout: Path) -> None:
    base = checkout / "studies/bases/numbers.yaml"
    text = base.read_text(encoding="utf-8")
    for usual, small in SMALL.items():
        assert usual in text
        text = text.replace(usual, small)
    base.write_text(text, encoding="utf-8")
    assert failures(checkout, [("run", "masking")]) == ""
    digest = pd.read_csv(checkout / "results/masking/numbers/trials.csv")["trial"][0]
    story = runnable(STORY, *PAGES)
    assert failures(checkout, [tuple(digest if w in ("TRIAL", "1f3a") else w for w in words) for words in story]) == ""


# -------------------------------------------------------------------------------------------------------- examples

YAML = [(page, text) for page in PAGES for text in documents.blocks(page, "yaml")]


@pytest.mark.parametrize(("page", "text"), YAML, ids=[f"{page.name}-{i}" for i, (page, _) in enumerate(YAML)])
def test_every_example_is_valid(page: Path, text: str, tmp_path: Path) -> None:
    said: Any = parse_yaml(text, page.name)
    if "data" in said:
        assert read(TrialChoice, {name: said[name] for name in TrialChoice.model_fields}).data.dataset
        return
    if "dataset" in said:
        read(DataChoice, {"source": "words", "target": "words"} | said)
        return
    assert set(said) <= set(StudyFile.model_fields), "an example is a part of a study, or a dataset"
    for own, shipped in OWN.items():
        text = text.replace(own, shipped)
    path = tmp_path / "example.yaml"
    shutil.copy(ROOT / "docs/examples/plurals/nouns.yaml", tmp_path)
    text = text.replace("base: nouns", "base: nouns.yaml")
    head = "" if "question" in said else "".join(f"{k}: {v}\n" for k, v in TEMPLATE.items() if k not in said)
    tail = CLAIM if not set(said) & {"claims", "cases", "vary"} else ""
    path.write_text(head + text + tail, encoding="utf-8")
    assert planning.load(str(path)).variants


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_dataset_in_the_text_is_valid(page: Path) -> None:
    for span in documents.spans(page):
        choice: Any = parse_yaml(span, page.name) if span.startswith("{kind: ") else {}
        if choice.get("kind") in SLOTS["dataset"].kinds and "..." not in span:
            listing.dataset(span)
