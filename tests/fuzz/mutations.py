"""Files that were whole once: damaged byte by byte, or, where they are JSON, value by value."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

LARGE = 2**100
ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, LARGE, -LARGE, 10**40, 0.0, -0.0, 1e-320, 1e30, -1e30, 1e300, 0.5]),
    st.sampled_from(["", "\x1b[2J", "\u202e", "\ud800", "a.b.c", ".", "x" * 3000, "bitwise", "cpu", "\ud55c" * 50]),
    st.sampled_from([[], [0], [[]], [-1, -1], [0, 0, 0, 0], {}, {"x": 1}]),
)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes with a few places cut, changed, repeated or put in."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        kind = draw(st.sampled_from(["cut", "flip", "put in", "take out", "repeat", "zeros"]))
        length = draw(st.integers(1, 40))
        if kind == "cut":
            del content[at:]
        elif kind == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "put in":
            content[at:at] = draw(st.binary(min_size=1, max_size=20))
        elif kind == "take out":
            del content[at : at + length]
        elif kind == "repeat":
            content[at:at] = content[at : at + length] * draw(st.integers(1, 50))
        else:
            content[at : at + length] = bytes(min(length, len(content) - at))
    return bytes(content)


def _alike(value: Any) -> st.SearchStrategy[Any]:
    """Another value of the type."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.sampled_from([0, -1, 1, 2, 7, 1000, 2**31, 2**63, LARGE, -LARGE])
    if isinstance(value, float):
        return st.sampled_from([0.0, -0.0, -1.0, 0.5, 1.0, 1e-320, 1e-30, 1e30, -1e30])
    if isinstance(value, str):
        return st.sampled_from(
            ["", " ", "\x1b[2J", "\u202e", "\ud800", "a.b.c", ".", "x" * 3000, "\ud55c" * 50, "different"]
        )
    return st.just(copy.deepcopy(value))


Place = tuple[Any, Any]  # what holds a value, and under which key or index


def _places(value: Any) -> Iterator[Place]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        yield value, key
        yield from _places(inside)


@st.composite
def reworked(draw: st.DrawFn, whole: dict[str, Any]) -> dict[str, Any]:
    """A JSON document with a few values replaced, removed, doubled or swapped with one of another place."""
    document = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 5))):
        places = list(_places(document))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        kind = draw(
            st.sampled_from(["alike"] * 8 + ["nothing"] * 2 + ["scale", "empty", "double", "replace", "remove", "swap"])
        )
        if kind == "replace":
            holder[key] = copy.deepcopy(draw(ODD_VALUES))
        elif kind == "alike":
            holder[key] = draw(_alike(holder[key]))
        elif kind == "scale" and isinstance(holder[key], (int, float)):
            holder[key] = holder[key] * draw(st.sampled_from([0, -1, 1000, 10**12]))
        elif kind == "empty" and isinstance(holder[key], (list, str)):
            holder[key] = holder[key][:0]
        elif kind == "nothing":
            holder[key] = None
        elif kind == "remove":
            del holder[key]
        elif kind == "double" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == "swap":
            other, again = places[draw(st.integers(0, len(places) - 1))]
            holder[key] = copy.deepcopy(other[again])
    return document


def written(document: Any) -> bytes:
    """The document as a file: what is not finite is written as json.dumps does."""
    return json.dumps(document).encode()
