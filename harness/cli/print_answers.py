"""How the terminal shows results: answers of studies, repeated trials, moved and removed results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from harness.cli.terminal import columns, duration, fitting, grid, heading, indented, number_of, say, size

if TYPE_CHECKING:
    from harness.report.section import Section
    from harness.storage.garbage import Survey
    from harness.study.plan import Plan
    from harness.workflows.export_import import Moved
    from harness.workflows.run_datasets import Joint
    from harness.workflows.tune_study import Tuning
    from harness.workflows.verify import Row, Verified
    from harness.workflows.write_report import StudyAnswer


def print_answer(plan: Plan, done: StudyAnswer, told: Collection[str] = ()) -> None:
    """Print the answer of a study: trials run, the table, the verdicts, failures, notes; last its report and what comes next.

    Args:
        plan: the study.
        done: its answer.
        told: failed trials that were printed before.
    """
    total = done.seeds * sum(not variant.skipped for variant in plan.variants)
    say(Text(_ran(done, total)))
    say(heading(f"{plan.name} on {plan.base}: {' '.join(plan.file.question.split())}"))
    say(*([plan.sealed] if plan.sealed else []))
    if done.table:
        names = list(dict.fromkeys(name for row in done.table for name in row))
        rows = [[row.get(name, "") for name in names] for row in done.table]
        say("", grid(rows, indent=0, headers=names, right=len(names) - 1))
    say(*([""] if done.verdicts else []), *(indented(f"- {verdict}", by=0, hang=2) for verdict in done.verdicts))
    skipped = [[variant.name, f"skipped, {variant.skipped}"] for variant in plan.variants if variant.skipped]
    missing = [[name, reason] for name, status, reason in done.failed if status == "missing"]
    ended = [(n, status, reason) for n, status, reason in done.failed if status != "missing" and n not in told]
    failed = [[name, f"{status}: {reason}" if reason else status] for name, status, reason in ended]
    for title, rows in (("not run", skipped), ("missing", missing), ("failed", failed)):
        if rows:
            say(
                heading(title),
                grid([Text(name, style="red" if rows is failed else "dim"), why] for name, why in rows),
            )
    say(*(Text(f"note: {note}", style="yellow") for note in done.notes))
    if done.files:
        say("", *(Text(f"report: {path}") for path in done.files), *(Text(f"next: {step}") for step in done.steps))


def print_tuning(done: Tuning) -> None:
    """Print the answer of a tuning: the settings that won for each variant, and the file that a study names."""
    print_answer(done.plan, done.answer)
    if done.found is None:
        say("trials are missing: nothing is chosen yet")
        return
    rows = [
        [name, ", ".join(f"{path}={value}" for path, value in mine.chosen.items())]
        for name, mine in done.found.variants.items()
    ]
    say(heading("chosen"), grid(rows))
    say(Text(f"to use them, write into the study: tuned: {done.file}"))


def print_joint(found: Joint) -> None:
    """Print the joint answer of a study with several bases: each claim, then the report files."""
    say(heading(found.title), "")
    say(*(indented(f"- {claim}: {verdicts}. {together}", by=0, hang=2) for claim, verdicts, together in found.answers))
    say("", *(Text(f"report: {path}") for path in found.files))


def _ran(done: StudyAnswer, total: int) -> str:
    ran = done.ran
    if ran.made == ran.failed == ran.untried == 0:
        whole = ran.found == total
        return (
            f"nothing to do: all {number_of(total, 'trial')} are done"
            if whole
            else f"{ran.found} of {total} trials are done"
        )
    before = f", {ran.found:,} were done before" if ran.found else ""
    failed = f", {ran.failed:,} failed" if ran.failed else ""
    untried = f", {ran.untried:,} not tried after so many failures" if ran.untried else ""
    return f"{number_of(ran.made, 'trial')} done in {duration(done.seconds)}{before}{failed}{untried}"


def print_sections(sections: Iterable[Section]) -> None:
    """Print sections of a report with their introductions and tables."""
    for section in sections:
        say(heading(section.title), *([indented(section.about)] if section.about else []))
        for table in section.tables:
            if table.rows:
                say(*fitting(table.columns, table.rows, table.numeric))


def print_verified(title: str, found: Verified) -> None:
    """Print how repeated trials compare with the stored ones, and what explains the differences."""
    drawn = "" if len(found.rows) == found.finished else ", drawn by a hash"
    say(heading(f"{title}: {len(found.rows)} of {number_of(found.finished, 'finished trial')} repeated{drawn}"))
    headers = ["trial", "verdict", "parts at", "update", "losses", "hypotheses"]
    say(grid(map(_compared, found.rows), headers=headers))
    reasons = Counter(text for row in found.rows for text in _reasons(row))
    say(*(indented(f"{text} ({number_of(count, 'trial')})") for text, count in reasons.items()))
    for name, reason in found.skipped:
        say(indented(f"not repeated: {name}, {reason}", style="dim"))
    verdicts = Counter(row.verdict for row in found.rows)
    say(", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
    say(*(Text(f"note: {note}", style="yellow") for note in found.notes))


def _compared(row: Row) -> list[Any]:
    like = row.likeness
    well = row.verdict in ("exact", "same hypotheses")
    cells: list[Any] = [f"{row.variant} · seed {row.seed}", Text(row.verdict, style="" if well else "red")]
    if like is None or not like.parts_at:
        return [*cells, "", "", "", ""]
    first = "" if like.first_update is None else f"{like.first_update:,}"
    apart = f"{like.loss_difference:.1e}" if like.first_update is not None else ""
    return [*cells, like.parts_at, first, apart, f"{like.hypotheses:,} of {like.sentences:,} differ"]


def _reasons(row: Row) -> list[str]:
    """Return what qualifies or explains the verdict on a trial."""
    like = row.likeness
    explained = [f"{key}: {was} before, {now} now" for key, (was, now) in (like.explained.items() if like else ())]
    if like and like.parts_at and not explained:
        explained = ["nothing in the provenance differs"]
    code = [f"stored results are stale, {row.stale}; they were compared with today's code"] if row.stale else []
    return [*code, *([row.reason] if row.reason else []), *explained]


def print_moved(moved: Moved, where: str) -> None:
    """Print the counts of an export or an import, and what it left out."""
    about = moved.about
    say(
        Text(f"{about.study} on {about.base}: {about.finished} of {number_of(about.trials, 'trial')} finished; {where}")
    )
    say(indented(f"{number_of(moved.added, 'stage')} written, {moved.there:,} already there"))
    for name in moved.different:
        say(indented(f"{name} has other results here, and was left as it is", style="red"))
    for holder in moved.busy:
        say(indented(f"{holder}; run the same command again when it has ended", style="yellow"))
    say(*([Text(f"note: {moved.note}", style="yellow")] if moved.note else []))


def print_swept(found: Survey, damaged: Collection[tuple[tuple[str, str], str]], *, removed: bool) -> None:
    """Print what a store holds, its damaged stages, and what was or can be removed."""
    headers = ["study", "base", "stages of its own", "size", "stages shared", "size"]
    rows = [
        [row["study"], row["base"], *(_stages(row, what)[part] for what in ("own", "shared") for part in (0, 1))]
        for row in found.studies
    ]
    say(columns(headers, rows, (False, False, True, True, True, True)) if rows else "the store holds no study")
    for (name, key), fault in damaged:
        done = "quarantined; the next run of its study recomputes it" if removed else "--delete quarantines it"
        say(Text(f"damaged: {name} {key}, {fault} ({done})", style="red"))
    kinds = found.by_kind()
    say(heading("removed" if removed else "no study refers to" if kinds else "nothing to remove"))
    removable = [[kind, f"{n:,}", size(b)] for kind, (n, b) in kinds.items()]
    say(*([columns(["", "number", "size"], removable, (False, True, True))] if removable else []))
    if found.resumable:
        say(f"{number_of(found.resumable, 'folder')} of interrupted work kept: the next run of the study resumes there")
    say(*(Text(f"kept, in use: {text}", style="yellow") for text in found.busy))
    say(*(["nothing was removed; --delete removes it"] if kinds and not removed else []))


def _stages(row: Mapping[str, Any], what: str) -> tuple[str, str]:
    return f"{row[f'{what}_stages']:,}", size(row[f"{what}_bytes"])
