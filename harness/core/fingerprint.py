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
from typing import Any

DIGITS = 16
"""Hex digits of a fingerprint."""


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


class _Anonymous(ast.NodeTransformer):
    """Reads a module, and hashes it without the names of project modules."""

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
        body = ast.dump(_Renamed(self.aliases).visit(self.visit(tree)))
        self.code = _hash(body + "\n" + "\n".join(map(repr, sorted(self.imports))))

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Drop texts that stand alone: they speak to readers only, docstrings of fields among them."""
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [
                line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]
        return super().generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        """Drop what is imported for type checkers."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(line) for line in node.orelse]
        return self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> Any:
        """Replace project modules by their code."""
        kept = [alias for alias in node.names if not self._ours(alias.name)]
        for alias in node.names:
            if self._ours(alias.name):
                self._module(alias.name, alias.asname or alias.name)
        return ast.Import(kept) if kept else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        """Replace project modules by their code, whether they are imported or imported from."""
        if node.module is None or not self._ours(node.module):
            return node
        for alias in node.names:
            inside = f"{node.module}.{alias.name}"
            if _path(inside) is not None:
                self._module(inside, alias.asname or alias.name)
            else:
                code = _code(node.module) if self.deep else ""
                self.imports.add((code, alias.name, alias.asname or alias.name))
        return None

    def _ours(self, module: str) -> bool:
        return module.partition(".")[0] in self.projects

    def _module(self, name: str, alias: str) -> None:
        code = _code(name) if self.deep else ""
        self.aliases[alias] = f"module {code}"
        self.imports.add((code, "", ""))


class _Renamed(ast.NodeTransformer):
    """Calls every imported module by its code."""

    def __init__(self, aliases: dict[str, str]) -> None:
        self.aliases = aliases

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """Replace the name of a module."""
        return ast.Name(self.aliases.get(node.id, node.id), node.ctx)


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
