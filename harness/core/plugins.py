"""A user's own parts, from files anywhere. A file runs only if it is named on the command line: by its path, or by the name that an
installed package gives it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from harness.core import conformance
from harness.core.registry import SLOTS
from harness.core.spec import SpecError


class Plugin(NamedTuple):
    """A file that was loaded."""

    said: str
    """Its path as the user typed it."""
    path: str
    """Its absolute path."""
    sha256: str
    """The hash of its text."""


GROUP = "seq2seq_harness.parts"
"""Entry points by which packages offer parts: a name, and the module that registers them."""
LOADED: dict[str, Plugin] = {}
"""Every plugin of this process by the name of its module."""


class _Source(SourceFileLoader):
    """Runs exactly the text that was hashed; reads and writes no compiled files."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the compiled text."""
        return self.source_to_code(self.text, self.path)

    text: bytes


def load(files: Iterable[str]) -> None:
    """Load files that register parts, each named by its path or as an installed package calls it; a file is loaded once.

    Raises:
        SpecError: a file is missing, broken or registers nothing, or its name is taken; with file and line.
    """
    for said in files:
        path = Path(said).absolute() if said.endswith(".py") or "/" in said else _offered(said)
        name = f"plugin_{path.stem}"
        if path.suffix != ".py" or not path.stem.isidentifier():
            message = "a plugin is a Python file whose name has letters, digits and underscores only: my_score.py"
            raise SpecError(message, place=said)
        if name in LOADED and LOADED[name].path != str(path):
            raise SpecError(f"another plugin has the name {path.stem}: {LOADED[name].said}", place=said)
        if name not in LOADED:
            LOADED[name] = Plugin(said, str(path), _run(name, path, said))


def offered() -> dict[str, str]:
    """Return the names of plugins that installed packages offer, each with its package and version; nothing is loaded."""
    found: dict[str, list[str]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, []).append(f"{point.dist.name} {point.dist.version}" if point.dist else "")
    return {name: ", ".join(sorted(set(packages))) for name, packages in sorted(found.items())}


def _offered(name: str) -> Path:
    """Return the file of a plugin that an installed package offers; no package is imported for it."""
    points = list(dict.fromkeys(entry_points(group=GROUP, name=name)))
    if len({point.value for point in points}) > 1:
        raise SpecError(
            f"several packages offer parts by this name: {offered()[name]}; name the file instead", place=name
        )
    if not points:
        known = f"; installed packages offer: {', '.join(offered())}" if offered() else ""
        message = f"no installed package offers parts by this name, and the path of a file ends in .py{known}"
        raise SpecError(message, place=name)
    (point, *_) = points
    top, *rest = point.module.split(".")
    spec = importlib.util.find_spec(top)
    homes = [Path(home) for home in (spec.submodule_search_locations or ())] if spec is not None else []
    found = [home.joinpath(*rest).with_suffix(".py") for home in homes if rest]
    found += [Path(spec.origin)] if spec is not None and spec.origin and not rest else []
    path = next((path for path in found if path.is_file() and path.name != "__init__.py"), None)
    if path is None:
        message = f"{offered()[name]} offers it as the module {point.module}, which is no file of its own"
        raise SpecError(message, place=name)
    return path


def load_same(plain: Iterable[tuple[str, str, str]]) -> None:
    """Load the plugins of another process, as ``loaded`` returns them.

    Raises:
        SpecError: as ``load`` does, or a file has changed.
    """
    for said, path, sha256 in plain:
        load([path])
        name = f"plugin_{Path(path).stem}"
        if LOADED[name].sha256 != sha256:
            raise SpecError("the file changed while the study ran; run the same command again", place=said)
        LOADED[name] = Plugin(said, path, sha256)


def loaded() -> list[Plugin]:
    """Return all plugins in the order of their names, as plain data too."""
    return [LOADED[name] for name in sorted(LOADED)]


def file_of(module: str) -> str:
    """Return the file of a part's module, for people: in this project, or as a user typed it."""
    return LOADED[module].said if module in LOADED else f"{module.replace('.', '/')}.py"


def _run(name: str, path: Path, said: str) -> str:
    """Run a file as a module and return the sha256 of its text."""
    loader = _Source(name, str(path))
    try:
        loader.text = path.read_bytes()
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", place=said) from None
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    before = _parts()
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise SpecError(reason(error), place=f"{said}:{_line(error, str(path))}") from None
    made = [entry for entry in _parts() if entry not in before]
    if not made:
        raise SpecError('registers no part; put @register("name") before its class', place=said)
    for slot, kind, part in made:
        for fault in conformance.faults(part):
            del SLOTS[slot].kinds[kind], sys.modules[name]
            raise SpecError(fault, place=f"{said}:{_class_line(loader.text, part.__name__)}")
    return hashlib.sha256(loader.text).hexdigest()


def _parts() -> list[tuple[str, str, Any]]:
    return [(slot, kind, part) for slot, contract in SLOTS.items() for kind, part in contract.kinds.items()]


def place_of(error: BaseException) -> str:
    """Return the innermost line of a plugin that an error passed through, as ``file:line``; "" if it passed through none."""
    said = {plugin.path: plugin.said for plugin in LOADED.values()}
    frames = traceback.extract_tb(error.__traceback__)
    return next((f"{said[frame.filename]}:{frame.lineno}" for frame in reversed(frames) if frame.filename in said), "")


def reason(error: BaseException) -> str:
    """Return the kind of an error and its message on one line."""
    return f"{type(error).__name__}: {_reason(error)}"


def _class_line(text: bytes, name: str) -> int:
    """Return the line on which a file begins a class."""
    return next((n.lineno for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef) and n.name == name), 1)


def _reason(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split()) or "without a reason"


def _line(error: BaseException, path: str) -> int:
    """Return the line of a file at which an error left it."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return (lines[-1] if lines else None) or 1
