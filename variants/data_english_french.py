"""Six hundred short sentences, English and French, written for this project, in the shape of the tutorials' data."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from harness.contracts import Dataset, Row, Rows
from harness.core.registry import register

PAIRS = Path(__file__).parent / "data" / "tiny-en-fr.tsv"
HELD_OUT = {"test": 80, "validation": 40}
"""Sources in each split; the others are trained on."""


@register("tiny_en_fr")
class TinyEnglishFrench(Dataset):
    """600 pairs of two to nine tokens such as ``they are late .`` and ``ils sont en retard .``, for ``words``.

    Written for this project (no sentence is taken from a collection): a fifth by hand, from greetings to idioms, the others
    by patterns of grammar: agreement, elision, negation, questions, possessives, near future. Lower case, tokens separated
    by spaces, an elided word with its apostrophe (``j' ai froid .``). Seven English sentences have two translations
    (``go !``: ``va !``, ``allez !``): both are trained on, or count as references.

    80 sources are the test and 40 validation, picked by hash; no source is in two splits. A pair is trained on where it has
    a word of either language that no other training pair would have: nothing that is tested is unknown. The column
    ``length`` counts the tokens of the source.
    """

    class Config(Dataset.Config):
        """Names a direction."""

        source: Literal["en", "fr"] = "en"
        """The language to translate from; the other one is translated into."""
        seed: int = 0
        """Seed of the hash that picks test and validation; it does not depend on the seed of a trial."""

    cfg: Config

    @property
    def columns(self) -> tuple[str, ...]:
        """The tokens of the source."""
        return ("length",)

    def revision(self) -> str:
        """Return the sha256 of the file of pairs."""
        return hashlib.sha256(PAIRS.read_bytes()).hexdigest()

    def load(self) -> Mapping[str, Rows]:
        """Return the three splits; a group is a source."""
        rows = self._rows()
        held = self._held_out(rows)
        return {
            name: Rows.of((row for row in rows if held.get(row.source, "train") == name), self.scratch, self.columns)
            for name in ("train", *HELD_OUT)
        }

    def _rows(self) -> list[Row]:
        """Return one row for each source, with all its translations."""
        said: dict[str, list[str]] = {}
        for line in PAIRS.read_text(encoding="utf-8").splitlines():
            english, french = line.split("\t")
            source, reference = (english, french) if self.cfg.source == "en" else (french, english)
            said.setdefault(source, []).append(reference)
        facts = ((source, references, {"length": str(len(source.split()))}) for source, references in said.items())
        return [Row(source, references, source, columns=columns) for source, references, columns in facts]

    def _held_out(self, rows: Iterable[Row]) -> dict[str, str]:
        """Return the split of each source that is not trained on."""
        words = {row.source: _words(row) for row in rows}
        left = Counter(word for found in words.values() for word in found)
        wanted = [name for name, size in HELD_OUT.items() for _ in range(size)]
        held: dict[str, str] = {}
        for source in sorted(words, key=lambda text: hashlib.sha256(f"{self.cfg.seed}/{text}".encode()).digest()):
            if len(held) < len(wanted) and all(left[word] > 1 for word in words[source]):
                held[source] = wanted[len(held)]
                left.subtract(words[source])
        return held


def _words(row: Row) -> set[tuple[str, str]]:
    """Return the words of both languages of a row, each with its side."""
    sides = {"source": [row.source], "reference": row.references}
    return {(side, word) for side, texts in sides.items() for text in texts for word in text.split()}
