"""What people see in a terminal: rich where there is one, plain lines without control codes where there is none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from harness.escapes import visible

if TYPE_CHECKING:
    from harness.across import Joint
    from harness.answer import Answer
    from harness.claims import Claim, Group
    from harness.report.section import Section
    from harness.storage.sweep import Survey
    from harness.study import Plan
    from harness.transfer import Moved
    from harness.verify import Row, Verified

ENDLESS = 100_000
"""Columns of an output that is no terminal: lines are as long as what they say."""
WIDEST_TYPE = 36
"""Characters of a readable type that still fits a column."""


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


def _grid(rows: Iterable[Iterable[Any]], indent: int = 2, headers: Iterable[str] = (), right: int = 0) -> Table:
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


def _indented(text: str, by: int = 2, style: str = "") -> RenderableType:
    return Padding(Text(text, style=style), (0, 0, 0, by), expand=False)


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _entry(name: str, about: str) -> RenderableType:
    return Padding(Text.assemble((name, "cyan"), f": {_plain(about)}"), (0, 0, 0, 2), expand=False)


def _plain(text: str) -> str:
    """Return a docstring without its marks of code."""
    return text.replace("``", "")


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


# ---------------------------------------------------------------------------------------------------- what there is


def print_parts(found: list[dict[str, Any]]) -> None:
    """Print parts slot by slot, each with its settings."""
    slot = None
    for part in found:
        if part["slot"] != slot:
            slot = part["slot"]
            say(_heading(slot))
        say(_entry(part["kind"], part["summary"]))
        if part["settings"]:
            say(_grid(map(_setting, part["settings"]), indent=6))


def _setting(said: Mapping[str, Any]) -> list[str]:
    default = "required" if said["required"] else f"= {_value(said['default'])}"
    if len(said["type"]) <= WIDEST_TYPE:
        return [said["name"], said["type"], default, _plain(said["about"])]
    return [said["name"], "see right", default, f"{_plain(said['about'])} Known: {said['type']}."]


def print_files(what: str, found: list[dict[str, str]]) -> None:
    """Print the bases, studies or presets that there are."""
    say(_heading(what))
    for row in found:
        say(_entry(row["name"], row["about"]))


def print_page(page: Mapping[str, Any]) -> None:
    """Print one variant: its choices, parts with formulas and sources, parameters and shapes."""
    say(Text(page["name"], style="bold"))
    say(*(Text(page[key]) for key in ("about", "source") if page.get(key)))
    if page["skipped"]:
        say(Text(f"skipped: {page['skipped']}", style="red"))
    say(_heading("choices"), *(_indented(line) for line in _outline(page["choice"])))
    say(_heading("parts"))
    for part in page["parts"]:
        say(_entry(part["path"], f"{part['kind']} ({part['file']})"))
        say(_indented(_plain(part["about"]), by=6, style="dim"))
    if page["parameters"]:
        source, target = page["words"]
        say(_heading(f"parameters, with vocabularies of {source:,} and {target:,} words"))
        say(_grid(([name, f"{count:,}"] for name, count in page["parameters"].items()), right=1))
        say(_heading("shapes"))
        say(_grid([name, " x ".join(map(str, shape))] for name, shape in page["shapes"].items()))


def _outline(plain: Any, depth: int = 0) -> Iterator[str]:
    """Yield the lines of nested choices, as in a base file."""
    for key, value in plain.items():
        nested = isinstance(value, Mapping) and value
        small = nested and not any(isinstance(inner, Mapping) for inner in value.values())
        if small and depth:
            inside = ", ".join(f"{k}: {_value(v)}" for k, v in value.items())
            yield f"{'  ' * depth}{key}: {{{inside}}}"
        elif nested:
            yield f"{'  ' * depth}{key}:"
            yield from _outline(value, depth + 1)
        else:
            yield f"{'  ' * depth}{key}: {_value(value)}"


def print_dataset(facts: Mapping[str, Any]) -> None:
    """Print sizes, lengths, identity and first rows of a dataset."""
    splits: Mapping[str, Mapping[str, Any]] = facts["splits"]
    say(Text(f"sha256 {facts['sha256']}" + (f", revision {facts['revision']}" if facts["revision"] else "")))
    names = list(dict.fromkeys(name for said in splits.values() for name in said))
    rows = [[name.replace("_", " "), *(_shown(said.get(name, "")) for said in splits.values())] for name in names]
    say("", _grid(rows, indent=0, headers=["", *splits], right=len(splits)))
    for split, first in facts["rows"].items():
        if first:
            say(_heading(f"{split}, first rows"))
            say(_grid([row["source"], " | ".join(row["references"])] for row in first))


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_tried(answers: Iterable[Mapping[str, Any]]) -> None:
    """Print what a trained model says to each source, and the log-probability that it gives."""
    for answer in answers:
        cut = ", cut at the limit" if answer["truncated"] else ""
        hypothesis = Text.assemble((answer["hypothesis"], "bold"), (f"  (log p {answer['score']:.2f}{cut})", "dim"))
        say(Text(answer["source"]), Padding(hypothesis, (0, 0, 0, 2), expand=False))


# ------------------------------------------------------------------------------------------------------------ plans


def print_validated(plan: Plan) -> None:
    """Print the variants of a valid study, and which of them each claim compares."""
    from harness.claims import groups  # heavy (scores), and only needed here: a mistake is told without it

    running = sum(not variant.skipped for variant in plan.variants)
    upto = "up to " if plan.sequential else ""
    size = f"{_count(running, 'variant')} with {upto}{_count(len(plan.seeds), 'seed')}"
    say(
        Text(
            f"{plan.name} on {plan.base} is valid: {size}, {upto}{_count(running * len(plan.seeds), 'trial')}",
            style="bold",
        )
    )
    say(_heading("variants"))
    say(_grid([str(number), variant.name, variant.skipped] for number, variant in enumerate(plan.variants, 1)))
    factors = {variant.name: variant.factors for variant in plan.variants if not variant.skipped}
    say(*([_heading("claims")] if plan.file.claims else []))
    for claim in plan.file.claims:
        say(_entry(claim.name, _question(claim)))
        compared = groups(claim, factors)
        say(_grid([[_role(claim, group), "; ".join(group.variants)] for group in compared], indent=6))


def _question(claim: Claim) -> str:
    """Return what a claim says of its metric."""
    if claim.succeeds_at is not None:
        said = f"more seeds reach {claim.succeeds_at:g} in {claim.metric}"
    elif claim.within is not None:
        said = f"no different by {claim.within:g} in {claim.metric}"
    else:
        said = f"better by more than {claim.by:g} in {claim.metric}"
    if claim.trend:
        said += f" with {'more' if claim.better_with_more else 'less'} {claim.trend}, from end to end of its line"
    conditions = [_settings(condition) for condition in claim.conditions if condition]
    return said + (", when " + " rather than ".join(conditions) if conditions else "")


def _role(claim: Claim, group: Group) -> str:
    """Return what a group of variants is in its claim."""
    role = _settings(group.said) if claim.trend else "better" if group.said == claim.better else "than"
    return f"{role}, {_settings(claim.conditions[group.condition])}" if claim.rather_than else role


def _settings(said: Mapping[str, Any]) -> str:
    return ", ".join(f"{path}={v if isinstance(v, str) else json.dumps(v)}" for path, v in said.items())


def print_plan(plan: Plan, rows: Mapping[str, Any]) -> None:
    """Print what would run: trials of each variant by state, why, and how long it takes."""
    say(Text(f"{plan.name} on {plan.base}: {' '.join(plan.file.question.split())}", style="bold"))
    shown = [[row["variant"], _states(row), _size(row["params"])] for row in rows["variants"]]
    say("", _grid(shown, indent=0, headers=["variant", "trials", "parameters"], right=1))
    for why, trials in _reasons(rows["variants"]).items():
        say(_indented(f"{why}: {trials}", style="yellow"))
    states = Counter(trial["state"] for row in rows["variants"] for trial in row["trials"])
    say("")
    if plan.sequential:
        say(
            f"seeds are added until the claims are decided, {plan.looks[-1]} at most; counted here are those wanted by now"
        )
    if failed := states["failed"]:
        say(Text(f"{_count(failed, 'trial')} failed before", style="red"))
    if not rows["to_run"]:
        say(f"nothing to do: {'all' if not failed else 'the other'} {_count(states['done'], 'trial')} are done")
        return
    about = rows["estimate_seconds"]
    took = "" if about is None else f", about {duration(about)} (from {rows['estimate_from']})"
    say(f"to run: {_count(rows['to_run'], 'trial')}, {_count(rows['trainings'], 'training')}{took}")


def _size(params: int | None) -> str:
    return "" if params is None else f"{params:,}"


def _states(row: Mapping[str, Any]) -> Text:
    if row["skipped"]:
        return Text(f"skipped: {row['skipped']}", style="dim")
    counted = Counter(trial["state"] for trial in row["trials"])
    return Text(", ".join(f"{count} {state}" for state, count in counted.items()))


def _reasons(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return why trials are stale or failed, and which they are."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for trial in row["trials"]:
            if trial["state"] in ("stale", "failed"):
                variants = found.setdefault(f"{trial['state']}, {trial['why']}", {})
                variants.setdefault(row["variant"], []).append(str(trial["seed"]))
    return {
        why: "; ".join(f"{name} · seed{'s' * (len(seeds) > 1)} {' '.join(seeds)}" for name, seeds in variants.items())
        for why, variants in found.items()
    }


def print_needs(found: Mapping[str, Any]) -> None:
    """Print what claims need: a block a claim with seeds, time or sentences, and what each number of seeds detects."""
    say(Text(f"{found['study']} on {found['base']}, as planned with {_count(found['seeds'], 'seed')}", style="bold"))
    for row in found["claims"]:
        find = row["find"]
        what = f"no difference beyond {find['within']:g}" if "within" in find else f"a gain of {find['gain']:g}"
        what += f", as more than {find['more_than']:g}" if find.get("more_than") else ""
        say(_heading(row["claim"]))
        say(
            _indented(f"to find: {what} in {row['metric']}"),
            _indented(
                f"noise, from {row['from']}: SD over seeds {row['sd_seed']:.3g}; of a difference over sentences "
                f"{round(row['sd_sentence'], 6):.3g}, with {row['sentences']:,} sentences; seeds are {row['share_of_seeds']:.0%} "
                "of the variance as planned"
            ),
        )
        shown = [
            [_level(at["alpha"], row["levels"]), _percent(at["power_as_planned"]), f"{want['power']:.0%}",
             *_wanted(want)]
            for at in row["levels"] for want in at["for"]
        ]  # fmt: skip
        headers = ["  level", "planned", "power", "seeds", "time left", "or sentences", "or both"]
        say(_grid(shown, headers=headers, right=6))
        seeds, *levels = (list(values) for values in zip(*(d.values() for d in row["detectable"]), strict=True))
        word = "margin shown" if "within" in find else "gain found"
        say(_indented(f"smallest {word} with 80 % power, by seeds a variant:"))
        lines = zip(row["levels"], levels, strict=True)
        cells = [[_level(at["alpha"], row["levels"]), *(f"{value:.3g}" for value in line)] for at, line in lines]
        say(_grid(cells, headers=["", *map(str, seeds)], right=len(seeds)))
    say("", f"planned: the power with the seeds as planned, {found['seeds']} a variant; power: what the seeds, the sentences or "
        "both (seeds on sentences) to the right of it reach; Holm: the worst case of correcting for all claims")  # fmt: skip
    cost = found["cost"]
    say("", f"one more seed of every variant takes {duration(cost['seconds_per_seed'])} "
        f"({_count(cost['workers'], 'worker')}; from {_count(cost['trainings_timed'], 'finished training')})"
        if cost else "nothing has run yet, so nobody knows the time: `s2s plan` estimates it")  # fmt: skip


def _level(alpha: float, levels: list[Mapping[str, Any]]) -> str:
    if len(levels) == 1:
        return f"{alpha:.3g}"
    return f"{alpha:.3g} {'alone' if alpha == levels[0]['alpha'] else 'Holm'}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _wanted(want: Mapping[str, Any]) -> Iterator[str]:
    for name in ("seeds", "seconds", "or_sentences"):
        shown = duration if name == "seconds" else "{:,}".format
        yield "-" if want[name] is None else shown(want[name])
    both = want["or_both"]
    yield f"{both['seeds']:,} on {both['sentences']:,}" if both else "-"


# ------------------------------------------------------------------------------------------------------------- runs


def print_answer(plan: Plan, done: Answer) -> None:
    """Print what a study found: what ran, the files of the report, the table, the verdicts, and what went wrong."""
    total = done.seeds * sum(not variant.skipped for variant in plan.variants)
    say(Text(_ran(done, total)), *(Text(f"report: {path}") for path in done.files))
    say(_heading(f"{plan.name} on {plan.base}: {' '.join(plan.file.question.split())}"))
    if done.table:
        names = list(dict.fromkeys(name for row in done.table for name in row))
        rows = [[row.get(name, "") for name in names] for row in done.table]
        say("", _grid(rows, indent=0, headers=names, right=len(names) - 1))
    say(*([""] if done.verdicts else []), *(_indented(f"- {verdict}", by=0) for verdict in done.verdicts))
    skipped = [[variant.name, f"skipped, {variant.skipped}"] for variant in plan.variants if variant.skipped]
    failed = [[name, f"{status}: {reason}" if reason else status] for name, status, reason in done.failed]
    for title, rows in (("not run", skipped), ("failed", failed)):
        if rows:
            say(
                _heading(title),
                _grid([Text(name, style="red" if rows is failed else "dim"), why] for name, why in rows),
            )
    say(*(Text(f"note: {note}", style="yellow") for note in done.notes))


def print_joint(found: Joint) -> None:
    """Print what a study found on all of its bases: the files of the joint report, and each claim."""
    say("", *(Text(f"report: {path}") for path in found.files), _heading(found.title), "")
    say(*(_indented(f"- {claim}: {verdicts}. {together}", by=0) for claim, verdicts, together in found.answers))


def _ran(done: Answer, total: int) -> str:
    ran = done.ran
    if ran.made == ran.failed == ran.untried == 0:
        whole = ran.found == total
        return (
            f"nothing to do: all {_count(total, 'trial')} are done"
            if whole
            else f"{ran.found} of {total} trials are done"
        )
    before = f", {ran.found:,} were done before" if ran.found else ""
    failed = f", {ran.failed:,} failed" if ran.failed else ""
    untried = f", {ran.untried:,} not tried after so many failures" if ran.untried else ""
    return f"{_count(ran.made, 'trial')} done in {duration(done.seconds)}{before}{failed}{untried}"


def print_sections(sections: Iterable[Section]) -> None:
    """Print sections of a report: what they are about, and their tables with numbers flush right."""
    for section in sections:
        say(_heading(section.title), *([_indented(section.about)] if section.about else []))
        for table in section.tables:
            if table.rows:
                say(_columns(table.columns, table.rows, table.numeric))


def _columns(headers: Iterable[str], rows: Iterable[Iterable[str]], numeric: Iterable[bool]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for header, right in zip(headers, numeric, strict=True):
        table.add_column(visible(header), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


# ----------------------------------------------------------------------------------------------------- second runs


def print_verified(title: str, found: Verified) -> None:
    """Print how trials came out when they were done once more, and what explains the differences."""
    drawn = "" if len(found.rows) == found.finished else ", drawn by a hash"
    say(_heading(f"{title}: {len(found.rows)} of {_count(found.finished, 'finished trial')} done once more{drawn}"))
    headers = ["  trial", "verdict", "parts at", "update", "losses", "hypotheses"]
    say(_grid(map(_compared, found.rows), headers=headers))
    said = Counter(text for row in found.rows for text in _otherwise(row))
    say(*(_indented(f"{text} ({_count(count, 'trial')})") for text, count in said.items()))
    for name, reason in found.skipped:
        say(_indented(f"not done once more: {name}, {reason}", style="dim"))
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


def _otherwise(row: Row) -> list[str]:
    """Return what stands against a verdict, or explains it."""
    like = row.likeness
    made = [f"{key}: {was} before, {now} now" for key, (was, now) in (like.explained.items() if like else ())]
    if like and like.parts_at and not made:
        made = ["nothing in the provenance differs"]
    code = [f"stored results are stale, {row.stale}: today's code was held against them"] if row.stale else []
    return [*code, *([row.reason] if row.reason else []), *made]


def print_moved(moved: Moved, where: str) -> None:
    """Print what an export or an import did."""
    about = moved.about
    say(Text(f"{about.study} on {about.base}: {about.finished} of {_count(about.trials, 'trial')} finished; {where}"))
    say(_indented(f"{_count(moved.added, 'stage')} written, {moved.there:,} were there already"))
    for name in moved.different:
        say(_indented(f"{name} is there with other results, and was left as it is", style="red"))
    say(*([Text(f"note: {moved.note}", style="yellow")] if moved.note else []))


# -------------------------------------------------------------------------------------------------------- the store


def print_swept(found: Survey, damaged: Collection[tuple[tuple[str, str], str]], *, removed: bool) -> None:
    """Print what a store holds, what is damaged in it, and what was or can be removed."""
    headers = ["study", "base", "stages of its own", "size", "stages shared", "size"]
    rows = [
        [row["study"], row["base"], *(_stages(row, what)[part] for what in ("own", "shared") for part in (0, 1))]
        for row in found.studies
    ]
    say(_columns(headers, rows, (False, False, True, True, True, True)))
    for (name, key), fault in damaged:
        done = "set aside; the next run of its study makes it anew" if removed else "--delete sets it aside"
        say(Text(f"damaged: {name} {key}, {fault} ({done})", style="red"))
    kinds = found.by_kind()
    say(_heading("removed" if removed else "nothing refers to" if kinds else "nothing to remove"))
    say(
        _columns(
            ["", "number", "size"], [[kind, f"{n:,}", size(b)] for kind, (n, b) in kinds.items()], (False, True, True)
        )
    )
    if found.resumable:
        say(
            f"{_count(found.resumable, 'folder')} of interrupted work stay: the next run of the study goes on with them"
        )
    say(*(Text(f"left, in use: {text}", style="yellow") for text in found.busy))
    say(*(["nothing was removed; --delete removes it"] if kinds and not removed else []))


def _stages(row: Mapping[str, Any], what: str) -> tuple[str, str]:
    return f"{row[f'{what}_stages']:,}", size(row[f"{what}_bytes"])


def size(amount: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
