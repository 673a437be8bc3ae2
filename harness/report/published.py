"""Published values beside ours: each with its source, what differs, and whether it lies in our interval; and the order of pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from harness.analysis import Outcome, on, split_of
from harness.analysis.comparable import comparable
from harness.analysis.published import Beside, Pair, Replication, replication
from harness.report.facts import StudyFacts
from harness.report.section import Section
from harness.report.tables import NONE, Origin, Table, finished, number, score
from harness.study.published import PublishedValue
from harness.trial.score import METRICS

ABOUT = (
    "The interval (95 %) is of the mean of our seeds, or of the difference of two, over new seeds and new sentences; a published "
    "mean of few seeds may lie outside of it by chance. A pair is two values of one published table that differ, or a published "
    "difference."
)
FELL = {True: "yes", False: "no", None: NONE}


def sections(study: StudyFacts, outcomes: Sequence[Outcome]) -> list[Section]:
    """Return the section on published values; none if the study names none, or none of its variants finished.

    Args:
        study: facts beside the trials.
        outcomes: all trials of the study.
    """
    found = beside(study, outcomes)
    if found is None:
        return []
    tables = [
        values_table(found, outcomes, table) for table in dict.fromkeys(one.published.table for one in found.values)
    ]
    order = "The last column says in how many resamples of our seeds and sentences the order is the published one."
    return [
        Section("published", "Published", about(found, outcomes), tables),
        Section("published-order", "Order of published values", order, [order_table(found)]),
    ]


def beside(study: StudyFacts, outcomes: Sequence[Outcome]) -> Replication | None:
    """Return published values beside ours; None if the study names none, or none of its variants finished.

    Args:
        study: facts beside the trials.
        outcomes: all trials of the study.
    """
    shown = [value for value in study.published if any(value.metric in o.metrics for o in on(outcomes, value.on))]
    return replication(shown, comparable(outcomes)[0], study.digest) if shown else None


def counted(found: Replication) -> str:
    """Return in how many pairs the order is the published one, and how many published values lie in our interval."""
    known = [each.inside for each in found.values if each.inside is not None]
    inside = f"inside our interval in {sum(known)} of {len(known)} values"
    return f"order agreed in {_agreed(found.pairs)}; {inside}" if found.pairs else inside


def frame(study: StudyFacts, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Return one row per published value: what was published, ours with its interval, and whether that holds it."""
    found = replication(study.published, comparable(outcomes)[0], study.digest)
    rows = [{"study": study.name, "base": study.base} | _plain(each) for each in found.values]
    return pd.DataFrame(rows)


def about(found: Replication, outcomes: Sequence[Outcome]) -> str:
    """Return how far we agree with what was published, and how to read it."""
    agreed = counted(found).capitalize()
    same = [pair for pair in found.pairs if pair.same_sentences]
    if len(same) < len(found.pairs):
        where = "tested on the same sentences here"
        agreed += f". Among pairs {where}, the order agreed in {_agreed(same)}" if same else f". No pair was {where}"
    if unknown := sum(each.inside is None for each in found.values):
        agreed += f". Values without an interval of ours (one seed, or nothing varied): {unknown}"
    sealed = " Ours are of the validation split." if split_of(outcomes) != "test" else ""
    return f"{agreed}.{sealed} {ABOUT}"


def _agreed(pairs: Sequence[Pair]) -> str:
    return f"{sum(pair.agreed for pair in pairs)} of {len(pairs)} pairs"


def values_table(found: Replication, outcomes: Sequence[Outcome], table: int) -> Table:
    """One row per value of a published table: the value, ours with its interval, inside or not; its caption has the source."""
    values = [each for each in found.values if each.published.table == table]
    alone = any(each.published.differs_alone for each in values)
    columns = ["variant", "metric", "published", "seeds", "ours", "our seeds", "95 % interval", "inside"]
    rows: list[list[str]] = []
    origins = {}
    for each in values:
        value = each.published
        if not math.isnan(each.mean):
            trials = finished(on(outcomes, value.on), {value.variant, value.than}, value.metric)
            origins[len(rows), 4] = Origin(value.metric, trials, each.mean)
        title = METRICS[value.metric].title + (f" on {value.on}" if value.on else "")
        rows.append([
            value.title, title, _spread(value, value.value, math.nan if value.sd is None else value.sd),
            NONE if value.seeds is None else str(value.seeds), _spread(value, each.mean, each.sd), str(each.seeds),
            _interval(each), FELL[each.inside], *([value.differs_alone or NONE] if alone else []),
        ])  # fmt: skip
    first = values[0].published
    caption = f"{first.source}. What differs here: {first.differs.rstrip().rstrip('.')}"
    plain = pd.DataFrame([_plain(each) for each in values])
    columns += ["differs besides"] if alone else []
    return Table(f"published_{table}", columns, rows, plain, origins, caption)


def order_table(found: Replication) -> Table:
    """One row per pair of published values that differ, and per published difference: theirs, ours, how often resamples agree."""
    columns = [
        "published as higher",
        "than",
        "metric",
        "published difference",
        "ours",
        "order",
        "resamples that agree (%)",
    ]
    rows = [
        [
            pair.higher, pair.lower, METRICS[pair.metric].title, _signed(pair.metric, pair.gap), _signed(pair.metric, pair.ours),
            "agrees" if pair.agreed else "does not agree", number(100 * pair.agreeing, 0),
        ]
        for pair in found.pairs
    ]  # fmt: skip
    plain = pd.DataFrame([pair._asdict() | {"agreed": pair.agreed} for pair in found.pairs])
    return Table(
        "published_order", columns, rows, plain, caption="Every pair of values that differ, every published difference"
    )


def _plain(each: Beside) -> dict[str, object]:
    ours = {"mean": each.mean, "mean_sd": each.sd, "mean_seeds": each.seeds, "ci_low": each.low, "ci_high": each.high}
    return each.published._asdict() | ours | {"inside": each.inside}


def _spread(value: PublishedValue, mean: float, sd: float) -> str:
    text = _signed(value.metric, mean) if value.than else score(value.metric, mean)
    return text + ("" if math.isnan(sd) else f" ± {score(value.metric, sd)}")


def _interval(each: Beside) -> str:
    metric = each.published.metric
    return NONE if math.isnan(each.low) else f"{score(metric, each.low)} to {score(metric, each.high)}"


def _signed(metric: str, value: float) -> str:
    text = score(metric, value)
    return text if math.isnan(value) or text.startswith("-") else f"+{text}"
