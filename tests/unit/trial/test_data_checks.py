"""Overlap of the test with training and the ceiling of exact match, against counting by hand and by sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from harness.contracts import Rows
from harness.core.spec import read
from harness.trial import data_checks, encoded, prepare, vocabulary
from harness.trial.data_checks import Keys, ceiling, lacking, text_keys, token_keys, warnings
from harness.trial.pairs import Pairs
from harness.trial.prepare import DataChoice
from variants import data_files  # noqa: F401
from variants.tokenizers import Characters

CASES = Path(__file__).resolve().parents[3] / "../shared/cases"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not on this machine")
SENTENCE = st.lists(st.integers(0, 3), max_size=3)
SENTENCES = st.lists(st.tuples(SENTENCE, SENTENCE), max_size=20)


def prepared(folder: Path, source: Any = "words", target: Any = "words", **dataset: Any) -> dict[str, Any]:
    choice = read(DataChoice, {"dataset": {"kind": "files"} | dataset, "source": source, "target": target})
    return prepare.prepare(choice, choice.dataset.build().revision(), (), folder)


def leak(folder: Path, **source: Any) -> dict[str, Any]:
    paths = {name: str(CASES / f"leak-{name}.tsv") for name in ("train", "validation", "test")}
    return prepared(folder, source={"kind": "words"} | source, **paths)


@needs_cases
def test_every_source_of_the_test_is_in_train_as_the_model_sees_it(tmp_path: Path) -> None:
    facts = leak(tmp_path, lowercase=True, unicode="nfc")
    assert facts["overlap"]["test"]["text"] == {"sources": 0, "references": 4, "pairs": 0}
    assert facts["overlap"]["test"]["tokens"] == {"sources": 4, "references": 4, "pairs": 4}
    assert facts["overlap"]["validation"]["tokens"]["sources"] == 0
    assert any(text.startswith("all 4 test sources are in train") for text in warnings(facts, lowercased=False))
    plain = leak(tmp_path)  # only white space is the same to this tokenizer, but unknown words are too
    assert plain["overlap"]["test"]["tokens"]["sources"] < 4


def test_rows_count_once_by_their_first_reference() -> None:
    splits = {
        "train": Rows(["a", "b"], [["x", "y"], ["z"]], ["a", "b"]),
        "test": Rows(["a", "a", "c", "b"], [["y", "n"], ["n", "x"], ["z"], ["z"]], ["a", "a", "c", "b"]),
    }
    keys = {name: text_keys(rows, every=name == "train") for name, rows in splits.items()}
    assert keys["test"].shared_with(keys["train"]) == {"sources": 3, "references": 3, "pairs": 2}


@settings(max_examples=40, deadline=None)
@given(SENTENCES, SENTENCES, st.integers(1, 5))
def test_tokens_are_compared_as_sentences(
    tmp_path_factory: pytest.TempPathFactory, train: list[Any], test: list[Any], part: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_checks, "PART", part)
        keys = [saved(folder / f"{n}.safetensors", pairs) for n, pairs in enumerate((train, test))]
    shared = keys[1].shared_with(keys[0])
    wholes = [[(tuple(s), tuple(t)) for s, t in pairs] for pairs in (train, test)]
    sources, references = ({pair[side] for pair in wholes[0]} for side in (0, 1))
    assert shared == {
        "sources": sum(s in sources for s, _ in wholes[1]),
        "references": sum(t in references for _, t in wholes[1]),
        "pairs": sum(pair in wholes[0] for pair in wholes[1]),
    }


def saved(path: Path, pairs: list[Any]) -> Keys:
    save_file(Pairs.of([s for s, _ in pairs], [t for _, t in pairs])._asdict(), path)
    return token_keys(path)


def test_hashes_of_many_sentences_differ() -> None:
    many = data_checks._mix(np.arange(1_000_000, dtype=np.uint64))
    assert len(np.unique(many)) == len(many)


def reach(references: list[list[str]], train: list[str], kind: str = "characters", **target: Any) -> dict[str, Any]:
    choice = read(
        DataChoice, {"dataset": {"kind": "files", "train": "x"}, "source": "words", "target": {"kind": kind} | target}
    )
    _, learned = vocabulary.learn(choice.source, choice.target, False, ["a"], train)
    sources = [str(n) for n in range(len(references))]
    return ceiling(Rows(sources, references, sources), learned)


@pytest.mark.parametrize(
    ("text", "target", "cased", "lowercase"),
    [
        ("cafe\u0301 vu", {"unicode": "nfc"}, 0, 0),
        ("cafe\u0301 vu", {"unicode": "none"}, 1, 1),
        ("ＡＢＣ", {"unicode": "nfkc"}, 0, 0),
        ("Ein Haus", {"lowercase": True}, 0, 1),
        ("ΟΔΟΣ ΛΟΓΟΣ", {"lowercase": True}, 0, 1),
        ("ein haus", {"lowercase": True}, 1, 1),
        ("two  spaces", {"kind": "words"}, 1, 1),
    ],
)
def test_what_a_perfect_model_reaches(text: str, target: dict[str, Any], cased: int, lowercase: int) -> None:
    found = reach([[text]], [text], **target)
    assert (found["rows"], found["cased"], found["lowercase"], found["unknown"]) == (1, cased, lowercase, 0)
    assert (found["example"] is None) == bool(cased)


@needs_cases
def test_references_in_another_unicode_form_cannot_be_matched_and_a_warning_shows_one(tmp_path: Path) -> None:
    paths = dict.fromkeys(("train", "validation", "test"), str(CASES / "nfd-references.tsv"))
    facts = prepared(tmp_path, target={"kind": "characters", "unicode": "nfc"}, **paths)
    assert (facts["ceiling"]["test"]["cased"], facts["ceiling"]["test"]["lowercase"]) == (0, 0)
    for lowercased in (False, True):
        assert any("no model can reach more than 0 %" in text for text in warnings(facts, lowercased=lowercased))


def test_unknown_tokens_are_counted_apart_and_any_reference_will_do() -> None:
    found = reach([["a b"], ["a q"], ["q", "b"], ["A"]], ["a b", "A"], "words", lowercase=True)
    assert found == {"rows": 4, "cased": 2, "lowercase": 3, "unknown": 1, "example": ["A", "a"]}


def test_tokens_that_the_vocabulary_lacks_are_named_where_no_reference_does_without() -> None:
    learned = read(Characters.Config, {}).build().learn(["kuzu"])
    rows = [{"references": said} for said in (["kuş", "kuşğ"], ["kaz", "kuzu"], ["şe"], ["x", "yz"], ["w"])]
    assert lacking(rows, vocabulary.Vocabulary(learned)) == ["ş", "ğ", "e", "x", "y"]
    assert lacking(rows[1:2], vocabulary.Vocabulary(learned)) == []


def test_warnings_speak_of_the_scoring_that_is_chosen(tmp_path: Path) -> None:
    rows = "".join(f"s{n}\tT{n % 3}\n" for n in range(12))
    for name in ("train", "other"):
        (tmp_path / f"{name}.tsv").write_text(rows.replace("s", name))
    paths = {name: str(tmp_path / f"{where}.tsv") for name, where in (("train", "train"), ("test", "other"))}
    target = {"kind": "words", "lowercase": True}
    facts = prepared(tmp_path, target=target, **paths)
    assert warnings(facts, lowercased=True) == []
    (warning,) = warnings(facts, lowercased=False)
    assert warning == (
        "the target tokenizer drops letter case, which scoring respects: 'T0' comes back as 't0': no model can reach more than "
        "0 % exact match; set decoding.scoring.lowercase: true if that is not meant"
    )
    some = facts | {"ceiling": {"test": facts["ceiling"]["test"] | {"lowercase": 11, "unknown": 1}}}
    (warning,) = warnings(some, lowercased=True)
    assert warning == (
        "the references of 1 test row hold tokens that the vocabulary did not learn from training: no model can reach more than "
        "91.67 % exact match without copying"
    ), "case does not count here"
    (warning,) = warnings(some, lowercased=True, unknown=lambda: ["ş", "ğ"])
    assert "did not learn from training (ş, ğ): no" in warning
    (warning,) = warnings(some, lowercased=True, unknown=lambda: [" ş", "ğ", "x", "y"])
    assert "did not learn from training (ş, ğ, x, …): no" in warning
    mixed = {"rows": 12, "cased": 4, "lowercase": 6, "unknown": 1, "example": ["e\u0301", "é"]}
    (warning,) = warnings(facts | {"ceiling": {"test": mixed}}, lowercased=False)
    assert warning == (
        "the references of 1 test row hold tokens that the vocabulary did not learn from training; the target tokenizer drops "
        "letter case, which scoring respects; the target tokenizer changes the references of 5 test rows: 'e\u0301' comes back "
        "as 'é': no model can reach more than 33.33 % exact match without copying; set decoding.scoring.lowercase: true or "
        "change data.target if that is not meant"
    )
    few = facts | {"overlap": {"test": {"tokens": {"sources": 3}}}}
    assert warnings(few, lowercased=True)[0].startswith("3 of 12 test sources are in train")


def test_without_sources_the_references_are_what_may_not_be_in_train(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("".join(f"t {n}\n" for n in range(30)))
    (tmp_path / "test.tsv").write_text("t 0\nt 28\nt 29 29\n")
    paths = {name: str(tmp_path / f"{name}.tsv") for name in ("train", "test")}
    choice = {"kind": "files", "source": "none", "reference": 0, "carve_validation": 0.2} | paths
    config = read(DataChoice, {"dataset": choice, "source": "characters", "target": "characters"})
    facts = prepare.prepare(config, config.dataset.build().revision(), (), tmp_path)
    (tmp_path / "stage.json").write_text(json.dumps({"facts": facts}))
    loaded = encoded.load(tmp_path)
    assert (loaded.source.size, facts["test"]["source_tokens"], facts["train"]["pairs"]) == (4, 0, 24)
    assert [row["source"] for row in loaded.texts["test"]] == ["", "", ""]
    shared = facts["overlap"]["test"]["tokens"]["references"]
    assert 1 <= shared <= 2 and warnings(facts, lowercased=False)[0].startswith(
        f"{shared} of 3 test references are in train"
    )
    config = read(DataChoice, {"dataset": choice | {"disjoint": True}, "source": "words", "target": "characters"})
    facts = prepare.prepare(config, config.dataset.build().revision(), (), tmp_path)
    assert facts["overlap"]["test"]["tokens"]["references"] == 0
