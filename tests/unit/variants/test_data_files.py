from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.contracts import Rows, row_reader
from harness.core import formats
from harness.core.spec import SpecError, digest, encode, read
from harness.core.text import folded
from harness.trial import corpus, encoded, prepare
from variants.data_files import Files

DATA = Path(__file__).resolve().parents[3] / "../shared/data"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the shared test data are not on this machine")
CASES = Path(__file__).resolve().parents[3] / "../shared/cases"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="the shared cases are not on this machine")
PAIRS = [("a", "1"), ("b", "2"), ('he said "c', "3"), ("d, e", "4"), ('"open', "5")]


def files(folder: Path, **settings: Any) -> Files:
    return Files(read(Files.Config, {"train": "train.tsv"} | settings), (folder,))


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_bytes(text.encode())
    return name


def tsv(rows: list[tuple[str, ...]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def pairs(rows: Rows) -> list[tuple[str, ...]]:
    return [(source, *texts) for source, texts in zip(rows.source, rows.references, strict=True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train.tsv", "valid.tsv", "test.tsv"):
        write(tmp_path, name, tsv([(f"{name[0]}{i}", f"r{i}") for i in range(5)]))
    return tmp_path


THREE = {"validation": "valid.tsv", "test": "test.tsv"}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ending", [".tsv", ".txt", "", ".old.v2", ".csv", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_rows(folder: Path, ending: str, packed: bool) -> None:
    path = folder / f"x{ending}"
    names: dict[str, Any] = {}
    if ending == ".csv":
        path.write_text("".join('"' + s.replace('"', '""') + f'",{r}\r\n' for s, r in PAIRS), encoding="utf-8-sig")
    elif ending == ".jsonl":
        path.write_text("".join(json.dumps({"y": int(r), "x": s}) + "\n" for s, r in PAIRS))
        names = {"source": "x", "reference": "y"}
    elif ending == ".parquet":
        pq.write_table(pa.table({"x": [s for s, _ in PAIRS], "y": [int(r) for _, r in PAIRS]}), path)
    else:
        path.write_text(tsv(PAIRS), encoding="utf-8-sig", newline="\r\n")
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    part = files(folder, **dict.fromkeys(("train", "validation", "test"), path.name + ".gz" * packed), **names)
    assert pairs(part.load()["train"]) == PAIRS


def test_columns_by_index_by_name_and_joined(folder: Path) -> None:
    write(folder, "train.tsv", "word\tform\ttags\ngo\twent\tV;PST\n")
    every = dict.fromkeys(("train", "validation", "test"), "train.tsv")
    for source, reference, header in (([2, 0], 1, True), (["tags", "word"], "form", False), (["tags", 0], 1, False)):
        found = files(folder, **every, source=source, reference=reference, header=header).load()
        assert pairs(found["train"]) == [("V;PST go", "went")]
    assert pairs(files(folder, **every, reference=[1, 2]).load()["train"])[1] == ("go", "went V;PST")


def test_fields_of_a_source_are_parted_by_tabs(folder: Path) -> None:
    name = write(folder, "x.csv", 'go,went,V;PST\n"a\tb",c,\n')
    part = files(folder, **dict.fromkeys(("train", "validation", "test"), name), source={"lemma": 0, "tags": 2})
    assert pairs(part.load()["test"]) == [("go\tV;PST", "went"), ("a b\t", "c")]


def test_data_without_a_source(folder: Path) -> None:
    name = write(folder, "x.tsv", "a\nb\nA\n")
    part = files(folder, **dict.fromkeys(("train", "validation", "test"), name), source="none", reference=0)
    found = part.load()["test"]
    assert (found.source, found.references, found.group) == ([""] * 3, [["a"], ["b"], ["A"]], ["a", "b", "A"])
    carved = files(folder, train=name, source="none", reference=0, carve_test=0.4, test="test.tsv").load()
    assert {len(carved["train"]), len(carved["validation"])} == {1, 2}, "a and A are the same text"
    write(folder, "x.tsv", "a\n\nb\n")
    with pytest.raises(SpecError, match=r"x\.tsv:2: the reference is empty"):
        part.load()
    both = {"source": "x.tsv", "reference": "x.tsv"}
    with pytest.raises(SpecError, match="source: two files line by line are sources and references"):
        files(folder, train=both, source="none", **THREE).load()


@needs_data
@pytest.mark.parametrize("folder_name", ["conll2017/turkish", "yoyodyne/tur_inflection"])
def test_inflection_is_read_as_letters_and_whole_tags(tmp_path: Path, folder_name: str) -> None:
    names = {"train": "train-low", "validation": "dev", "test": "uncovered-test"}
    where = DATA / folder_name
    paths = (
        {name: f"{where}/{name.replace('validation', 'dev')}.tsv" for name in names}
        if where.is_dir()
        else {name: f"{where}-{ending}" for name, ending in names.items()}
    )
    if "test" in paths and where.parent.name == "conll2017":
        paths["test"] = paths["validation"]  # the published test has no answers
    tokenizer = {"kind": "fields", "fields": {"lemma": "characters", "tags": {"kind": "words", "separators": ";"}}}
    dataset = {"kind": "files", "source": {"lemma": 0, "tags": 2}, "reference": 1, **paths}
    choice = read(prepare.DataChoice, {"dataset": dataset, "source": tokenizer, "target": "characters"})
    facts = prepare.prepare(choice, choice.dataset.build().revision(), (), tmp_path)
    (tmp_path / "stage.json").write_text(json.dumps({"facts": facts}))
    loaded = encoded.load(tmp_path)
    lemma, tags = loaded.texts["test"][0]["source"].split("\t")
    tokens = [loaded.source.token(n) for n in loaded.source.encode([f"{lemma}\t{tags}"])[0]]
    assert tokens == [*(f"lemma:{letter}" for letter in lemma), *(f"tags:{tag}" for tag in tags.split(";"))]
    assert facts["test"]["source_unknown"] < 0.02 * facts["test"]["source_tokens"]


def test_blank_lines_at_the_end_are_no_rows(folder: Path) -> None:
    write(folder, "train.tsv", "a\tb\n\n\n")
    assert pairs(files(folder, **THREE).load()["train"]) == [("a", "b")]


def test_two_files_line_by_line(folder: Path) -> None:
    write(folder, "a.en", "one\u2028x\ntwo\n")
    write(folder, "a.ja", "一\r\n二\r\n")
    both = {"source": "a.en", "reference": "a.ja"}
    part = files(folder, train=both, validation=both, test=both)
    assert pairs(part.load()["train"]) == [("one\u2028x", "一"), ("two", "二")]
    write(folder, "a.ja", "一\n\n")
    with pytest.raises(SpecError, match=r"a\.ja:2: the reference is empty"):
        part.load()
    write(folder, "a.ja", "一\n二\n三\n")
    with pytest.raises(SpecError, match=r"a\.en has 2 lines, .*a\.ja has 3"):
        part.load()
    with pytest.raises(SpecError, match="group"):
        files(folder, train=both, group=1, **THREE).load()
    with pytest.raises(SpecError, match="columns: two files line by line have no further columns"):
        files(folder, train=both, columns=[2], **THREE).load()
    with pytest.raises(SpecError, match=r"train\.reference: is not set"):
        files(folder, train={"source": "a.en"})


@pytest.mark.parametrize("limit", [3, None])
def test_two_files_are_read_in_one_pass_and_no_further_than_their_limit(
    folder: Path, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "a.en", "".join(f"one {n}\n" for n in range(3000)))
    write(folder, "a.ja", "".join(f"一 {n}\n" for n in range(3000 if limit is None else 3001)))
    passed: Counter[str] = Counter()

    def counted(path: Path) -> Iterator[str]:
        for line in formats.lines(path):
            passed[path.name] += 1
            yield line

    monkeypatch.setattr("variants.data_files.lines", counted)
    found = files(folder, train={"source": "a.en", "reference": "a.ja"}, limit=limit, **THREE).load()["train"]
    assert len(found) == (limit or 3000)
    seen = limit or 3000 + 2 * 1000  # the forecast looks at the first ones twice
    assert (passed["a.en"], passed["a.ja"]) == (seen, seen)


def test_the_room_that_is_foreseen_holds_what_merging_writes_beside_what_it_reads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(2 * len(f"t{i}") + len(f"r{i}") for i in range(5))  # source and group, and the reference
    for merge, room in ((False, size), (True, 2 * size)):
        part = files(folder, merge=merge, **THREE)
        for free in (room - 1, room):
            monkeypatch.setattr(row_reader.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
            with nullcontext() if free == room else pytest.raises(OSError, match="no room"):
                part.load()


def test_merging_makes_one_row_of_several_references(folder: Path) -> None:
    write(folder, "train.tsv", tsv([("a", "1"), ("b", "2"), ("a", "3"), ("a", "1")]))
    assert pairs(files(folder, merge=True, **THREE).load()["train"]) == [("a", "1", "3"), ("b", "2")]
    assert len(files(folder, **THREE).load()["train"].source) == 4
    write(folder, "train.tsv", tsv([("a", "1", "x"), ("b", "2", "x"), ("a", "3", "y"), ("a", "4", "x")]))
    every = dict.fromkeys(("train", "validation", "test"), "train.tsv")
    merged = files(folder, merge=True, group=2, **every).load()["train"]
    assert pairs(merged) == [("a", "1", "4"), ("b", "2"), ("a", "3")]
    assert merged.group == ["x", "x", "y"]


def test_columns_travel_with_rows_by_index_by_name_and_renamed(folder: Path) -> None:
    write(folder, "train.tsv", "s\tt\tkind\na\t1\tx\nb\t2\ty\na\t3\tx\na\t4\tz\n")
    every = dict.fromkeys(("train", "validation", "test"), "train.tsv")
    for columns, name in ((["kind"], "kind"), ([2], "2"), ({"category": "kind"}, "category"), ({"c": 2}, "c")):
        found = files(folder, **every, header=True, columns=columns).load()["test"]
        assert list(found.texts("columns")) == [{name: value} for value in "xyxz"]
    merged = files(folder, **every, header=True, merge=True, group=2, columns=["kind"]).load()["train"]
    assert pairs(merged) == [("a", "1", "3"), ("b", "2"), ("a", "4")]
    assert merged.group == ["x", "y", "z"]
    assert list(merged.texts("columns")) == [{"kind": "x"}, {"kind": "y"}, {"kind": "z"}]
    with pytest.raises(SpecError, match="no column 'kinds'; did you mean 'kind'"):
        files(folder, **every, header=True, columns=["kinds"]).load()


def test_a_choice_without_columns_keeps_its_digest() -> None:
    plain = read(Files.Config, {"train": "train.tsv"})
    assert "columns" not in encode(plain, meaning=True)
    assert digest(plain) != digest(read(Files.Config, {"train": "train.tsv", "columns": ["kind"]}))


def test_references_of_many_merged_rows_stay_in_their_order(folder: Path) -> None:
    rows = [(f"s{i * i % 23}", f"r{i}") for i in range(2000)]
    write(folder, "train.tsv", tsv(rows))
    merged: dict[str, list[str]] = {}
    for source, reference in rows:
        merged.setdefault(source, []).append(reference)
    found = files(folder, merge=True, **THREE).load()["train"]
    assert pairs(found) == [(source, *texts) for source, texts in merged.items()]


def test_a_list_in_a_cell_is_several_references(folder: Path) -> None:
    write(folder, "train.jsonl", '{"x": "a", "y": ["1", "2"]}\n')
    names = {"source": "x", "reference": "y"}
    every = dict.fromkeys(("train", "validation", "test"), "train.jsonl")
    assert pairs(files(folder, **every, **names).load()["train"]) == [("a", "1", "2")]
    with pytest.raises(SpecError, match=r"train\.jsonl:1: holds no text but \['1', '2'\]"):
        files(folder, **every, source="y", reference="x").load()


def test_carving_never_parts_a_group_and_does_not_depend_on_order(folder: Path) -> None:
    rows = [(f"s{i % 50}", f"r{i}", f"g{i % 10}") for i in range(200)]
    write(folder, "train.tsv", tsv(rows))
    write(folder, "turned.tsv", tsv(rows[::-1]))
    found = files(folder).load()
    assert [len(set(found[name].source)) for name in ("train", "validation", "test")] == [41, 4, 5]
    assert sum(len(part.source) for part in found.values()) == 200
    turned = files(folder, train="turned.tsv").load()
    assert all(set(found[name].source) == set(turned[name].source) for name in found)
    assert len({text for part in found.values() for text in part.source}) == 50
    grouped = files(folder, group=2, carve_test=0.2).load()
    assert [len(set(grouped[name].group)) for name in ("train", "validation", "test")] == [7, 1, 2]
    apart = files(folder, group="none", carve_test=0.5).load()
    assert len(apart["test"].source) == 100
    assert len({group for part in apart.values() for group in part.group}) == 200


def test_given_splits_keep_their_rows_and_disjoint_drops_what_they_share(folder: Path) -> None:
    write(folder, "train.tsv", tsv([("a", "1"), ("t1", "2"), ("v2", "3"), ("t1", "4")]))
    write(folder, "valid.tsv", tsv([("v2", "1"), ("t3", "2")]))
    part = files(folder, **THREE)
    assert len(part.load()["train"].source) == 4
    assert part.left_out == {}
    part = files(folder, disjoint=True, **THREE)
    found = part.load()
    assert pairs(found["train"]) == [("a", "1")]
    assert pairs(found["validation"]) == [("v2", "1")]
    assert part.left_out == {
        "train rows whose source is in test or validation": 3,
        "validation rows whose source is in test": 1,
    }
    part.load()
    assert sum(part.left_out.values()) == 4


@pytest.mark.parametrize(
    ("name", "text", "settings", "message"),
    [
        ("no.tsv", None, {}, r"there is no file .*no\.tsv or no\.tsv; paths are relative to the study, its base or"),
        ("x.tsv", "", {}, r"x\.tsv: the file is empty"),
        ("x.tsv", "a\tb\nc\n", {}, r"x\.tsv:2: there is no column 1 but 1 columns between tabs, counted from 0: \['c'\]"),
        ("x.csv", "a,b\nc\n", {}, r"x\.csv:2: there is no column 1 but 1 columns between commas"),
        ("x.csv", 'a,"b\nc"\nd,"e\n', {}, r"x\.csv:3: cannot be read: unexpected end of data"),
        ("x.csv", 'a,"b\nc"\nd\n', {}, r"x\.csv:3: there is no column 1"),
        ("x.tsv", "en\tde\na\tb\n", {"source": "em"}, r"x\.tsv:1: there is no column 'em'; known: de, en"),
        ("x.tsv", "en\tde\n", {"header": True, "reference": 2}, r"x\.tsv:1: there is no column 2; known: de, en"),
        ("x.tsv", "a\tb\n\nc\td\n", {}, r"x\.tsv:2: the source is empty; fill it, or set skip_empty: true"),
        ("x.tsv", "a\tb\nc\t \n", {}, r"x\.tsv:2: the reference is empty"),
        ("x.jsonl", '{"en": 1}\n{"de": 2}', {"source": "en", "reference": "en"}, r"x\.jsonl:2: there is no column 'en'; .*: de"),
        ("x.jsonl", "{}\n", {}, r"x\.jsonl:1: there is no column 0; known: none"),
        ("x.jsonl", '{"en": 1}\n{', {"source": "en", "reference": "en"}, r"x\.jsonl:2: not JSON"),
        ("x.jsonl", "[1]\n", {}, r"x\.jsonl:1: not a JSON object"),
        ("x.jsonl", '{"en": null}\n', {"source": "en", "reference": "en"}, r"x\.jsonl:1: the source is empty"),
        ("x.parquet", "no", {}, r"x\.parquet: cannot be read as Parquet"),
        ("x.gz", "no", {}, r"x\.gz: cannot be read: Not a gzipped file"),
        ("x.tsv", "a\tb\n", {"carve_test": None}, "there is no test split; name one, or set carve_test"),
        ("x.tsv", "a\tb\n", {"test": "test.tsv", "carve_validation": None}, "there is no validation split"),
        ("x.tsv", "a\tb\n", {}, "1 groups of rows are too few to carve"),
        ("x.tsv", "\ufeff", {"source": "en"}, r"x\.tsv:1: there is no column 'en'; known: none"),
    ],
)  # fmt: skip
def test_errors_say_where_and_what_to_do(
    folder: Path, name: str, text: str | None, settings: dict[str, Any], message: str
) -> None:
    if text is not None:
        write(folder, name, text)
    with pytest.raises(SpecError, match=message) as caught:
        files(folder, train=name, **settings).load()
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf_8_are_found(folder: Path) -> None:
    (folder / "x.tsv").write_bytes(b"a\tb\n" + "ü\tb\n".encode("latin-1"))
    with pytest.raises(SpecError, match=r"x\.tsv:2: byte 0xfc is not UTF-8"):
        files(folder, train="x.tsv").load()


def test_empty_rows_are_skipped_and_counted_if_told(folder: Path) -> None:
    write(folder, "train.tsv", "a\t1\n\n\t2\nb\t\nc\t3\n")
    write(folder, "test.tsv", "a\t1\nb\t\n")
    part = files(folder, skip_empty=True, **THREE)
    assert pairs(part.load()["train"]) == [("a", "1"), ("c", "3")]
    assert part.left_out == {"empty rows in train": 3, "empty rows in test": 1}


def test_a_missing_reference_beside_a_good_one_is_left_out_alone_and_counted(folder: Path) -> None:
    rows = [{"s": "a", "t": ["BETA", None]}, {"s": "b", "t": [" ", "x", ""]}, {"s": "c", "t": ["y"]}]
    name = write(folder, "x.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    part = files(folder, **dict.fromkeys(("train", "validation", "test"), name), source="s", reference="t")
    assert pairs(part.load()["test"]) == [("a", "BETA"), ("b", "x"), ("c", "y")]
    assert part.left_out["missing references in test"] == 3
    write(folder, "x.jsonl", '{"s": "a", "t": [null, null]}\n')
    with pytest.raises(SpecError, match=r"x\.jsonl:1: the reference is empty"):
        part.load()


@needs_cases
@pytest.mark.parametrize("group", ["source", 0])
def test_near_copies_are_the_same_source_to_disjoint_and_to_carving(folder: Path, group: str | int) -> None:
    names = {name: str(CASES / f"leak-{name}.tsv") for name in ("train", "validation", "test")}
    plain = files(folder, **names).load()
    assert len(plain["train"]) == 4
    with pytest.raises(SpecError, match="no rows in its split 'train'"):
        corpus.load(read(Files.Config, {"kind": "files", **names, "disjoint": True}), (folder,))
    both = "".join(Path(names[name]).read_text() for name in ("train", "test"))
    write(folder, "train.tsv", both)
    found = files(folder, group=group, carve_test=0.3, carve_validation=0.3).load()
    folds = [set(map(folded, rows.source)) for rows in found.values()]
    assert sum(map(len, folds)) == len(set().union(*folds)) == 4
    assert sum(map(len, found.values())) == 8


@needs_cases
def test_a_space_before_a_quote_is_no_text(folder: Path) -> None:
    every = dict.fromkeys(("train", "validation", "test"), str(CASES / "space-before-quote.csv"))
    assert pairs(files(folder, **every).load()["test"]) == [("a", "b, c"), ("d", "e, f")]


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [("x.csv", "a,b\nc,d, e\n", "double quotes"), ("x.tsv", "a\tb\nc\td\te\n", "a tab inside a text")],
)
def test_a_row_with_more_columns_than_the_first_is_refused(folder: Path, name: str, text: str, advice: str) -> None:
    write(folder, name, text)
    part = files(folder, **dict.fromkeys(("train", "validation", "test"), name))
    with pytest.raises(SpecError, match=rf"{name}:2: has 3 columns, but the first row has 2; .*{advice}"):
        part.load()
    write(folder, name, text.replace("e", ""))
    assert pairs(part.load()["train"]) == [("a", "b"), ("c", "d")]


@needs_cases
def test_nested_fields_are_columns(folder: Path) -> None:
    every = dict.fromkeys(("train", "validation", "test"), str(CASES / "nested.jsonl"))
    for source, reference in (("translation.de", "translation.en"), ("de", "en")):
        part = files(folder, **every, source=source, reference=reference)
        assert pairs(part.load()["test"]) == [("ein Haus", "a house"), ("zwei", "two")]
    with pytest.raises(SpecError, match=r"no column 'translation\.fr'; did you mean 'translation"):
        files(folder, **every, source="translation.fr", reference="en").load()


@pytest.mark.parametrize("text", ["[{rows}]", " [\n {rows}\n]\n", "{lines}"])
def test_a_json_array_and_json_lines_are_rows(folder: Path, text: str) -> None:
    rows = [{"x": {"y": "a"}, "t": "1"}, {"x": {"y": "b"}, "t": ["2", "3"]}]
    texts = [json.dumps(row) for row in rows]
    name = write(folder, "x.json", text.replace("{rows}", ",\n".join(texts)).replace("{lines}", "\n".join(texts)))
    part = files(folder, **dict.fromkeys(("train", "validation", "test"), name), source="x.y", reference="t")
    assert pairs(part.load()["test"]) == [("a", "1"), ("b", "2", "3")]
    write(folder, "x.json", "[[1]]")
    with pytest.raises(SpecError, match=r"x\.json: row 1: not a JSON object"):
        part.load()
    write(folder, "x.json", "[{")
    with pytest.raises(SpecError, match=r"x\.json: not JSON"):
        part.load()


@pytest.mark.parametrize(
    ("first", "others", "noted"),
    [
        (("source", "target"), [("a b", "x")], True),
        (("EN", "de"), [("a b", "x")], True),
        (("word", "count"), [("a", "1"), ("b", "-2.5")], True),
        (("word", "kind"), [("a", "b")], True),
        (("word", "drow"), [("a", "b")], False),
        (("1", "2"), [("3", "4")], False),
        (("a", "b"), [], False),
    ],
)
def test_a_header_that_was_not_declared_is_noted(
    folder: Path, first: tuple[str, str], others: list[tuple[str, str]], noted: bool
) -> None:
    write(folder, "train.tsv", tsv([first, *others]))
    columns = {"columns": {"kind": 1}}
    part = files(folder, **THREE, **columns)
    part.load()
    assert [note.partition(",")[0] for note in part.notes] == ["train.tsv: the first row"] * noted
    declared = files(folder, **dict.fromkeys(("train", "validation", "test"), "train.tsv"), **columns, header=True)
    declared.load()
    assert declared.notes == []


def test_paths_are_tried_in_the_folders_then_in_the_working_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere, "train.tsv", "x\ty\n")
    choice = read(Files.Config, {"train": "train.tsv", **THREE})
    assert Files(choice, (elsewhere, folder)).load()["train"].source == ["x"]
    monkeypatch.chdir(folder)
    assert Files(choice, ()).load()["train"].source[0] == "t0"
    assert files(elsewhere, train=str(folder / "train.tsv"), **THREE).load()["train"].source[0] == "t0"


def test_the_revision_is_what_the_files_hold_not_where_they_lie(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    part = files(folder, **THREE)
    other = tmp_path_factory.mktemp("other")
    for name in ("train.tsv", "valid.tsv", "test.tsv"):
        (other / f"x{name}").write_bytes((folder / name).read_bytes())
    moved = files(other, train="xtrain.tsv", validation="xvalid.tsv", test="xtest.tsv")
    assert moved.revision() == part.revision()
    assert digest(moved.cfg) == digest(part.cfg)
    swapped = files(folder, validation="test.tsv", test="valid.tsv")
    assert swapped.revision() != part.revision()
    assert files(folder).revision() != part.revision()
    assert files(folder, test="test.tsv").revision() != files(folder, validation="test.tsv").revision()
    (other / "xtrain.csv").write_bytes((other / "xtrain.tsv").read_bytes())
    assert files(other, train="xtrain.csv", validation="xvalid.tsv", test="xtest.tsv").revision() != part.revision()
    write(folder, "train.tsv", tsv([("t0", "changed")]))
    assert part.revision() != moved.revision()


def test_choices_round_trip() -> None:
    plain = {"train": {"source": "a", "reference": "b"}, "source": [2, "x"], "group": "none"}
    choice = read(Files.Config, plain)
    assert read(Files.Config, encode(choice)) == choice
    assert "train" not in encode(choice, meaning=True)
    for wrong in ({"source": -1}, {"carve_test": 1.0}, {"train": 3}, {"train": {"sorce": "a"}}):
        with pytest.raises(SpecError, match=next(iter(wrong))):
            read(Files.Config, {"train": "a"} | wrong)


@needs_data
def test_many_translations_of_one_sentence_stay_together() -> None:
    part = Files(read(Files.Config, {"train": "tatoeba/eng-cmn.txt.gz", "merge": True}), (DATA,))
    found = part.load()
    assert found["train"].source[0] == "Hi." or "Hi." in found["validation"].source + found["test"].source
    everything = [text for rows in found.values() for text in rows.source]
    assert len(everything) == len(set(everything))
    assert not any(text.startswith("\ufeff") for text in everything)
    assert max(len(texts) for rows in found.values() for texts in rows.references) > 1


@needs_data
@pytest.mark.parametrize("language", ["english", "german", "spanish", "turkish"])
def test_three_column_inflection(language: str) -> None:
    paths = {"train": f"{language}-train-high", "validation": f"{language}-dev", "test": f"{language}-uncovered-test"}
    choice = {name: f"conll2017/{path}" for name, path in paths.items()} | {"source": [2, 0]}
    found = Files(read(Files.Config, choice), (DATA,)).load()
    assert all(len(rows.source) >= 900 for rows in found.values())
    assert all(text.split(" ")[0].isupper() for text in found["train"].source)


@needs_data
@pytest.mark.parametrize("language", ["arm", "bul", "dut", "fre", "geo", "hin", "hun", "kor"])
def test_graphemes_to_phonemes(language: str) -> None:
    choice = {
        name: f"sig2020/{language}_{part}.tsv"
        for name, part in (("train", "train"), ("validation", "dev"), ("test", "test"))
    }
    found = Files(read(Files.Config, choice), (DATA,)).load()
    assert [len(found[name].source) for name in ("train", "validation", "test")] == [3600, 450, 450]


@pytest.mark.slow
@needs_data
def test_parallel_and_packed_files() -> None:
    both = {"source": "parallel-enja/dev.en", "reference": "parallel-enja/dev.ja"}
    test = {"source": "parallel-enja/test.en", "reference": "parallel-enja/test.ja"}
    found = Files(read(Files.Config, {"train": both, "test": test}), (DATA,)).load()
    assert len(found["train"].source) + len(found["validation"].source) == len(found["test"].source) == 500
    packed = {"source": "pcfg/dev.src.gz", "reference": "pcfg/dev.tgt.gz"}
    assert len(Files(read(Files.Config, {"train": packed, "test": test}), (DATA,)).load()["train"].source) > 1000
    cmu = Files(
        read(Files.Config, {"train": "cmudict/g014b2b.train.gz", "test": "cmudict/g014b2b.test.gz", "merge": True}),
        (DATA,),
    )
    assert any(len(texts) > 1 for texts in cmu.load()["test"].references)


def test_labels_stand_before_every_source_and_other_targets_are_refused(folder: Path) -> None:
    rows = [(f"text {n}", "good" if n % 2 else "bad") for n in range(30)]
    name = write(folder, "reviews.tsv", tsv(rows))
    plain, shown = (files(folder, train=name, **more).load() for more in ({}, {"labels": ["good", "bad"]}))
    for split, (before, after) in zip(plain, zip(plain.values(), shown.values(), strict=True), strict=True):
        assert after.source == [f"labels: good, bad text: {text}" for text in before.source], split
        assert (after.references, after.group) == (before.references, before.group)
    with pytest.raises(SpecError, match=r"reviews\.tsv:1: 'bad' is none of labels \(good\); add it there"):
        files(folder, train=name, labels=["good"]).load()
    for source in ("none", {"a": 0, "b": 1}):
        with pytest.raises(SpecError, match="labels stand before one source text"):
            files(folder, train=name, labels=["good", "bad"], source=source)
    assert digest(read(Files.Config, {"train": "a", "labels": []})) == digest(read(Files.Config, {"train": "a"}))
    assert "labels" not in encode(read(Files.Config, {"train": "a"}), meaning=True)
