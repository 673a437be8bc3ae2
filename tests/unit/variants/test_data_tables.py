from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from harness.core.spec import SpecError, read
from variants.data_tables import LookupTables


def dataset(**settings: Any) -> LookupTables:
    return LookupTables(read(LookupTables.Config, {"train": 400, "validation": 50, "test": 100} | settings))


def test_tables_map_one_to_one_and_are_looked_up_in_turn() -> None:
    part = dataset()
    strings = {f"{number:03b}" for number in range(8)}
    assert len(part.tables) == 8
    assert all(set(table) == set(table.values()) == strings for table in part.tables.values())
    part.tables = {"t1": {"0": "1", "1": "0"}, "t2": {"0": "0", "1": "1"}}
    assert part.row("0", ["t1", "t2", "t1"])[:2] == ("0 t1 t2 t1", ["1 1 0"])
    last = dataset(steps=False)
    last.tables = part.tables
    assert last.row("0", ["t1", "t2"])[:2] == ("0 t1 t2", ["1"])


@pytest.mark.parametrize("split", ["iid", "length", "compositions"])
def test_training_has_every_single_table_and_the_test_what_training_lacks(split: str) -> None:
    part = dataset(split=split)
    splits = part.load()
    assert sum(columns["tables"] == "1" for columns in splits["train"].texts("columns")) == 64
    for name, rows in splits.items():
        for source, (reference,), _, _, columns in rows:
            string, *names = source.split()
            said = [string]
            for table in names:
                said.append(part.tables[table][said[-1]])
            assert reference.split() == said[1:]
            assert columns["tables"] == str(len(names))
            held = any(pair in part.held_pairs for pair in pairwise(names))
            assert split != "compositions" or held == (name == "test")
            assert split != "length" or (len(names) > 3) == (name == "test")


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(SpecError, match="no room beside the 64 pairs"):
        dataset(train=64)
