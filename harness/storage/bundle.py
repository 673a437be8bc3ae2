"""A bundle of files for another machine: a plain tar with a manifest, checked to the last byte when it is read.

The tar holds regular files only; a light export compresses it as a whole. It is read by headers of 512 bytes; other
features of the format (links, devices, sparse files, long names, extended headers) are refused unread.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from harness.storage.disk import known_sha256, sync
from harness.storage.sealing import Damaged

MANIFEST = "manifest.json"
LARGEST_MANIFEST = 64 << 20
DEEPEST = 50
"""Maximal levels of JSON; bundles have fewer than twenty."""
LONGEST_NAME = 100
"""Maximal characters of a name: a header holds no more."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*(/[A-Za-z0-9_][A-Za-z0-9_.=+-]*)*")
"""Names of members: relative, in plain ASCII, without hidden parts or ``..``."""
BLOCK = 512
PIECE = 1 << 20


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Manifest(BaseModel):
    """The first member: facts about the archive, and size and hash of every other member."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["seq2seq-harness 1"] = "seq2seq-harness 1"
    about: dict[str, Any]
    files: dict[str, _File]


def write(file: BinaryIO, about: Mapping[str, Any], members: Mapping[str, Path]) -> None:
    """Write an archive: its manifest, then its members by name.

    Raises:
        Damaged: a member has an invalid name, or changed meanwhile.
    """
    _check_names(members)
    found = {name: members[name] for name in sorted(members)}
    files = {name: _File(sha256=known_sha256(path), bytes=path.stat().st_size) for name, path in found.items()}
    said = Manifest(about=dict(about), files=files)
    text = json.dumps(said.model_dump(), indent=1, sort_keys=True, ensure_ascii=False).encode()
    _append(file, MANIFEST, io.BytesIO(text), len(text))
    for name, own in files.items():
        if not _added(file, name, members[name], own):
            raise Damaged("it changed while it was exported; run the same command again", place=str(members[name]))
    file.write(bytes(2 * BLOCK))


def plain(text: bytes, name: str, *, finite: bool = True) -> Any:
    """Read JSON from another machine: UTF-8, without repeated keys, deep nesting or numbers that are not finite.

    Raises:
        Damaged: the text is no such JSON.
    """
    try:
        made = json.loads(text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number if finite else float)
        _check_depth(made)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{name} in the archive is not plain JSON: {error}") from None
    return made


# ------------------------------------------------------------------------------------------------------------ writing


def _added(file: BinaryIO, name: str, path: Path, said: _File) -> bool:
    """Write a file as a member, and return whether it agrees with the manifest."""
    with path.open("rb") as content, suppress(Damaged):  # the file is shorter now
        return _append(file, name, content, said.bytes) == said.sha256
    return False


def _append(file: BinaryIO, name: str, content: BinaryIO, size: int) -> str:
    """Write one member and return its sha256; the header names no user, time or place."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    # The older format has room for 8 GiB; the other writes larger sizes in the same field.
    large = size >= 8**11
    file.write(header.tobuf(tarfile.GNU_FORMAT if large else tarfile.USTAR_FORMAT, "ascii", "strict"))
    found = hashlib.sha256()
    for piece in _pieces(content, size):
        found.update(piece)
        file.write(piece)
    file.write(bytes(-size % BLOCK))
    return found.hexdigest()


def fits(name: str) -> bool:
    """Return whether a member may have this name."""
    return len(name) <= LONGEST_NAME and NAME.fullmatch(name) is not None


def _check_names(names: Iterable[str]) -> None:
    """Check that names are valid, and that all members can be written side by side on any system."""
    folded: dict[str, str] = {}
    for name in names:
        if not fits(name):
            raise Damaged(f"the archive has a member with an invalid name: {_shown(name)}")
        if (other := folded.setdefault(name.casefold(), name)) != name:
            raise Damaged(f"{name} and {other} are the same file on systems that ignore case")
    for name in folded:
        if within := next((str(up) for up in PurePosixPath(name).parents if str(up) in folded), ""):
            raise Damaged(f"{within} cannot be a file and a folder")


# ------------------------------------------------------------------------------------------------------------ reading


def first(file: BinaryIO) -> bytes:
    """Return the text of the manifest, the first member.

    Raises:
        Damaged: the archive does not begin with a manifest.
    """
    header = _header(file)
    if header is None or header.name != MANIFEST:
        raise Damaged(f"this is no archive of `s2s export`: it does not begin with {MANIFEST}")
    if header.size > LARGEST_MANIFEST:
        raise Damaged(f"{MANIFEST} has {header.size:,} bytes; no export writes more than {LARGEST_MANIFEST:,}")
    return b"".join(_padded(file, header.size))


def manifest(text: bytes) -> Manifest:
    """Return the manifest from its text.

    Raises:
        Damaged: the text is not a manifest that ``write`` writes.
    """
    try:
        said = TypeAdapter(Manifest).validate_python(plain(text, MANIFEST), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Damaged(f"{MANIFEST} is not what an export writes: {_shown(where)}: {first['msg']}") from None
    _check_names(said.files)
    return said


def extract(file: BinaryIO, manifest: Manifest, folder: Path) -> None:
    """Write every member into an empty folder, and to disk, each checked against the manifest.

    Raises:
        Damaged: a member is missing, unexpected, or disagrees with the manifest.
    """
    missing = dict(manifest.files)
    while (header := _header(file)) is not None:
        said = missing.pop(header.name, None)
        if said is None:
            again = header.name in manifest.files
            raise Damaged(f"{_shown(header.name)} is {'in the archive twice' if again else 'not in its manifest'}")
        if header.size != said.bytes:
            raise Damaged(f"{header.name} has {header.size:,} bytes, and the manifest says {said.bytes:,}")
        path = folder / header.name
        path.parent.mkdir(parents=True, exist_ok=True)
        found = hashlib.sha256()
        with path.open("xb") as out:
            for piece in _padded(file, header.size):
                found.update(piece)
                out.write(piece)
        sync(path)
        if found.hexdigest() != said.sha256:
            raise Damaged(f"{header.name} was changed: its sha256 does not match the manifest")
    if missing:
        raise Damaged(f"the archive is not whole: {len(missing)} files are missing, {min(missing)} among them")


def _header(file: BinaryIO) -> tarfile.TarInfo | None:
    """Return the header of the next member, or None at the end."""
    block = b"".join(_pieces(file, BLOCK))
    if not block.strip(b"\0"):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.TarError, ValueError) as error:
        raise Damaged(f"this is no archive of `s2s export`, or it is damaged: {error}") from None
    if header.type != tarfile.REGTYPE or header.size < 0:
        raise Damaged(f"{_shown(header.name)} is no regular file; an archive may hold nothing else")
    return header


def _padded(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the bytes of a member, and skip the padding of its last block."""
    yield from _pieces(file, size)
    for _ in _pieces(file, -size % BLOCK):
        pass


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        piece = file.read(min(size, PIECE))
        if not piece:
            raise Damaged("the archive is cut off in the middle")
        size -= len(piece)
        yield piece


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return made


def _check_depth(value: Any) -> None:
    """Check that a value is not nested too deeply."""
    level, depth = [value], 0
    while level := [item for each in level if isinstance(each, list | dict) for item in _items(each)]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def _items(value: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _shown(name: str) -> str:
    """Return a name from outside, escaped and shortened for a message."""
    return ascii(name if len(name) <= 60 else f"{name[:60]}... ({len(name)} characters)")
