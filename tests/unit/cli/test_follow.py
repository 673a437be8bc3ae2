"""Who looks on from another terminal sees what the run's own terminal shows; a page says the same to a browser."""

from __future__ import annotations

import io
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app, follow
from harness.core.spec import SpecError
from harness.execution.journal import Journal, followed
from harness.storage.store import Store
from harness.study import planning

HOME = Path(__file__).resolve().parents[3]
FIRST, SECOND = "mask=true, normalize=token", "mask=false, normalize=<b>"


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(HOME)
    return planning.load("masking")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("S2S_STORE", str(tmp_path / "runs"))
    return Store(tmp_path / "runs")


def half_done(written: Journal) -> None:
    for update, nll in ((100, 4.0), (200, 2.0), (300, 1.0)):
        written.write(
            f"{FIRST} · seed 1", {"stage": "train", "update": update, "updates": 300, "loss": 1.0, "dev_nll": nll}
        )
    written.write(f"{FIRST} · seed 1", {"status": "ok"})
    written.write(f"{FIRST} · seed 2", {"stage": "train", "update": 100, "updates": 300, "loss": 1.5, "dev_nll": 2.5})
    written.write(f"{SECOND} · seed 1", {"status": "error", "reason": "boom"})


def told(*arguments: str) -> list[str]:
    done = CliRunner().invoke(app.app, ["watch", *arguments], catch_exceptions=False)
    return done.output.splitlines()


def test_outside_a_terminal_a_run_is_shown_once(plan: Any, store: Store, tmp_path: Path) -> None:
    with Journal(plan, store, tmp_path / "report.html") as written:
        half_done(written)
        lines = told("masking")
    assert re.fullmatch(r"masking on numbers, process \d+ on .*: running", lines[0])
    assert re.search(r"2/20 trials · .* left$", lines[1])
    assert [line.strip() for line in lines[2:]] == [
        "1 failed",
        f"{SECOND} · seed 1: error: boom",
        f"{FIRST}  seed 2  train  100/300  ▁  loss 1.5 validation 2.5",
    ]
    (tmp_path / "report.html").write_text("", encoding="utf-8")
    lines = told()
    assert re.fullmatch(r"masking on numbers, process \d+ on .*: finished [\d.]+ s ago", lines[0])
    assert lines[-1].startswith("report: ") and lines[-1].endswith("report.html")


@pytest.mark.usefixtures("plan", "store")
def test_a_run_that_nobody_knows_is_an_error_that_says_how_to_start_one() -> None:
    with pytest.raises(SpecError, match="`s2s run masking` starts one"):
        CliRunner().invoke(app.app, ["watch", "masking"], catch_exceptions=False)


def test_a_terminal_follows_until_the_run_ends(plan: Any, store: Store, tmp_path: Path, monkeypatch: Any) -> None:
    received = io.StringIO()
    monkeypatch.setenv("TERM", "xterm-256color")
    screen = Console(file=received, force_terminal=True, width=60, height=25, markup=False, highlight=False)
    monkeypatch.setattr(follow, "terminal", lambda **_: screen)
    monkeypatch.setattr("harness.cli.terminal.terminal", lambda **_: screen)
    monkeypatch.setattr(follow, "PAUSE", 0.05)
    monkeypatch.setattr(follow, "SOON", 0.2)
    page = tmp_path / "live.html"
    with Journal(plan, store, tmp_path / "report.html") as written:
        half_done(written)
        (run,) = followed(store, "masking")
        looking = threading.Thread(target=follow.follow, args=(run, page))
        looking.start()
        written.write(f"{FIRST} · seed 2", {"update": 200, "updates": 300, "loss": 1.5, "dev_nll": 1.25})
        until = time.monotonic() + 30
        while "200/300" not in received.getvalue() or not page.exists():
            assert looking.is_alive() and time.monotonic() < until
            time.sleep(0.05)
        assert 'http-equiv="refresh"' in page.read_text(encoding="utf-8")
    looking.join(10)
    assert not looking.is_alive()
    assert re.search(r"mask=true, .*seed 2", received.getvalue()), "a narrow terminal cuts the variant, not the seed"
    last = page.read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in last and "Finished" in last


def test_a_page_has_a_row_for_every_variant_and_no_foreign_markup(plan: Any, store: Store, tmp_path: Path) -> None:
    with Journal(plan, store, tmp_path / "report.html") as written:
        half_done(written)
        (run,) = followed(store)
        follow._write(run, tmp_path / "deep" / "live.html")
    text = (tmp_path / "deep" / "live.html").read_text(encoding="utf-8")
    assert text.count('<th scope="row">') == 4 and text.count("<polyline") == 1 and "seed 2: 100 of 300 updates" in text
    assert "normalize=&lt;b&gt; · seed 1: error: boom" in text and "<b>" not in text
    assert re.search(r"2 of 20 trials have ended, <strong>1 failed</strong>; \d+ s so far", text)


def test_a_run_that_ended_early_has_no_time_left(plan: Any, store: Store, tmp_path: Path) -> None:
    with Journal(plan, store, tmp_path / "report.html") as written:
        half_done(written)
    assert re.search(r"2/20 trials · .* · finished$", told("masking")[1])


def test_who_stops_looking_leaves_a_page_that_stands_still(
    plan: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(follow, "_until_it_ends", stop)
    with Journal(plan, store, tmp_path / "report.html") as written:
        half_done(written)
        (run,) = followed(store)
        with pytest.raises(KeyboardInterrupt):
            follow.follow(run, tmp_path / "live.html")
    text = (tmp_path / "live.html").read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in text and "Running" in text
