"""Files that a part's settings name: what they hold enters the digest of the choice, where they lie does not.

Torch-free. A plan is pinned when it is resolved: every ``File`` in it gets its absolute path and the hash of its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from harness.core.registry import Choice
from harness.core.spec import SpecError

LOOKED_UP = "paths are relative to the study, its base or the folder you work in, or absolute"
"""Says in errors where files are looked up."""


class File(Choice):
    """A file named by a setting: its path alone, as text, or the path and the hash that it must have."""

    path: str = Field(json_schema_extra={"location": True})
    """Where the file lies: absolute, or beside the study, beside the base, or in the working folder."""
    sha256: str = ""
    """The hash of its bytes; filled in when a study is planned."""

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, data: Any) -> Any:
        return {"path": data} if isinstance(data, str) else data

    def pinned(self, folders: Sequence[Path]) -> File:
        """Return the file with its absolute path and its hash.

        Raises:
            SpecError: there is no such file, or it has another hash than the settings say.
        """
        found = next((path for folder in (Path(), *folders) if (path := folder / self.path).is_file()), None)
        if found is None:
            raise SpecError(f"there is no file {self.path}; {LOOKED_UP}")
        digest = _sha256(found)
        if self.sha256 not in ("", digest):
            raise SpecError(f"{self.path} has the sha256 {digest}, not {self.sha256}; correct one of the two")
        return File(path=str(found.absolute()), sha256=digest)

    def checked(self) -> Path:
        """Return the path, for a part about to read the file.

        Raises:
            SpecError: the file is not there, or not the one that was planned with.
        """
        path = Path(self.path)
        if not path.is_file():
            raise SpecError(f"there is no file {path}")
        if self.sha256 not in ("", _sha256(path)):
            raise SpecError(f"{path} has changed since the study was planned; run the same command again")
        return path


def pinned(choice: Any, folders: Sequence[Path]) -> Any:
    """Return a choice with every file in it pinned; the same object where there is none.

    Raises:
        SpecError: a file is missing or is not the one that the settings describe, with the dotted path of the setting.
    """
    if isinstance(choice, File):
        return choice.pinned(folders)
    if not isinstance(choice, Choice):
        return choice
    changed = {}
    for name in type(choice).model_fields:
        value = getattr(choice, name)
        try:
            made = pinned(value, folders)
        except SpecError as error:
            raise SpecError(error.message, ".".join(part for part in (name, error.path) if part), error.place) from None
        if made is not value:
            changed[name] = made
    return choice.changed(**changed) if changed else choice


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
