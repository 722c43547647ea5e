"""Waiting for other processes, without sleeping and without keeping a processor from them."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

LONGEST_S = 120  # on the busiest machine

needs_linux = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes as Linux lets it")


def wait_for_end(*pids: int) -> None:
    """Until all of them have ended. They need not be children of this process."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert _is_ready(handle), f"process {pid} is there still"
        finally:
            os.close(handle)


class Letterbox:
    """A named pipe, into which another process puts one line."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # both its ends: neither side waits for the other

    def read(self) -> str:
        """What was put in, as soon as it is there."""
        assert _is_ready(self._pipe), "nothing was put in"
        return os.read(self._pipe, select.PIPE_BUF).decode("ascii")

    def close(self) -> None:
        """Take it down."""
        os.close(self._pipe)


def _is_ready(handle: int) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(1000 * LONGEST_S))


def session(leader: int) -> list[int]:
    """The processes of a session that are still alive."""
    alive = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            alive.append(int(path.parent.name))
    return alive
