"""Published values: what others report of the variants of a study, each with its source and what differs.

Which values are compared is chosen before the run, as claims and the expectation are: it is part of the frozen plan, so that a
value that does not come out cannot be left out unseen. The words on source and differences may be mended at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import Discriminator, Field, Tag, model_validator

from harness.core.registry import Choice, suggest
from harness.core.spec import SpecError, encode, flatten
from harness.study.claims import Factors, Scalar, select

NOT_OPENED = "as reported by hand, source not opened"
"""Stands beside a value whose source nobody who wrote the study file has opened."""

Named = Annotated[
    Annotated[str, Tag("<name>")] | Annotated[dict[str, Scalar], Field(min_length=1), Tag("<paths>")],
    Discriminator(lambda said: "<name>" if isinstance(said, str) else "<paths>"),
]
"""A variant by its name, or by factors as claims name a side."""
Text = Annotated[str, Field(pattern=r"\S")]


class Source(Choice):
    """Where values were published."""

    authors: Text
    """Who published them: ``Lake and Baroni``."""
    year: int = Field(ge=1900, le=2100)
    """When."""
    table: str = ""
    """Where in the source they stand: a table, figure, section or file; needed once the source was opened."""
    address: str = ""
    """Where the source is found."""
    opened: bool = False
    """Whether the author of the study file opened the source and read the values there; else reports say that nobody did."""

    @model_validator(mode="after")
    def _placed(self) -> Source:
        if self.opened and not self.table.strip():
            raise ValueError("`opened: true` needs `table`: where in the source the values stand")
        return self

    @property
    def text(self) -> str:
        """The source in words."""
        where = ", ".join(filter(None, [f"{self.authors} {self.year}", self.table, self.address]))
        return where if self.opened else f"{where} ({NOT_OPENED})"


class Value(Choice):
    """One published number."""

    variant: Named
    """The variant of the study that is meant: its name, or factors that only it has."""
    value: float = Field(allow_inf_nan=False)
    """The number, on the scale of our metric."""
    than: Named | None = None
    """Where a difference was published: the variant that it was taken from, so that the number is ``variant`` less ``than``."""
    sd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Standard deviation over seeds, where it was published."""
    seeds: int | None = Field(default=None, ge=1)
    """Seeds behind the number, where that was published."""
    differs: str = ""
    """What differs for this value alone."""

    @model_validator(mode="after")
    def _spread(self) -> Value:
        if self.seeds == 1 and self.sd is not None:
            raise ValueError("one seed has no standard deviation; leave `sd` out")
        return self


class Published(Choice):
    """Values of one source on one metric and test set, which are compared with each other: one table."""

    source: Source
    """Where they were published."""
    metric: str
    """The metric of this study that they are values of: by name, or ``primary``."""
    base: str = ""
    """The base that they are about, where the study names several; none named: each of them."""
    on: str = ""
    """The further test set (``data.tests``) that they are about; none named means the main test."""
    differs: Text
    """What differs from the published experiment: data, sizes, budget."""
    values: tuple[Value, ...] = Field(min_length=1)
    """The numbers, each of one variant."""


class PublishedValue(NamedTuple):
    """A published number beside the one variant that it is about."""

    table: int
    """Its place among the blocks of the study file, from 1; values of one block are compared."""
    variant: str
    metric: str
    on: str
    value: float
    sd: float | None
    seeds: int | None
    source: str
    differs: str
    """What differs for all values of its table."""
    differs_alone: str
    """What differs for this one beside that."""
    than: str = ""
    """The variant that the value is a difference from; "": it is a score."""

    @property
    def title(self) -> str:
        """What the value is of, in words."""
        return f"{self.variant} less {self.than}" if self.than else self.variant


def about(block: Published, base: str, bases: Sequence[str]) -> bool:
    """Say whether a block is about a base; nothing was published here about a base that the study does not name."""
    return base in bases and block.base in ("", base)


def variant_of(said: str | dict[str, Scalar], variants: Mapping[str, Factors], path: str = "") -> str:
    """Return the name of the one variant that a value is about.

    Args:
        said: its name, or factors that only it has.
        variants: the factors of every variant by its name.
        path: where the variant was said, for messages.

    Raises:
        SpecError: none has the name or the factors, or several have them.
    """
    if isinstance(said, str):
        if said not in variants:
            raise SpecError(f"no variant is called '{said}'; {suggest(said, variants)}", path)
        return said
    found = select(said, {name: flatten(dict(own)) for name, own in variants.items()}, path)
    if len(found) > 1:
        message = f"a published value is about one variant, and {len(found)} fit: {'; '.join(found)}"
        raise SpecError(f"{message}; name more factors", path)
    return found[0]


def values(blocks: Sequence[Published], variants: Mapping[str, Factors]) -> list[PublishedValue]:
    """Return all values of checked blocks, in their order."""
    return [
        PublishedValue(
            table, variant_of(value.variant, variants), block.metric, block.on, value.value, value.sd, value.seeds,
            block.source.text, block.differs.strip(), value.differs.strip(),
            variant_of(value.than, variants) if value.than is not None else "",
        )
        for table, block in enumerate(blocks, 1)
        for value in block.values
    ]  # fmt: skip


def compared(blocks: Sequence[Published]) -> list[dict[str, Any]]:
    """Return as plain data what enters the plan: which values of which variants are compared."""
    return [
        {"metric": block.metric, "on": block.on, "values": [_chosen(value) for value in block.values]}
        for block in blocks
    ]


def _chosen(value: Value) -> list[Any]:
    return [encode(value.variant), value.value, *([encode(value.than)] if value.than is not None else [])]
