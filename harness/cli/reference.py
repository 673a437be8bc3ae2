"""Writes the reference pages of the manual from the code: every command with its options, every part with its settings.

``python -m harness.cli.reference`` writes them into ``docs/``; a test compares them with the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from harness.cli import listing
from harness.cli.app import app
from harness.cli.arguments import load_parts
from harness.core.registry import SLOTS
from harness.study.grid import show
from harness.trial.pipeline import TrialChoice

Rows = Iterable[Iterable[str]]
HEAD = "<!-- Written by `make docs` from the code; edit the texts there. -->"


def commands() -> str:
    """Return the page of all commands, in the order of ``s2s --help``."""
    found = "".join(_command(words, command) for words, command in _commands(typer.main.get_command(app), ["s2s"]))
    about = "Every command with its arguments and options, as `s2s --help` prints them; [commands.md](commands.md) explains them."
    return f"{HEAD}\n# Reference of commands\n\n{about}\n{found}"


def parts() -> str:
    """Return the page of all parts, slot by slot."""
    named = {slot: listing.parts(slot) for slot in SLOTS}
    about = (
        "Every slot with the parts that can fill it and their settings, as `s2s list SLOT` prints them; "
        "[parts.md](parts.md) explains slots, and [study-files.md](study-files.md) how a study names a part. "
        "A type in words such as `cell (slot)` is a part of that slot. A setting without a default must be given."
    )
    branches = {name: field.annotation for name, field in TrialChoice.model_fields.items()}
    contents = ", ".join(
        f"[{name}](#{name.replace(' ', '-')})" for name in (*(f"branch {b}" for b in branches), *named)
    )
    head = f"{HEAD}\n# Reference of parts\n\n{about}\n\n{contents}\n"
    return head + "".join(map(_branch, branches, branches.values())) + "".join(map(_slot, named, named.values()))


PAGES: dict[str, Callable[[], str]] = {"reference-commands.md": commands, "reference-parts.md": parts}
"""The names of the pages in ``docs/``, and what writes each."""


def _commands(group: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, [*words, name])
        else:
            yield [*words, name], command


def _command(words: list[str], command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join([*words, *(_argument(p) for p in arguments)])
    given = [[f"`{_argument(p)}`", p.help or "", ""] for p in arguments]
    given += [[_option(p), p.help or "", _default(p.default)] for p in options]
    return f"\n## {' '.join(words)}\n\n    {usage}\n\n{command.help}\n\n" + _table(["", "meaning", "default"], given)


def _argument(param: Any) -> str:
    name = param.metavar or param.opts[0].upper()
    return name if param.required or name.startswith("[") else f"[{name}]"


def _option(param: Any) -> str:
    value = "" if param.is_flag else f" {param.metavar}"
    named = ", ".join(f"`{name}{value}`" for name in (*param.opts, *param.secondary_opts))
    return f"{named}, repeatable" if param.multiple else named


def _default(value: Any) -> str:
    return "" if value in (None, False, "") or value == [] else f"`{'yes' if value is True else value}`"


def _slot(slot: str, kinds: list[dict[str, Any]]) -> str:
    return f"\n## {slot}\n\n{listing.summary(SLOTS[slot])}.\n" + "".join(map(_part, kinds))


def _branch(name: str, choice: Any) -> str:
    return f"\n## branch {name}\n\n{listing.summary(choice)}.\n\n" + _settings(listing.settings(choice))


def _part(part: dict[str, Any]) -> str:
    head = (
        f"\n### {part['slot']}: {part['kind']}\n\n{part['summary']}. ([{Path(part['file']).name}](../{part['file']}))\n"
    )
    return head + ("\n" + _settings(part["settings"]) if part["settings"] else "")


def _settings(settings: list[dict[str, Any]]) -> str:
    rows = [
        [f"`{s['name']}`", f"`{s['type']}`", "" if s["required"] else f"`{_spelled(s['default'])}`", s["about"]]
        for s in settings
    ]
    return _table(["setting", "type", "default", "meaning"], rows)


def _spelled(default: Any) -> str:
    return '""' if default == "" else show(default)


def _table(head: list[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )


def main(folder: Path = Path("docs")) -> None:
    """Write the pages into a folder."""
    load_parts()
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
