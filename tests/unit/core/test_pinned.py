"""Files that settings name: their bytes count in the digest, their place does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.pinned import File, pinned
from harness.core.registry import Choice
from harness.core.spec import SpecError, digest, encode, read


class Settings(Choice):
    vectors: File
    width: int = 3


class Outer(Choice):
    inner: Settings


def settings(path: str, sha256: str = "") -> Outer:
    return read(Outer, {"inner": {"vectors": {"path": path, "sha256": sha256} if sha256 else path}})


def test_the_bytes_count_and_the_place_does_not(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("a", "b")]
    for place, text in zip(places, ("same", "same"), strict=True):
        place.mkdir()
        (place / "vectors.txt").write_text(text)
    first, second = (pinned(settings("vectors.txt"), [place]) for place in places)
    assert first.inner.vectors.path != second.inner.vectors.path and digest(first) == digest(second)
    (places[1] / "vectors.txt").write_text("other")
    assert digest(pinned(settings("vectors.txt"), [places[1]])) != digest(first)
    assert read(Outer, encode(first)) == first, "it survives the way to another process"


def test_a_choice_without_files_stays_the_same_object() -> None:
    class Plain(Choice):
        width: int = 3

    choice = Plain()
    assert pinned(choice, []) is choice


def test_what_is_not_there_or_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^inner\.vectors: there is no file vectors\.txt"):
        pinned(settings("vectors.txt"), [tmp_path])
    (tmp_path / "vectors.txt").write_text("a")
    with pytest.raises(SpecError, match="correct one"):
        pinned(settings("vectors.txt", "0" * 64), [tmp_path])
    file = pinned(settings("vectors.txt"), [tmp_path]).inner.vectors
    assert file.checked() == tmp_path / "vectors.txt"
    (tmp_path / "vectors.txt").write_text("b")
    with pytest.raises(SpecError, match="has changed"):
        file.checked()
    (tmp_path / "vectors.txt").unlink()
    with pytest.raises(SpecError, match="there is no file"):
        file.checked()
