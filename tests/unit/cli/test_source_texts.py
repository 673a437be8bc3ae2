"""Source texts of `s2s try`: typed, piped or from a file; a path is never taken for a text."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.cli import print_parts, source_texts
from harness.core.spec import SpecError


def test_texts_come_from_where_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("\ufefffive\nsix\n", encoding="utf-8")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"three\r\nfour\n")))
    assert source_texts.read(["one two", "-"], file) == ["one two", "three", "four", "five", "six"]


@pytest.mark.parametrize(
    ("texts", "file", "message"),
    [
        (["texts.txt"], None, r"'texts\.txt' is a file; --file texts\.txt reads"),
        ([], None, "there is no source text"),
        ([], "gone.txt", r"gone\.txt: cannot be read: No such file"),
        ([], "latin.txt", r"latin\.txt: is not UTF-8 text: byte 1"),
    ],
)
def test_what_is_no_text_is_refused(
    texts: list[str], file: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("one\n")
    (tmp_path / "latin.txt").write_bytes(b"n\xe9e\n")
    with pytest.raises(SpecError, match=message):
        source_texts.read(texts, Path(file) if file else None)


def test_answers_are_written_one_a_line(tmp_path: Path) -> None:
    source_texts.write(tmp_path / "out.txt", ["a\nb", "", "c"])
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == "a b\n\nc\n"


def test_unknown_words_are_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    source_texts.warn_of_unknown([{"unknown": ["zebra", "gnu"]}, {"unknown": ["gnu"]}, {"unknown": []}])
    assert capsys.readouterr().err == "s2s: the model does not know: zebra, gnu\n"


def test_the_best_hypotheses_stand_below_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    ranked = [
        {"score": -1.0, "hypothesis": "one", "truncated": False},
        {"score": -2.5, "hypothesis": "o", "truncated": True},
    ]
    answer = {"source": "a", "hypothesis": "one", "score": -1.0, "truncated": False, "unknown": [], "n_best": ranked}
    print_parts.print_tried([answer])
    assert capsys.readouterr().out == "a\n  one  (log p -1.00)\n    -1.00  one\n    -2.50  o    cut\n"


def test_a_map_is_a_row_for_each_word_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {"source": ["a", "b", "</s>"], "said": ["one", "</s>"], "weights": [[1.0, 0.0, 0.0], [0.05, 0.45, 0.5]]}
    answer = {
        "source": "a b",
        "hypothesis": "one",
        "score": -1.0,
        "truncated": False,
        "unknown": [],
        "attention": shown,
    }
    print_parts.print_tried([answer])
    assert capsys.readouterr().out == (
        "a b\n  one  (log p -1.00)\n   one |@  |\n  </s> | =+|\n        columns: a b </s>\n"
    )
