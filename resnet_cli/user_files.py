"""A file that the user names, on its way in: no more of it than can be meant, and no wait without end."""

from __future__ import annotations

import errno
import os
import select
import stat
from pathlib import Path

PATIENCE_S = 30.0  # with a pipe that nobody has opened at its other end
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)  # else opening a pipe waits for a writer


def exists(path: str) -> bool:
    """Whether there is such a file; a name that cannot be one is none."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False


def read_bytes(path: str, most: int) -> bytes:
    """All that is in a file, a device or a pipe.

    Args:
        path: of it.
        most: bytes that it may have; a device such as /dev/zero never ends.

    Raises:
        OSError: it cannot be read, is larger, or is a pipe that nobody writes into.
        ValueError: the path has a NUL.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _AT_ONCE)) as file:  # the opener
        number = file.fileno()
        start = _awaited(number) if stat.S_ISFIFO(os.fstat(number).st_mode) else b""
        if _AT_ONCE:
            os.set_blocking(number, True)
        content = start + file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most // 10**6} MB")
    return content


def _awaited(pipe: int) -> bytes:
    """Wait until there is something in a pipe, or at least somebody who writes; what has been read meanwhile."""
    looking = select.poll()
    looking.register(pipe, select.POLLIN)
    if looking.poll(PATIENCE_S * 1000):
        return b""
    try:
        start = os.read(pipe, 1)
    except BlockingIOError:  # a writer takes its time
        return b""
    if not start:
        raise TimeoutError(errno.ETIMEDOUT, "nobody writes into this pipe")
    return start
