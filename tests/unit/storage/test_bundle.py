"""What may travel in one file, and what of a hostile one is refused, each by its reason, before anything else is read."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.storage import bundle
from harness.storage.sealing import Damaged

GOOD = {"plan.json": b"{}", "stages/train/a1/model.safetensors": b"weights" * 200, "report/empty.csv": b""}


def manifest(contents: dict[str, bytes], **changes: Any) -> bytes:
    said = {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in contents.items()}
    return json.dumps({"format": "seq2seq-harness 1", "about": {}, "files": said} | changes).encode()


def tar(*members: tuple[tarfile.TarInfo | str, bytes], format: int = tarfile.USTAR_FORMAT) -> io.BytesIO:
    """A tar of any members, whatever they are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for info, data in members:
            header = tarfile.TarInfo(info) if isinstance(info, str) else info
            if header.isreg():
                header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    out.seek(0)
    return out


def whole(files: dict[str, bytes]) -> io.BytesIO:
    return tar(("manifest.json", manifest(files)), *files.items())


def read(file: io.BytesIO, folder: Path) -> dict[str, bytes]:
    said = bundle.manifest(bundle.first(file))
    folder.mkdir(exist_ok=True)
    bundle.extract(file, said, folder)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def written(files: dict[str, bytes], home: Path) -> bytes:
    paths = {}
    for number, (name, data) in enumerate(files.items()):
        paths[name] = home / f"{number}"
        paths[name].write_bytes(data)
    out = io.BytesIO()
    bundle.write(out, {"who": "ü"}, paths)
    return out.getvalue()


def test_what_is_written_is_read_again_and_any_tar_reads_it(tmp_path: Path) -> None:
    data = written(GOOD, tmp_path)
    assert read(io.BytesIO(data), tmp_path / "out") == GOOD
    assert read(whole(GOOD), tmp_path / "other") == GOOD, "the test writes as the package does"
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert archive.getnames() == ["manifest.json", *sorted(GOOD)]
        assert {(m.uid, m.gid, m.mtime, m.mode, m.uname) for m in archive} == {(0, 0, 0, 0o644, "")}
    assert written(dict(reversed(GOOD.items())), tmp_path) == data, "the same files, the same bytes"


def changing(monkeypatch: pytest.MonkeyPatch, name: str, now: bytes) -> None:
    """Let a member be overwritten after it was hashed and opened, just before it is read."""
    append = bundle._append

    def late(file: BinaryIO, member: str, content: BinaryIO, size: int) -> str:
        if member == name:
            Path(content.name).write_bytes(now)
        return append(file, member, content, size)

    monkeypatch.setattr(bundle, "_append", late)


@pytest.mark.parametrize("now", [b"[]", b"{", b""])
def test_a_file_that_changes_while_it_is_exported_is_named(
    now: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing(monkeypatch, "plan.json", now)
    with pytest.raises(Damaged, match=r"/0: it changed while it was exported; run the same command again"):
        written(GOOD, tmp_path)


def test_a_file_that_grows_while_it_is_exported_travels_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing(monkeypatch, "plan.json", GOOD["plan.json"] + b"more")
    assert read(io.BytesIO(written(GOOD, tmp_path)), tmp_path / "out") == GOOD


parts = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]{0,12}", fullmatch=True)
names = st.lists(parts, min_size=1, max_size=4).map("/".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(names, st.binary(max_size=1500), max_size=5),
    cut=st.integers(0, 10**9),
    flip=st.integers(0, 7),
)
def test_a_round_trip_is_whole_and_no_changed_file_passes(
    files: dict[str, bytes], cut: int, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("files")
    try:
        data = written(files, home)
    except Damaged:  # a file and a folder of one name, or two names that differ in capitals
        return
    assert read(io.BytesIO(data), home / "out") == files
    at = cut % len(data)
    if data[at:].strip(b"\0"):
        with pytest.raises(Damaged):
            read(io.BytesIO(data[:at]), home / "cut")
    changed = bytearray(data)
    changed[at] ^= 1 << flip
    with suppress(Damaged):  # where nothing was refused, no file was changed
        assert read(io.BytesIO(bytes(changed)), home / "changed") == files


def link(name: str, kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


KINDS = {
    "symbolic link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "device": tarfile.CHRTYPE,
    "pipe": tarfile.FIFOTYPE,
    "folder": tarfile.DIRTYPE,
    "sparse file": tarfile.GNUTYPE_SPARSE,
    "contiguous file": tarfile.CONTTYPE,
}


@pytest.mark.parametrize("kind", KINDS)
def test_only_regular_files(kind: str, tmp_path: Path) -> None:
    file = tar(("manifest.json", manifest({"plan.json": b""})), (link("plan.json", KINDS[kind]), b""))
    with pytest.raises(Damaged, match="no regular file"):
        read(file, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_extended_headers_and_long_names_are_not_even_read(format: int, tmp_path: Path) -> None:
    name = "a" * 150
    with pytest.raises(Damaged, match="no regular file"):
        read(tar(("manifest.json", manifest({"plan.json": b""})), (name, b""), format=format), tmp_path / "out")


HOSTILE = [
    "../out", "a/../../b", "/etc/passwd", "a//b", "./a", "a/.", "a/", ".hidden", "a/.ssh", "a\\b", "a:b", "C:x", "a b",
    "a\0b", "a\nb", "é", "\u0430", "a" * 101, "", "-rf", "~x", "a/" * 60 + "a",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="has a member with an invalid name"):
        read(tar(("manifest.json", manifest({name: b""}))), tmp_path / "out")
    with pytest.raises(Damaged, match="has a member with an invalid name"):
        bundle.write(io.BytesIO(), {}, {name: tmp_path})


def test_each_lie_is_told_by_name(tmp_path: Path) -> None:
    good, text = {"plan.json": b"{}"}, manifest({"plan.json": b"{}"})

    def refused(match: str, *members: tuple[tarfile.TarInfo | str, bytes]) -> None:
        with pytest.raises(Damaged, match=match):
            read(tar(*members), tmp_path / f"out{len(list(tmp_path.iterdir()))}")

    refused("does not begin with manifest.json", *good.items())
    refused("does not begin with manifest.json")
    refused(r"'extra' is not in its manifest", ("manifest.json", text), *good.items(), ("extra", b""))
    refused(r"'../../x' is not in its manifest", ("manifest.json", text), *good.items(), ("../../x", b""))
    refused(r"'plan.json' is in the archive twice", ("manifest.json", text), *good.items(), *good.items())
    refused("1 files are missing, plan.json among them", ("manifest.json", text))
    refused("plan.json has 3 bytes, and the manifest says 2", ("manifest.json", text), ("plan.json", b"{ }"))
    refused("plan.json was changed", ("manifest.json", text), ("plan.json", b"[]"))
    refused("are the same file on systems that ignore case", ("manifest.json", manifest({"a/b": b"", "A/b": b""})))
    refused("a cannot be a file and a folder", ("manifest.json", manifest({"a": b"", "a/b/c": b""})))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{", "not plain JSON"),
        (b"\xff\xfe", "not plain JSON"),
        (b"[" * 100_000, "not plain JSON"),
        (b"[" * 60 + b"]" * 60, "nested more than 50 levels"),
        (b'{"about": {}, "about": {}}', "occurs twice"),
        (manifest({}, about={"x": float("nan")}), "no number"),
        (manifest({}, format="of tomorrow"), "'format'"),
        (manifest({}, more=1), "'more'"),
        (manifest({}, files={"a": {"sha256": "0" * 63, "bytes": 1}}), "sha256"),
        (manifest({}, files={"a": {"sha256": "0" * 64, "bytes": -1}}), "bytes"),
        (manifest({}, files={"a": {"sha256": "0" * 64, "bytes": "1"}}), "bytes"),
        (b"[]", "not what an export writes"),
    ],
)
def test_a_manifest_is_read_strictly(text: bytes, told: str) -> None:
    with pytest.raises(Damaged, match=told):
        bundle.manifest(text)


def test_what_is_no_tar_and_what_claims_to_be_huge() -> None:
    for data in (b"", b"x" * 5000, bytes(1024), b"PK\x03\x04" + bytes(600)):
        with pytest.raises(Damaged):
            bundle.first(io.BytesIO(data))
    header = tarfile.TarInfo("manifest.json")
    header.size = 1 << 40
    with pytest.raises(Damaged, match="no export writes more"):
        bundle.first(io.BytesIO(header.tobuf(tarfile.GNU_FORMAT)))


def test_sizes_beyond_eight_gigabytes_have_a_header() -> None:
    out = io.BytesIO()
    with pytest.raises(Damaged, match="is cut off in the middle"):
        bundle._append(out, "large.bin", io.BytesIO(b"x"), 9 << 30)
    out.seek(0)
    assert bundle._header(out).size == 9 << 30  # type: ignore[union-attr]
