"""Writes files to start from: a part that copies another, with its test; a study; a base; a working folder."""

from __future__ import annotations

import ast
import inspect
import json
import keyword
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from harness.cli.new_place import BASE, LISTS, place, simplest
from harness.cli.new_texts import RESULTS, STUDY, TEST
from harness.cli.templates import copied, defined, pruned
from harness.core.names import file_name
from harness.core.registry import SLOTS, suggest
from harness.core.spec import SpecError, read
from harness.study import locate
from harness.study.bases import read_base
from harness.study.copied import with_seeds
from harness.trial.pipeline import TrialChoice

# ------------------------------------------------------------------------------------------------------------ parts


def part(slot: str, kind: str, like: str | None = None) -> str:
    """Write a part that is a copy of another; return the next steps.

    In the installed checkout the part joins the others in ``variants``, with a test; elsewhere it is a plugin in this folder.

    Raises:
        SpecError: the slot or the kind to copy is unknown, or the name of the new kind is invalid or taken.
    """
    _check_kind(slot, kind)
    kinds = SLOTS[slot].kinds
    if like is not None and like not in kinds:
        raise SpecError(f"no {slot} is called '{like}'; {suggest(like, kinds)}")
    like = like or simplest(slot)
    stem, text = file_name(f"{slot}_{kind}", "a file"), copied(kinds[like], slot, kind, like)
    text = _opt_in(text) if slot in LISTS else text
    path, chosen, around = place(slot, like)
    home = Path(inspect.getfile(kinds[like])).resolve().parent
    if home == Path("variants").resolve() and Path("tests/unit/variants").is_dir():
        file, test = Path(f"variants/{stem}.py"), Path(f"tests/unit/variants/test_{stem}.py")
        names = {"slot": slot, "kind": kind, "like": like, "path": path, "title": slot.replace("_", " ")}
        _write({file: text, test: _test(names, chosen, around)})
        steps = [f"written: {file}, a working copy of the {slot} '{like}'", f"written: {test}", "next:"]
        steps += [f"  change {file}, and in {test} the expected numbers", f"  s2s list {slot}", f"  pytest {test}"]
        steps += ["  or keep it in a file elsewhere: s2s run STUDY --plugin FILE.py", "  make test"]
    else:
        file = Path(f"{stem}.py")
        _write({file: text})
        steps = [f"written: {file}, a working copy of the {slot} '{like}'", "next:", f"  change {file}"]
        steps += [f"  s2s list {slot} --plugin {file}", f"  s2s run STUDY --plugin {file}"]
    return "\n".join([*steps, *_comparison(path, chosen, around, like, kind)])


def _comparison(path: str, chosen: dict[str, Any], around: Mapping[str, Any], like: str, kind: str) -> list[str]:
    """Return the lines of a study that compares a part with the part that it copies."""
    values = [{"kind": name} | chosen if chosen else name for name in (like, kind)]
    if path in LISTS.values():
        return ["  compute both in a study:", f"    set: {{{path}: [{', '.join(map(_yaml, values))}]}}"]
    axis = f"{path}: [{', '.join(map(_yaml, values))}]" if chosen else f"{path}.kind: [{like}, {kind}]"
    return ["  compare it in a study:", *([f"    set: {_yaml(around)}"] if around else []), f"    vary: {{{axis}}}"]


def _opt_in(text: str) -> str:
    """Return the text of a metric without the marks that make it a default or let others share its statistics."""
    text = re.sub(r"\n    (default|shared): ClassVar\[\w+\] = [^\n]*", "", text)
    return re.sub(r"\n{3}(?=    )", "\n\n", text)  # the gap that they left


def _test(names: Mapping[str, str], chosen: dict[str, Any], around: Mapping[str, Any]) -> str:
    """Return the text of a part's test, with only the imports and constants that its slot needs."""
    slot = names["slot"]
    value = '[{"kind": kind} | CHOICE]' if slot in LISTS else '{"kind": kind} | CHOICE'
    result = Template(RESULTS.get(f"{slot}/{names['like']}", RESULTS[slot])).substitute(names)
    texts = {"choice": _one_line(chosen), "around": _python(around), "result": result, "value": value}
    text = Template(TEST).substitute(names, **texts)
    tree = ast.parse(text)
    roots = {name for name in defined(tree) if name.startswith("test_")}
    return text.splitlines()[0] + "\n" + pruned(tree, roots, text.encode().splitlines())


def _check_kind(slot: str, kind: str) -> None:
    if slot not in SLOTS:
        raise SpecError(f"no slot is called '{slot}'; {suggest(slot, SLOTS)}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", kind) or keyword.iskeyword(kind) or kind in ("true", "false", "null"):
        raise SpecError(
            f"'{kind}' cannot name a kind; use lower-case letters, digits and underscores, and no reserved word"
        )
    if kind in SLOTS[slot].kinds:
        raise SpecError(f"the {slot} '{kind}' already exists; known: {', '.join(sorted(SLOTS[slot].kinds))}")


# ------------------------------------------------------------------------------------------------- studies and bases


def study(name: str, on: str = BASE) -> str:
    """Write a valid study on a base; return the next steps.

    Raises:
        SpecError: the name is invalid or taken, or the base to start from does not exist.
    """
    locate.base(on)
    path = _file("studies", name)
    _write({path: Template(STUDY).substitute(base=on)})
    steps = [
        f"written: {path}",
        "next:",
        "  change the question, the values that vary, and the claims",
        f"  s2s validate {name}",
    ]
    return "\n".join([*steps, f"  s2s plan {name}", f"  s2s run {name}"])


def study_like(like: str, name: str, seeds: str) -> str:
    """Write a study that asks the question of another with new seeds, beside it where that is here; return the next steps.

    Raises:
        SpecError: the name is invalid or taken, the study to copy does not exist, or the seeds are not FIRST-LAST.
    """
    first, _, last = seeds.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last)):
        raise SpecError(f"'{seeds}' names no seeds; write FIRST-LAST, such as 101-130")
    original, path = locate.study(like), _file("studies", name)
    if original.absolute().is_relative_to(Path.cwd()) and "site-packages" not in original.parts:
        path = original.with_name(path.name)  # what it names by path lies beside it
    _write({path: with_seeds(original.read_text(encoding="utf-8"), range(int(first), int(last) + 1))})
    called = shlex.quote(str(path)) if Path(like).suffix in locate.ENDINGS else name
    return "\n".join([f"written: {path}, a copy of {original} with seeds {seeds}", "next:", f"  s2s run {called}"])


def base(name: str, like: str = BASE) -> str:
    """Write a base that is a copy of another; return the next steps.

    Raises:
        SpecError: the name is invalid or taken, or the base to copy does not exist or is invalid.
    """
    original = locate.base(like)
    plain, lines, _ = read_base(original)
    read(TrialChoice, plain, lambda dotted: lines.place(dotted.split(".")))
    path = _file("studies/bases", name)
    _write({path: original.read_text(encoding="utf-8")})
    steps = [
        f"written: {path}, a copy of {original}",
        "next:",
        "  change `about` and the dataset, then sizes and budget",
    ]
    return "\n".join([*steps, f"  s2s show {name}", "  name it in a study as `base`, or run a study with --base"])


def folder(at: Path) -> str:
    """Create a working folder with a study and a base for the user to change; return the next steps.

    Raises:
        SpecError: one of its files already exists; then no file is written.
    """
    own = Path("studies/mine.yaml"), Path("studies/bases/mine.yaml")
    text = Template(STUDY).substitute(base="mine")
    _write(
        {at / own[0]: text, at / own[1]: locate.base(BASE).read_text(encoding="utf-8"), at / ".gitignore": "/runs/\n"}
    )
    steps = [f"written: {at / own[0]}, a study", f"written: {at / own[1]}, its base, a copy of '{BASE}'", "next:"]
    steps += [f"  cd {shlex.quote(str(at))}", f"  change {own[0]} and {own[1]}", "  s2s list, s2s show mine"]
    return "\n".join([*steps, "  s2s plan mine", "  s2s run mine      (the report: results/mine/mine/report.html)"])


def _file(folder: str, name: str) -> Path:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise SpecError(f"'{name}' cannot name a file; use lower-case letters, digits, hyphens and underscores")
    return Path(folder) / f"{file_name(name, 'a file')}.yaml"


def _write(files: Mapping[Path, str]) -> None:
    """Write new files, all or none.

    Raises:
        SpecError: one of them already exists.
    """
    for path in files:
        if path.exists():
            raise SpecError("already exists; choose another name, or remove it first", place=str(path))
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)


def _one_line(plain: Any) -> str:
    """Return plain data as one line of Python source, marked for ruff where it is too long."""
    text = _python(plain)
    return text if len(text) < 95 else f"{text}  # noqa: E501  # fmt: skip"


def _python(plain: Any) -> str:
    """Return plain data as Python source, as ruff would format it."""
    if isinstance(plain, Mapping):
        return "{" + ", ".join(f"{_python(key)}: {_python(value)}" for key, value in plain.items()) + "}"
    if isinstance(plain, list | tuple):
        return "[" + ", ".join(map(_python, plain)) + "]"
    return json.dumps(plain) if isinstance(plain, str) else repr(plain)


def _yaml(plain: Any) -> str:
    """Return plain data as YAML on one line."""
    if isinstance(plain, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(value)}" for key, value in plain.items()) + "}"
    if isinstance(plain, list | tuple):
        return "[" + ", ".join(map(_yaml, plain)) + "]"
    return plain if isinstance(plain, str) else json.dumps(plain)
