"""Output for people: rich text in a terminal, plain lines without control codes elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from harness.core.escapes import visible

ENDLESS = 100_000
"""Width of an output that is not a terminal: lines never wrap, so that other programs can read them."""


class Screen(Console):
    """A console that shows control characters of texts as escapes: they move no cursor and reverse no line."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the segments of a text without control characters; the control segments of rich itself stay."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(visible(piece.text), piece.style)


def terminal(*, stderr: bool = False) -> Console:
    """Return a console on the current standard output or error; texts are never read as markup."""
    console = Screen(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = ENDLESS
    return console


def say(*lines: RenderableType, stderr: bool = False) -> None:
    """Print texts and tables, one below the other; outside a terminal no line ends in spaces."""
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
    """Print an error or a warning to standard error, as one paragraph."""
    say(Text.assemble(("s2s: ", "bold red"), message), stderr=True)


def duration(seconds: float) -> str:
    """Return a duration for people: ``12.3 s``, ``4 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def size(amount: float) -> str:
    """Return a number of bytes for people: ``12.3 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def number_of(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun, ``1 trial`` or ``2 trials``."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def print_each(show: Callable[..., None], *columns: Iterable[Any]) -> None:
    """Call ``show`` with each row of some columns, with an empty line between what two rows print."""
    for number, row in enumerate(zip(*columns, strict=True)):
        say(*([""] if number else []))
        show(*row)


class Hanging:
    """A paragraph whose lines start at ``indent``, all but the first ``hang`` columns further right."""

    def __init__(self, text: Text, indent: int, hang: int) -> None:
        self.text, self.indent, self.hang = text, indent, hang

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the wrapped lines."""
        width, rest = options.max_width - self.indent, self.text
        if self.hang:
            first = rest.wrap(console, max(1, width), overflow="fold")[0]
            yield Text(" " * self.indent) + first
            rest = rest[len(rest) - len(rest.plain[len(first) :].lstrip()) :]
        if rest or not self.hang:
            margin = Text(" " * (self.indent + self.hang))
            for line in rest.wrap(console, max(1, width - self.hang), overflow="fold"):
                yield margin + line if line else line


def grid(rows: Iterable[Iterable[Any]], indent: int = 2, headers: Iterable[str] = (), right: int = 0) -> RenderableType:
    """Return a table without lines, its last ``right`` columns flush right; a cell is a text with or without style."""
    cells = [[cell if isinstance(cell, Text) else Text(visible(str(cell))) for cell in row] for row in rows]
    names = list(headers)
    table = Table(box=None, show_header=bool(names), header_style="dim", padding=(0, 2, 0, 0))
    width = max([len(names), *map(len, cells)])
    for place in range(width):
        table.add_column(visible(names[place]) if names else "", overflow="fold")
        table.columns[-1].justify = "right" if place >= width - right else "left"
    for row in cells:
        table.add_row(*row)
    return Padding(table, (0, 0, 0, indent), expand=False)


def columns(headers: Iterable[str], rows: Iterable[Iterable[str]], numeric: Iterable[bool]) -> Table:
    """Return a table under headers, numbers flush right."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for header, right in zip(headers, numeric, strict=True):
        table.add_column(visible(header), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def fitting(headers: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[RenderableType]:
    """Return a table; in a terminal that is too narrow, one under each value of the first column that stands for several rows."""
    widths = [max(cell_len(visible(row[place])) for row in [headers, *rows]) + 2 for place in range(len(headers))]
    grouped: dict[str, list[Sequence[str]]] = {}
    for first, *others in rows:
        grouped.setdefault(first, []).append(others)
    if sum(widths) <= terminal().width or len(headers) < 3 or len(grouped) > len(rows) / 2:
        return [columns(headers, rows, numeric)]
    tables = [(Text(visible(first)), columns(headers[1:], own, numeric[1:])) for first, own in grouped.items()]
    return [line for pair in tables for line in pair]


def indented(text: str, by: int = 2, style: str = "", hang: int = 0) -> RenderableType:
    """Return a paragraph that keeps its indent where its lines wrap, or hangs from its first line."""
    return Hanging(Text(text, style=style), by, hang)


def heading(text: str) -> Text:
    """Return a heading, set off by an empty line."""
    return Text(f"\n{text}", style="bold")


def entry(name: str, about: str) -> RenderableType:
    """Return a name with its description; wrapped lines hang below the name."""
    return Hanging(Text.assemble((name, "cyan"), f": {unmarked(about)}"), 2, 4)


def unmarked(text: str) -> str:
    """Return a docstring without the backquotes around code."""
    return text.replace("``", "")


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a docstring without line breaks and backquotes."""
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", unmarked(text))]
