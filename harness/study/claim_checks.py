"""Whether the variants of a plan can answer its claims: before anything runs, as far as choices tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.contracts import Metric
from harness.core.registry import suggest
from harness.core.spec import SpecError, encode
from harness.study.claims import SENTENCES, Claim, check_claims, groups
from harness.study.grid import Variant, show
from harness.trial.pipeline import TrialChoice
from harness.trial.score import naming, signature
from harness.trial.sealed import VALIDATION, Split


def check(claims: Sequence[Claim], variants: Sequence[Variant], folders: tuple[Path, ...]) -> None:
    """Check that every claim is about variants that run, and about a metric that all of them compute alike.

    Raises:
        SpecError: one is not; its path says which, and the message why.
    """
    skipped = {variant.name: variant.skipped for variant in variants if variant.skipped}
    running = [variant.choice for variant in variants if not variant.skipped]
    with naming(own_metrics(variants)):
        check_claims(claims, {variant.name: variant.factors for variant in variants}, skipped)
    for index, claim in enumerate(claims):
        _check_test(f"claims.{index}.on", claim, variants)
        for choice in running:
            path, scored = f"claims.{index}.metric", choice.decoding.scoring.wanted
            if claim.metric not in scored:
                message = f"'{claim.metric}' is not computed; decoding.scoring.metrics names {', '.join(scored)}"
                raise SpecError(message, path=path)
            dataset = choice.data.tests.get(claim.on, choice.data.dataset)
            if scored[claim.metric].numeric and not dataset.build(folders=folders).numeric:
                message = f"'{claim.metric}' needs texts that mean numbers; those of dataset '{dataset.kind}' do not"
                raise SpecError(message, path=path)
    _refuse_mixed(claims, variants)


def check_sealed(claims: Sequence[Claim], split: Split) -> None:
    """Check that no claim asks for a further test set while these are sealed.

    Raises:
        SpecError: one does.
    """
    for index, claim in enumerate(claims):
        if claim.on and split == VALIDATION:
            message = f"test set '{claim.on}' is sealed while the study evaluates the validation split"
            raise SpecError(f"{message}; leave this claim out until it evaluates the test", path=f"claims.{index}.on")


def own_metrics(variants: Sequence[Variant]) -> list[Metric]:
    """Return the metrics with a name or settings of their own, each once.

    Raises:
        SpecError: one name stands for different metrics.
    """
    found: dict[str, tuple[str, Metric]] = {}
    for variant in variants:
        for metric in variant.choice.decoding.scoring.wanted.values() if not variant.skipped else ():
            first, known = found.setdefault(metric.name, (variant.name, metric))
            if known.cfg != metric.cfg:
                message = f"metric '{metric.name}' has other settings in '{variant.name}' than in '{first}'"
                raise SpecError(f"{message}; give one of them a `name`", path="vary")
    return [metric for _, metric in found.values()]


def _check_test(path: str, claim: Claim, variants: Sequence[Variant]) -> None:
    """Check that all variants that a claim is about have the test set that it names."""
    running = {variant.name: variant for variant in variants if not variant.skipped}
    found = groups(claim, {name: variant.factors for name, variant in running.items()})
    for name in dict.fromkeys(name for group in found for name in group.variants):
        known = running[name].choice.data.tests
        if claim.on and claim.on not in known:
            where = f"variant '{name}' has no test set '{claim.on}' (data.tests)"
            raise SpecError(f"{where}; {suggest(claim.on, known)}; leave `on` out for the main test", path=path)


def _refuse_mixed(claims: Sequence[Claim], variants: Sequence[Variant]) -> None:
    """Check that every claim compares numbers that are computed alike, as far as the choices tell before data are read.

    Raises:
        SpecError: variants of one claim score by different tokenizers or case, or, for a likelihood per token, have
            different target tokens; or what they take for long or rare sentences are not the same ones.
    """
    choices = {variant.name: variant.choice for variant in variants if not variant.skipped}
    factors = {variant.name: variant.factors for variant in variants if not variant.skipped}
    for index, claim in enumerate(claims):
        ways: dict[tuple[str, ...], str] = {}
        for group in groups(claim, factors):
            for name in group.variants:
                ways.setdefault(_measured(claim.metric, choices[name]), name)
        if len(ways) > 1:
            (one, first), (other, second) = list(ways.items())[:2]
            differ = [
                ", ".join(field for field in way if field not in against)
                for way, against in ((one, other), (other, one))
            ]
            message = (
                f"'{claim.metric}' is not the same measure in '{first}' ({differ[0]}) and '{second}' ({differ[1]})"
            )
            raise SpecError(
                f"{message}: these scores are not comparable; choose another metric", path=f"claims.{index}.metric"
            )
        _refuse_other_sentences(f"claims.{index}", claim, choices, factors)


def _refuse_other_sentences(
    path: str, claim: Claim, choices: Mapping[str, TrialChoice], factors: Mapping[str, Mapping[str, object]]
) -> None:
    """Check that all variants under one condition take the same sentences for the long or the rare ones."""
    known: dict[int, tuple[str, object]] = {}
    for group in groups(claim, factors):
        condition = claim.conditions[group.condition]
        for name in group.variants if SENTENCES in condition else ():
            subset, data = str(condition[SENTENCES]), encode(choices[name].data)
            counted = ("source", "joint", *(("target",) if data["joint"] else ()))
            trained = ("dataset", "longest") if subset in ("rare", "common") else ()
            told = [data[part] for part in (*counted, *trained)]
            first, other = known.setdefault(group.condition, (name, told))
            if told != other:
                message = f"'{first}' and '{name}' cut or count source tokens differently, so that {subset} ones are"
                where = f"{path}.{('when', 'rather_than')[group.condition]}.{SENTENCES}"
                raise SpecError(
                    f"{message} other sentences in each; leave this out, or compare variants alike in it", path=where
                )


def _measured(metric: str, choice: TrialChoice) -> tuple[str, ...]:
    """Return how a metric will be computed: the fields of its signature, and what a likelihood counts as a token."""
    how = choice.decoding.scoring
    signed = signature(how.wanted[metric], how)
    target = (f"target tokens: {show(encode(choice.data.target))}",) if "tokens:model" in signed else ()
    return (*signed.split("|"), *target)
