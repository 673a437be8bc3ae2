"""What people see: in a pipe plain lines, in a terminal 80 columns wide nothing that does not fit."""

from __future__ import annotations

import csv
import errno
import io
import math
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from harness.analysis import Comparison
from harness.cli import catalog, listing, print_answers, print_parts, print_plans, terminal
from harness.cli.watch import Watch
from harness.core.registry import SLOTS
from harness.core.signals import Stopped
from harness.execution import progress
from harness.study import planning
from harness.workflows.write_report import _verdicts

HOME = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HOME)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def plan() -> Any:
    return planning.load("masking")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 80 columns receives."""
    monkeypatch.setenv("TERM", "xterm-256color")
    received = io.StringIO()

    def terminal(**_: Any) -> Console:
        return Console(
            file=received, force_terminal=True, width=80, height=25, markup=False, highlight=False, emoji=False
        )

    monkeypatch.setattr("harness.cli.terminal.terminal", terminal)
    monkeypatch.setattr("harness.cli.watch.terminal", terminal)
    return received


def survey(plan: Any, state: str = "absent", why: str = "") -> dict[str, Any]:
    rows = [
        {
            "variant": v.name,
            "params": 98_765,
            "skipped": v.skipped,
            "trials": [{"seed": s, "state": state, "why": why} for s in plan.seeds],
        }
        for v in plan.variants
    ]
    return {
        "variants": rows,
        "to_run": 20 if state != "done" else 0,
        "trainings": 20,
        "estimate_seconds": 200.0,
        "estimate_workers": 2,
        "estimate_from": "x",
    }


def answer(**fields: Any) -> Any:
    plain: dict[str, Any] = {
        "ran": SimpleNamespace(found=0, made=0, failed=0, untried=0),
        "seconds": 75.0,
        "seeds": 5,
        "verdicts": [],
        "table": [],
        "failed": [],
        "files": [],
        "steps": [],
        "notes": [],
    }
    return SimpleNamespace(**(plain | fields))


FULL = {
    "ran": SimpleNamespace(found=4, made=15, failed=1, untried=0),
    "verdicts": ["masking helps: supported, +3.1 (95 % 1.0 to 5.2)"],
    "table": [
        {"variant": "mask=true", "n": 5, "exact_match": "93.1 ± 1.2"},
        {"variant": "mask=false", "n": 4, "exact_match": "90.0"},
    ],
    "failed": [("mask=false · seed 3", "diverged", "the loss is nan")],
    "files": [Path("results/masking/numbers/report.html")],
    "notes": ["MLflow could not be written"],
}


def show_answer(plan: Any) -> None:
    print_answers.print_answer(plan, answer(**FULL))


PAGES: dict[str, Callable[[Any], None]] = {
    "parts": lambda plan: print_parts.print_parts(listing.everything()),
    "overview": lambda plan: print_parts.print_overview(listing.everything()),
    "files": lambda plan: print_parts.print_files("bases", listing.files("bases")),
    "page": lambda plan: print_parts.print_page(listing.page("masking:3", None, [])),
    "validated": print_plans.print_validated,
    "plan": lambda plan: print_plans.print_plan(plan, survey(plan, "stale", "the code of train has changed")),
    "answer": show_answer,
}


@pytest.mark.parametrize("name", PAGES)
def test_a_pipe_gets_plain_lines(name: str, plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    PAGES[name](plan)
    out = capsys.readouterr().out
    assert out and "\x1b" not in out and "\r" not in out
    assert not any(line != line.rstrip() for line in out.splitlines())


@pytest.mark.parametrize("name", PAGES)
def test_a_terminal_of_80_columns_is_enough(name: str, plan: Any, screen: io.StringIO) -> None:
    PAGES[name](plan)
    from rich.text import Text

    assert max(Text.from_ansi(line).cell_len for line in screen.getvalue().splitlines()) <= 80


def test_a_list_opens_with_each_slot_its_summary_and_its_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    print_parts.print_overview(listing.everything())
    title, *lines = capsys.readouterr().out.partition("\npresets\n")[0].strip().splitlines()
    assert title.startswith("slots") and len(lines) == 2 * len(SLOTS)
    for (slot, contract), summary, kinds in zip(SLOTS.items(), lines[::2], lines[1::2], strict=True):
        assert summary.startswith(f"  {slot}: ") and kinds.strip() == ", ".join(sorted(contract.kinds))


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch, screen: io.StringIO) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.say(terminal.Text("red", style="red"))
    assert "\x1b[31m" not in screen.getvalue()


def test_a_complaint_is_one_paragraph_on_stderr_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    message = "a.yaml:3: training.loss: unknown [bold]kind[/bold] :smile: " + "long " * 40 + "[/]"
    terminal.complain(message)
    out, err = capsys.readouterr()
    assert not out and err == f"s2s: {message}\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (125, "2 min 05 s"), (7805, "2 h 10 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert terminal.duration(seconds) == text


def test_texts_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say("[bold]x[/bold] :smile:")
    assert capsys.readouterr().out == "[bold]x[/bold] :smile:\n"


def test_a_slot_has_its_summary_on_a_line_and_its_kinds_on_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    print_parts.print_overview(listing.everything())
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("  schedule: How the learning rate changes: a factor for every update")
    assert lines[at + 1] == "      constant, cosine, exponential, inverse_sqrt, linear"


def test_wrapped_lines_hang_below_the_first(screen: io.StringIO) -> None:
    terminal.say(terminal.entry("name", "word " * 30), terminal.indented("short", hang=4))
    lines = [terminal.Text.from_ansi(line).plain.rstrip() for line in screen.getvalue().splitlines()]
    assert lines[0] == "  name: " + " ".join(["word"] * 14)
    assert lines[1:] == ["      " + " ".join(["word"] * 15), "      word", "  short"]


def test_a_cell_that_wraps_keeps_the_indent_of_its_table(screen: io.StringIO) -> None:
    terminal.say(terminal.grid([["word " * 30, "b"]], indent=6))
    assert all(line.startswith("      word") for line in screen.getvalue().splitlines())


def test_a_setting_shows_its_type_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    print_parts.print_parts(catalog.catalog(lambda: None, "dataset"))
    line = next(line for line in capsys.readouterr().out.splitlines() if "filler_num3" in line)
    assert line.startswith("      split: simple | length | ") and "filler_num3, required. Which commands" in line


def test_a_setting_of_every_kind_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    print_parts.print_parts(catalog.catalog(lambda: None, "metric"))
    out = capsys.readouterr().out
    assert out.count("      name: str, default ''. ") == 1 and "  bleu: " in out


def test_metrics_and_claims_say_which_direction_is_better(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    print_parts.print_parts(catalog.catalog(lambda: None, "metric"))
    out = " ".join(capsys.readouterr().out.split())
    assert "in percent; white space is folded (higher is better)" in out
    assert "(neither" not in out
    assert out.count("(lower is better)") > 3
    (claim, *_) = plan.file.claims
    print_plans.print_validated(
        replace(plan, file=plan.file.changed(claims=(claim.changed(metric="token_edit_rate", within=None),)))
    )
    assert "better by more than 0 in token_edit_rate (lower is better)" in " ".join(capsys.readouterr().out.split())


def test_a_valid_study_says_what_each_claim_compares(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    print_plans.print_validated(plan)
    out = capsys.readouterr().out
    assert "masking on numbers is valid: 4 variants with 5 seeds, 20 trials" in out
    assert "better  mask=true, normalize=token; mask=true, normalize=padded" in out
    assert "no difference of more than 3" in out and "equal  mask=true, normalize=token" in out
    assert "unplanned" not in out


def test_a_study_that_may_add_seeds_says_what_it_costs(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ruled = replace(plan, file=plan.file.model_copy(update={"unplanned": "combine"}))
    print_plans.print_validated(ruled)
    print_plans.print_plan(ruled, survey(ruled) | {"variants": [], "to_run": 0})
    assert capsys.readouterr().out.count("half of the level is kept") == 2


def test_skipped_variants_say_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "question: Q?\nexpectation: E.\nbase: numbers\n"
        "vary: {model.encoder.cell.hidden: [8, 64]}\n"
        "set: {model.decoder.context: {kind: attention, score: dot, mask: true, place: readout, merge: concat}}\n"
    )
    plan = planning.load(str(file))
    print_plans.print_validated(plan)
    print_plans.print_plan(plan, survey(plan) | {"variants": [], "to_run": 0})
    out = capsys.readouterr().out
    assert "is valid: 1 variant with" in out and "incompatible: a dot product needs equal widths" in out


def test_a_plan_says_what_runs_why_and_how_long(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    print_plans.print_plan(plan, survey(plan, "stale", "the code of train has changed"))
    out = capsys.readouterr().out
    assert "mask=true, normalize=token    5 stale      98,765" in out
    assert "  stale, the code of train has changed: mask=true, normalize=token · seeds 1 2 3 4 5; mask=true" in out
    assert "to run: 20 trials, 20 trainings, about 3 min 20 s of training with 2 workers (estimated from x)" in out
    print_plans.print_plan(plan, survey(plan) | {"trainings": 0, "estimate_seconds": 0.0})
    assert capsys.readouterr().out.splitlines()[-1] == "to run: 20 trials, 0 trainings"
    print_plans.print_plan(plan, survey(plan, "done"))
    assert "nothing to do: all 20 trials are done" in capsys.readouterr().out


def test_a_dataset_and_what_a_model_says(capsys: pytest.CaptureFixture[str]) -> None:
    splits = {"train": {"rows": 4000, "source_words_mean": 8.125}, "test": {"rows": 7, "source_words_mean": 3.0}}
    rows = {"train": [{"source": "two\t[b]", "references": ["二", "两"]}], "test": []}
    print_parts.print_dataset({"sha256": "abc", "revision": "", "splits": splits, "rows": rows})
    print_parts.print_tried([{"source": "one", "hypothesis": "一 [x]", "score": -0.5, "truncated": True}])
    out = capsys.readouterr().out
    assert "rows               4,000     7" in out and "source words mean    8.1   3.0" in out
    assert "\n\nsha256 abc\none\n" in out, "last of all"
    assert "two  [b]  二 | 两" in out and "test, first rows" not in out
    assert "一 [x]  (log p -0.50, cut at the limit)" in out


def test_an_answer_tells_results_and_failures(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    show_answer(plan)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "15 trials done in 1 min 15 s, 4 were done before, 1 failed"
    assert "mask=true   5   93.1 ± 1.2" in lines and "- masking helps: supported, +3.1 (95 % 1.0 to 5.2)" in lines
    assert "  mask=false · seed 3  diverged: the loss is nan" in lines
    assert lines[-3:] == ["note: MLflow could not be written", "", "report: results/masking/numbers/report.html"]


def test_after_the_answer_come_its_report_and_the_next_command(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    step = "make study FILE=x  # new study, 5 seeds a side"
    print_answers.print_answer(plan, answer(**FULL, steps=[step]), {"mask=false · seed 3"})
    out = capsys.readouterr().out
    assert out.endswith(f"\nreport: results/masking/numbers/report.html\nnext: {step}\n")
    assert "diverged" not in out, "it was printed when it failed"


def test_trials_that_have_not_run_are_no_failures(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    print_answers.print_answer(plan, answer(failed=[("a · seed 1", "missing", "no results from train on")]))
    out = capsys.readouterr().out
    assert "\nmissing\n  a · seed 1  no results from train on\n" in out and "failed" not in out


def test_verdicts_come_in_the_unit_of_what_is_compared() -> None:
    made = Comparison(
        "c", "nll", "A", "B", delta=-0.25, ci_low=-0.5, ci_high=0.1, verdict="inconclusive", method="two-way"
    )
    rates = replace(
        made, metric="exact_match", delta=100 / 3, ci_low=-29.05, ci_high=79.23, method="success rates", threshold=50.0
    )
    late = replace(made, exploratory="written later")
    alike = replace(made, confidence=90.0)
    none = replace(made, delta=math.nan, verdict="no data")
    assert _verdicts([made, rates, late, alike, none]) == [
        "c: inconclusive (difference -0.2500 in NLL (nats per token) (lower is better), 95 % interval -0.5000 to 0.1000)",
        "c: inconclusive (difference 33.3 in seeds (%) that reach 50.00 in exact match (%), 95 % interval -29.1 to 79.2)",
        "c: exploratory, inconclusive (difference -0.2500 in NLL (nats per token) (lower is better), "
        "95 % interval -0.5000 to 0.1000)",
        "c: inconclusive (difference -0.2500 in NLL (nats per token) (lower is better), 90 % interval -0.5000 to 0.1000)",
        "c: no data",
    ]


def test_a_finished_study_says_so_first(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    done = answer(ran=SimpleNamespace(found=20, made=0, failed=0, untried=0), files=[Path("results/report.html")])
    print_answers.print_answer(plan, done)
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == ("nothing to do: all 20 trials are done", "report: results/report.html")


def test_a_study_that_wants_no_more_seeds_is_done(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sequential = replace(plan, looks=(3, 4, 5))
    print_answers.print_answer(sequential, answer(ran=SimpleNamespace(found=12, made=0, failed=0, untried=0), seeds=3))
    assert capsys.readouterr().out.splitlines()[0] == "nothing to do: all 12 trials are done"
    print_plans.print_plan(sequential, survey(plan, "done") | {"to_run": 0})
    assert "until the claims are decided, 5 at most" in capsys.readouterr().out


def test_a_report_of_an_unfinished_study_does_not_call_it_done(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    print_answers.print_answer(plan, answer(ran=SimpleNamespace(found=7, made=0, failed=0, untried=0)))
    assert capsys.readouterr().out.splitlines()[0] == "7 of 20 trials are done"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the seconds that have passed."""
    now = [100.0]
    monkeypatch.setattr("harness.cli.watch.time.monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, 100.0 + seconds)


def events(watch: Watch, clock: Callable[[float], None]) -> None:
    for seed in (1, 2):
        watch.listen(f"a · seed {seed}", {"status": "found"})
    watch.listen("b · seed 1", {"stage": "prepare"})
    clock(2.0)
    watch.listen("c · seed 1", {"stage": "train"})
    watch.listen("b · seed 1", {"stage": "train"})
    watch.listen("b · seed 1", {"update": 50, "updates": 100, "loss": 1.25, "dev_nll": 1.5, "lr": 0.1, "ratio": 1.0})


def test_in_a_pipe_every_finished_trial_is_a_line(
    plan: Any, clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with Watch(plan) as watch:
        events(watch, clock)
        clock(12.3)
        watch.listen("b · seed 1", {"status": "ok"})
        watch.listen("c · seed 1", {"status": "diverged", "reason": "the loss is nan [oh]"})
        watch.listen("d · seed 1", {"status": "diverged"})
    assert capsys.readouterr().out.splitlines() == [
        "2 of 20 trials were done before",
        "[ 3/20] b · seed 1: ok (12.3 s)",
        "[ 4/20] c · seed 1: diverged (10.3 s): the loss is nan [oh]",
        "[ 5/20] d · seed 1: diverged (0.0 s)",
    ]


def test_what_is_left_goes_by_the_work_done_now(plan: Any, clock: Callable[[float], None]) -> None:
    watch = Watch(plan)
    assert watch.remaining() is None
    events(watch, clock)
    clock(10.0)
    # Of 18 trials half the training of one is done in 10 seconds; those found before took none of them. Decoding and
    # scoring take a tenth more.
    assert watch.remaining() == pytest.approx((18 * 1.1 / 0.5 - 1) * 10)


def test_variants_that_share_a_training_are_known(plan: Any) -> None:
    first, second, *_ = plan.variants
    searched = first.choice.changed(decoding=first.choice.decoding.changed(batch_size=7))
    twin = replace(first, name="twin", written=searched)
    assert progress.sharing(replace(plan, variants=[first, second, twin])) == {"twin"}


def test_what_is_left_goes_by_what_variants_cost(plan: Any, clock: Callable[[float], None]) -> None:
    """After a tenth of 20 trials: a cheap and a dear variant, and two of which nothing is known."""
    watch = Watch(plan)
    cheap, dear, *_ = (variant.name for variant in plan.variants)
    watch.listen(f"{cheap} · seed 1", {"stage": "train"})
    clock(1.0)
    watch.listen(f"{cheap} · seed 1", {"status": "ok"})
    watch.listen(f"{dear} · seed 1", {"stage": "train"})
    clock(10.0)
    watch.listen(f"{dear} · seed 1", {"status": "ok"})
    assert watch.remaining() == pytest.approx(4 * 1 + 4 * 9 + 10 * 5)


RECORDED = (
    "decoding/numbers",
    "sampling/numbers",
    "systems/tiny-en-fr",
    "tasks/numbers",
    "masking/numbers",
    "tutorial-d2l/numbers",
)
"""Studies whose results have the durations of real trials: many share a training, or their variants differ in cost."""


@pytest.mark.parametrize("study", RECORDED)
def test_after_a_tenth_the_time_left_is_known_within_a_fifth(
    study: str, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay of recorded trials on two workers; the times of decoding and scoring are an eighth of the training.

    A training takes the median of its variant's seeds: a machine that had other work for a while when they were recorded is
    no matter of the forecast.
    """
    rows = list(csv.DictReader((HOME / "results" / study / "trials.csv").open(encoding="utf-8")))
    names, seeds = list(dict.fromkeys(row["variant"] for row in rows)), sorted({int(row["seed"]) for row in rows})
    tasks: dict[str, list[dict[str, str]]] = {}
    for row in sorted(rows, key=lambda row: (int(row["seed"]), names.index(row["variant"]))):
        tasks.setdefault(row["train"], []).append(row)
    first = {task[0]["variant"] for task in tasks.values()}
    monkeypatch.setattr(progress, "sharing", lambda _: set(names) - first)
    events, free = [], [0.0, 0.0]
    for task in tasks.values():
        own = [float(row["train_seconds"]) for row in rows if row["variant"] == task[0]["variant"]]
        at, seconds, updates = free.pop(0), median(own), int(task[0]["updates"])
        for number, row in enumerate(task):
            name, parts = f"{row['variant']} · seed {row['seed']}", 0 if number else 20
            events.append((at, name, {}))
            for part in range(1, parts + 1):
                point = {"stage": "train", "update": updates * part // parts, "updates": updates}
                events.append((at + seconds * part / parts, name, point))
            at += seconds * (bool(parts) + 1 / 8)
            events.append((at, name, {"status": "ok"}))
        free = sorted([*free, at])
    shown = [SimpleNamespace(name=name, skipped="") for name in names]
    watch = Watch(SimpleNamespace(name="s", base="b", seeds=seeds, sequential=False, variants=shown))  # type: ignore[arg-type]
    for at, name, event in sorted(
        (event for event in events if event[0] <= max(free) / 10), key=lambda event: event[0]
    ):
        clock(at)
        watch.listen(name, event)
    clock(max(free) / 10)
    assert watch.remaining() == pytest.approx(max(free) * 0.9, rel=0.2)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_seed_is_seen_in_a_terminal_of_any_width(
    plan: Any, width: int, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminal(**_: Any) -> Console:
        return Console(file=screen, force_terminal=True, width=width, height=25, markup=False, highlight=False)

    monkeypatch.setattr("harness.cli.watch.terminal", terminal)
    with Watch(plan) as watch:
        name = "model.decoder.context=dot, training.loss.mask=true, normalize=token · seed 12345"
        watch.listen(name, {"stage": "train"})
        for update, nll in ((5000, 4.0), (10000, 2.0), (15000, math.nan), (20000, 1.0)):
            watch.listen(name, {"update": update, "updates": 20000, "loss": 1.234567, "dev_nll": nll})
        screen.truncate(0)
        watch.live.refresh()  # type: ignore[union-attr]
        drawn = screen.getvalue()
    assert "seed 12345" in drawn and "█▃ ▁" in drawn and "20000/20000" in drawn
    assert ("loss 1.235 validation 1" in drawn) is (width >= 80)


def test_a_terminal_shows_running_trials_and_keeps_failures(
    plan: Any, clock: Callable[[float], None], screen: io.StringIO
) -> None:
    with Watch(plan) as watch:
        events(watch, clock)
        watch.live.refresh()  # type: ignore[union-attr]
        drawn = screen.getvalue()
        assert (
            re.search(r"b .*seed 1", drawn)
            and "50/100" in drawn
            and "loss 1.25 validation 1.5" in drawn
            and "2/20 trials" in drawn
        )
        watch.listen("b · seed 1", {"status": "ok"})
        watch.listen("c · seed 1", {"status": "error", "reason": "boom"})
    assert "\x1b[31m[ 4/20] c · seed 1: error (0.0 s): boom" in screen.getvalue()
    assert "b · seed 1: ok" not in screen.getvalue()


def test_the_latest_failures_and_what_waits_stay_in_sight(plan: Any, screen: io.StringIO) -> None:
    with Watch(plan) as watch:
        for seed in range(7):
            watch.listen(f"c · seed {seed}", {"status": "error", "reason": f"boom {seed}"})
        for seed in range(2):
            watch.listen(f"d · seed {seed}", {"stage": "train"})
            watch.listen(f"d · seed {seed}", {"waits": "for another run"})
        watch.listen("e · seed 1", {"waits": "alone", "note": "e · seed 1: out of memory"})
        screen.truncate(0)
        watch.live.refresh()  # type: ignore[union-attr]
        drawn = screen.getvalue()
        shown = [drawn.find(f"c · seed {seed}: error: boom {seed}") for seed in range(7)]
        assert shown[0] == shown[1] == -1 and shown[2:] == sorted(shown[2:], reverse=True) and min(shown[2:]) > 0
        assert "2 wait for another run" in drawn and "1 waits alone" in drawn and "d · seed" not in drawn
        watch.listen("d · seed 0", {"status": "found"})
        watch.listen("d · seed 1", {"stage": "train"})
        screen.truncate(0)
        watch.live.refresh()  # type: ignore[union-attr]
        assert "wait for" not in screen.getvalue() and re.search(r"d .*seed 1", screen.getvalue())
    assert "e · seed 1: out of memory" not in screen.getvalue(), "a note is a line above, not a row"


def test_what_most_wait_for_stays_in_sight(plan: Any, screen: io.StringIO) -> None:
    with Watch(plan) as watch:
        for seed, process in enumerate([1, 2, 2, 3, 4, 5, 6, 7]):
            watch.listen(f"d · seed {seed}", {"waits": f"for another run (process {process} on far)"})
        screen.truncate(0)
        watch.live.refresh()  # type: ignore[union-attr]
        drawn = screen.getvalue()
    assert (
        "2 wait for another run (process 2 on far)" in drawn and "1 waits for another run (process 1 on far)" in drawn
    )
    assert drawn.count("for another run") == 5 and "and 2 more" in drawn


def test_in_a_pipe_what_waits_is_said_once_and_a_failure_of_before_has_no_time(
    plan: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with Watch(plan) as watch:
        for seed in (1, 1, 2, 1):
            watch.listen(f"d · seed {seed}", {})
            watch.listen(f"d · seed {seed}", {"waits": "for another run"})
        watch.listen("a · seed 1", {"status": "diverged", "reason": "nan", "before": True})
        watch.listen("a · seed 2", {"note": "a · seed 2: its checkpoint cannot be read"})
    assert capsys.readouterr().out.splitlines()[:3] == [
        "d · seed 1 waits for another run",
        "[ 1/20] a · seed 1: diverged (before): nan",
        "a · seed 2: its checkpoint cannot be read",
    ]


def test_a_terminal_that_is_gone_changes_no_ending(plan: Any, screen: io.StringIO) -> None:
    with pytest.raises(Stopped) as stopped, Watch(plan) as watch:
        assert watch.live is not None

        def gone(_: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

        screen.write = gone  # type: ignore[method-assign]
        raise Stopped(signal.SIGHUP)
    assert stopped.value.finished.startswith("0 of 20") and stopped.value.code == 129


def test_who_adds_seeds_counts_to_what_may_come(plan: Any) -> None:
    with pytest.raises(Stopped) as stopped, Watch(replace(plan, looks=(3, 5))):
        raise Stopped(signal.SIGTERM)
    assert stopped.value.finished == "0 of at most 20 trials of masking on numbers are finished"


def test_who_stops_a_study_hears_what_is_finished(plan: Any) -> None:
    with pytest.raises(Stopped) as stopped, Watch(plan) as watch:
        watch.listen("a · seed 1", {"status": "found"})
        watch.listen("a · seed 2", {"status": "ok"})
        watch.listen("a · seed 3", {"status": "diverged"})
        raise Stopped(signal.SIGTERM)
    assert stopped.value.finished == "2 of 20 trials of masking on numbers are finished" and stopped.value.code == 143
