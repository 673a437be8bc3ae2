"""What a reader of scores must know of the data: of the training, of the main test, and of every further test set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import variants  # noqa: F401
from harness.execution import runner
from harness.execution.data_warnings import data_warnings
from harness.storage.store import Store
from harness.study import planning

ROOT = Path(__file__).resolve().parents[3]


def warned(folder: Path, sets: dict[str, Any], **study: Any) -> list[str]:
    """Prepare the data of a study, and return its warnings."""
    splits = {name: f"{name}.tsv" for name in ("train", "validation", "test")}
    plain = {"question": "?", "expectation": "?", "base": str(ROOT / "studies/bases/files.yaml"), "seeds": 1} | study
    dataset = {f"data.dataset.{name}": path for name, path in splits.items()}
    plain["set"] = dataset | {"data.source": {"kind": "words", "lowercase": True}} | sets
    (folder / "s.yaml").write_text(json.dumps(plain), encoding="utf-8")
    plan = planning.resolve(planning.load(str(folder / "s.yaml")))
    runner.prepare_data(plan, Store(folder / "runs"), lambda _: None)
    return data_warnings(plan, Store(folder / "runs"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, rows in {
        "train": [(f"word {n}", f"Wort {n % 9}") for n in range(40)],
        "validation": [(f"v{n} v", "Wort 1") for n in range(3)],
        "test": [(f"t{n} t t", "Wort 1") for n in range(4)] + [("", "")],
        "gen": [("WORD 1", "wo\u0308rt"), ("WORD 2", "Wort 2"), ("", "Wort 3")],
    }.items():
        (tmp_path / f"{name}.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in rows), encoding="utf-8")
    return tmp_path


def test_each_test_set_is_looked_at_and_rows_left_out_are_counted_by_split(folder: Path) -> None:
    gen = {"kind": "files", "test": "gen.tsv", "skip_empty": True}
    found = warned(folder, {"data.dataset.skip_empty": True, "data.tests": {"gen": gen}})
    assert found[0] == "rows left out: empty rows in test: 1"
    assert found[1] == "test set gen: rows left out: empty rows in test: 1"
    assert found[2].startswith("test set gen: all 2 test sources are in train, as the model sees them")
    assert found[3].startswith("test set gen: a perfect model reaches 50 % exact match on the test")
    assert len(found) == 4


def test_what_some_variants_alone_have_names_them(folder: Path) -> None:
    (folder / "test.tsv").write_text("WORD 1\tWort 1\n", encoding="utf-8")
    (folder / "fresh.tsv").write_text("t t t\tWort 1\n", encoding="utf-8")
    (found,) = warned(folder, {}, cases={"seen": {}, "fresh": {"data.dataset.test": "fresh.tsv"}})
    assert found.startswith("all 1 test sources are in train") and found.endswith("(variants: seen)")
