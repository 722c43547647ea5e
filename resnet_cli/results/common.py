"""What all results share. A result holds plain numbers in SI units, strings and tuples, and no formatting.

Counts are for the whole batch. Sizes in bytes are decimal (1 MB = 10**6 bytes). An unknown value is None,
never 0. Results survive a round trip through JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal

from resnet_cli.errors import ResnetCliError

Shape = tuple[int, ...]

# Metadata of a field of a layer, for `dataclasses.field`: what a tree of layers needs to know of it.
ADDITIVE = {"additive": True}  # the children's values, and what the parent has of its own, add up to the parent's
POSITIONAL = {"positional": True}  # depends on the layer's place: equal layers at two places may differ in it


@cache
def marked_fields(result_type: type[Any], mark: str) -> tuple[str, ...]:
    """Names of the fields of a dataclass whose metadata hold a mark, such as "additive"."""
    return tuple(each.name for each in fields(result_type) if each.metadata.get(mark))


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for the reader about a result."""

    level: str  # "note", "warning", or "error": the result is incomplete, and the command's exit code says so
    text: str
    key: str  # stable name, such as "train-mode-differs", for scripts and tests
    unknown: tuple[str, ...] = ()  # keys of values of the result that are not known, for the reason of the text
    lower_bounds: tuple[str, ...] = ()  # keys of values of the result that may be larger, for the same reason


def first_about(notes: Iterable[Note], kind: Literal["unknown", "lower_bounds"], *figures: str) -> Note | None:
    """The first note that calls one of these figures not known, or a lower bound."""
    return next((note for note in notes if any(figure in getattr(note, kind) for figure in figures)), None)


INCOMPLETE = "incomplete"
INTERNAL_ERROR = "internal-error"


def error_note(error: Exception) -> Note:
    """The note of a result that an error ended early, so that what was measured before it is kept.

    The measurement returns its partial result with this note in place of raising. The commands write the result and
    exit with 2, or with 70 where the error is a bug (key "internal-error").
    """
    if isinstance(error, ResnetCliError):
        hint = f" ({error.hint})" if error.hint else ""
        return Note("error", f"{error.message}{hint}", INCOMPLETE)
    text = f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
    return Note("error", f"internal error: {text}; please report this bug", INTERNAL_ERROR)


@dataclass(frozen=True, slots=True)
class Environment:
    """Versions and device of a measurement; nothing in it changes between two equal runs (no clock, no load)."""

    resnet_cli: str
    python: str
    torch: str
    platform: str
    device: str  # "cpu", "cuda:0"
    device_name: str
    device_memory_bytes: int | None  # in total, not what is free
    threads: int


@dataclass(frozen=True, slots=True)
class Network:
    """The network under test."""

    name: str
    block: str | None  # "basic" or "bottleneck"; None for the user's network
    repeat: tuple[int, ...] | None
    groups: int | None
    width_per_group: int | None
    stem: str | None
    in_channels: int | None
    num_classes: int | None


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One tensor of the input."""

    name: str  # of the argument, or its position ("0"); with dots what is inside it ("batch.mask")
    shape: Shape
    dtype: str
    bytes: int
    below: int | None = None  # integers were drawn from 0 … below - 1; None: other values, or given ones


@dataclass(frozen=True, slots=True)
class Input:
    """The input of the network."""

    shape: Shape  # of the first tensor; (N, C, H, W) of an image
    dtype: str  # of the first tensor
    bytes: int  # of all tensors
    source: str = "image"  # "image", "inputs" (described by an option), a file's name, or "example_inputs"
    tensors: tuple[InputTensor, ...] = ()


@dataclass(frozen=True, slots=True)
class Assertion:
    """A user's assertion, such as macs <= 4.2e9, and the measured value."""

    quantity: str
    operator: str  # "<=", "<", ">=", ">", "=="
    limit: float
    value: float | None  # None: unknown, so the assertion fails, with a `reason`
    holds: bool
    reason: str | None = None
