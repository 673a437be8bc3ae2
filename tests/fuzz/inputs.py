"""Inputs near the meant ones: pieces replaced, doubled, cut, sewn from other inputs and from words that mean something."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.fuzz.targets import Target

Edit = tuple[float, int, bytes]
"""Where, as a share of the input; how many bytes are taken away; what is put there."""
Change = tuple[float, str, bytes]
"""Which line, as a share of the input; what is done to it; with what."""


def inputs(target: Target) -> SearchStrategy[bytes]:
    """Return inputs for a target: mostly meant ones with a few edits, sometimes none of it."""
    words, numbers = st.sampled_from(target.words), st.one_of(st.integers(), st.floats(), st.booleans())
    plain = st.one_of(numbers.map(lambda number: str(number).lower().encode()), st.text(max_size=8).map(_encoded))
    piece = st.one_of(words, words, plain, plain, plain, st.binary(max_size=8))
    size = st.one_of(st.just(0), st.integers(0, 12), st.integers(0, 10_000))
    edits = st.lists(st.tuples(st.floats(0, 1), size, piece), max_size=6)
    near = st.builds(_edited, st.sampled_from(target.seeds), edits)
    change = st.tuples(st.floats(0, 1), st.sampled_from(["value", "drop", "double", "put"]), piece)
    by_line = st.builds(_changed, st.sampled_from(target.seeds), st.lists(change, min_size=1, max_size=3))
    return st.one_of(
        by_line, by_line, by_line, near, near, st.lists(piece, max_size=12).map(b"".join), st.binary(max_size=200)
    )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _edited(seed: bytes, edits: list[Edit]) -> bytes:
    for share, taken, piece in edits:
        at = int(share * len(seed))
        seed = seed[:at] + piece + seed[at + taken :]
    return seed


def _changed(seed: bytes, changes: list[Change]) -> bytes:
    """Return an input whose lines are mostly as they were, so that what reads it gets far."""
    lines = seed.split(b"\n")
    for share, what, piece in changes:
        at = min(int(share * len(lines)), len(lines) - 1)
        name, colon, _ = lines[at].partition(b": ")
        new = {"value": [name + colon + piece] if colon else [piece], "drop": [], "double": [lines[at]] * 2}
        lines[at : at + 1] = new.get(what, [lines[at], piece])
        lines = lines or [b""]
    return b"\n".join(lines)
