"""Whether published values have something to be compared with: one variant that runs, its metric, its test set."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.registry import suggest
from harness.core.spec import SpecError
from harness.study.claims import PRIMARY
from harness.study.grid import Variant
from harness.study.published import Published, about, variant_of
from harness.trial.pipeline import TrialChoice


def check(blocks: Sequence[Published], variants: Sequence[Variant], base: str, bases: Sequence[str]) -> None:
    """Check that every value is about one variant that runs, has the test set, and computes the metric.

    Args:
        blocks: those of the study file; of blocks about other bases no more than the name of the base is checked.
        variants: those of the plan.
        base: the base of the plan.
        bases: the bases that the study names.

    Raises:
        SpecError: one is not; its path says which.
    """
    for index, block in enumerate(blocks):
        if block.base and block.base not in bases:
            message = f"no base of this study is called '{block.base}'; {suggest(block.base, bases)}"
            raise SpecError(message, f"published.{index}.base")
        if about(block, base, bases):
            _check_values(block, variants, f"published.{index}")


def _check_values(block: Published, variants: Sequence[Variant], path: str) -> None:
    by_name, seen = {variant.name: variant for variant in variants}, set()
    known = {variant.name: variant.factors for variant in variants}
    for index, value in enumerate(block.values):
        where = f"{path}.values.{index}"
        name = variant_of(value.variant, known, f"{where}.variant")
        other = variant_of(value.than, known, f"{where}.than") if value.than is not None else ""
        if name == other:
            raise SpecError(f"'{name}' does not differ from itself; name another variant", f"{where}.than")
        if frozenset((name, other)) in seen:
            message = f"'{name}' has two values in one table; put one of them into a block of its own"
            raise SpecError(message, f"{where}.variant")
        for each, field in [(name, "variant"), *([(other, "than")] if other else [])]:
            if reason := by_name[each].skipped:
                message = f"'{each}' does not run ({reason}), so that nothing compares with its value"
                raise SpecError(message, f"{where}.{field}")
            _check_measured(block, by_name[each].choice, None if other else value.value, path)
        seen.add(frozenset((name, other)))


def _check_measured(block: Published, choice: TrialChoice, value: float | None, path: str) -> None:
    """Check that a trial has the metric and the test set, and that a score is one that the metric can have."""
    scored, tests = choice.decoding.scoring.wanted, choice.data.tests
    if block.metric == PRIMARY:
        raise SpecError("the base names no primary metric; name a metric here", f"{path}.metric")
    if block.metric not in scored:
        raise SpecError(f"'{block.metric}' is not computed; {suggest(block.metric, scored)}", f"{path}.metric")
    if block.on and block.on not in tests:
        message = f"there is no test set '{block.on}' (data.tests); {suggest(block.on, tests)}"
        raise SpecError(f"{message}; leave `on` out for the main test", f"{path}.on")
    metric = scored[block.metric]
    if value is None:
        return
    best = metric.best if metric.best is not None else value
    if value > best if metric.direction == "higher" else value < best:
        message = f"{value:g} is better than the best that {metric.title} can be, {best:g}"
        raise SpecError(f"{message}; give it on our scale", f"{path}.values")
