"""CPU quota and memory limits of this process from Linux control groups (v1 and v2); other systems have none.

A limit applies to a group and its descendants, so all groups from that of the process up to the root are read. Within
a container the path of the own group is often not visible; the files at the root are then those of the own group.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_NO_LIMIT = 2**60  # bytes; version 1 says "none" by a number near 2**63


def text(path: Path) -> str:
    """What a file says; nothing where there is none, or none for us."""
    try:
        return os.fsdecode(path.read_bytes())  # names of groups are those of folders
    except OSError:
        return ""


def number(path: Path, name: str | None = None) -> int | None:
    """The number in a file, or after a name in a file of names and numbers."""
    pattern = r"\s*(\d+)\s*" if name is None else rf"(?:.*\n)*?{re.escape(name)}:?[ \t]+(\d+)\b"
    match = re.match(pattern, text(path))
    return int(match[1]) if match else None


def cpu_quota(root: Path) -> float | None:
    """Processors' worth of time that the quotas leave; None for all."""
    granted: list[float] = []
    for folder in _folders(root, "cpu"):
        words = text(folder / "cpu.max").split()
        if len(words) == 2 and all(word.isdecimal() for word in words):  # else "max 100000"
            quota, period = map(int, words)
        else:
            quota, period = (number(folder / f"cpu.cfs_{name}_us") or 0 for name in ("quota", "period"))
        if quota > 0 and period > 0:
            granted.append(quota / period)
    return min(granted, default=None)


def throttle_count(root: Path) -> int | None:
    """How often a quota was used up, since the groups were made."""
    counts = [number(folder / "cpu.stat", "nr_throttled") for folder in _folders(root, "cpu")]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def free_bytes(root: Path) -> int | None:
    """Memory that the limits leave; None where there is no limit."""
    left = [
        _left(folder, *names)
        for folder in _folders(root, "memory")
        for names in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        )
    ]
    return min((free for free in left if free is not None), default=None)


def limit_bytes(root: Path) -> int | None:
    """Memory that the limits grant, used or not; None where there is no limit."""
    limits = [
        number(folder / name) for folder in _folders(root, "memory") for name in ("memory.max", "memory.limit_in_bytes")
    ]
    return min((limit for limit in limits if limit is not None and limit < _NO_LIMIT), default=None)


def _left(folder: Path, limit: str, usage: str, cached: str) -> int | None:
    most, used = number(folder / limit), number(folder / usage)
    if most is None or used is None or most >= _NO_LIMIT:
        return None
    # The page cache is released when memory is needed.
    return max(0, most - used + (number(folder / "memory.stat", cached) or 0))


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """The groups of this process that a controller sees, its own one first."""
    mounted = root / "sys/fs/cgroup"
    for line in text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, own = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        bases = (controllers, controller) if controllers else ("unified", "")
        base = next((mounted / name for name in bases if (mounted / name).is_dir()), None)
        if base is not None:
            path = PurePosixPath(own.strip("/"))
            yield from (folder for level in (path, *path.parents) if (folder := base / level).is_dir())
