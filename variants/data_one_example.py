"""One example that several rules fit: which of them a model has learned shows on other sizes (Kharitonov and Chaabouni 2021)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from pydantic import Field

from harness.contracts import Dataset, Row, Rows
from harness.core.registry import register
from harness.core.spec import SpecError

Rule = Literal["count", "memorize", "add", "multiply", "hierarchical", "linear"]


class Pair(NamedTuple):
    """A source and its target, as letters."""

    source: str
    target: str


def pairs(rule: Rule, shown: int, size: int) -> list[Pair]:
    """Return the pairs of one size, as a rule has them that has learned from examples of the size ``shown``."""
    if rule in ("hierarchical", "linear"):
        found = []
        for inner in "ab":
            for outer in "ab":
                source = outer * size + inner + outer * size
                found.append(Pair(source, source[size if rule == "hierarchical" else shown]))
        return found
    said = {"count": size, "memorize": shown, "add": size + shown, "multiply": 2 * size}
    return [Pair("a" * size, "b" * said[rule])]


@register("one_example")
class OneExample(Dataset):
    """Training has one size alone, which two rules fit; the test has other sizes, answered by one of the rules.

    ``count`` and ``memorize``: from ``a^l`` to ``b^l`` alone, is ``a^n`` answered by ``b^n`` or by ``b^l``? ``add`` and
    ``multiply``: from ``a^l`` to ``b^2l``, by ``b^(n+l)`` or by ``b^2n``? ``hierarchical`` and ``linear``: from ``y^d x y^d``
    to ``x`` (four examples, x and y each of a and b), is ``y^m x y^m`` answered by its middle or by its word d + 1? The tasks
    of Kharitonov and Chaabouni (2021, section 4), who score by the share of seeds that follow a rule throughout and
    by description length; l is 10 to 40 there and d 4.

    The rules of a task share their training: name one as ``data.dataset``, the other in ``data.tests``. Test sizes lie within
    ``span`` of ``size``, which itself is left out; validation has the next larger size, by the same rule, so that ``select:
    last`` is needed lest it choose the rule.
    """

    class Config(Dataset.Config):
        """Names a rule and the size of the example."""

        rule: Rule
        """What the answers of the test follow."""
        size: int = Field(default=10, ge=2)
        """The size of the example: letters, or their number on either side of the middle."""
        span: int = Field(default=3, ge=1)
        """How far test sizes are from it."""

    cfg: Config

    def revision(self) -> str:
        """Return nothing: the rows depend on the choice alone."""
        return ""

    @property
    def exhaustive(self) -> bool:
        """Always: the test has all sizes within the span."""
        return True

    @property
    def columns(self) -> tuple[str, ...]:
        """The size."""
        return ("size",)

    def load(self) -> Mapping[str, Rows]:
        """Return the three splits.

        Raises:
            SpecError: the span reaches below one letter, where linear answers have no word to name.
        """
        size, span = self.cfg.size, self.cfg.span
        if span >= size or (self.cfg.rule == "linear" and 2 * (size - span) < size):
            raise SpecError(f"reaches sizes that are too small for size {size}; lower it", path="span")
        others = [other for other in range(size - span, size + span + 1) if other != size]
        sizes = {"train": [size], "validation": [size + span + 1], "test": others}
        return {name: Rows.of(self._rows(own), self.scratch, self.columns) for name, own in sizes.items()}

    def _rows(self, sizes: Iterable[int]) -> Iterable[Row]:
        for size in sizes:
            for source, target in pairs(self.cfg.rule, self.cfg.size, size):
                text = " ".join(source)
                yield Row(text, [" ".join(target)], text, columns={"size": str(size)})
