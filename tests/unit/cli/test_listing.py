"""What the catalog says of parts, files, datasets and single variants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from harness.cli import catalog, listing
from harness.contracts import Cell, Words
from harness.core.registry import SLOTS, Choice
from harness.core.spec import SpecError, read
from harness.study import locate
from harness.trial import corpus
from harness.trial.model import ModelChoice

HOME = Path(__file__).resolve().parents[3]
DATASET = "{kind: numbers, source: en, reference: zh, train: 20, validation: 5, test: 7, digits: 3}"


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HOME)


def setting(slot: str, kind: str, name: str) -> dict[str, Any]:
    part = next(part for part in listing.parts(slot) if part["kind"] == kind)
    return next(row for row in part["settings"] if row["name"] == name)


def test_every_part_is_listed_once_with_a_summary_and_described_settings() -> None:
    found = listing.parts()
    listed = [(part["slot"], part["kind"]) for part in found]
    assert sorted(listed) == sorted((slot, kind) for slot in SLOTS for kind in SLOTS[slot].kinds)
    for part in found:
        assert part["summary"] and (HOME / part["file"]).is_file()
        assert all(row["about"] for row in part["settings"]), part["kind"]


def test_settings_say_their_type_and_default() -> None:
    assert setting("attention", "additive", "width") == {
        "name": "width",
        "type": "int >= 1",
        "required": False,
        "default": 64,
        "about": "Size of the hidden layer, A.",
    }
    assert setting("bridge", "linear", "activation")["type"] == "tanh | relu | none"
    assert setting("encoder", "rnn", "cell")["type"] == "cell (slot)"
    assert setting("encoder", "rnn", "cell")["required"]
    assert setting("cell", "gru", "dropout")["type"] == "float >= 0, < 1"


class _Pair(Choice):
    """Two names."""

    left: str
    right: str


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int | None, "int | null"),
        (tuple[int, ...], "list of int"),
        (Literal["a", 1, True], "a | 1 | true"),
        (Annotated[float, *Field(gt=0).metadata] | None, "float > 0 | null"),
        (_Pair, "{left: str, right: str}"),
        (dict[str, float], "mapping of str to float"),
        (Cell.Config, "cell (slot)"),
        (Any, "any"),
    ],
)
def test_types_are_readable(annotation: Any, text: str) -> None:
    assert listing.readable(annotation) == text


@pytest.mark.parametrize(
    ("doc", "first"),
    [
        ("One. Two.", "One"),
        ("Of et al. 2014 and et al. Others. Two.", "Of et al. 2014 and et al. Others"),
        ("``q . W m`` (Luong et al. 2015, eq. 8).\n\nMore.", "``q . W m`` (Luong et al. 2015, eq. 8)"),
        ("Over\n    two lines, i.e. one sentence", "Over two lines, i.e. one sentence"),
    ],
)
def test_a_summary_is_one_sentence(doc: str, first: str) -> None:
    assert listing.summary(type("Part", (), {"__doc__": doc})) == first


def nothing() -> None:
    """Load no parts: they are loaded."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache folder without anything in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "seq2seq-harness"


@pytest.mark.usefixtures("home")
def test_an_unknown_slot_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'attention'"):
        catalog.catalog(nothing, "atention")


def test_a_catalogue_is_kept_until_a_source_changes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = catalog.catalog(nothing)
    assert first == listing.everything() and len(list(home.iterdir())) == 1
    monkeypatch.setattr(listing, "everything", pytest.fail)
    assert catalog.catalog(nothing) == first
    kinds = ["beam", "constrained", "drifting", "exact", "greedy", "minimum_bayes_risk", "recompute", "sampling"]
    assert [part["kind"] for part in catalog.catalog(nothing, "search")["parts"]] == kinds
    (tmp_path / "mine.yaml").write_text("question: Why?\n")
    monkeypatch.setattr(locate, "studies", lambda: {"mine": tmp_path / "mine.yaml"})
    monkeypatch.setattr(listing, "everything", dict)
    assert catalog.catalog(nothing) == {} and len(list(home.iterdir())) == 2


def test_catalogues_do_not_pile_up_and_a_damaged_one_is_written_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "everything", lambda: {"slots": []})
    for number in range(catalog.KEPT + 3):
        monkeypatch.setattr(catalog, "_key", lambda number=number: str(number))
        catalog.catalog(nothing)
    assert len(list(home.iterdir())) == catalog.KEPT
    (home / f"catalog-{catalog.KEPT + 2}.json").write_text("{")
    assert catalog.catalog(nothing) == {"slots": []} == catalog.catalog(nothing)


def test_files_say_what_they_are_and_one_broken_file_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text("question: Why?\n  ")
    (tmp_path / "b.yaml").write_text("about: >\n  two\n  lines\n")
    (tmp_path / "c.yaml").write_text("a: [")
    (tmp_path / "d.yaml").write_text("- 1\n")
    monkeypatch.setitem(listing.FILES, "studies", lambda: {path.stem: path for path in tmp_path.glob("*.yaml")})
    found = listing.files("studies")
    assert [row["name"] for row in found] == ["a", "b", "c", "d"]
    assert [row["about"] for row in found][:2] == ["Why?", "two lines"]
    assert found[2]["about"].startswith("cannot be read: ") and not found[3]["about"]


def test_a_dataset_is_read_from_text_or_taken_from_a_base() -> None:
    assert listing.dataset(DATASET).train == 20  # type: ignore[attr-defined]
    assert listing.dataset("numbers").kind == "numbers"
    assert listing.dataset("docs/examples/plurals/nouns.yaml").kind == "files"
    with pytest.raises(SpecError, match="did you mean 'numbers'"):
        listing.dataset("numbres")
    with pytest.raises(SpecError, match=r"DATASET: dataset\.split: unknown value 'lenght'; did you mean 'length'"):
        listing.dataset("{kind: scan, split: lenght}")


def test_facts_of_a_dataset() -> None:
    loaded = corpus.load(listing.dataset(DATASET), ())
    facts = listing.dataset_facts(loaded, 2, {})
    assert facts["sha256"] == loaded.sha256
    assert {name: split["rows"] for name, split in facts["splits"].items()} == {"train": 20, "validation": 5, "test": 7}
    assert [len(rows) for rows in facts["rows"].values()] == [2, 2, 2]
    assert set(facts["rows"]["test"][0]) == {"source", "references"}


def test_a_base_is_checked_with_its_tokenizers_and_each_note_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = (HOME / "studies/bases/files.yaml").read_text(encoding="utf-8")
    for name in ("train.tsv", "validation.tsv", "test.tsv"):
        base = base.replace(f" {name}", " t.tsv")
    (tmp_path / "studies/bases").mkdir(parents=True)
    base = base.replace("target: characters", "target: {kind: characters, unicode: nfc}")
    (tmp_path / "studies/bases/mine.yaml").write_text(base, encoding="utf-8")
    (tmp_path / "t.tsv").write_text("source\ttarget\na b\tcafe\u0301\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    loaded = corpus.load(listing.dataset("mine"), (tmp_path,))
    (header, leak, ceiling), tokens = listing.dataset_checks("mine", loaded)
    assert header.startswith("t.tsv: the first row, 'source | target', looks like a header")
    assert leak.startswith("all 2 test sources are in train") and "no model can reach more than 50 %" in ceiling
    assert listing.dataset_checks("{kind: files}", loaded) == ([header], {})
    assert tokens["test"] == {
        "source_tokens_mean": 4.5, "source_tokens_max": 6, "source_tokens_unknown": 0,
        "reference_tokens_mean": 5.0, "reference_tokens_max": 6, "reference_tokens_unknown": 0,
    }  # fmt: skip
    assert listing.dataset_facts(loaded, 1, tokens)["splits"]["test"].items() >= {"rows": 2, **tokens["test"]}.items()


# Two tables of 10 x 2; a GRU of 3 units over 2: 3 * 3 * (2 + 3 + 2) = 63 on either side; output 3 x 10 + 10.
SMALL = {
    "embeddings": {"kind": "separate", "width": 2},
    "encoder": {"kind": "rnn", "cell": {"kind": "gru", "hidden": 3}},
    "decoder": {"kind": "rnn", "cell": {"kind": "gru", "hidden": 3}, "bridge": "copy", "context": "none"},
    "output": "linear",
}


def test_parameters_are_counted_by_module() -> None:
    weighed = listing.weigh(read(ModelChoice, SMALL), Words(10, 10))
    assert weighed["parameters"] == {"embeddings": 40, "encoder": 63, "decoder": 63, "output": 40, "total": 206}
    assert weighed["shapes"]["embeddings.source_table.weight"] == [10, 2]


def test_shared_parameters_count_once() -> None:
    weighed = listing.weigh(read(ModelChoice, SMALL | {"output": "tied"}), Words(10, 10))
    # Bias of 10, and a map from 3 to 2; the table itself is that of the embeddings.
    assert weighed["parameters"]["output"] == 16 and weighed["parameters"]["embeddings"] == 40


def test_a_page_of_a_base_names_every_part() -> None:
    page = listing.page("numbers", None, ["model.encoder.cell.hidden=8"])
    assert page["choice"]["model"]["encoder"]["cell"]["hidden"] == 8
    cell = next(part for part in page["parts"] if part["path"] == "model.encoder.cell")
    assert cell["kind"] == "gru" and "Cho et al. 2014" in cell["about"]
    counts = page["parameters"]
    assert counts["total"] == sum(count for name, count in counts.items() if name != "total")


def test_a_page_of_a_study_shows_a_variant_by_name_or_number() -> None:
    first, second = listing.page("masking", None, []), listing.page("masking:2", None, [])
    named = listing.page("masking:mask=true, normalize=padded", None, [])
    assert first["choice"]["training"]["loss"]["normalize"] == "token"
    assert second == named and second["choice"]["training"]["loss"]["normalize"] == "padded"
    with pytest.raises(SpecError, match="no variant of masking has the name or number '9'; known: 1: mask=true"):
        listing.page("masking:9", None, [])


def test_an_impossible_variant_says_why() -> None:
    page = listing.page(
        "numbers", None, ["model.decoder.context={kind: attention, score: dot}", "model.encoder.cell.hidden=8"]
    )
    assert page["skipped"].startswith("incompatible: a dot product needs equal widths") and not page["parameters"]


@pytest.mark.parametrize(
    ("name", "base", "sets", "message"),
    [
        ("nubmers", None, [], "did you mean 'numbers'"),
        ("numbers", "scan", [], "is a base itself"),
        ("numbers", None, ["model.encoder.cel=1"], r"--set: model\.encoder\.cel: unknown setting 'cel'.*'cell'"),
    ],
)
def test_mistakes_are_told(name: str, base: str | None, sets: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        listing.page(name, base, sets)


PRESET = """\
about: A system
source: Someone 2014
set:
  model.decoder.context: {kind: mean, place: readout}
  training.clip: 5.0
"""


def test_a_preset_is_set_over_a_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locate, "presets", lambda: {path.stem: path for path in tmp_path.glob("*.yaml")})
    (tmp_path / "someone2014.yaml").write_text(PRESET)
    page = listing.page("someone2014", None, ["training.clip=2.0"])
    assert page["source"] == "Someone 2014" and page["name"] == "someone2014 on numbers"
    assert page["choice"]["model"]["decoder"]["context"]["place"] == "readout"
    assert page["choice"]["training"]["clip"] == 2.0
    (tmp_path / "someone2014.yaml").write_text(PRESET.replace("clip", "clap"))
    with pytest.raises(SpecError, match=r"someone2014\.yaml:5: training\.clap: unknown setting"):
        listing.page("someone2014", None, [])
    (tmp_path / "someone2014.yaml").write_text(PRESET.replace("training.clip: 5.0", "data.longest: 9"))
    with pytest.raises(
        SpecError, match=r"someone2014\.yaml:5: data\.longest: a preset sets model, training and decoding"
    ):
        listing.page("someone2014", None, [])
