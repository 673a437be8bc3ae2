"""Looks on a run of another process by its journal: live in a terminal, as a page that refreshes, or once."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live

from harness.cli.picture import picture
from harness.cli.terminal import complain, duration, say, terminal
from harness.execution.journal import Followed
from harness.storage.disk import write

PAUSE = 0.5
"""Seconds between two looks at a journal."""
PAGE = 2.0
"""Seconds between two writings of a page."""
SOON = 5.0
"""Seconds within which a process that runs a study on several bases begins with the next one."""
SILENT = 600.0
"""Seconds without a word after which a running study is called silent."""


def follow(run: Followed, page: Path | None) -> None:
    """Show a run until it ends, and those that its process begins after it; without a terminal and a page, as it stands.

    Args:
        run: the run.
        page: a file for a page, written again until the run ends.
    """
    console = terminal()
    live = console.is_terminal and not console.is_dumb_terminal
    lasts = run.end == "running" and (live or page is not None)
    if page is not None and lasts:
        complain(f"{page} is written until the run ends; open it in a browser")
    try:
        while lasts:
            display = Live(console=console, get_renderable=partial(_picture, run, console), transient=True)
            with display if live else nullcontext():
                _until_it_ends(run, page)
            following = _next(run)
            lasts = following is not None
            if following is not None:
                _say(run)
                run = following
    finally:
        if page is not None:
            _write(run, page, lasts=False)
    _say(run)


def _say(run: Followed) -> None:
    """Print how a run stands."""
    say(heading(run))
    say(_picture(run, terminal()))
    if run.end == "finished" and run.report.is_file():
        say(f"report: {os.path.relpath(run.report)}")


def _picture(run: Followed, console: Console) -> RenderableType:
    return picture(run.progress, run.now, console, "" if run.end == "running" else run.end)


def _next(run: Followed) -> Followed | None:
    """Return the run that the same process begins after one that has finished, if it begins one soon."""
    until = time.monotonic() + SOON
    while run.end == "finished" and time.monotonic() < until:
        if (following := run.next()) is not None:
            return following
        time.sleep(PAUSE)
    return None


def heading(run: Followed) -> str:
    """Return in a line which run it is, and how it stands."""
    ago = duration(max(0.0, time.time() - run.latest))
    told = f"{run.progress.outline.of}, process {run.process} on {run.host}"
    if run.end == "running":
        silent = f"; nothing heard for {ago}" if time.time() - run.latest > SILENT else ""
        return f"{told}: running{silent}"
    words = {"finished": "finished", "stopped": "stopped", "lost": "ended without a word (killed?), last heard of"}
    return f"{told}: {words[run.end]} {ago} ago"


def _until_it_ends(run: Followed, page: Path | None) -> None:
    written = 0.0
    while run.read() == "running":
        if page is not None and time.monotonic() - written > PAGE:
            _write(run, page)
            written = time.monotonic()
        time.sleep(PAUSE)


def _write(run: Followed, page: Path, *, lasts: bool = True) -> None:
    """Write the page of a run; one that does not last any longer, since nobody writes it again, loads itself no more."""
    from harness.report import live

    there = run.end == "finished" and run.report.is_file()
    address = Path(os.path.relpath(run.report, page.parent.absolute())).as_posix() if there else ""
    write(page, live.page(run.progress, run.now, run.end, address, refresh=lasts))
