"""Real data of many shapes go the whole way: prepared, trained on briefly, decoded, scored and reported."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sacrebleu.metrics.chrf import CHRF
from safetensors.numpy import load_file

from harness.storage.store import Store
from harness.study import planning
from harness.trial import corpus, decoded
from harness.trial.corpus import Corpus
from harness.trial.encoded import Prepared
from harness.trial.pipeline import Corridor
from harness.workflows import write_report

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
pytestmark = pytest.mark.slow
BRIEF = {
    "model.embeddings.width": 16,
    "model.encoder.cell.hidden": 16,
    "model.decoder.cell.hidden": 16,
    "training.updates": 30,
    "training.evaluate_every": 15,
    "training.optimizer.lr": 0.01,
    "decoding.limit": 24,
    "decoding.batch_size": 250,
    "decoding.scoring.tokenize": "none",
}
# TER's search for shifts is slow on what such a brief training brings forth.
METRICS = ("bleu", "chrf", "exact_match", "token_accuracy", "token_edit_rate", "nll", "perplexity")
DIAGNOSTICS = (
    "free_nll", "exposure_gap", "length_ratio", "truncated", "repetition", "search_error", "model_error",
    "oracle_exact_match", "oracle_token_accuracy",
)  # fmt: skip
"""They are always there."""


@dataclass
class Told:
    """All that became of one dataset."""

    rows: Corpus
    facts: dict[str, Any]
    prepared: Prepared
    test: list[dict[str, Any]]
    scores: dict[str, Any]
    signatures: dict[str, str]


def folder(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"{name} is not among the shared test data of this machine")
    return DATA / name


def lines_of(path: Path) -> list[str]:
    """Read lines in the plainest way: an oracle for the readers under test."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    return text.rstrip("\n").split("\n")


def table_of(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in lines_of(path)]


def recorded(name: str) -> int:
    """Return how many lines the manifest of the data records for a file."""
    rows = {row[0]: row for row in table_of(DATA / "MANIFEST.tsv")}
    return int(rows[name][2])


def write_study(home: Path, base: str, changes: dict[str, Any], vary: dict[str, Any] | None = None) -> Path:
    """Write a study whose base lies beside it."""
    (home / "bases").mkdir()
    shutil.copy(ROOT / "studies" / "bases" / f"{base}.yaml", home / "bases")
    said = {"question": "Does it go through?", "expectation": "It does.", "base": base, "seeds": 1}
    path = home / "real.yaml"
    changes = BRIEF | {"decoding.scoring.metrics": METRICS} | changes
    path.write_text(json.dumps(said | {"set": changes, "vary": vary or {}}), encoding="utf-8")
    return path


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Told]:
    """Answer a study of one trial in this process, and check what holds of every dataset."""
    monkeypatch.setenv("S2S_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def go(base: str, **changes: Any) -> Told:
        dotted = {name.replace("__", "."): value for name, value in changes.items()}
        plan = planning.resolve(planning.load(str(write_study(tmp_path, base, dotted))))
        (trial,) = (trial for _, _, trial in plan.trials())
        store = Store(tmp_path / "runs")
        corridor = Corridor(store, plan.folders, "cpu")
        records = {name: record for name, record, _ in corridor.run(trial, lambda _: None)}
        made = write_report.write_report(plan, store)
        assert not made.failed
        said = json.loads((records["score"].folder / "scores.json").read_text(encoding="utf-8"))
        prepared = corridor.prepared(trial)
        told = Told(
            corpus.load(trial.choice.data.dataset, plan.folders),
            records["prepare"].facts,
            prepared,
            prepared.texts["test"],
            {name: score["value"] for name, score in said.items()},
            {name: score["signature"] for name, score in said.items()},
        )
        curve = [json.loads(line) for line in (records["train"].folder / "curve.jsonl").read_text().splitlines()]
        assert curve[-1]["dev_nll"] < min(curve[0]["dev_nll"], math.log(told.facts["target_words"])), "it learns"
        check(told, [h.text for h in decoded.load(records["decode"].folder)[0]])
        counted = load_file(records["score"].folder / "sentences.safetensors")["nll"][:, 1].sum()
        assert counted == told.facts["test"]["target_tokens"] + len(told.test), "each reference, and its end"
        assert [page.name for page in made.files] == ["report.html", "report.md"]
        details = [made.files[0], made.files[0].with_name("report-details.md")]
        assert all(told.rows.sha256 in page.read_text(encoding="utf-8") for page in details)
        return told

    return go


def check(told: Told, hypotheses: list[str]) -> None:
    """Check what holds of every dataset."""
    assert told.facts["dataset_sha256"] == told.rows.sha256
    for name, split in told.rows.splits.items():
        references = split.references
        pairs = sum(map(len, references)) if name == "train" else len(references)
        assert told.facts[name]["pairs"] == pairs
    kept = told.facts["train"]["pairs"] - told.facts["train"]["too_long"]
    assert len(told.prepared.pairs["train"].source_starts) == kept + 1
    assert [row["source"] for row in told.test] == told.rows.splits["test"].source
    assert tuple(told.scores) == METRICS + DIAGNOSTICS
    assert all(math.isfinite(score) for score in told.scores.values())
    assert len(hypotheses) == len(told.test)
    assert not any("<pad>" in text or "<s>" in text for text in hypotheses)
    most = max(len(row["references"]) for row in told.test)
    padded = [row["references"] + [None] * (most - len(row["references"])) for row in told.test]
    lowercase = "case:lc" in told.signatures["chrf"]
    oracle = CHRF(lowercase=lowercase).corpus_score(hypotheses, [list(rank) for rank in zip(*padded, strict=True)])
    assert told.scores["chrf"] == pytest.approx(oracle.score)


def column(told: Told, split: str, name: str) -> list[Any]:
    found: list[Any] = getattr(told.rows.splits[split], name)
    return found


def sizes(told: Told) -> dict[str, int]:
    return {name: len(split) for name, split in told.rows.splits.items()}


def nothing_unknown(told: Told, *splits: str) -> bool:
    return all(told.facts[name][f"{side}_unknown"] == 0 for name in splits for side in ("source", "target"))


def comes_back(told: Told, split: str = "train") -> bool:
    """Whether every text of a split is what its ids say."""
    texts = [text for row in column(told, split, "references") for text in row]
    vocabulary = told.prepared.target
    return [vocabulary.decode(ids) for ids in vocabulary.encode(texts)] == texts


@pytest.mark.full
def test_multi30k_by_its_name_on_the_hub_through_the_command_line(tmp_path: Path) -> None:
    folder("hub/bentrevett/multi30k")
    changes = {"decoding.scoring.tokenize": "13a", "decoding.scoring.metrics": ["bleu", "chrf", "nll"]}
    vary = {"decoding.search": ["greedy", {"kind": "beam", "width": 1, "length_penalty": 0.0}]}
    path = write_study(tmp_path, "multi30k-small", changes, vary)
    homes = {"S2S_STORE": str(tmp_path / "runs"), "S2S_RESULTS": str(tmp_path / "results")}
    environment = os.environ | homes | {"S2S_HUB_MIRROR": str(DATA / "hub"), "HF_HUB_OFFLINE": "1"}
    argv = [sys.executable, "-m", "harness", "run", str(path), "--no-track", "--jobs", "1"]
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    results = tmp_path / "results" / "real" / "multi30k-small"
    frame = pd.read_csv(results / "trials.csv")
    assert list(frame["status"]) == ["ok", "ok"]
    assert (frame[["bleu", "chrf", "nll"]].nunique() == 1).all(), "one model, and a beam of one is greedy"
    (facts,) = json.loads((results / "provenance.json").read_text(encoding="utf-8"))["data"].values()
    assert [facts[name]["pairs"] for name in ("train", "validation", "test")] == [29_000, 1_014, 1_000]
    assert facts["dataset_sha256"] in (results / "report-details.md").read_text(encoding="utf-8")
    unknown = facts["train"]["target_unknown"] / facts["train"]["target_tokens"]
    assert 0 < unknown < 0.1, "words seen fewer than five times are many kinds but few tokens"


def test_translations_of_a_hub_dataset_cut_to_their_first_rows(
    tell: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder("hub/local/enja-10k")
    monkeypatch.setenv("S2S_HUB_MIRROR", str(DATA / "hub"))
    told = tell(
        "multi30k-small",
        data__dataset={"kind": "hub", "id": "local/enja-10k", "source": "en", "reference": "ja", "limit": 400},
        data__source={"kind": "words", "minimum": 2},
        data__target="characters",
    )
    assert sizes(told) == {"train": 400, "validation": 400, "test": 400}
    first = [json.loads(line)["translation"] for line in lines_of(home / "train.jsonl")[:400]]
    assert column(told, "train", "source") == [row["en"] for row in first]
    assert column(told, "train", "references") == [[row["ja"]] for row in first]
    assert told.facts["train"]["source_unknown"] > told.facts["train"]["target_unknown"] == 0
    assert told.facts["test"]["target_unknown"] > 0, "400 sentences do not have all characters"
    assert comes_back(told)


def test_two_files_line_by_line(tell: Callable[..., Told]) -> None:
    home = folder("parallel-enja")
    dev, exam = (
        {"source": str(home / f"{name}.ja"), "reference": str(home / f"{name}.en")} for name in ("dev", "test")
    )
    told = tell(
        "multi30k-small",
        data__dataset={"kind": "files", "train": dev, "test": exam, "carve_validation": 0.1},
        data__source="characters",
        data__target={"kind": "bpe", "limit": 300},
    )
    count = sizes(told)
    assert count["train"] + count["validation"] == recorded("(source) enja/dev.ja")
    assert count["test"] == recorded("(source) enja/test.ja")
    assert [row["source"] for row in told.test] == lines_of(home / "test.ja")
    assert [row["references"] for row in told.test] == [[line] for line in lines_of(home / "test.en")]
    assert nothing_unknown(told, "train") and comes_back(told)
    assert told.facts["target_words"] == 300


@pytest.mark.parametrize("language", ["cmn", pytest.param("fra", marks=pytest.mark.full)])
def test_many_translations_of_one_source_stay_on_one_side(tell: Callable[..., Told], language: str) -> None:
    path = next(folder("tatoeba").glob(f"eng-{language}*.txt.gz"))
    merge = language == "fra"
    told = tell(
        "files",
        data__dataset={
            "kind": "files",
            "train": str(path),
            "merge": merge,
            "carve_test": 0.02,
            "carve_validation": 0.02,
        },
        data__source="words",
    )
    pairs = [(row[0], row[1]) for row in table_of(path) if row != [""]]
    assert recorded(f"tatoeba/{path.name}") - len(pairs) in (0, 1), "one file ends with a blank line"
    assert not pairs[0][0].startswith("\ufeff")
    assert sum(sizes(told).values()) == (len({source for source, _ in pairs}) if merge else len(pairs))
    groups = [set(column(told, name, "group")) for name in ("train", "validation", "test")]
    assert groups == [set(column(told, name, "source")) for name in ("train", "validation", "test")]
    assert sum(map(len, groups)) == len(set.union(*groups)) == len({source for source, _ in pairs})
    found = [
        (source, reference)
        for name in told.rows.splits
        for source, texts in zip(column(told, name, "source"), column(told, name, "references"), strict=True)
        for reference in texts
    ]
    assert sorted(found) == sorted(pairs), "nothing is lost, and no attribution is taken for text"
    assert f"nrefs:{'var' if merge else 1}|" in told.signatures["bleu"]
    assert nothing_unknown(told, "train") and comes_back(told)


@pytest.mark.full
def test_words_with_several_pronunciations(tell: Callable[..., Told]) -> None:
    home = folder("cmudict")
    train, exam = home / "g014b2b.train.gz", home / "g014b2b.test.gz"
    told = tell(
        "files",
        data__dataset={
            "kind": "files", "train": str(train), "test": str(exam), "merge": True, "carve_validation": 0.01
        },
        data__target="words",
        decoding__batch_size=1000,
        decoding__limit=12,
    )  # fmt: skip
    known: dict[str, set[str]] = {}
    for word, phones in table_of(exam):
        known.setdefault(word, set()).add(phones)
    assert {row["source"]: set(row["references"]) for row in told.test} == known
    assert len(known) == len(told.test) == 12_000
    assert sum(map(len, known.values())) == recorded("cmudict/g014b2b.test.gz")
    words = {row[0] for row in table_of(train)}
    learned, held = set(column(told, "train", "source")), set(column(told, "validation", "source"))
    assert learned | held == words and not learned & held and not words & known.keys()
    assert 0.005 < len(held) / len(words) < 0.015
    several = sum(len(texts) for name in ("train", "validation") for texts in column(told, name, "references"))
    assert several == recorded("cmudict/g014b2b.train.gz")
    assert told.facts["target_words"] == 4 + 39, "the phones of American English, and special tokens"
    assert nothing_unknown(told, "train", "test") and comes_back(told)
    for metric in ("bleu", "chrf", "exact_match", "token_edit_rate"):
        assert "nrefs:var|" in told.signatures[metric]


@pytest.mark.parametrize("language", ["kor", pytest.param("hin", marks=pytest.mark.full)])
def test_scripts_other_than_latin(tell: Callable[..., Told], language: str) -> None:
    home = folder("sig2020")
    files = {split: home / f"{language}_{name}.tsv" for split, name in
             (("train", "train"), ("validation", "dev"), ("test", "test"))}  # fmt: skip
    told = tell(
        "files",
        data__dataset={"kind": "files"} | {split: str(path) for split, path in files.items()},
        data__target="words",
    )
    assert sizes(told) == {split: recorded(f"sig2020/{path.name}") for split, path in files.items()}
    assert sizes(told) == {"train": 3_600, "validation": 450, "test": 450}
    for split, path in files.items():
        rows = table_of(path)
        assert [column(told, split, "source"), column(told, split, "references")] == [
            [source for source, _ in rows], [[phones] for _, phones in rows]
        ]  # fmt: skip
    characters = {character for source in column(told, "train", "source") for character in source}
    phones = {phone for row in column(told, "train", "references") for text in row for phone in text.split(" ")}
    assert told.facts["source_words"] == 4 + len(characters)
    assert told.facts["target_words"] == 4 + len(phones), "a base and its combining marks stay one phone"
    assert nothing_unknown(told, "train") and comes_back(told)


@pytest.mark.parametrize("language", ["turkish", pytest.param("german", marks=pytest.mark.full)])
def test_three_columns_of_which_two_are_the_source(tell: Callable[..., Told], language: str) -> None:
    home = folder("conll2017")
    names = {"train": "train-medium", "validation": "dev", "test": "uncovered-test"}
    paths = {split: home / f"{language}-{name}" for split, name in names.items()}
    told = tell(
        "files",
        data__dataset={"kind": "files", "source": [2, 0], "reference": 1, "group": 0}
        | {split: str(path) for split, path in paths.items()},
    )
    for split, path in paths.items():
        rows = [row for row in table_of(path) if row != [""]]
        assert len(rows) == recorded(f"conll2017/{path.name}") == sizes(told)[split] == 1_000
        assert column(told, split, "source") == [f"{tags} {lemma}" for lemma, _, tags in rows]
        assert column(told, split, "references") == [[form] for _, form, _ in rows]
        assert column(told, split, "group") == [lemma for lemma, _, _ in rows]
    assert nothing_unknown(told, "train") and comes_back(told)


def test_the_official_scan_files_made_into_tables(tell: Callable[..., Told], tmp_path: Path) -> None:
    home = folder("scan")
    every = []
    for name in ("train", "test"):
        lines = lines_of(home / f"tasks_{name}_simple.txt.gz")
        pairs = [tuple(line.removeprefix("IN: ").split(" OUT: ")) for line in lines]
        assert len(pairs) == recorded(f"scan/tasks_{name}_simple.txt.gz")
        rows = [f"{command}\t{actions}\n" for command, actions in pairs]
        (tmp_path / f"{name}.tsv").write_text("".join(rows), encoding="utf-8")
        every += rows
    published = "80583994a620d9cbc1ae953a0d94ce500df62a866bee15bce89d32be4e5be573"
    assert hashlib.sha256("".join(sorted(every)).encode()).hexdigest() == published
    told = tell(
        "scan", data__dataset={"kind": "files", "train": "train.tsv", "test": "test.tsv", "carve_validation": 0.02}
    )
    count = sizes(told)
    assert (count["train"] + count["validation"], count["test"]) == (16_728, 4_182)
    assert told.facts["source_words"] == 4 + 13 and told.facts["target_words"] == 4 + 6
    sources = [set(column(told, name, "source")) for name in count]
    assert sum(map(len, sources)) == len(set.union(*sources)) == 20_910
    assert nothing_unknown(told, "train", "validation", "test") and comes_back(told, "test")


def test_packed_files_line_by_line_carved_into_three(tell: Callable[..., Told]) -> None:
    home = folder("pcfg")
    both = {"source": str(home / "dev.src.gz"), "reference": str(home / "dev.tgt.gz")}
    told = tell(
        "files",
        data__dataset={"kind": "files", "train": both, "carve_test": 0.1, "carve_validation": 0.1},
        data__source="words",
        data__target="words",
        data__longest=30,
    )
    count = sizes(told)
    assert sum(count.values()) == recorded("pcfg/dev.src.gz") == recorded("pcfg/dev.tgt.gz")
    pairs = dict(zip(lines_of(home / "dev.src.gz"), lines_of(home / "dev.tgt.gz"), strict=True))
    assert all(row["references"] == [pairs[row["source"]]] for row in told.test)
    assert 0 < told.facts["train"]["too_long"] < count["train"]
    assert told.facts["train"]["target_longest"] > 30, "facts are about all pairs, those left out too"
    assert nothing_unknown(told, "train") and comes_back(told)
