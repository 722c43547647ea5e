"""What a measurement found: plain numbers in SI units, strings and tuples, with no word on how they look.

Counts are for the whole batch. Sizes in bytes are decimal (1 MB = 10**6 bytes). A figure that is not known
is None, never 0. Everything here survives a round trip through JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for the reader about a result."""

    level: str  # "note" or "warning"
    text: str
    key: str = ""  # stable name, such as "train-mode-differs", for scripts and tests


@dataclass(frozen=True, slots=True)
class Environment:
    """Where the figures come from. Holds nothing that changes between two equal runs (no clock, no load)."""

    resnet_cli: str
    python: str
    torch: str
    platform: str
    device: str  # "cpu", "cuda:0"
    device_name: str
    device_memory_bytes: int | None  # all of it, not what happens to be free
    threads: int


@dataclass(frozen=True, slots=True)
class Network:
    """The network that was looked at."""

    name: str
    block: str | None  # "basic" or "bottleneck"; None for a network that is not ours
    repeat: tuple[int, ...] | None
    groups: int | None
    width_per_group: int | None
    stem: str | None
    in_channels: int | None
    num_classes: int | None


@dataclass(frozen=True, slots=True)
class Input:
    """What went in."""

    shape: Shape  # (N, C, H, W)
    dtype: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Assertion:
    """A budget that the user set, such as macs <= 4.2e9, and what was found."""

    quantity: str
    operator: str  # "<=", "<", ">=", ">", "=="
    limit: float
    value: float
    holds: bool
