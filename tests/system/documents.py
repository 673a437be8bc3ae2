"""What the documents hold: links, headings, code, and the commands that a reader may type."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
WALKED = [ROOT / "docs/first-study.md", ROOT / "docs/course.md", ROOT / "docs/examples/README.md"]
"""Pages whose commands belong together; ``test_walks.py`` types each page from its first command to its last."""
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/examples/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SETTING = re.compile(r"[A-Z][A-Z0-9_]*=\S*")
"""A variable of the environment before a command."""
TREE = """
import json, typer
from harness.cli.app import app

def walk(command, before, found):
    for name, inner in getattr(command, "commands", {}).items():
        walk(inner, [*before, name], found)
    if not hasattr(command, "commands"):
        found[" ".join(before)] = [
            {
                "options": [*p.opts, *p.secondary_opts], "flag": bool(getattr(p, "is_flag", False)),
                "many": p.nargs < 0, "required": p.required,
            }
            for p in command.params
        ]
    return found

print(json.dumps(walk(typer.main.get_command(app), [], {})))
"""


class Typed(NamedTuple):
    """A command of a document, as the words that a shell would make of it."""

    page: str
    words: tuple[str, ...]
    """``s2s run masking`` or ``make study name=masking``."""

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub names them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {slug if n == 0 else f"{slug}-{n}" for slug, last in found.items() for n in range(last + 1)}


def links(page: Path) -> list[str]:
    """Return the relative links and pictures of a page."""
    return [link for link in LINK.findall(SPAN.sub("", prose(page))) if "://" not in link]


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of code of a page in one language."""
    return [text for known, text in FENCE.findall(page.read_text(encoding="utf-8")) if known == language]


def spans(page: Path) -> list[str]:
    """Return the code that stands in the text and tables of a page."""
    return SPAN.findall(prose(page))


def commands(page: Path) -> list[Typed]:
    """Return every command of ``s2s`` and ``make`` that a page shows."""
    lines = [line for language in ("", "bash") for text in blocks(page, language) for line in text.splitlines()]
    found = [words for text in (*lines, *spans(page)) if (words := _words(text))]
    return [Typed(page.relative_to(ROOT).as_posix(), words) for words in found]


def _words(text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # a sentence with an apostrophe
        return ()
    pipe = " ".join(shlex.quote(word) for word in words).split("'|'")  # of a pipe, the part that is ours
    for part in map(shlex.split, pipe):
        while part and SETTING.fullmatch(part[0]):
            part = part[1:]
        if len(part) > 1 and Path(part[0]).name in ("s2s", "make"):
            return (Path(part[0]).name, *part[1:])
    return ()


@cache
def known() -> dict[str, list[dict[str, Any]]]:
    """Return the commands of ``s2s`` with what each accepts, as a fresh process sees them."""
    ran = subprocess.run([sys.executable, "-c", TREE], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, list[dict[str, Any]]] = json.loads(ran.stdout)
    return found


def wrong(words: tuple[str, ...]) -> str:
    """Return what is wrong with the words after ``s2s``; "" if nothing is."""
    if words[0].startswith("-"):
        return "" if words in (("--help",), ("--version",)) else f"no option {words[0]}"
    name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known()), None)
    if name is None:
        return "" if words == ("new",) else f"no command {words[0]}"
    params, rest, given = known()[name], list(words[len(name.split()) :]), 0
    while rest:
        word, _, value = rest.pop(0).partition("=")
        if word == "-" or not word.startswith("-"):
            given += 1
            continue
        option = next((p for p in params if word in p["options"]), None)
        if option is None and word != "--help":
            return f"{name} has no option {word}"
        if option and not option["flag"] and not value and not (rest and rest.pop(0)):
            return f"{word} wants a value"
    arguments = [p for p in params if not p["options"][0].startswith("-")]
    return "" if given <= len(arguments) or any(p["many"] for p in arguments) else f"{name} has too many arguments"


def complete(words: tuple[str, ...]) -> bool:
    """Whether the words after ``s2s`` name everything that the command requires."""
    name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known()), None)
    if name is None:
        return False
    wanted = sum(p["required"] for p in known()[name])
    return len([word for word in words[len(name.split()) :] if not word.startswith("-")]) >= wanted
