"""File names: one rule for every name that becomes a path, wherever it comes from."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from harness.core.spec import SpecError

LONGEST = 200
"""Bytes in UTF-8: file systems take 255, and endings are added."""
UNSAFE = frozenset('<>:"/\\|?*')
"""Characters with a special meaning in some file system."""
DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})
"""Names that Windows reserves for devices, with any extension."""
OURS = frozenset(
    {
        "figures",
        "tables",
        "index.html",
        "index.md",
        "report.html",
        "report.md",
        "report-details.md",
        "trials.csv",
        "comparisons.csv",
        "ledger.jsonl",
    }
)
"""Names that reports and joint pages use beside the folders of studies and bases."""
LATIN = str.maketrans("авекмнорстухіјѕԁһԛԝӏαβεζηικμνοπρτυχϲ", "abekmhopctyxijsdhqwlabezhikmnonptuxc")
"""Lower-case letters of Cyrillic and Greek, and the Latin letters that they or their capitals look like."""


def file_name(text: str, what: str, place: str = "") -> str:
    """Return a name in Unicode's composed form (NFC), fit for a file or folder on any system.

    Raises:
        SpecError: the name is invalid, with the reason; ``what`` names the thing, ``place`` where the name was written.
    """
    name = unicodedata.normalize("NFC", text)
    if reason := _fault(name):
        raise SpecError(f"{name!r:.80} cannot name {what}: {reason}", place=place)
    return name


def alike(name: str) -> str:
    """Return a key that is equal for names that look alike, or that some file system does not tell apart."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return unicodedata.normalize("NFC", plain.translate(LATIN))


def inside(root: Path, *names: str) -> Path:
    """Return the folder with these names below another folder; it need not exist.

    Raises:
        SpecError: a name is no valid folder name, or a folder with a name that looks like it exists.
    """
    for text in names:
        name = file_name(text, "a folder of results")
        if name.casefold() in OURS:
            raise SpecError(f"'{name}' is reserved for the files of reports; choose another name")
        twin = next((other for other in _entries(root) if _twins(name, other)), None)
        if twin is not None:
            raise SpecError(f"'{name}' looks like '{twin}', which exists in {root}; rename one of them")
        root = root / name
    return root


def stem(file: Path, what: str) -> str:
    """Return the name of a study or base: the name of its file without the extension.

    Raises:
        SpecError: the name is no valid folder name, or looks like the name of a file beside it.
    """
    name = file_name(file.stem, what, str(file))
    beside = (other for other in _entries(file.parent) if Path(other).suffix in (".yaml", ".yml"))
    if twin := next((other for other in beside if other != file.name and alike(Path(other).stem) == alike(name)), ""):
        raise SpecError(f"its name looks like '{twin}' beside it; rename one of them", place=str(file))
    return name


def _fault(name: str) -> str:
    """Return why a name is invalid, or ""."""
    if not name:
        return "it is empty"
    if (size := len(name.encode("utf-8", "surrogatepass"))) > LONGEST:
        return f"it has {size} bytes; the limit is {LONGEST}"
    for c in name:
        if c in UNSAFE or (unicodedata.category(c)[0] in "CZ" and c != " "):
            return f"it contains {c!a}"
    if name[0] in " .-~" or name[-1] in " .":
        return "it begins with a blank, a dot, a hyphen or a tilde, or ends with a blank or a dot"
    if unicodedata.normalize("NFKC", name.partition(".")[0].rstrip()).casefold() in DEVICES:
        return "Windows reserves it for a device"
    return ""


def _twins(name: str, other: str) -> bool:
    return unicodedata.normalize("NFC", other) != name and alike(other) == alike(name)


def _entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
