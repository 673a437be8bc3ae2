"""The hypotheses of a trial as a table that MLflow shows beside those of other runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

TABLE = "hypotheses_table.json"
"""Its name among the artifacts of a run."""
TABLES = json.dumps([{"path": TABLE, "type": "table"}])
"""Tag by which MLflow finds the tables of a run; what its ``log_table`` writes."""
ROWS = 500
"""Test sentences that it shows at most; ``hypotheses.jsonl`` has all."""


def table(sentences: Mapping[str, Path]) -> str:
    """Return the first test sentences with references and hypotheses, as MLflow stores a table; "" without files.

    Args:
        sentences: files of JSON lines: ``test`` with ``source`` and ``references``, ``hypotheses`` with ``text``.
    """
    if not sentences:
        return ""
    with sentences["test"].open(encoding="utf-8") as test, sentences["hypotheses"].open(encoding="utf-8") as found:
        pairs = itertools.islice(zip(map(json.loads, test), map(json.loads, found), strict=False), ROWS)
        rows = [[row["source"], "\n".join(row["references"]), hypothesis["text"]] for row, hypothesis in pairs]
    return json.dumps({"columns": ["source", "references", "hypothesis"], "data": rows}, ensure_ascii=False)
