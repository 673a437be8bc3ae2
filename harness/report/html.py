"""One self-contained page: it needs no network, opens from disk, and is complete without scripts, which sort and filter."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import jinja2
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from harness.analysis import Outcome, primary_metrics
from harness.analysis.comparable import comparable
from harness.analysis.examples import Said, examples, hypotheses, same_test
from harness.core.escapes import visible
from harness.report import forest
from harness.report.listings import trials_table
from harness.report.panels import panels
from harness.report.section import Drawing, Section
from harness.report.tables import NONE, NUMBER, Table
from harness.trial.score import METRICS

BUDGET = 1_200_000
"""Maximal bytes of figures in a page; the others are named and stay in their files."""
EXAMPLES, LEADING, WON, VARIANTS = 400_000, 20, 40, 20
"""Limits of the examples in a page: characters, first test sentences, consistent wins, and variants side by side."""
SCRIPTS = ("page.js", "chart.js", "points.js", "dots.js", "attention.js", "figures.js", "panels.js")


class Cell(NamedTuple):
    """A cell of a table in a page."""

    text: str
    value: str
    """The number to sort by; empty: sort by the text."""
    metric: str = ""
    trials: str = ""
    """Rows of the table of trials behind a number, as ranges: ``0-4 7``."""
    pieces: Sequence[tuple[str, bool]] = ()
    """The text in pieces, if some are highlighted."""


class Shown(NamedTuple):
    """One test sentence in a page."""

    kind: str
    """The reason why the sentence is shown."""
    why: str
    source: str
    references: list[str]
    said: dict[str, list[Said]]
    """The hypotheses of every variant, most frequent first."""


def report(facts: Mapping[str, Any], outcomes: Sequence[Outcome], drawn: Mapping[str, Drawing]) -> str:
    """Return the page of a report.

    Args:
        facts: the study, answers, comparisons and sections, as for ``report.md``.
        outcomes: all trials of the study, in the order of its plan.
        drawn: the files of every figure, SVG and PNG.
    """
    places = {o.trial: index for index, o in enumerate(outcomes)}
    known, shown, study = charts(facts["sections"]), comparable(outcomes)[0], facts["study"]
    leading = (*primary_metrics(outcomes, study.claims, study.primary), "")[0]
    return page(
        "report.html.j2",
        **facts,
        all_trials=trials_table(shown),
        examples=browsed(outcomes, leading),
        most_variants=VARIANTS,
        cells=lambda table: cells(table, places),
        images=images({name: drawing for name, drawing in drawn.items() if name != forest.NAME}, known),
        data={"metrics": _signatures(outcomes, facts["study"].signatures), "charts": known, "panels": panels(shown)},
    )


def page(template: str, *, data: Mapping[str, Any] = MappingProxyType({}), **context: Any) -> str:
    """Render a template that extends ``layout.html.j2``; every text in it is escaped.

    The page's Content-Security-Policy allows only its own style and script.

    Args:
        template: the name of its file.
        data: what the script reads.
        context: the variables of the template; ``sections`` and ``all_trials`` have the tables of the page.
    """
    loader = jinja2.PackageLoader("harness.report")
    environment = SandboxedEnvironment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
        finalize=_shown,
    )
    environment.filters["whole"] = _whole
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    style, *scripts = (loader.get_source(environment, name)[0] for name in ("style.css", *SCRIPTS))
    tables = [table for section in context.get("sections", ()) for table in section.tables]
    tables += [context["all_trials"]] if "all_trials" in context else []
    style += "".join(map(_named_on_paper, tables))
    script = "\n".join(scripts)
    allowed = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"{allowed}; base-uri 'none'; form-action 'none'"
    return environment.get_template(template).render(
        context, data=_visible(data), policy=Markup(policy), style=Markup(style), script=Markup(script)
    )


def _named_on_paper(table: Table) -> str:
    """Return rules that tell every cell of a vast table the title of its column, which paper shows beside it."""
    places = enumerate(table.columns[1:] if table.vast else (), 2)
    name = _quoted(f"table-{table.name}")
    return "".join(f"[id={name}] td:nth-child({place}) {{ --column: {_quoted(title)}; }}\n" for place, title in places)


def _quoted(text: str) -> str:
    """Return a text as CSS writes it."""
    return '"' + re.sub(r"[^A-Za-z0-9 _.-]", lambda found: rf"\{ord(found[0]):x} ", text) + '"'


def cells(table: Table, places: Mapping[str, int]) -> list[list[Cell]]:
    """Return the cells of a table, with their sort keys and origins.

    Args:
        table: any table of a report.
        places: the row of every trial in the table of trials, by its digest.
    """
    grid = []
    for r, row in enumerate(table.rows):
        grid.append([Cell(text, _sorted_by(text), pieces=getattr(text, "pieces", ())) for text in row])
        for c, text in enumerate(row):
            origin = table.origins.get((r, c))
            known = sorted(places[trial] for trial in origin.trials if trial in places) if origin else []
            if origin and known:
                value = grid[r][c].value if math.isnan(origin.value) else _spelled(origin.value)
                grid[r][c] = Cell(text, value, origin.metric, _ranges(known))
    return grid


def browsed(outcomes: Sequence[Outcome], leading: str = "") -> list[Shown]:
    """Return the first test sentences, and sentences that a variant wins with most seeds, up to the limits."""
    variants = list(dict.fromkeys(o.variant for o in outcomes))[:VARIANTS]
    done = [o for o in outcomes if o.status == "ok" and o.hypotheses and o.variant in variants]
    pairs = 2 * max(1, len(variants) - 1)
    found = _leading(done)
    for e in examples(done, max(1, WON // pairs), leading)[:WON]:
        why = f"{e.wins} of {e.seeds} seeds"
        found.append(Shown(f"{e.better} beats {e.worse}", why, e.source, e.references, e.said))
    room = accumulate(_length(one) for one in found)
    return [one for one, used in zip(found, room, strict=True) if used <= EXAMPLES]


def _leading(done: Sequence[Outcome]) -> list[Shown]:
    """Return the first sentences of every test set, each with the hypotheses of the variants that are tested on it."""
    tested: list[Outcome] = []
    for o in done:
        if not any(same_test(o, other) for other in tested):
            tested.append(o)
    found = []
    for first in tested:
        what = f"first {first.test.split} sentences{f' of {first.variant}' if len(tested) > 1 else ''}"
        count = min(len(o.hypotheses) for o in done if same_test(o, first))
        for index in range(min(count, max(1, LEADING // len(tested)))):
            row = first.test.sources[index], first.test.references[index]
            found.append(Shown(what, f"sentence {index + 1}", *row, hypotheses(done, first, index)))
    return found


def _length(one: Shown) -> int:
    """Return the approximate size of an example in characters."""
    pieces = [span.text for texts in one.said.values() for what in texts for span in what.spans]
    return len(one.source) + sum(map(len, pieces)) + 16 * len(pieces) + 150 * len(one.said)


def _spelled(value: float) -> str:
    """Return a number as JavaScript reads it."""
    return f"{value:.10g}".replace("inf", "Infinity")


def _sorted_by(text: str) -> str:
    """Return the first number of a cell of numbers, as JavaScript reads it."""
    if not NUMBER.match(text) or text == NONE:
        return ""
    return text.removeprefix("< ").split(" ")[0].replace(",", "").replace("∞", "Infinity").replace("none", "Infinity")


def _ranges(numbers: Sequence[int]) -> str:
    """Return rising numbers as ranges: ``0-4 7``."""
    starts = [numbers[0], *(right for left, right in pairwise(numbers) if right != left + 1)]
    ends = [*(left for left, right in pairwise(numbers) if right != left + 1), numbers[-1]]
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _signatures(outcomes: Sequence[Outcome], known: Mapping[str, str]) -> dict[str, list[str]]:
    """Return title and signatures of every metric; two trials may have computed one differently."""
    rows = {name: [METRICS[name].title, text] for name, text in known.items() if name in METRICS}
    for name in METRICS:
        signatures = list(dict.fromkeys(o.signatures[name] for o in outcomes if name in o.signatures))
        if signatures:
            rows[name] = [METRICS[name].title, *signatures]
    return rows


def images(drawn: Mapping[str, Drawing], charts: Collection[str]) -> dict[str, str]:
    """Return the figures as data URLs, each in its smaller format, up to the limit.

    Args:
        drawn: the files of every figure.
        charts: the figures that the page draws itself: these come last, because only readers without scripts need them.
    """
    kinds, left, urls = {".svg": "image/svg+xml", ".png": "image/png"}, BUDGET, {}
    for name, drawing in sorted(drawn.items(), key=lambda item: item[0] in charts):
        smallest = min(drawing.files, key=lambda path: path.stat().st_size)
        text = base64.b64encode(smallest.read_bytes()).decode("ascii")
        if len(text) <= left:
            left -= len(text)
            urls[name] = f"data:{kinds[smallest.suffix]};base64,{text}"
    return urls


def charts(sections: Sequence[Section]) -> dict[str, Any]:
    """Return the figures that pages draw as data, by name."""
    found = {figure.name: figure.chart() for section in sections for figure in section.figures}
    return {name: chart.data() for name, chart in found.items() if chart is not None}


def _visible(value: Any) -> Any:
    """Return plain data whose texts have lost hidden characters."""
    if isinstance(value, Mapping):
        return {visible(name): _visible(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_visible(one) for one in value]
    return visible(value) if isinstance(value, str) else value


def _shown(value: Any) -> Any:
    """Return a value for a template: texts lose hidden characters; they are escaped afterwards."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _whole(text: str) -> str:
    """Return a text whose brackets are not broken across lines."""
    return re.sub(r"\[[^\]]*\]", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
