"""Looks on a run of another process by its journal: live in a terminal, as a page that refreshes, or once."""

from __future__ import annotations

import os
import time
from pathlib import Path

from rich.live import Live

from harness.cli.picture import picture
from harness.cli.terminal import complain, duration, say, terminal
from harness.execution.journal import Followed
from harness.storage.disk import write

PAUSE = 0.5
"""Seconds between two looks at a journal."""
PAGE = 2.0
"""Seconds between two writings of a page."""
SILENT = 600.0
"""Seconds without a word after which a running study is called silent."""


def follow(run: Followed, page: Path | None) -> None:
    """Show a run until it ends; without a terminal and a page, as it stands.

    Args:
        run: the run.
        page: a file for a page, written again until the run ends.
    """
    console = terminal()
    live = console.is_terminal and not console.is_dumb_terminal
    if run.end == "running" and (live or page is not None):
        if page is not None:
            complain(f"{page} is written until the run ends; open it in a browser")
        if live:
            with Live(
                console=console,
                get_renderable=lambda: picture(run.progress, run.now, console),
                transient=True,
            ):
                _until_it_ends(run, page)
        else:
            _until_it_ends(run, page)
    if page is not None:
        _write(run, page)
    say(heading(run))
    say(picture(run.progress, run.now, console, "writing the report" if run.end == "running" else run.end))
    if run.end == "finished" and run.report.is_file():
        say(f"report: {os.path.relpath(run.report)}")


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


def _write(run: Followed, page: Path) -> None:
    from harness.report import live

    there = run.end == "finished" and run.report.is_file()
    address = Path(os.path.relpath(run.report, page.parent.absolute())).as_posix() if there else ""
    write(page, live.page(run.progress, run.now, run.end, address))
