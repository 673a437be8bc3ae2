"""What limits the meaning of scores: held-out rows that were trained on, and references that no output can equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from harness.contracts import UNK, Rows, digests
from harness.core.text import lowercase
from harness.trial.vocabulary import Vocabulary

SHARED = ("sources", "references", "pairs")
PART = 100_000
"""Sentences that are hashed at once."""
MANY = 0.01
"""The share of test rows from which on sharing them with training is a warning."""
MANY_UNKNOWN = 0.1
"""The share of tokens above which unknown ones in pretraining data are a warning."""
SHOWN = 3
"""Unknown tokens that a warning names."""


class Keys(NamedTuple):
    """Hashes of sentences: equal for equal sentences alone, but for one chance in 10 ** 12 or less."""

    sources: NDArray[Any]
    references: NDArray[Any]
    pairs: NDArray[Any]

    def shared_with(self, train: Keys) -> dict[str, int]:
        """Return how many of these rows training has: by source, by reference, by both."""
        return {name: int(np.isin(mine, theirs).sum()) for name, mine, theirs in zip(SHARED, self, train, strict=True)}


# ---------------------------------------------------------------------------------------------------------- overlap


def overlap(splits: Mapping[str, Rows], folder: Path) -> dict[str, dict[str, dict[str, int]]]:
    """Count the rows of validation and test that are in training: as text, and as the tokens that the model sees.

    A held-out row counts with its first reference, a training row with each of its references. Pairs that are too long
    for training are text of the training split, but no tokens that a model sees.

    Args:
        splits: the rows.
        folder: where their encoded pairs are.

    Returns:
        For each held-out split: ``text`` and ``tokens``, each with ``sources``, ``references`` and ``pairs``.
    """
    counts: dict[str, dict[str, dict[str, int]]] = {}
    train = {"text": text_keys(splits["train"], every=True), "tokens": token_keys(folder / "train.safetensors")}
    for name in (name for name in splits if name != "train"):
        own = {"text": text_keys(splits[name], every=False), "tokens": token_keys(folder / f"{name}.safetensors")}
        counts[name] = {form: keys.shared_with(train[form]) for form, keys in own.items()}
    return counts


def overlap_of_tokens(test: Path, train: Path) -> dict[str, dict[str, int]]:
    """Count the pairs in one file that are in another, as the tokens that the model sees: ``tokens``, as ``overlap`` does."""
    return {"tokens": token_keys(test).shared_with(token_keys(train))}


def text_keys(rows: Rows, form: Callable[[str], str] = str, *, every: bool) -> Keys:
    """Return hashes of the texts of pairs, in some form: of every reference of a row, or of its first one."""
    counted = np.fromiter((len(texts) if every else 1 for texts in rows.texts("references")), np.int64)
    said = chain.from_iterable(texts if every else texts[:1] for texts in rows.texts("references"))
    sources = np.repeat(_numbers(digests(map(form, rows.texts("source")))), counted)
    references = _numbers(digests(map(form, said)))
    return Keys(sources, references, _joined(sources, references))


def token_keys(path: Path) -> Keys:
    """Return hashes of the token ids of the encoded pairs in a file."""
    sources, references = (np.concatenate(list(_hashes(path, side))) for side in ("source", "target"))
    return Keys(sources, references, _joined(sources, references))


def _hashes(path: Path, side: str) -> Iterator[NDArray[np.uint64]]:
    """Yield hashes of the sentences of one side: the sum over positions of a mix of token and position."""
    with safe_open(str(path), "numpy") as file:
        starts, ids = file.get_tensor(f"{side}_starts").astype(np.int64), file.get_slice(side)
        for first in range(0, max(1, len(starts) - 1), PART):
            part = starts[first : first + PART + 1]
            low, high = int(part[0]), int(part[-1])  # an empty slice may not be asked for
            tokens = (ids[low:high] if high > low else np.zeros(0)).astype(np.uint64) + np.uint64(1)
            positions = np.arange(part[0], part[-1]) - np.repeat(part[:-1], np.diff(part))
            mixed = _mix(tokens + (positions.astype(np.uint64) << np.uint64(32)))
            sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
            ends = part - part[0]
            yield sums[ends[1:]] - sums[ends[:-1]]


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter numbers over 64 bits (SplitMix64; Steele, Lea and Flood 2014, figure 16)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))


def _joined(sources: NDArray[np.uint64], references: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return _mix(sources) + references


def _numbers(hashes: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """Return the first eight bytes of hashes as numbers."""
    return np.ascontiguousarray(hashes.astype("S8")).view(np.uint64)


# ---------------------------------------------------------------------------------------------------------- ceiling


def ceiling(rows: Rows, target: Vocabulary) -> dict[str, Any]:
    """Count the rows that a perfect model gets right: a reference, encoded and decoded, equals a reference of the row.

    Texts are compared as exact match compares them, with spaces folded.

    Returns:
        ``rows``; how many can be reached with case and without (``cased``, ``lowercase``); in how many of the others
        every reference has an ``unknown`` token; and one ``example`` of a reference that comes back changed: both texts.
    """
    found: dict[str, Any] = {"rows": len(rows), "cased": 0, "lowercase": 0, "unknown": 0, "example": None}
    for batch in rows.column("references"):
        encoded = iter(target.encode(list(chain.from_iterable(batch))))
        for references in batch:
            ids = [next(encoded) for _ in references]
            back = [target.decode(sentence) for sentence in ids]
            reached = _meet(back, references)
            found["cased"] += reached
            found["lowercase"] += reached or _meet(map(lowercase, back), map(lowercase, references))
            if not reached and all(UNK in sentence for sentence in ids):
                found["unknown"] += 1
            elif not reached and found["example"] is None:
                found["example"] = next(
                    [text, other] for text, other, said in zip(references, back, ids, strict=True) if UNK not in said
                )
    return found


def unquoted(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of data without the texts that they quote."""
    known = facts.get("ceiling")
    return facts | {"ceiling": {name: counts | {"example": None} for name, counts in known.items()}} if known else facts


def _meet(texts: Any, others: Any) -> bool:
    return not {" ".join(text.split()) for text in texts}.isdisjoint(" ".join(text.split()) for text in others)


def lacking(rows: Iterable[Mapping[str, Any]], target: Vocabulary) -> list[str]:
    """Return the first tokens that keep rows from being matched, as every reference has an unknown one: a few."""
    found: dict[str, None] = {}
    for row in rows:
        unknown = [target.unknown_words(text) for text in row["references"]]
        found |= dict.fromkeys(chain.from_iterable(unknown)) if all(unknown) else {}
        if len(found) > SHOWN:
            break
    return list(found)


# --------------------------------------------------------------------------------------------------------- warnings


def warnings(
    facts: Mapping[str, Any],
    *,
    lowercased: bool,
    further: bool = False,
    split: str = "test",
    unknown: Callable[[], Sequence[str]] = tuple,
) -> list[str]:
    """Return what a reader of scores must know of the data, one sentence each.

    Args:
        facts: those of the stage that read the data: of the prepare stage, or of a further test set.
        lowercased: whether scoring compares without case.
        further: whether they are about a further test set.
        split: the split that is scored.
        unknown: asks for tokens of its references that the vocabulary lacks, if the warning is to name some (``lacking``).
    """
    remedy = "name another test set" if further else f"set disjoint: true, or another {split} set"
    ceiling = _ceiling_warning(facts["ceiling"][split], lowercased, split, unknown)
    return [*facts["notes"], *_overlap_warning(facts, "train", remedy, split), *ceiling]


def pretraining_warnings(facts: Mapping[str, Any]) -> list[str]:
    """Return what a reader of scores must know of other data that a model was pretrained on, one sentence each."""
    data = "the pretraining data"
    lacking = {side: share for side, share in facts["unknown"].items() if share > MANY_UNKNOWN}
    return [
        *(f"{data}: {note}" for note in facts["notes"]),
        *_overlap_warning(facts, data, "pretrain on other data"),
        *(
            f"the vocabulary lacks {100 * share:.3g} % of the {side} tokens of {data}; take data in the words of the "
            "trial's, or smaller units in data.source and data.target"
            for side, share in lacking.items()
        ),
    ]


def shared_in_words(counts: Mapping[str, Mapping[str, int]], rows: int) -> str:
    """Return in words how many rows of a test set are in training, as tokens, and as text where that was counted."""
    text = {name: f" ({number:,} as text)" for name, number in counts.get("text", {}).items()}
    said = ", ".join(f"{name} {counts['tokens'][name]:,}{text.get(name, '')}" for name in SHARED)
    return f"of {rows:,} rows: {said}"


def known_by(facts: Mapping[str, Any], split: str = "test") -> str:
    """Return by what a model knows a row again: its source, or its reference where the data have no source."""
    return "sources" if facts[split]["source_tokens"] else "references"


def percent_reachable(counts: Mapping[str, Any], *, lowercased: bool) -> float:
    """Return the percentage of rows that a perfect model gets right."""
    return float(100 * counts["lowercase" if lowercased else "cased"] / counts["rows"])


def _overlap_warning(facts: Mapping[str, Any], where: str, remedy: str, split: str = "test") -> list[str]:
    what = known_by(facts, split)
    shared, rows = facts["overlap"][split]["tokens"][what], facts[split]["pairs"]
    if shared < MANY * rows:
        return []
    count = f"all {rows:,} {split} {what} are" if shared == rows else f"{shared:,} of {rows:,} {split} {what} are"
    return [f"{count} in {where}, as the model sees them: scores measure memory too; {remedy}"]


def _shown(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]} ..."


def _ceiling_warning(
    counts: Mapping[str, Any], lowercased: bool, split: str, unknown: Callable[[], Sequence[str]]
) -> Sequence[str]:
    most = percent_reachable(counts, lowercased=lowercased)
    if most == 100:
        return []
    by_case = 0 if lowercased else counts["lowercase"] - counts["cased"]
    changed = counts["rows"] - counts["lowercase"] - counts["unknown"]
    text, back = counts["example"] or ("", "")
    cased = _meet([lowercase(text)], [lowercase(back)])
    example = f": '{_shown(text)}' comes back as '{_shown(back)}'" if counts["example"] else ""
    reasons = [_lacked(counts["unknown"], split, unknown())] if counts["unknown"] else []
    reasons += [f"the target tokenizer drops letter case, which scoring respects{example * cased}"] if by_case else []
    reasons += [f"the target tokenizer changes {_references(changed, split)}{example * (not cased)}"] if changed else []
    remedies = ["set decoding.scoring.lowercase: true"] if by_case else []
    remedies += ["change data.target"] if changed else []
    remedy = f"; {' or '.join(remedies)} if that is not meant" if remedies else ""
    without = " without copying" if counts["unknown"] else ""
    return [f"{'; '.join(reasons)}: no model can reach more than {most:.4g} % exact match{without}{remedy}"]


def _references(rows: int, split: str) -> str:
    return f"the references of {rows:,} {split} row{'s' * (rows > 1)}"


def _lacked(rows: int, split: str, tokens: Sequence[str]) -> str:
    first = [_shown(token.strip() or token) for token in tokens[:SHOWN]]  # a word can hold the space before it
    shown = f" ({', '.join([*first, *(['…'] if len(tokens) > SHOWN else [])])})" if tokens else ""
    return f"{_references(rows, split)} hold tokens that the vocabulary did not learn from training{shown}"
