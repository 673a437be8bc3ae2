"""Whether the data of a plan can answer its claims: after they are prepared, before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.core.registry import suggest
from harness.core.spec import SpecError
from harness.storage.store import Store
from harness.study.claims import SENTENCES, Claim, Group, groups
from harness.study.grid import show
from harness.study.plan import Plan
from harness.trial import encoded
from harness.trial.pipeline import named

MOST = 20
"""Values that a message lists."""


def check(plan: Plan, store: Store) -> None:
    """Check that every claim compares scores on the same test sentences, and asks for values that their columns have.

    Scores on different sentences do not compare, whatever the variants are. A claim about variants on several test sets
    compares within each: every side of it holds the same share of variants on each set.

    Raises:
        SpecError: a claim compares scores on different sentences, or asks for sentences of which there are none; its path
            says which.
    """
    trials = {v.name: plan.trial(v, plan.seeds[0]) for v in plan.variants if not v.skipped}
    factors = {v.name: v.factors for v in plan.variants if not v.skipped}
    known: dict[Path, list[dict[str, Any]]] = {}
    for index, claim in enumerate(plan.file.claims):
        found = groups(claim, factors)
        tests = {}
        for name in dict.fromkeys(name for group in found for name in group.variants):
            stage = trials[name].stages[named("test", claim.on) if claim.on else "prepare"]
            folder = store.verified(stage.name, stage.key)
            known[folder] = known.get(folder) or encoded.load_rows(folder, plan.split)
            tests[name] = encoded.identity(known[folder])
            _check_values(f"claims.{index}", claim, known[folder], plan.split)
        _check_same(f"claims.{index}", found, tests)


def _check_values(path: str, claim: Claim, rows: Sequence[Mapping[str, Any]], split: str) -> None:
    """Check that the column that a condition names has its value in some sentence of the split."""
    for where, condition in (("when", claim.when), ("rather_than", claim.rather_than)):
        for key, value in condition.items():
            column = key.removeprefix(f"{SENTENCES}.")
            if column == key:
                continue
            values = dict.fromkeys(row["columns"][column] for row in rows)
            if show(value) not in values:
                known = suggest(show(value), list(values)[:MOST])
                message = f"no {split} sentence has {column} = {show(value)!r}; {known}"
                raise SpecError(message, path=f"{path}.{where}.{column}")


def _check_same(path: str, found: Sequence[Group], tests: Mapping[str, str]) -> None:
    first: dict[int, tuple[str, dict[str, float]]] = {}
    for group in found:
        counts = Counter(tests[name] for name in group.variants)
        here = {name: count / len(group.variants) for name, count in counts.items()}
        other, there = first.setdefault(group.condition, (group.variants[0], here))
        if here != there:
            shas = " and ".join(name[:8] for name in sorted({*here, *there}))
            message = (
                f"'{other}' and '{group.variants[0]}' are tested on different sentences (sha256 {shas}): their scores "
                "do not compare; test all variants on one set, the main test or one in data.tests that `on` names"
            )
            raise SpecError(message, path=path)
