"""Recomputes a report from the hypotheses in a store, without any code of the harness.

    python tests/oracle/recompute.py runs results/STUDY/BASE [--datasets N]

Imports the standard library, numpy, scipy, sacrebleu and safetensors. Reads `plan.json`, `trials.csv` and `comparisons.csv` of the
report, and from the store the texts, likelihoods and vocabularies of each trial. Scores every trial, answers every claim and every
comparison with the first variant anew, and compares. CSV files of a report have ten digits, so that a number agrees
if it differs by less than 1e-9 of itself. Exit code 0: everything agrees; 1: something differs; 2: nothing can be compared.

Left out: metrics that need the harness to read a text (numbers, labels), metrics with settings, plans that look several times or
may (`unplanned:`), and what a new study would need (`mde80`, `needed_*`).
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from estimates import LEVEL, NAN, Draws, Row, estimate, holm, verdict
from questions import Study, flat, groups
from rescored import METRICS, floor
from stored import Trial

TOLERANCE = 1e-9
ROUNDING = 1e-13
"""What doubles lose, as a share of the scores that a number is computed from."""
NUMBERS = (
    "mean_a", "mean_b", "delta", "ci_low", "ci_high", "confidence", "p", "p_holm", "level", "seeds_a", "seeds_b", "sentences",
    "var_seed", "var_sentence", "improvement", "improvement_low", "improvement_high", "success_a", "success_b", "threshold",
    "floor", "posterior",
)  # fmt: skip
WORDS = ("verdict", "method", "kind")


class Deviation(NamedTuple):
    """One number, or word, of a report beside the recomputed one."""

    column: str
    where: str
    reported: float | str
    mine: float | str
    slack: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether there is nothing here on either side."""
        return all(side == "" or side != side for side in (self.reported, self.mine))

    @property
    def relative(self) -> float:
        """The difference as a share of the number, rounding aside; infinite where one of two is missing, or words differ."""
        if isinstance(self.reported, str) or isinstance(self.mine, str):
            return 0.0 if self.reported == self.mine else math.inf
        if self.reported == self.mine or (math.isnan(self.reported) and math.isnan(self.mine)):
            return 0.0
        apart = abs(self.reported - self.mine)
        if not math.isfinite(apart):
            return math.inf
        return 0.0 if apart <= self.slack else apart / abs(self.mine or self.reported)


class Report:
    """A report and the store that it was written from."""

    def __init__(self, store: Path, results: Path, datasets: int) -> None:
        self.plan = json.loads((results / "plan.json").read_text(encoding="utf-8"))
        self.rows, self.comparisons = read(results / "trials.csv"), read(results / "comparisons.csv")
        frozen = store / "studies" / self.plan["study"] / self.plan["base"] / "plan.json"
        self.dropped = len(json.loads(frozen.read_text(encoding="utf-8")).get("dropped", [])) if frozen.exists() else 0
        self.datasets, self.stages, self.draws = datasets, store / "stages", Draws(self.plan["digest"])
        self.left_out: set[str] = set()
        scoring = {v["name"]: v["choice"]["decoding"]["scoring"] for v in self.plan["variants"] if v["choice"]}
        suffix, done = "/score", [row for row in self.rows if row["status"] == "ok"]
        self.tests = ["", *(name.removesuffix(suffix) for name in self.rows[0] if name.endswith(suffix))]
        self.trials = {
            test: {
                (row["variant"], int(row["seed"])): Trial(self.stages, row, test, scoring[row["variant"]])
                for row in done
                if row[f"{test}/score" if test else "score"]
            }
            for test in self.tests
        }
        incompatible = {row["variant"] for row in self.rows if row["status"] == "incompatible"}
        self.variants = {
            v["name"]: flat(v["factors"])
            for v in self.plan["variants"]
            if not v["skipped"] and v["name"] not in incompatible
        }
        self._studies: dict[tuple[str, str], Study] = {}

    def study(self, metric: str, test: str) -> Study:
        if (metric, test) not in self._studies:
            self._studies[metric, test] = Study(self.rows, self.trials[test], metric, self.draws)
        return self._studies[metric, test]

    def scores(self) -> Iterator[Deviation]:
        """Every score of every trial on every test set."""
        by_trial = {(row["variant"], int(row["seed"])): row for row in self.rows}
        for test, trials in self.trials.items():
            for (variant, seed), trial in trials.items():
                self.left_out |= {f"metric {name}" for name in trial.names if name not in METRICS}
                for name in (name for name in trial.names if name in METRICS):
                    column = f"{test}/{name}" if test else name
                    reported = number(by_trial[variant, seed][column])
                    yield Deviation(column, f"{variant}, seed {seed}", reported, trial.score(name), ROUNDING * 100)

    def answers(self) -> Iterator[Deviation]:
        """Every number of every claim, then of every comparison with the first variant."""
        claims = self.plan["claims"]
        found = [self._answer(claim) for claim in claims]
        self._correct(found)
        for claim, mine, row in zip(claims, found, self.comparisons, strict=False):
            if mine is None:
                self.left_out.add(f"claim '{claim['name']}' about {claim['metric']}")
            else:
                yield from compared(claim["name"], mine, row)
        for row in self.comparisons[len(claims) :]:
            if row["metric"] in METRICS:
                study = self.study(row["metric"], row.get("on", ""))
                contrast = study.pair({(row["a"], ()): 1.0}, {(row["b"], ()): 1.0})
                mine = estimate(contrast, METRICS[row["metric"]], {}, NAN)
                yield from compared(f"{row['a']} - {row['b']}", mine | {"level": LEVEL}, row)

    def _answer(self, claim: Row) -> Row | None:
        if claim["metric"] not in METRICS:
            return None
        name, test = claim["metric"], claim.get("on", "")
        study = self.study(name, test)
        asked = [(path, str(v)) for path, v in claim.get("when", {}).items() if path.partition(".")[0] == "sentences"]
        conditions = [claim["when"], claim["rather_than"]] if claim["rather_than"] else [claim["when"]]
        sides, _ = groups(claim, conditions, self.variants)
        claimed = {name for half in sides for names in half for name in names}
        mine = {v: t for (v, _), t in self.trials[test].items() if v in claimed and name in t.names}
        floors = [floor(t.said, name, t.test.where(asked) if asked else None) for t in mine.values()]
        nearest = min if METRICS[name].direction == "higher" else max
        lowest = nearest(floors) if floors and not any(map(math.isnan, floors)) else NAN
        return estimate(study.contrast(claim, self.variants), METRICS[name], claim, lowest)

    def _correct(self, found: list[Row | None]) -> None:
        """Holm on each dataset, over the number of datasets; secondary claims after primary ones."""
        claims, late, gate = self.plan["claims"], self.plan["exploratory"], 0.0
        for family, dropped in (("primary", self.dropped), ("secondary", 0)):
            asked = [k for k, c in enumerate(claims) if c.get("family", "primary") == family and c["name"] not in late]
            if any(found[k] is None for k in asked):
                self.left_out.add(f"corrected p of {family} claims: one of them is left out")
                for one in filter(None, (found[k] for k in asked)):
                    one |= {"p_holm": None, "level": None, "verdict": None}
                continue
            own: list[Row] = [row for k in asked if (row := found[k]) is not None]
            adjusted = holm([row["p"] for row in own] + [1.0] * dropped)[: len(own)]
            adjusted = [p if math.isnan(p) else max(gate, min(1.0, self.datasets * p)) for p in adjusted]
            for k, row, p in zip(asked, own, adjusted, strict=True):
                row |= {"p_holm": p, "level": LEVEL / (self.datasets * (len(asked) + dropped))}
                row["verdict"] = verdict(row, p, METRICS[claims[k]["metric"]], claims[k])
            gate = max([gate, *(1.0 if math.isnan(p) else p for p in adjusted), *[1.0] * dropped])
        for k, claim in enumerate(claims):
            if claim["name"] in late and (it := found[k]) is not None:
                it |= {"level": LEVEL, "verdict": verdict(it, it["p"], METRICS[claim["metric"]], claim)}


def compared(where: str, mine: Row, row: dict[str, str]) -> Iterator[Deviation]:
    scale = max(1.0, *(abs(mine[name]) for name in ("mean_a", "mean_b") if math.isfinite(mine.get(name, NAN))), 0.0)
    for column in NUMBERS:
        value = mine.get(column, 95.0 if column == "confidence" else NAN)
        if value is not None and column in row:
            slack = 0.0 if column in ("p", "p_holm") else ROUNDING * scale
            slack = slack**2 if column in ("var_seed", "var_sentence") else slack
            yield Deviation(column, where, number(row[column]), float(value), slack)
    for column in WORDS:
        if mine.get(column, "") is not None:
            yield Deviation(column, where, row[column], str(mine.get(column, "")))


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(text: str) -> float:
    return float(text) if text else NAN


def table(found: list[Deviation]) -> str:
    """The largest deviation of every column, then everything that disagrees."""
    lines = [f"{'column':<22} {'numbers':>7}  {'largest relative deviation':<26}  where"]
    for column in dict.fromkeys(one.column for one in found):
        own = [one for one in found if one.column == column]
        worst = max(own, key=lambda one: one.relative)
        lines.append(
            f"{column:<22} {len(own):>7}  {worst.relative:<26.2e}  {worst.where if worst.relative else ''}".rstrip()
        )
    wrong = [one for one in found if one.relative > TOLERANCE]
    lines += [
        f"DIFFERS {one.where}: {one.column} is {one.reported} in the report, {one.mine} recomputed" for one in wrong
    ]
    return "\n".join(lines)


def main(words: list[str]) -> int:
    asked = argparse.ArgumentParser(description="Recomputes a report from the hypotheses in a store.")
    asked.add_argument("store", type=Path, help="the folder of the store, such as runs")
    asked.add_argument("results", type=Path, help="the folder of the report, such as results/masking/numbers")
    asked.add_argument("--datasets", type=int, default=1, help="the number of bases that the study names (1)")
    given = asked.parse_args(words)
    report = Report(given.store, given.results, given.datasets)
    if isinstance(report.plan["seeds"], dict) or report.plan.get("unplanned"):
        print(
            "the plan looks several times, or may: its p values and intervals are not recomputed here", file=sys.stderr
        )
        return 2
    found = [one for one in (*report.scores(), *report.answers()) if not one.empty]
    if not found:
        print("the report has no number that can be recomputed", file=sys.stderr)
        return 2
    print(table(found))
    for what in sorted(report.left_out):
        print(f"left out: {what}")
    wrong = sum(one.relative > TOLERANCE for one in found)
    print(f"{len(found)} numbers and words recomputed; {wrong} differ by more than {TOLERANCE:g}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
