"""What is fed with inputs that nobody means, and the inputs that are meant, from which the others are made."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet

import variants  # noqa: F401
from harness.analysis import runs
from harness.cli import listing, print_parts, print_plans
from harness.contracts import Dataset
from harness.core import names
from harness.core.registry import Choice
from harness.core.spec import digest, encode, parse_yaml, read
from harness.execution import failures
from harness.report import index
from harness.storage import archive
from harness.storage.store import Stage, Store
from harness.study import frozen_plan, planning
from harness.trial import corpus
from harness.trial.pipeline import restore
from harness.workflows import answer_cache, write_report

HOME = Path(__file__).resolve().parents[2]
RESULT = HOME / "results/masking/numbers"
KEPT = ("plan.json", "provenance.json", "trials.csv", "comparisons.csv")


class Target(NamedTuple):
    """Something that reads what a user or a disk gives it."""

    use: Callable[[bytes], object]
    seeds: list[bytes]
    """Valid inputs."""
    words: list[bytes]
    """What inputs are sewn from besides."""


class _Holder(Choice):
    """A place to read one dataset choice into."""

    dataset: Dataset.Config


YAML_WORDS = [
    b"*a", b"&a ", b"<<: ", b"!!python/object/apply:os.system [ls]", b"!!binary aGk=", b"? ", b"- ", b": ", b"{", b"}",
    b"[", b"]", b"|", b">", b"'", b'"', b"#", b"null", b"true", b".nan", b".inf", b"-1", b"0", b"1e999", b"9" * 30,
    b"2024-99-99", b"kind", b"seeds", b"vary:\n", b"zip:\n", b"cases:\n", b"ladder:\n", b"exclude:\n", b"match:\n",
    b"claims:\n", b"set:\n", b"base: [numbers, scan]\n", b"base: ../../../../etc/passwd.yaml\n", b"base: con\n",
    b"model.encoder.cell.kind", b"model.decoder.cell.layers", b"training.updates", b"data.dataset", b"decoding",
    b"\x00", b"\x1b[2J", b"\xff\xfe", "\u202e".encode(), "\u2028".encode(), b"\r", b"\t", b"../", b"~", b"$HOME",
]  # fmt: skip
DATASETS = [
    b"{kind: numbers, source: en, reference: zh}", b"{kind: scan, split: length}", b"numbers", b"scan",
    b"{kind: hub, id: a/b, source: de, reference: en}", b"{kind: hub, id: ../../x, source: de, reference: en}",
    b"{kind: files, train: train.tsv, test: t.jsonl, source: 0, reference: [1, 2], header: true}",
    b"{kind: files, train: {source: a.en, reference: a.de}, group: none, carve_test: 0.5}",
]  # fmt: skip
ENDINGS = ("tsv", "csv", "jsonl", "parquet", "tsv.gz", "csv.gz", "jsonl.gz", "txt")
COLUMNS = (
    "source: 0, reference: 1", "source: 0, reference: 1, header: true", "source: a, reference: b", "source: [0, 1], "
    "reference: [1, 0], merge: true", "source: a, reference: b, group: c, skip_empty: true, disjoint: true",
)  # fmt: skip
DATA_WORDS = [
    b"\t", b"\n", b"\r\n", b"\r", b",", b'"', b'""', b"\x00", b"\xff", b"\xef\xbb\xbf", b"{", b"}", b"[" * 3000, b"null",
    b'{"a": "x", "b": ["y", "z"]}\n', b'"\\ud800"', b"1e999", b"NaN", "\u2028".encode(), "\x85".encode(), b"\x1f\x8b",
    b"PAR1", b" " * 50, b"a" * 200_000,
]  # fmt: skip


def targets(folder: Path) -> Mapping[str, Target]:
    """Return every target by name; they write into the folder, which is made ready here."""
    shutil.copytree(HOME / "studies", folder / "studies", ignore=shutil.ignore_patterns("*.md", "*.json"))
    os.chdir(folder)  # names of studies and bases are looked up from here
    tempfile.tempdir = str(folder)
    store = _store(folder / "runs")
    listing.page("numbers", None, [])  # what torch imports late, it does before anything is watched
    studies = [path.read_bytes() for path in sorted(Path("studies").glob("*.yaml"))]
    bases = [path.read_bytes() for path in sorted(Path("studies/bases").glob("*.yaml"))]
    return {
        "study": Target(_study, studies, YAML_WORDS),
        "base": Target(_base, bases, YAML_WORDS),
        "set": Target(_set, [b"training.updates=3", b"model.encoder.cell={kind: lstm, hidden: 8}"], YAML_WORDS),
        "dataset": Target(_dataset, DATASETS, YAML_WORDS),
        "data": Target(_data, _tables(), DATA_WORDS),
        "digest": Target(
            lambda text: restore(store, _text(text)), [b"ab", b"0" * 16, b""], [b"..", b"/", b"*", b"\x00"]
        ),
        "name": Target(lambda text: _name(folder, _text(text)), [b"masking", b"a b", b"\xc3\xa9"], NAME_WORDS),
        "stage": Target(lambda text: _stage(store, text), [_stage_file(store).read_bytes()], JSON_WORDS),
        "kept": Target(_kept(store), _kept_files(store), JSON_WORDS),
        "archive": Target(lambda text: archive.unpack(io.BytesIO(text), store), [_archive(store)], TAR_WORDS),
        "results": Target(_results(folder / "reports"), _result_files(), JSON_WORDS),
    }


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# ------------------------------------------------------------------------------------------------ studies and choices


def _study(data: bytes) -> None:
    Path("studies/fuzzed.yaml").write_bytes(data)
    for base in planning.bases("studies/fuzzed.yaml"):
        plan = planning.load("studies/fuzzed.yaml", base=base)
        print_plans.print_validated(plan)
        assert plan.digest and plan.frozen()


def _base(data: bytes) -> None:
    Path("studies/bases/altered.yaml").write_bytes(data)
    assert planning.load("masking", base="altered").digest
    print_parts.print_page(listing.page("altered", None, []))


def _set(data: bytes) -> None:
    sets = planning.parse_sets(_text(data).split("\n\n"))
    plan = planning.load("cells", sets=sets, seeds=2)
    assert plan.digest and plan.command


def _dataset(data: bytes) -> None:
    listing.dataset(_text(data)).build(folders=(Path.cwd(),))


# --------------------------------------------------------------------------------------------------------------- data


def _data(data: bytes) -> None:
    """The first byte chooses the ending and the columns, or two files line by line, of which a zero byte ends the first."""
    first, content = data[0] if data else 0, data[1:]
    ending, columns = ENDINGS[first % len(ENDINGS)], COLUMNS[first // len(ENDINGS) % len(COLUMNS)]
    if first >= 250:
        left, _, right = content.partition(b"\0")
        Path("a.en").write_bytes(left)
        Path("a.de").write_bytes(right)
        said = "{kind: files, train: {source: a.en, reference: a.de}, skip_empty: true}"
    else:
        Path(f"data.{ending}").write_bytes(content)
        said = f"{{kind: files, train: data.{ending}, {columns}}}"
    choice = read(_Holder, {"dataset": parse_yaml(said, "fuzzed")}).dataset
    loaded = corpus.load(choice, (Path.cwd(),))
    print_parts.print_dataset(listing.dataset_facts(loaded, 2, {}))


def _tables() -> list[bytes]:
    rows = [(f"s{i} x", f"r{i} y", f"g{i % 3}") for i in range(12)]
    tabs = "".join("\t".join(row) + "\n" for row in rows).encode()
    commas = "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows).encode()
    json_lines = "".join(f'{{"a": "{a}", "b": ["{b}"], "c": "{c}"}}\n' for a, b, c in rows).encode()
    sink = io.BytesIO()
    columns = {name: [row[i] for row in rows] for i, name in enumerate("abc")}
    pyarrow.parquet.write_table(pa.table(columns), sink, compression="none")
    parquet, two = sink.getvalue(), b"a b\nc d\n" * 5
    plain = dict(zip(ENDINGS, (tabs, commas, json_lines, parquet, tabs, commas, json_lines, tabs), strict=True))
    zipped = {e: gzip.compress(text, mtime=0) if e.endswith("gz") else text for e, text in plain.items()}
    by_name = 2 * len(ENDINGS)  # where columns are asked for by their names
    made = [bytes([i + by_name * e.startswith(("parquet", "jsonl"))]) + zipped[e] for i, e in enumerate(ENDINGS)]
    named = b"a\tb\tc\n" + tabs
    return [*made, bytes([0 + len(ENDINGS) * 4]) + named, b"\xfa" + two + b"\0" + two]


# -------------------------------------------------------------------------------------------------------------- store

NAME_WORDS = [
    b"/", b"\\", b"..", b".", b"\x00", b"con", b"NUL", b"com1", b" ", b":", b"*", b"~", b"-", b"a" * 300, b"\xff",
    "\u0430".encode(), "e\u0301".encode(), "\uff4d".encode(), "\u202e".encode(), b"figures", b"report.md",
]  # fmt: skip
JSON_WORDS = [
    b"{", b"}", b"[" * 5000, b"]", b'"', b",", b":", b"null", b"true", b"-1", b"1e999", b"NaN", b"Infinity", b"9" * 30,
    b'"../../x"', b'"/etc/passwd"', b'"\\ud800"', b"\x00", b"\xff", b"[]", b"{}", b'""', b"0.5", b'"status"', b'"ok"',
    b"\n", b"\r", b'"variants"',
]  # fmt: skip
TAR_WORDS = [
    b"\x00" * 512, b"../../../x", b"/etc/x", b"stages/", b"manifest.json", b"ustar", b"0000777", b"2", b"5", b"x", b"L",
    *JSON_WORDS,
]  # fmt: skip


def _name(folder: Path, text: str) -> None:
    made = names.inside(folder / "names", text)
    made.mkdir(parents=True, exist_ok=True)
    assert made.parent == folder / "names"
    assert names.alike(made.name) == names.alike(text)
    made.rmdir()


def _store(root: Path) -> Store:
    """Return a store with one finished stage."""
    store = Store(root)

    def produce(folder: Path) -> dict[str, object]:
        (folder / "scores.json").write_text('{"bleu": 1.5}', encoding="utf-8")
        choice = encode(planning.load("masking").variants[0].choice)
        told = json.dumps({"choice": choice, "seed": 1, "revision": ""})
        (folder / "trial.json").write_text(told, encoding="utf-8")
        return {"metrics": {"bleu": 1.5}}

    store.make(Stage("score", digest("fuzzed"), {"scoring": {}}, "code"), produce, {"versions": {}})
    return store


def _stage_file(store: Store) -> Path:
    return store.folder("score", digest("fuzzed")) / "stage.json"


def _stage(store: Store, data: bytes) -> None:
    """A record that is damaged: it vouches for nothing, or for what is there; it never takes the reader down."""
    path = _stage_file(store)
    good = path.read_bytes()
    try:
        path.write_bytes(data)
        record = store.record("score", path.parent.name)
        store.state(Stage("score", path.parent.name, {}, "code", {"train": "x"}))
        assert record is None or store.sound(record) in (True, False)
    finally:
        path.write_bytes(good)


def _kept_files(store: Store) -> list[bytes]:
    """Return a plan, an answer, a failure and a trial, as a store keeps them; the first byte says which."""
    return [bytes([i]) + path.read_bytes() for i, path in enumerate(_places(store))]


def _places(store: Store) -> list[Path]:
    plan = store.root / "studies/masking/numbers/plan.json"
    return [
        plan,
        plan.with_name("answer.json"),
        *store.root.glob("failures/*.json"),
        _stage_file(store).with_name("trial.json"),
    ]


def _kept(store: Store) -> Callable[[bytes], None]:
    """Read what a store keeps beside its stages, one of the files damaged."""
    plan = planning.resolve(planning.load("masking"))
    trial = next(trial for _, _, trial in plan.trials())
    frozen_plan.freeze(plan, store)
    failures.keep(store, trial, failures.Failure("error", "no reason", "Traceback"))
    told = {"results": "", "code": answer_cache.code(), "tracked": True, "written": ["report.md"]}
    told |= {"answer": {"table": [], "verdicts": [], "seeds": 5}}
    folder = write_report.results_folder(plan)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").touch()
    (folder / "provenance.json").write_text('{"results": ""}', encoding="utf-8")
    answer_cache.cache_path(plan, store).write_text(json.dumps(told), encoding="utf-8")

    def use(data: bytes) -> None:
        path = _places(store)[(data[0] if data else 0) % 4]
        good = path.read_bytes()
        try:
            path.write_bytes(data[1:])
            answer_cache.load(plan, store, tracked=True)
            failures.last(store, trial)
            assert isinstance(frozen_plan.check(plan, store), bool)
            assert all(
                isinstance(name, str)
                for name in (*frozen_plan.exploratory(plan, store), *frozen_plan.dropped(plan, store))
            )
            frozen_plan.freeze(plan, store)
            restore(store, digest("fuzzed"))
        finally:
            path.write_bytes(good)

    return use


def _archive(store: Store) -> bytes:
    record = store.record("score", digest("fuzzed"))
    assert record is not None
    file = io.BytesIO()
    archive.pack(store, [record], file)
    return file.getvalue()


# ------------------------------------------------------------------------------------------------------------ results


def _results(folder: Path) -> Callable[[bytes], None]:
    """Two folders of results, one of them with a file that is not as a report left it: the first byte says which."""
    places = [folder / name / "numbers" for name in ("masking", "again")]
    for place in places:
        place.mkdir(parents=True)
        for name in KEPT:
            shutil.copy(RESULT / name, place / name)

    def use(data: bytes) -> None:
        name, content = KEPT[(data[0] if data else 0) % len(KEPT)], data[1:]
        try:
            (places[1] / name).write_bytes(content)
            found = runs.diff(*map(str, places))
            assert found.plain()
            index.write(folder)
        finally:
            shutil.copyfile(RESULT / name, places[1] / name)

    return use


def _result_files() -> list[bytes]:
    return [bytes([i]) + (RESULT / name).read_bytes() for i, name in enumerate(KEPT)]
