"""What may name a file or a folder: one rule for every name that becomes a path, wherever it came from."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from harness.core.spec import SpecError

LONGEST = 200
"""Bytes in UTF-8: file systems take 255, and endings are added."""
UNSAFE = frozenset('<>:"/\\|?*')
"""Characters that some file system takes for more than a part of a name."""
DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})
"""What Windows takes for a device, with any ending."""
OURS = frozenset(
    {"figures", "tables", "index.html", "index.md", "report.html", "report.md", "trials.csv", "comparisons.csv"}
)
"""What reports and pages over several of them are called, beside folders of studies and bases."""
LATIN = str.maketrans("авекмнорстухіјѕԁһԛԝӏαβεζηικμνοπρτυχϲ", "abekmhopctyxijsdhqwlabezhikmnonptuxc")
"""Small letters of Cyrillic and Greek to the Latin ones that they, or their capitals, look like."""


def file_name(text: str, what: str, place: str = "") -> str:
    """Return a name in Unicode's composed form (NFC), fit for a file or folder on any system.

    Raises:
        SpecError: it is no such name, and why; ``what`` says what it was to name, ``place`` who said it.
    """
    name = unicodedata.normalize("NFC", text)
    if reason := _fault(name):
        raise SpecError(f"{name!r:.80} cannot name {what}: {reason}", place=place)
    return name


def alike(name: str) -> str:
    """Return what a name has in common with those that look like it, or that some file system takes for the same."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return unicodedata.normalize("NFC", plain.translate(LATIN))


def inside(root: Path, *names: str) -> Path:
    """Return the folder with these names below another one; it need not be there.

    Raises:
        SpecError: a name cannot name a folder, or another one that looks like it is there.
    """
    for text in names:
        name = file_name(text, "a folder of results")
        if name.casefold() in OURS:
            raise SpecError(f"'{name}' is a name that reports use themselves; choose another one")
        twin = next((other for other in _entries(root) if _twins(name, other)), None)
        if twin is not None:
            raise SpecError(f"'{name}' looks like '{twin}', which is in {root} already; rename one of them")
        root = root / name
    return root


def stem(file: Path, what: str) -> str:
    """Return what a study or base is called: the name of its file without the ending.

    Raises:
        SpecError: it cannot name a folder, or a file beside it has a name that cannot be told from it.
    """
    name = file_name(file.stem, what, str(file))
    beside = (other for other in _entries(file.parent) if Path(other).suffix in (".yaml", ".yml"))
    if twin := next((other for other in beside if other != file.name and alike(Path(other).stem) == alike(name)), ""):
        raise SpecError(f"its name cannot be told from that of '{twin}' beside it; rename one of them", place=str(file))
    return name


def _fault(name: str) -> str:
    """Return why a name is none, or nothing."""
    if not name:
        return "it is empty"
    if (size := len(name.encode("utf-8", "surrogatepass"))) > LONGEST:
        return f"it has {size} bytes, and {LONGEST} are the most"
    for c in name:
        if c in UNSAFE or (unicodedata.category(c)[0] in "CZ" and c != " "):
            return f"it holds {c!a}"
    if name[0] in " .-~" or name[-1] in " .":
        return "it begins with a blank, a dot, a hyphen or a tilde, or ends with a blank or a dot"
    if unicodedata.normalize("NFKC", name.partition(".")[0].rstrip()).casefold() in DEVICES:
        return "Windows keeps it for a device"
    return ""


def _twins(name: str, other: str) -> bool:
    return unicodedata.normalize("NFC", other) != name and alike(other) == alike(name)


def _entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
