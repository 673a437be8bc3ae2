"""Strict reading, overriding, flattening, hashing, and errors that know their place."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from harness.contracts import Cell, Context, Encoder
from harness.core.registry import SLOTS, Choice, register, suggest
from harness.core.spec import SpecError, digest, encode, flatten, override, parse_yaml, read, read_yaml
from harness.trial.model import ModelChoice

PLAIN: dict[str, Any] = {
    "embeddings": {"kind": "separate", "width": 8},
    "encoder": {"kind": "rnn", "cell": {"kind": "gru", "hidden": 5, "layers": 2}},
    "decoder": {"kind": "rnn", "cell": "lstm", "bridge": "copy", "context": "none"},
    "output": "linear",
}


def changed(changes: dict[str, Any]) -> ModelChoice:
    return read(ModelChoice, override(ModelChoice, PLAIN, changes), root="model")


def test_spelling_does_not_matter_meaning_does() -> None:
    written_out = read(ModelChoice, encode(changed({})))
    assert written_out == changed({}) == changed({"output": {"kind": "linear"}, "encoder.bidirectional": False})
    assert digest(written_out) == digest(changed({})) != digest(changed({"encoder.cell.layers": 1}))


def test_a_new_kind_keeps_the_settings_it_has_and_drops_the_others() -> None:
    plain = override(ModelChoice, PLAIN, {"encoder.cell.kind": "lstm"})
    assert plain["encoder"]["cell"] == {"kind": "lstm", "hidden": 5, "layers": 2}
    attended = override(ModelChoice, PLAIN, {"decoder.context": {"kind": "attention", "score": "dot", "mask": True}})
    assert override(ModelChoice, attended, {"decoder.context.kind": "none"})["decoder"]["context"] == {"kind": "none"}
    assert PLAIN["encoder"]["cell"]["kind"] == "gru", "the original is left alone"


class Contexts(Choice):
    """A mapping of slots, and a slot that may be left out."""

    named: dict[str, Context.Config] = {}
    other: Context.Config | None = None


@pytest.mark.parametrize("place", ["named.a", "other"])
def test_a_new_kind_follows_one_rule_wherever_the_slot_is(place: str) -> None:
    attention = {"kind": "attention", "score": "dot", "mask": True, "place": "readout"}
    first = override(Contexts, {}, {place: attention})
    name, _, key = place.partition(".")
    made = override(Contexts, first, {f"{place}.kind": "none"})[name]
    assert (made[key] if key else made) == {"kind": "none"}
    kept = override(Contexts, first, {f"{place}.kind": "final", f"{place}.place": "both"})
    final = override(Contexts, {}, {place: {"kind": "final", "place": "both"}})
    assert read(Contexts, kept) == read(Contexts, final)
    with pytest.raises(SpecError, match=f"^{place}.kind: no context is called 'nine'"):
        read(Contexts, override(Contexts, first, {f"{place}.kind": "nine"}))


def test_settings_go_to_the_new_kind_in_whatever_order_they_are_given() -> None:
    made = override(ModelChoice, PLAIN, {"encoder.cell.hidden": 7, "encoder.cell.kind": "rnn", "output.kind": "tied"})
    assert made["encoder"]["cell"] == {"kind": "rnn", "hidden": 7, "layers": 2} and made["output"] == {"kind": "tied"}


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"encoder.cell.hiden": 3}, "model.encoder.cell.hiden", "did you mean 'hidden'"),
        ({"encoder.cell.kind": "lstn"}, "model.encoder.cell.kind", "did you mean 'lstm'"),
        ({"encoder.cell.hidden": "64"}, "model.encoder.cell.hidden", "integer, got '64'"),
        ({"encoder.bidirectional": 1}, "model.encoder.bidirectional", "boolean, got 1"),
        ({"decoder.readout": "tanhh"}, "model.decoder.readout", "did you mean 'tanh'"),
        ({"encoder": None}, "model.encoder", "name a kind of encoder"),
        ({"encodr": "rnn"}, "model.encodr", "did you mean 'encoder'"),
        ({"decoder": {"kind": "rnn", "cell": "gru", "context": "none"}}, "model.decoder.bridge", "is not set"),
        ({"encoder.cell.dropout": 1.5}, "model.encoder.cell.dropout", "less than 1, got 1.5"),
        ({"encoder.cell.dropout": float("nan")}, "model.encoder.cell.dropout", "finite number"),
        ({"encoder.cell.kind": ["gru"]}, "model.encoder.cell.kind", "no cell is called"),
        ({"encoder.cell.kind": {"gru": 1}}, "model.encoder.cell.kind", "no cell is called"),
        ({"encoder.kind": ["rnn"], "encoder.cell.hidden": 3}, "model.encoder.kind", "no encoder is called"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        changed(changes)
    assert caught.value.path == path


def test_a_path_through_a_scalar_is_a_mistake() -> None:
    with pytest.raises(SpecError, match="has no parts"):
        changed({"encoder.cell.hidden.more": 3})


@pytest.mark.parametrize("nothing", [None, {}])
def test_a_path_through_nothing_makes_what_it_leads_to(nothing: Any) -> None:
    plain = PLAIN | {"encoder": nothing}
    made = override(ModelChoice, plain, {"encoder.cell.hidden": 3, "encoder.kind": "rnn"})
    assert made["encoder"] == {"kind": "rnn", "cell": {"hidden": 3}} and plain["encoder"] == nothing


def test_yaml_is_12_and_knows_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("lr: 1e-3\nlang: no\nmask: [true, off]\ndeep:\n  down: 3\n", encoding="utf-8")
    plain, lines = read_yaml(file)
    assert plain == {"lr": 0.001, "lang": "no", "mask": [True, "off"], "deep": {"down": 3}}
    assert type(plain["lr"]) is float and type(plain["deep"]["down"]) is int
    assert lines.place(["deep", "down"]) == f"{file}:5"
    assert lines.place(["deep", "unheard", "of"]) == f"{file}:4"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [1,\nb: 2", "a.yaml:2: not YAML"),
        (b"a:\n  b: 1\n  metric primary\n  c: 2", "a.yaml:3: not YAML: could not find expected ':'"),
        (b"a: 1\nb: 'x\nc: 2\n", "a.yaml:2: not YAML: found unexpected end of stream"),
        (b"a: 1\na: 2", "not YAML"),
        (b"\xff\xfe", "UTF-8"),
        (b"when: 2026-01-01", "quote it"),
        (b"a: !!python/object:os.system x", "YAML|quote|plain"),
        (b"when: 2024-99-99", "a.yaml: not YAML: month"),
        (b"lr: 1\nclip: .nan", "a.yaml:2: clip: is no finite number"),
        (b"clip: -.inf", "no finite number"),
        (b"clip: 1e999", "no finite number"),
        (b"seed: " + b"9" * 400, "below 2\\^63"),
        (b"seed: " + b"9" * 5000, "not YAML"),
        (b"a: " + b"[" * 3000, "nested too deeply"),
        (b"&a [*a]", "in itself"),
        (b"a: !!bool x", "not YAML"),
        (b"a: !!int ''", "not YAML"),
        (b"? {a: {b: c}}\n: d", "not YAML"),
    ],
)
def test_files_that_are_no_plain_yaml(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(SpecError, match=words):
        read_yaml(tmp_path / "a.yaml")


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")


def test_command_line_values_are_yaml() -> None:
    assert parse_yaml("{kind: scan, split: length}", "--set") == {"kind": "scan", "split": "length"}
    assert parse_yaml("1e-3", "--set") == 0.001
    for text in ("[1", "2024-99-99", "!!int x", "9" * 5000):
        with pytest.raises(SpecError, match=r"^--set x: not YAML"):
            parse_yaml(text, "--set x")
    with pytest.raises(SpecError, match=r"^--set x: is no finite number"):
        parse_yaml(".inf", "--set x")


def test_flatten_gives_dotted_names_and_leaves_empty_mappings_out() -> None:
    assert flatten({"a": {"b": 1, "c": {}}, "d": [1]}) == {"a.b": 1, "d": [1]}


def test_a_field_at_its_neutral_value_and_a_location_leave_the_digest_alone() -> None:
    class Old(Choice):
        width: int = 3

    class New(Choice):
        width: int = 3
        later: float = Field(0.0, json_schema_extra={"neutral": 0.0})
        where: str = Field("here", json_schema_extra={"location": True})

    assert digest(New()) == digest(Old()) == digest(New(where="there")) != digest(New(later=1.0))
    assert encode(New())["where"] == "here"


def test_digests_of_old_stand() -> None:
    """A digest that changes orphans every stored result: change this number only with a reason in the changelog."""
    assert digest(changed({})) == "aef2b2d7ae0bd487"
    assert digest({"b": [1, 2.5, None], "a": "é"}) == "84afbf1d4853005f"


def test_registering_twice_or_without_config_is_refused() -> None:
    class Stranger(Encoder):
        pass

    with pytest.raises(TypeError, match="its own Config"):
        register("stranger")(Stranger)

    class Twin(Cell):
        class Config(Cell.Config):
            pass

    Twin.__module__ = "elsewhere"
    with pytest.raises(ValueError, match=r"is taken by variants\.cells"):
        register("gru")(Twin)
    assert "stranger" not in Encoder.kinds  # type: ignore[attr-defined]


def test_every_slot_has_a_kind_and_suggestions_name_what_is_known() -> None:
    assert all(slot.kinds for slot in SLOTS.values())
    assert suggest("gro", ["gru", "lstm"]) == "did you mean 'gru'? known: gru, lstm"
    assert suggest("zzz", []) == "known: none"


LAUGHS = "a0: &a0 [ha]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LAUGHS, "more than 20,000 values"),
        ("[" * 30_000, "nested too deeply"),
        ("- " * 30_000, "nested too deeply"),
        ("a: &a {b: 1}\n" + "".join(f"c{i}: {{<<: *a}}\n" for i in range(3000)), "merges more than 100"),
        ("a" * 100_000, "longer than 65,536 characters"),
        ('"\\ud800"', "half a surrogate pair"),
        ("\udcff", "not UTF-8"),
        ("!!python/object/apply:os.system [ls]", "not plain data|not YAML"),
    ],
    ids=["laughs", "brackets", "dashes", "merges", "long", "half", "bytes", "object"],
)
def test_what_is_made_to_harm_is_one_line_at_once(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    began = time.process_time()
    for use in (lambda: parse_yaml(text, "--set x"), lambda: read_yaml(tmp_path / "x.yaml")):
        with pytest.raises(SpecError) as caught:
            use()
        assert "\n" not in str(caught.value)
        assert re.search(f"{said}|cannot be read as UTF-8", str(caught.value))
    assert time.process_time() - began < 5
