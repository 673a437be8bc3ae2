"""Excerpts of source files: one class with the definitions and imports that it needs, as a file of its own."""

from __future__ import annotations

import ast
import builtins
import inspect
import keyword
from collections.abc import Sequence
from pathlib import Path

from harness.core.registry import SLOTS

LONGEST = 120
"""Characters of a line."""

Edit = tuple[int, int, int | None, str]
"""Line, first column, end column (None is the end of the line), and the new text."""
Groups = dict[str, list[ast.stmt]]
"""Top-level definitions of a module by name, each with the text under it that describes it."""


def copied(original: type, slot: str, kind: str, like: str) -> str:
    """Return the text of a file with a copy of a part: its class, the definitions that it needs, and their imports."""
    text, old = Path(inspect.getfile(original)).read_text(encoding="utf-8"), original.__name__
    tree = ast.parse(text)
    bound = {alias.asname or alias.name for node in _imports(tree) for alias in node.names}
    taken = {*defined(tree), *bound, *dir(builtins), *keyword.kwlist}
    plain = "".join(word.capitalize() for word in kind.split("_"))
    new = next(name for name in (plain, f"{plain}{SLOTS[slot].__name__}", f"My{plain}") if name not in taken)
    title = slot.replace("_", " ")
    return f'"""The {title} \'{kind}\'."""\n' + pruned(
        tree, {old}, _edited(text, _needed({old}, defined(tree)), old, new, kind, f"{title} '{like}'")
    )


def pruned(tree: ast.Module, roots: set[str], lines: Sequence[bytes]) -> str:
    """Return the text of a module without its docstring, and with only the definitions that some roots need."""
    groups = _needed(roots, defined(tree))
    used = {name for group in groups for node in group for name in _names(node)}
    head = "\nfrom __future__ import annotations\n" + _import_text(_imports(tree), used)
    tall = [isinstance(group[0], ast.ClassDef | ast.FunctionDef) for group in groups]
    gaps = ["\n\n" if either else "\n" for either in map(max, tall, [False, *tall])]
    return head + "".join(gap + _block(group, lines) for gap, group in zip(gaps, groups, strict=True))


def _imports(tree: ast.Module) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def defined(tree: ast.Module) -> Groups:
    """Return the top-level definitions of a module by name."""
    found: Groups = {}
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        group = [node, following] if isinstance(following, ast.Expr) else [node]
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = [node]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                found |= dict.fromkeys(_names(target), group)
    return found


def _needed(roots: set[str], defined: Groups) -> list[list[ast.stmt]]:
    """Return some definitions and all that they use, in the order of the module."""
    needed, waiting = set[str](), set(roots)
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting |= {used for node in defined[name] for used in _names(node) if used in defined} - needed
    groups = {group[0].lineno: group for name, group in defined.items() if name in needed}
    return [groups[line] for line in sorted(groups)]


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _edited(text: str, groups: list[list[ast.stmt]], old: str, new: str, kind: str, like: str) -> list[bytes]:
    """Return the lines of a module with one part renamed and described as a copy, and no other part registered."""
    lines = text.encode().splitlines()  # syntax trees count columns in bytes
    edits: list[Edit] = []
    for node in (node for group in groups for node in group):
        used = [inner for inner in ast.walk(node) if isinstance(inner, ast.Name) and inner.id == old]
        edits += [(name.lineno, name.col_offset, name.end_col_offset, new) for name in used]
        marks = [d for d in getattr(node, "decorator_list", []) if isinstance(d, ast.Call) and "register" in _names(d)]
        if isinstance(node, ast.ClassDef) and node.name == old:
            at, start = marks[0].args[0], len("class ")
            edits.append((at.lineno, at.col_offset, at.end_col_offset, f'"{kind}"'))
            edits += [(node.lineno, start, start + len(old), new), *_described(node.body[0], lines, like)]
        else:
            edits += [(mark.lineno, 0, None, "") for mark in marks]
    for line, begin, end, new_text in sorted(edits, key=lambda edit: edit[:2], reverse=True):
        whole = lines[line - 1]
        lines[line - 1] = whole[:begin] + new_text.encode() + (b"" if end is None else whole[end:])
    return lines


def _described(doc: ast.stmt, lines: Sequence[bytes], like: str) -> list[Edit]:
    """Return the edits that put a sentence before a docstring, with the closing quotes on a line of their own."""
    first, last = doc.lineno, doc.end_lineno or doc.lineno
    begin, end = lines[first - 1].index(b'"""') + 3, len(lines[last - 1]) - 3
    edits: list[Edit] = [
        (first, begin, begin, f"A copy of the {like}, for you to change; describe your part here.\n\n    ")
    ]
    return edits + ([(last, end, end, "\n    ")] if first == last else [])


def _block(group: Sequence[ast.stmt], lines: Sequence[bytes]) -> str:
    """Return the text of one definition, with the comment right above it."""
    node = group[0]
    decorators = node.decorator_list if isinstance(node, ast.ClassDef | ast.FunctionDef) else []
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    while lines[first - 2].startswith(b"#"):
        first -= 1
    kept = [line.decode() for line in lines[first - 1 : group[-1].end_lineno]]
    return "\n".join(kept).lstrip("\n") + "\n"


def _import_text(imports: Sequence[ast.Import | ast.ImportFrom], used: set[str]) -> str:
    """Return the imports that are used, in the groups of the module."""
    groups: list[list[str]] = []
    end = 0
    for node in imports:
        groups += [[]] if node.lineno > end + 1 else []
        end = node.end_lineno or 0
        kept = [alias for alias in node.names if (alias.asname or alias.name).partition(".")[0] in used]
        names = [alias.name + (f" as {alias.asname}" if alias.asname else "") for alias in kept]
        line = f"import {', '.join(names)}"
        if isinstance(node, ast.ImportFrom):
            line = f"from {node.module} {line}"
            if len(line) > LONGEST:
                line = f"from {node.module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"
        groups[-1] += [f"{line}\n"] if names else []
    return "".join("\n" + "".join(group) for group in groups if group)
