"""What a store holds of a trial: its test sentences, hypotheses and likelihoods, and the scores that follow from them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rescored import METRICS, Array, Said
from safetensors.numpy import load_file

UNKNOWN_TOKEN = 3
RARE = 10


def json_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@dataclass(frozen=True)
class Sentences:
    """A test set: its rows, and the folders where it and the training data are stored."""

    rows: list[dict[str, Any]]
    held: Path
    prepared: Path
    exhaustive: bool
    unit: str

    @cached_property
    def name(self) -> str:
        """The sha256 of all sources and references, one JSON object a line."""
        whole = hashlib.sha256()
        for row in self.rows:
            pair = {"source": row["source"], "references": row["references"]}
            whole.update((json.dumps(pair, ensure_ascii=False) + "\n").encode())
        return whole.hexdigest()

    @cached_property
    def units(self) -> list[str] | None:
        """What each sentence is drawn again with: its group, or its source; None where every sentence stands alone."""
        names = [row.get("group", "") if self.unit else row["source"] for row in self.rows]
        return names if len(set(names)) < len(names) else None

    @cached_property
    def _encoded(self) -> tuple[list[int], list[list[int]]]:
        """The tokens of all training sources in one row, and those of each test source."""
        test = load_file(self.held / "test.safetensors")
        trained = load_file(self.prepared / "train.safetensors")["source"].tolist()
        tokens = [test["source"][a:b].tolist() for a, b in itertools.pairwise(test["source_starts"].tolist())]
        return trained, tokens

    def where(self, conditions: Sequence[tuple[str, str]]) -> list[int]:
        """The places of the sentences that meet all conditions."""
        places = range(len(self.rows))
        for path, value in conditions:
            meets = self._subset(value) if path == "sentences" else self._column(path.removeprefix("sentences."), value)
            places = [place for place in places if meets[place]]
        return list(places)

    def _column(self, name: str, value: str) -> list[bool]:
        return [row.get("columns", {}).get(name) == value for row in self.rows]

    def _subset(self, value: str) -> list[bool]:
        trained, tokens = self._encoded
        if value in ("long", "short"):
            middle = np.median([len(sentence) for sentence in tokens])
            return [(len(sentence) > middle) == (value == "long") for sentence in tokens]
        seen = Counter(trained)
        seen[UNKNOWN_TOKEN] = 0
        return [(min(seen[token] for token in sentence) < RARE) == (value == "rare") for sentence in tokens]


class Trial:
    """A finished trial on one test set: its hypotheses and references as the stages in the store hold them."""

    def __init__(self, stages: Path, row: dict[str, str], test: str, scoring: dict[str, Any]) -> None:
        at = f"{test}/" if test else ""
        prepared = stages / "prepare" / row["prepare"]
        held = stages / "test" / row[f"{at}test"] if test else prepared
        self.test, decoded = _sentences(held, prepared), stages / "decode" / row[f"{at}decode"]
        lines, references = json_lines(decoded / "hypotheses.jsonl"), load_file(decoded / "references.safetensors")
        self.said = Said(
            hypotheses=[line["text"] for line in lines],
            references=[one["references"] for one in self.test.rows],
            tokenize=scoring["tokenize"],
            lowercase=scoring["lowercase"],
            sources=[one["source"] for one in self.test.rows],
            nll=np.asarray(references["nll"], float),
            free_nll=np.asarray(references["free_nll"], float),
            truncated=np.array([line["truncated"] for line in lines], float),
            model_scores=np.array([line["score"] for line in lines], float),
            oracle=[line["text"] for line in json_lines(decoded / "oracle.jsonl")],
        )
        scores = json.loads((stages / "score" / row[f"{at}score"] / "scores.json").read_text(encoding="utf-8"))
        self.names, self._counts = list(scores), dict[str, Array]()
        vocabulary = (prepared / "target.json").read_bytes()
        self.measures = {
            n: (one["signature"], vocabulary if "tokens:model" in one["signature"] else b"")
            for n, one in scores.items()
        }

    def counts(self, name: str) -> Array:
        metric = METRICS[name]
        key = metric.group or name
        if key not in self._counts:
            self._counts[key] = metric.counts(self.said)
        return self._counts[key]

    def score(self, name: str) -> float:
        return float(METRICS[name].score(self.counts(name).sum(0)))


@cache
def _sentences(held: Path, prepared: Path) -> Sentences:
    facts = json.loads((held / "stage.json").read_text(encoding="utf-8"))["facts"]
    return Sentences(json_lines(held / "test.jsonl"), held, prepared, facts["exhaustive"], facts.get("unit", ""))
