"""Threads of a process that shares its machine with others of the same run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def threads_each(asked: int | None, local_count: int) -> int:
    """Threads of each process on this machine.

    torchrun sets OMP_NUM_THREADS to 1 where the user says nothing, which is no choice of theirs.

    Args:
        asked: by the user, for each process; None: an equal share of what torch would take.
        local_count: processes on this machine.
    """
    if asked is not None:
        return asked
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    if chosen.isdecimal() and int(chosen) > 1:
        return int(chosen)
    cores = _cores() if chosen == "1" else torch.get_num_threads()
    return max(1, cores // local_count)


def _cores() -> int:
    """Physical cores that this process may run on: as many threads as torch takes by itself."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    processors = os.sched_getaffinity(0)
    return len({_siblings(number) for number in processors})


def _siblings(processor: int) -> str:
    """The processors that share a core with this one."""
    try:
        path = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return str(processor)


@contextmanager
def settings(threads: int) -> Iterator[None]:
    """Threads, and cuDNN's choice of the fastest algorithm for each shape; put back afterwards."""
    before, tuned = torch.get_num_threads(), torch.backends.cudnn.benchmark
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = tuned
        torch.set_num_threads(before)
