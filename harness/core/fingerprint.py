"""Fingerprints of code: what a stage's results depend on besides its choices.

The fingerprint of a module covers its own syntax tree and those of every project module that it imports, directly or
not. Comments, docstrings and formatting do not count.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def fingerprint(modules: Iterable[str], alone: Iterable[str] = ()) -> str:
    """Return sixteen hex digits for the code of these modules and of all project modules they lead to.

    Of the modules named ``alone`` their own code counts, but not where they lead.
    """
    seen: dict[str, str] = {f"{name} alone": _read(name)[0] for name in alone}
    waiting = sorted(set(modules))
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen[name], leads_to = _read(name)
            waiting.extend(leads_to)
    text = "\n".join(f"{name} {code}" for name, code in sorted(seen.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _read(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the hash of one module's syntax tree, and the modules of its own project that it imports."""
    origin = _origin(name)
    if origin is None:
        return "", ()
    tree = ast.parse(Path(origin).read_text(encoding="utf-8"))
    project = {name.partition(".")[0], "harness", "variants"}
    imported = sorted(
        {found for node in ast.walk(tree) for found in _imports(node) if found.partition(".")[0] in project}
    )
    for node in ast.walk(tree):
        _drop_docstring(node)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(imported)


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        inside = [f"{node.module}.{alias.name}" for alias in node.names]  # modules or names: only modules have a file
        return [node.module, *inside]
    return []


def _origin(name: str) -> str | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return spec.origin if spec else None


def _drop_docstring(node: ast.AST) -> None:
    body = getattr(node, "body", None)
    if isinstance(body, list):  # texts that stand alone say something to readers only, field docstrings among them
        body[:] = [line for line in body if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))]
