"""Whether a part keeps to its contract, as far as can be seen before anything is computed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any


def faults(part: type) -> Iterator[str]:
    """Yield what a registered part lacks of its contract, a sentence each: methods, and parameters of methods."""
    contract: Any = next(base for base in part.__mro__[1:] if "kinds" in vars(base))
    lacking = sorted(getattr(part, "__abstractmethods__", ()))
    if lacking:
        names = ", ".join(f"`{name}`" for name in lacking)
        yield f"{part.__name__} has no {names}, which every {contract.__name__} needs"
    for name, wanted in vars(contract).items():
        own = inspect.getattr_static(part, name, None)
        if inspect.isfunction(wanted) and inspect.isfunction(own) and own is not wanted:
            fault = _builds(own, wanted) if name == "__init__" else _answers(own, wanted)
            if fault:
                yield f"{part.__name__}.{name} {fault}: {name}{inspect.signature(wanted)}"


def _builds(own: Any, wanted: Any) -> str:
    """Return what keeps a constructor from being called as the contract's: the choice first, neighbours by name."""
    given, named = list(inspect.signature(wanted).parameters)[1:], inspect.signature(own)
    try:
        named.bind(None, None, **dict.fromkeys(given[1:]))
    except TypeError as error:
        return f"cannot be called as the contract says ({error})"
    return ""


def _answers(own: Any, wanted: Any) -> str:
    """Return what keeps a method from being called with as many arguments as the contract's."""
    parameters = inspect.signature(wanted).parameters.values()
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY) for p in parameters):
        return ""
    try:
        inspect.signature(own).bind(*parameters)
    except TypeError as error:
        return f"cannot be called as the contract says ({error})"
    return ""
