"""Rows become token buffers and the files of a split; their counts are facts about the data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.contracts import Rows
from harness.contracts.row_reader import require_room
from harness.core.spec import SpecError
from harness.trial.copying import Copied
from harness.trial.encoded import COPIES
from harness.trial.pairs import Flat, Growing
from harness.trial.vocabulary import Vocabulary

SIDES = ("source", "target")
COUNTED = ("tokens", "longest", "unknown")
NO_LIMIT = 2**63 - 1
"""Held-out pairs are never too long."""


@contextmanager
def scratch_in(folder: Path) -> Iterator[Path]:
    """Make a place for what will not be kept; what a killed process left there goes first."""
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class Splits:
    """Writes the splits of a dataset into the folder of a stage, as ``harness.trial.encoded`` reads them."""

    source: Vocabulary
    target: Vocabulary
    folder: Path
    scratch: Path

    def write(self, name: str, rows: Rows, longest: int = NO_LIMIT, *, truncate: bool = False) -> dict[str, int]:
        """Write the encoded pairs of a split and its words that can be copied; of a held-out split the texts too.

        Returns:
            Counts of all pairs, see ``encode``.
        """
        pairs, copied, training = Growing(self.scratch), Copied(self.source, self.target), name == "train"
        counts = encode(rows, copied, pairs, longest, training=training, truncate=training and truncate)
        pairs.save(self.folder / f"{name}.safetensors")
        copied.save(self.folder / COPIES.format(name))
        if not training:
            write_rows(self.folder / f"{name}.jsonl", rows)
        return counts


def encode(
    rows: Rows, copied: Copied, pairs: Growing, longest: int, *, training: bool, truncate: bool = False
) -> dict[str, int]:
    """Add the encoded pairs of a split to a file, batch by batch, and return counts of all of them, long ones too.

    The words that can be copied are added to ``copied``, whose vocabularies encode the texts. In training every reference
    of a row makes a pair, and long pairs are left out; or truncated, then their number is called ``truncated``.
    """
    source, target = copied.source, copied.target
    long = "truncated" if truncate else "too_long"
    facts = dict.fromkeys(("pairs", "too_long", long, *(f"{side}_{what}" for what in COUNTED for side in SIDES)), 0)
    for texts, references in zip(rows.column("source"), rows.column("references"), strict=True):
        if training:
            texts = [text for text, row in zip(texts, references, strict=True) for _ in row]
        said = [text for row in references for text in (row if training else row[:1])]
        sides = Flat.of(source.encode(texts)), Flat.of(target.encode(said))
        if not facts["pairs"]:  # the first batch speaks for all; what it takes is there twice until the first copy goes
            batches, size = len(rows) / len(references), sum(part.nbytes for side in sides for part in side)
            require_room(pairs.scratch, 2 * size * batches)
        short = np.maximum(sides[0].lengths, sides[1].lengths) <= longest
        facts["pairs"] += len(short)
        facts[long] += int(np.count_nonzero(~short))
        for name, side, words in zip(SIDES, sides, (source, target), strict=True):
            facts[f"{name}_tokens"] += len(side.ids)
            facts[f"{name}_longest"] = max(facts[f"{name}_longest"], int(side.lengths.max()))
            facts[f"{name}_unknown"] += words.unknown(side.ids)
        kept = short if training and not truncate else np.ones_like(short)
        if training and truncate:
            sides = sides[0].cut(longest), sides[1].cut(longest)
        pairs.add(*(side.where(kept) for side in sides))
        copied.add(texts, said, sides, kept)
    if training and facts["pairs"] == facts["too_long"]:
        message = f"every training pair has more than {longest} tokens on a side; raise data.longest"
        raise SpecError(message, path="data.longest")
    return facts


def write_rows(path: Path, rows: Rows) -> None:
    """Write the texts of a held-out split, one JSON object a row."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            kept = {"source": row.source, "references": row.references, "group": row.group, "columns": row.columns}
            file.write(json.dumps(kept, ensure_ascii=False) + "\n")
