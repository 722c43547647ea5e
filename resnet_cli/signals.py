"""Ctrl-C and SIGTERM as an exception, so that what was measured by then is kept.

The first signal raises KeyboardInterrupt: a measurement catches it and returns what it has. A later one raises again
and ends the work. SIGTERM raises a subclass, so that whatever handles the one handles the other.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from resnet_cli.errors import ExitCode

_REPEAT_WINDOW_S = 1.0  # launchers such as uv forward the Ctrl-C that the terminal has sent already

_first: int | None = None  # the first signal's number
_first_at = 0.0
_acknowledged = False
_deferred = False
_came_while_deferred: list[int] = []  # numbers of signals


class Terminated(KeyboardInterrupt):
    """SIGTERM."""


def install_handlers() -> None:
    """Make signals exceptions from now on. One that this process was started to ignore stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def acknowledge() -> None:
    """Record that the exception was caught, and that the work ends in good order."""
    global _acknowledged  # noqa: PLW0603  # signals belong to the process
    _acknowledged = True


def check() -> None:
    """Raise the exception again where a library has swallowed it, as imports do that try what is installed.

    Raises:
        KeyboardInterrupt: there was a signal, and the work goes on as if there had been none.
    """
    if _first is not None and not _acknowledged and threading.current_thread() is threading.main_thread():
        raise Terminated if _first == signal.SIGTERM else KeyboardInterrupt


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """A signal inside raises at the end: so that what has to be done together is never done in part.

    Raises:
        KeyboardInterrupt: there was a signal meanwhile.
    """
    global _deferred  # noqa: PLW0603  # signals belong to the process
    _deferred = True
    _came_while_deferred.clear()
    try:
        yield
    finally:
        _deferred = False
    if _came_while_deferred:
        raise Terminated if _came_while_deferred[0] == signal.SIGTERM else KeyboardInterrupt


def exit_code() -> ExitCode:
    """The exit code of an interrupted run: 130 after Ctrl-C, 143 after SIGTERM."""
    return ExitCode.TERMINATED if _first == signal.SIGTERM else ExitCode.INTERRUPTED


def exit_now(code: int) -> None:
    """After a signal, end without giving all memory back piece by piece, which takes seconds."""
    if _first is None:
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
    os._exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # what a handler is given
    global _first, _first_at
    now = time.monotonic()
    if _first is None:
        _first, _first_at = number, now
    elif now - _first_at < _REPEAT_WINDOW_S:
        return
    if _deferred:
        _came_while_deferred.append(number)
        return
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
