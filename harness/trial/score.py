"""Metrics as corpus functions of summed per-sentence statistics, each with the signature that says how it was computed.

A metric never averages sentence scores: it is a function of sums, so that any resample of the test set is scored by
adding other rows of the same arrays. sacrebleu's per-sentence statistics are its private API; only this module knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import field_validator
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from safetensors.numpy import load_file, save_file

from harness.core.registry import Choice, suggest
from harness.core.spec import SpecError
from harness.trial import measures
from harness.trial.measures import Array as Array

BY_TOKENS: dict[str, Callable[[list[str], list[list[str]]], tuple[float, ...]]] = {
    "token_accuracy": measures.best_positions,
    "token_edits": measures.fewest_edits,
    "repetition": measures.repeated_bigrams,
}
"""Statistics of the tokens of a hypothesis and of its references."""

CHARACTER_TOKENIZERS = ("zh", "char", "ja-mecab", "ko-mecab")
"""Tokenizers of languages for which TER splits Han, kana and Hangul into characters."""


class Metric(NamedTuple):
    """A corpus metric: what it is called, which way is up, and how it follows from summed statistics."""

    name: str
    title: str
    """Name and unit as an axis label."""
    higher_is_better: bool | None
    """None where neither direction is better (a length ratio)."""
    best: float | None
    """The value that cannot be beaten, if there is one."""
    statistic: str
    """Name of the per-sentence array that it needs, N x k."""
    from_sums: Callable[[Array], Array]
    """Sums ``(..., k)`` to values ``(...)``."""
    unit: str = ""
    digits: int = 2
    """Decimals printed."""
    diagnostic: bool = False
    """Whether it explains scores rather than being one: computed always, and shown in a table of its own."""


def bleu_from_sums(sums: Array) -> Array:
    """BLEU (Papineni et al. 2002), 0 to 100; empty orders are smoothed exponentially (Chen and Cherry 2014, method 3).

    ``sums`` holds hypothesis length, reference length, matches and totals of orders 1 to 4. As in sacrebleu a corpus
    with no match at all, or without a single n-gram of some order, scores 0.
    """
    hypothesis, reference, matches, totals = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:10]
    empty = matches == 0
    smoothed = np.where(empty, 0.5 ** np.cumsum(empty, -1), matches)
    usable = (totals > 0).all(-1) & ~empty.all(-1)
    logs = np.log(np.where(usable[..., None], smoothed / np.maximum(totals, 1), 1)).mean(-1)
    brevity = np.minimum(0.0, 1 - reference / np.maximum(hypothesis, 1))
    return np.where(usable, 100 * np.exp(logs + brevity), 0.0)


def chrf_from_sums(sums: Array) -> Array:
    """chrF2 (Popovic 2015): F-score with beta 2 of mean n-gram precision and recall over characters, orders 1 to 6.

    ``sums`` holds hypothesis, reference and matched n-grams of each order; an order that is empty on either side does
    not enter the means (sacrebleu's effective order).
    """
    counts = sums.reshape(*sums.shape[:-1], -1, 3)
    hypothesis, reference, matches = counts[..., 0], counts[..., 1], counts[..., 2]
    usable = (hypothesis > 0) & (reference > 0)
    orders = np.maximum(usable.sum(-1), 1)
    precision = np.where(usable, matches / np.maximum(hypothesis, 1), 0).sum(-1) / orders
    recall = np.where(usable, matches / np.maximum(reference, 1), 0).sum(-1) / orders
    weighted = 4 * precision + recall
    return np.asarray(100 * 5 * precision * recall / np.where(weighted > 0, weighted, 1), dtype=np.float64)


def ratio(sums: Array) -> Array:
    """First sum over second; nothing over nothing is 0, something over nothing is 1 (as in TER)."""
    numerator, denominator = sums[..., 0], sums[..., 1]
    empty = denominator == 0
    return np.where(empty, numerator > 0, numerator / np.where(empty, 1, denominator))


def percent(sums: Array) -> Array:
    """``ratio`` in percent."""
    return 100 * ratio(sums)


def _perplexity(sums: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(ratio(sums)), dtype=np.float64)


def _diagnostic(
    name: str,
    title: str,
    higher_is_better: bool | None,
    best: float | None,
    from_sums: Callable[[Array], Array] = percent,
    unit: str = "%",
    digits: int = 2,
    statistic: str = "",
) -> Metric:
    return Metric(name, title, higher_is_better, best, statistic or name, from_sums, unit, digits, diagnostic=True)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("bleu", "BLEU", True, 100.0, "bleu", bleu_from_sums),
        Metric("chrf", "chrF2", True, 100.0, "chrf", chrf_from_sums),
        Metric("ter", "TER", False, 0.0, "ter", percent),
        Metric("exact_match", "exact match (%)", True, 100.0, "exact_match", percent, "%"),
        Metric("token_accuracy", "token accuracy (%)", True, 100.0, "token_accuracy", percent, "%"),
        Metric("token_edit_rate", "token edit rate (%)", False, 0.0, "token_edits", percent, "%"),
        Metric("nll", "NLL (nats per token)", False, None, "nll", ratio, "nats", 4),
        Metric("perplexity", "perplexity", False, None, "nll", _perplexity, "", 3),
        Metric("numeric_error", "numeric error (%)", False, 0.0, "numeric_error", percent, "%"),
        _diagnostic("free_nll", "free-running NLL (nats per token)", False, None, ratio, "nats", 4),
        _diagnostic("exposure_gap", "exposure-bias gap (nats per token)", False, None, ratio, "nats", 4),
        _diagnostic("length_ratio", "length ratio (hypothesis / reference)", None, None, ratio, "", 3, "bleu"),
        _diagnostic("truncated", "hypotheses cut at the limit (%)", False, 0.0),
        _diagnostic("repetition", "repeated bigrams (%)", None, None),
        _diagnostic("search_error", "search errors, at least (%)", False, 0.0),
        _diagnostic("model_error", "model errors, at most (%)", False, 0.0),
        _diagnostic("oracle_exact_match", "exact match, length given (%)", True, 100.0),
        _diagnostic("oracle_token_accuracy", "token accuracy, length given (%)", True, 100.0),
    )
}
"""Every metric by its name, in the order of tables. A metric whose statistic is absent is absent from the results."""


class ScoringChoice(Choice):
    """How hypotheses are compared with references."""

    tokenize: str = "13a"
    """Tokenizer of BLEU and of all token metrics, by sacrebleu's name (13a, intl, zh, char, none); in the signature."""
    lowercase: bool = False
    """Compare lower-cased texts."""
    metrics: tuple[str, ...] = ()
    """Names of the metrics; none named means all that the data allow. Diagnostics, which cost little, are always there."""

    @field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in METRICS:
                raise ValueError(f"no metric is called '{name}'; {suggest(name, METRICS)}")
        return names

    @field_validator("tokenize")
    @classmethod
    def _offered(cls, name: str) -> str:
        if name not in BLEU.TOKENIZERS:
            raise ValueError(f"no tokenizer is called '{name}'; {suggest(name, BLEU.TOKENIZERS)}")
        return name

    @property
    def wanted(self) -> tuple[str, ...]:
        """The names of the metrics, written out."""
        return tuple(name for name, metric in METRICS.items() if metric.diagnostic or name in (self.metrics or METRICS))


def score(
    choice: ScoringChoice, hypotheses: Sequence[str], references: Sequence[Sequence[str]], folder: Path, **known: Any
) -> dict[str, Any]:
    """Write ``sentences.safetensors`` and ``scores.json`` and return facts; ``known`` goes to ``sentence_statistics``."""
    how: dict[str, Any] = {"tokenize": choice.tokenize, "lowercase": choice.lowercase}
    statistics = sentence_statistics(hypotheses, references, metrics=choice.wanted, **how, **known)
    save_file(statistics, folder / "sentences.safetensors")
    scores = {name: value for name, value in corpus_scores(statistics).items() if name in choice.wanted}
    signed = signatures(references, **how)
    said = {name: {"value": value, "signature": signed[name]} for name, value in scores.items()}
    (folder / "scores.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
    return {"metrics": scores}


def load(folder: Path) -> dict[str, Array]:
    """Read the per-sentence statistics that ``score`` wrote, by name, N x k."""
    return dict(load_file(folder / "sentences.safetensors"))


def corpus_scores(statistics: dict[str, Array]) -> dict[str, float]:
    """Return every metric whose statistic is present, on the whole corpus."""
    present = [metric for metric in METRICS.values() if metric.statistic in statistics]
    return {metric.name: float(metric.from_sums(statistics[metric.statistic].sum(0))) for metric in present}


def sentence_statistics(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: str,
    lowercase: bool,
    value: Callable[[str], float | None] | None = None,
    nll: Array | None = None,
    free_nll: Array | None = None,
    truncated: Sequence[bool] | None = None,
    model_scores: Sequence[float] | None = None,
    oracle: Sequence[str] | None = None,
    metrics: Collection[str] = tuple(METRICS),
) -> dict[str, Array]:
    """Return one array ``N x k`` per statistic that the wanted metrics need and the given data allow.

    Args:
        hypotheses: N texts, detokenized.
        references: one or more texts per sentence; their number may vary.
        tokenize: sacrebleu's name of the tokenizer, used for BLEU and for all token metrics.
        lowercase: compare without case (TER always does, as sacrebleu's default).
        value: reads a number from a text, None where there is none; gives ``numeric_error``.
        nll: summed NLL of the reference and its number of tokens (EOS counted), N x 2; gives ``nll``, ``perplexity``.
        free_nll: the same while the model hears its own words; with ``nll`` it gives ``exposure_gap``.
        truncated: whether a hypothesis was cut at the length limit.
        model_scores: the summed log-probability of each hypothesis; with ``nll`` and ``truncated`` it gives
            ``search_error`` and ``model_error``.
        oracle: hypotheses that were given the length of the first reference; they give ``oracle_exact_match`` and
            ``oracle_token_accuracy``.
        metrics: names of the metrics to prepare. Leave TER out where texts are long and repetitive: its search for shifts
            takes 0.2 ms for 15 words of a natural text, but half a second for 48 words out of a dozen (SCAN).

    Raises:
        SpecError: unknown tokenizer, a sentence without reference, or arrays of other lengths.
    """
    given = {"nll": nll, "free_nll": free_nll, "truncated": truncated, "model_scores": model_scores, "oracle": oracle}
    _check_lengths(len(hypotheses), references, given)
    wanted = {METRICS[name].statistic for name in metrics}
    scorers = _scorers(tokenize, lowercase)
    streams = _streams(references)
    made: dict[str, Array] = {}
    for name in wanted & scorers.keys():
        rows = scorers[name]._extract_corpus_statistics(list(hypotheses), streams)
        made[name] = np.array(rows, dtype=np.float64)
    made |= _token_statistics(hypotheses, references, scorers["bleu"], wanted)
    made["exact_match"] = right = measures.exact_match(hypotheses, references, lowercase)
    if "numeric_error" in wanted and value is not None:
        made["numeric_error"] = measures.numeric_error(hypotheses, references, value)
    if truncated is not None:
        made["truncated"] = measures.with_ones([float(cut) for cut in truncated])
    if oracle is not None:
        made["oracle_exact_match"] = measures.exact_match(oracle, references, lowercase)
        tokens = _token_statistics(oracle, references, scorers["bleu"], {"token_accuracy"})
        made["oracle_token_accuracy"] = tokens["token_accuracy"]
    if nll is not None and truncated is not None and model_scores is not None:
        made |= measures.error_kinds(right[:, 0], truncated, model_scores, np.asarray(nll, np.float64)[:, 0])
    made |= _likelihoods(nll, free_nll)
    return {
        name: made[name]
        for name in dict.fromkeys(m.statistic for m in METRICS.values())
        if name in made and name in wanted
    }


def _likelihoods(nll: Array | None, free_nll: Array | None) -> dict[str, Array]:
    pairs = {"nll": nll, "free_nll": free_nll}
    made = {name: np.asarray(array, np.float64) for name, array in pairs.items() if array is not None}
    if len(made) == len(pairs):
        made["exposure_gap"] = np.stack([made["free_nll"][:, 0] - made["nll"][:, 0], made["nll"][:, 1]], axis=1)
    return made


def signatures(references: Sequence[Sequence[str]], *, tokenize: str, lowercase: bool) -> dict[str, str]:
    """Return for every metric the line that says how it is computed: sacrebleu's own, and ours in the same spirit."""
    counts = {len(texts) for texts in references}
    number = counts.pop() if len(counts) == 1 else -1
    scorers = _scorers(tokenize, lowercase)
    made = {}
    for name, scorer in scorers.items():
        scorer.num_refs = number
        made[name] = str(scorer.get_signature())
    common = f"nrefs:{'var' if number < 0 else number}|case:{'lc' if lowercase else 'mixed'}"
    tokens = f"{common}|tok:{scorers['bleu'].tokenizer.signature()}"
    model = "tokens:model|eos:yes|smooth:no"
    errors = f"{common}|wrong:no-exact-match|ended:yes|ref:first|of:all-sentences"
    oracle = "search:greedy|length:first-reference"
    ours = {
        "exact_match": f"{common}|space:folded",
        "token_accuracy": f"{tokens}|ref:best|norm:longer",
        "token_edit_rate": f"{tokens}|shifts:no|ref:fewest-edits|norm:mean-ref",
        "nll": f"{model}|hears:reference",
        "perplexity": f"{model}|hears:reference",
        "free_nll": f"{model}|hears:own",
        "numeric_error": f"nrefs:{'var' if number < 0 else number}|error:relative|max:1|unparsable:1|ref:nearest",
        "exposure_gap": f"{model}|free-running minus teacher-forced",
        "length_ratio": f"{tokens}|ref:closest",
        "truncated": "limit:search",
        "repetition": f"{tokens}|order:2",
        "search_error": f"{errors}|reference:more-probable",
        "model_error": f"{errors}|reference:not-more-probable",
        "oracle_exact_match": f"{common}|space:folded|{oracle}",
        "oracle_token_accuracy": f"{tokens}|ref:best|norm:longer|{oracle}",
    }
    return made | {name: f"{text}|version:1" for name, text in ours.items()}


@cache
def check_tokenizer(tokenize: str) -> None:
    """Check that a tokenizer can be loaded here.

    Raises:
        SpecError: it is not known, or a package that it needs is not installed.
    """
    _scorers(tokenize, lowercase=False)


def _scorers(tokenize: str, lowercase: bool) -> dict[str, Any]:
    if tokenize not in BLEU.TOKENIZERS:
        raise SpecError(f"no tokenizer is called '{tokenize}'; {suggest(tokenize, BLEU.TOKENIZERS)}")
    asian = tokenize in CHARACTER_TOKENIZERS
    try:
        bleu = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    except (ImportError, RuntimeError, OSError) as error:
        raise SpecError(f"tokenizer '{tokenize}' is not installed: {' '.join(str(error).split())}") from None
    return {"bleu": bleu, "chrf": CHRF(lowercase=lowercase), "ter": TER(normalized=asian, asian_support=asian)}


def _streams(references: Sequence[Sequence[str]]) -> list[list[str | None]]:
    """Return references as sacrebleu wants them, one stream per rank, with None where a sentence has fewer."""
    most = max((len(texts) for texts in references), default=0)
    return [[texts[rank] if rank < len(texts) else None for texts in references] for rank in range(most)]


def _check_lengths(sentences: int, references: Sequence[Sequence[str]], arrays: dict[str, Any]) -> None:
    if not sentences:
        raise SpecError("there is no sentence to score")
    if any(isinstance(texts, str) or not texts for texts in references):
        raise SpecError("every sentence needs a list of at least one reference")
    for name, given in {"references": references, **arrays}.items():
        if given is not None and len(given) != sentences:
            raise SpecError(f"{name} has {len(given)} rows for {sentences} hypotheses")


def _token_statistics(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], bleu: Any, wanted: set[str]
) -> dict[str, Array]:
    """Return position-wise matches, edits and repeats, on the tokens that BLEU sees."""
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in BY_TOKENS if name in wanted}
    if rows:
        for text, known in zip(hypotheses, references, strict=True):
            tokens = bleu._preprocess_segment(text).split()
            known_tokens = [bleu._preprocess_segment(reference).split() for reference in known]
            for name, made in rows.items():
                made.append(BY_TOKENS[name](tokens, known_tokens))
    return {name: np.array(made, dtype=np.float64) for name, made in rows.items()}
