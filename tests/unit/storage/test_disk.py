"""Files are written whole or not at all, and what is known of them is forgotten when they change."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from harness.storage import disk
from harness.storage.disk import Memory, make_folder, sha256, write


def test_many_writers_of_one_file_leave_one_whole_text(tmp_path: Path) -> None:
    texts = [letter * 5000 for letter in "abcdefgh"]

    def write_often(text: str) -> None:
        for _ in range(10):
            write(tmp_path / "a", text)

    threads = [threading.Thread(target=write_often, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a").read_text(encoding="utf-8") in texts
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_write_that_fails_leaves_the_old_text_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "a", "old")
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path / "a", "new \ud800")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_contents_are_on_disk_before_the_name_and_the_name_before_we_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        seen.append(f"{path.suffix or path.name} {sorted(p.name for p in path.iterdir()) if path.is_dir() else ''}")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "new" / "a.json", "x")
    assert seen == [f"{tmp_path.name} ['new']", f"{disk.PART} ", "new ['a.json']"]


def test_a_memory_reads_again_what_changed(tmp_path: Path) -> None:
    reads: list[Path] = []

    def read(path: Path) -> str:
        reads.append(path)
        return path.read_text(encoding="utf-8")

    memory, path = Memory(read, limit=2), tmp_path / "a"
    path.write_text("one", encoding="utf-8")
    assert memory(path) == memory(path) == "one" and len(reads) == 2, "too new to be sure of"
    time.sleep(2 * disk.CLOCK_TICK_NS / 1e9)
    assert [memory(path) for _ in range(3)] == ["one"] * 3 and len(reads) == 3
    date = path.stat().st_mtime_ns
    path.write_text("two", encoding="utf-8")
    os.utime(path, ns=(date, date))
    assert memory(path) == "two", "same size, same date"
    for name in "bcd":
        (tmp_path / name).write_text(name, encoding="utf-8")
    time.sleep(2 * disk.CLOCK_TICK_NS / 1e9)
    assert [memory(tmp_path / name) for name in "bcd"] == ["b", "c", "d"] and len(memory.known) <= 2


def test_folders_and_hashes(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b") == make_folder(tmp_path / "a" / "b") and (tmp_path / "a" / "b").is_dir()
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x").startswith("ba7816bf8f01cfea")
