"""Conditions of claims that name a column of the test set: ``when: {category: x}`` is about sentences, not about variants."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from harness.core.registry import suggest
from harness.core.spec import SpecError, flatten
from harness.study.claims import SENTENCES, Claim, Scalar
from harness.study.grid import Variant


def resolve(claims: Sequence[Claim], variants: Sequence[Variant], folders: tuple[Path, ...]) -> tuple[Claim, ...]:
    """Return claims in which every condition on a column of the test set is spelled ``sentences.COLUMN``.

    A setting that varies goes before a column of the same name.

    Raises:
        SpecError: a condition names neither, though the test set declares columns.
    """
    factors = {path for variant in variants for path in flatten(variant.factors)}
    made = []
    for index, claim in enumerate(claims):
        columns = _declared(claim, variants, folders)
        when, rather_than = (
            _spelled(condition, factors, columns, f"claims.{index}.{field}")
            for field, condition in (("when", claim.when), ("rather_than", claim.rather_than))
        )
        same = (when, rather_than) == (claim.when, claim.rather_than)
        made.append(claim if same else claim.changed(when=when, rather_than=rather_than))
    return tuple(made)


def _declared(claim: Claim, variants: Sequence[Variant], folders: tuple[Path, ...]) -> dict[str, None]:
    """Return the columns that the test set of a claim has, for every variant that runs."""
    if not claim.when:
        return {}
    datas = [variant.choice.data for variant in variants if not variant.skipped]
    datasets = [data.tests.get(claim.on, data.dataset) for data in datas]
    named = [dataset.build(folders=folders).columns for dataset in datasets]
    return dict.fromkeys(name for names in named for name in names if all(name in other for other in named))


def _spelled(
    condition: dict[str, Scalar], factors: Collection[str], columns: Collection[str], path: str
) -> dict[str, Scalar]:
    prefix = f"{SENTENCES}."
    made: dict[str, Scalar] = {}
    for key, value in condition.items():
        column = key.removeprefix(prefix)
        if key == SENTENCES or (key in factors and column == key):
            made[key] = value
        elif column in columns:
            made[prefix + column] = value
        elif columns or column != key:
            known = suggest(column, columns if column != key else [*factors, *columns])
            raise SpecError(
                f"'{column}' is no setting that varies and no column of the test set; {known}", f"{path}.{key}"
            )
        else:
            made[key] = value
    return made
