"""Fingerprints of code: the part of a stage's results that its choices do not name.

The fingerprint of a module is a hash of its syntax tree, in which every import of a project module is replaced by the
fingerprint of that module (a Merkle tree, Merkle 1987). Comments, docstrings, formatting, the order of imports, and the
names and places of modules do not count: a module that is renamed or moved keeps its fingerprint, and so do those that
import it. Imports for type checkers alone do not count either.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

DIGITS = 16
"""Hex digits of a fingerprint."""
BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
"""The parts of a statement that hold statements."""


def fingerprint(modules: Iterable[str], alone: Iterable[str] = ()) -> str:
    """Return sixteen hex digits for the code of these modules and of all project modules that they import.

    Of the modules named ``alone`` their own code counts, but not the modules that they import.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    return _together(frozenset(modules), frozenset(alone))


@cache
def _together(modules: frozenset[str], alone: frozenset[str]) -> str:
    codes = {_code(name) for name in modules} | {f"alone {_own_code(name)}" for name in alone}
    return _hash("\n".join(sorted(codes)))[:DIGITS]


@cache
def _code(name: str) -> str:
    """Return the hash of a module together with everything that it imports."""
    return _Anonymous(name, deep=True).code


@cache
def _own_code(name: str) -> str:
    """Return the hash of a module without what it imports."""
    return _Anonymous(name, deep=False).code


class _Anonymous:
    """A module without the names of project modules, and its hash."""

    def __init__(self, name: str, *, deep: bool) -> None:
        self.deep = deep
        self.projects = {name.partition(".")[0], "harness", "variants"}
        self.imports: set[tuple[str, str, str]] = set()
        """Code, name and alias of everything that is imported from project modules."""
        self.aliases: dict[str, str] = {}
        """Names by which the module calls other modules, and the code that stands for each."""
        path = _path(name)
        if path is None:
            raise ModuleNotFoundError(f"no module is called {name}")
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
        self._strip(tree)
        for node in ast.walk(tree) if self.aliases else ():
            if isinstance(node, ast.Name):
                node.id = self.aliases.get(node.id, node.id)
        self.code = _hash(ast.dump(tree) + "\n" + "\n".join(map(repr, sorted(self.imports))))

    def _strip(self, block: ast.AST) -> None:
        """Leave in a block of statements, and in the blocks inside it, what counts; no expression has statements inside.

        Texts that stand alone are dropped: they speak to readers only, docstrings of fields among them.
        """
        if hasattr(block, "body"):
            block.body = [line for line in block.body if not _is_text(line)]
        for part in BLOCKS:
            if hasattr(block, part):
                setattr(block, part, [kept for line in getattr(block, part) for kept in self._kept(line)])

    def _kept(self, line: ast.AST) -> list[ast.AST]:
        """Return what stands for a statement: nothing for imports of project modules, which are noted by their code."""
        if isinstance(line, ast.If) and isinstance(line.test, ast.Name) and line.test.id == "TYPE_CHECKING":
            return [kept for other in line.orelse for kept in self._kept(other)]  # the rest is for type checkers
        if isinstance(line, ast.Import):
            return self._imported(line)
        if isinstance(line, ast.ImportFrom):
            return self._imported_from(line)
        self._strip(line)
        return [line]

    def _imported(self, line: ast.Import) -> list[ast.AST]:
        kept = [alias for alias in line.names if not self._ours(alias.name)]
        for alias in line.names:
            if self._ours(alias.name):
                self._module(alias.name, alias.asname or alias.name)
        return [ast.Import(kept)] if kept else []

    def _imported_from(self, line: ast.ImportFrom) -> list[ast.AST]:
        if line.module is None or not self._ours(line.module):
            return [line]
        for alias in line.names:
            inside = f"{line.module}.{alias.name}"
            if _path(inside) is not None:
                self._module(inside, alias.asname or alias.name)
            else:
                code = _code(line.module) if self.deep else ""
                self.imports.add((code, alias.name, alias.asname or alias.name))
        return []

    def _ours(self, module: str) -> bool:
        return module.partition(".")[0] in self.projects

    def _module(self, name: str, alias: str) -> None:
        code = _code(name) if self.deep else ""
        self.aliases[alias] = f"module {code}"
        self.imports.add((code, "", ""))


def _is_text(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


@cache
def _path(name: str) -> str | None:
    """Return the file of a module, None where there is no such module."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return spec.origin if spec else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
