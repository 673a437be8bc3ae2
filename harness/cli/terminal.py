"""What people see in a terminal: rich where there is one, plain lines without control codes where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from harness.core.escapes import visible

ENDLESS = 100_000
"""Columns of an output that is no terminal: lines are as long as what they say."""


class Screen(Console):
    """A console on which texts move no cursor and turn no line around: what would is shown as an escape."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the pieces of what is shown; those that rich makes to move the cursor are its own."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(visible(piece.text), piece.style)


def terminal(*, stderr: bool = False) -> Console:
    """Return the output as it is now; texts are shown as they are, never read as markup."""
    console = Screen(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = ENDLESS
    return console


def say(*lines: RenderableType, stderr: bool = False) -> None:
    """Print texts and tables, one below the other; without a terminal no line ends in spaces."""
    if not lines:
        return
    console = terminal(stderr=stderr)
    if console.is_terminal:
        console.print(*lines, sep="\n")
        return
    with console.capture() as captured:
        console.print(*lines, sep="\n")
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    console.file.flush()


def complain(message: str) -> None:
    """Print what is wrong to the standard error, as one paragraph."""
    say(Text.assemble(("s2s: ", "bold red"), message), stderr=True)


def duration(seconds: float) -> str:
    """Return a time as people say it: ``12.3 s``, ``4 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def size(amount: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def number_of(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, ``1 trial`` or ``2 trials``."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def grid(rows: Iterable[Iterable[Any]], indent: int = 2, headers: Iterable[str] = (), right: int = 0) -> Table:
    """Return a table without lines, its last ``right`` columns flush right; cells are texts, or text with a style."""
    cells = [[cell if isinstance(cell, Text) else Text(visible(str(cell))) for cell in row] for row in rows]
    names = list(headers)
    table = Table(box=None, show_header=bool(names), header_style="dim", padding=(0, 2, 0, 0))
    width = max([len(names), *map(len, cells)])
    for place in range(width):
        table.add_column(visible(names[place]) if names else "", overflow="fold")
        table.columns[-1].justify = "right" if place >= width - right else "left"
    for first, *rest in cells:
        table.add_row(Text(" " * indent) + first, *rest)
    return table


def columns(headers: Iterable[str], rows: Iterable[Iterable[str]], numeric: Iterable[bool]) -> Table:
    """Return a table under headers, numbers flush right."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for header, right in zip(headers, numeric, strict=True):
        table.add_column(visible(header), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def indented(text: str, by: int = 2, style: str = "") -> RenderableType:
    """Return a paragraph that keeps its indent where its lines break."""
    return Padding(Text(text, style=style), (0, 0, 0, by), expand=False)


def heading(text: str) -> Text:
    """Return a heading, set off by an empty line."""
    return Text(f"\n{text}", style="bold")


def entry(name: str, about: str) -> RenderableType:
    """Return a name and what it is about."""
    return Padding(Text.assemble((name, "cyan"), f": {unmarked(about)}"), (0, 0, 0, 2), expand=False)


def unmarked(text: str) -> str:
    """Return a docstring without its marks of code."""
    return text.replace("``", "")
