"""Ctrl-C and SIGTERM: an exception wherever the program happens to be, and never a traceback.

Both are a KeyboardInterrupt, so whoever keeps what was measured, or cleans up, on the one does so on the other.
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

from resnet_cli.errors import INTERRUPTED, TERMINATED

_REPEAT_WINDOW_S = 1.0  # so soon after the first, another signal changes nothing: the program is on its way out
_AGAIN_S = 0.02


@dataclass(slots=True)
class _State:
    """What came so far."""

    first: int | None = None
    at: float = 0.0
    lost: bool = False  # the exception did not get anywhere
    acknowledged: bool = False  # somebody has caught it, and keeps what was measured
    deferred: bool = False  # the exception has to wait


_state = _State()


class Terminated(KeyboardInterrupt):
    """SIGTERM."""


def install_handlers() -> None:
    """From now on a signal is an exception. One that this process was started to ignore stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    sys.excepthook = _excepted
    sys.unraisablehook = _unraisable


def finish() -> None:
    """The work is done, and the exit code stands: no signal disturbs the interpreter while it ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def acknowledge() -> None:
    """Say that the exception was caught and that the work ends in good order."""
    _state.acknowledged = True


def check() -> None:
    """Raise it again where a library has swallowed it, as imports do that try what is installed.

    Raises:
        KeyboardInterrupt: there was a signal, and the work goes on as if there had been none.
    """
    if _state.first is None or _state.acknowledged or threading.current_thread() is not threading.main_thread():
        return
    raise Terminated if _state.first == signal.SIGTERM else KeyboardInterrupt


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """A signal inside is an exception at the end: for what must be done whole, such as starting what has to be ended.

    Raises:
        KeyboardInterrupt: there was a signal meanwhile.
    """
    _state.deferred = True
    try:
        yield
    finally:
        _state.deferred = False
    check()


def exit_now(code: int) -> None:
    """After a signal, do not wait for Python to give all memory back piece by piece, which takes seconds."""
    if _state.first is None:
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
    os._exit(code)


def exit_code() -> int:
    """The exit code of an interrupted run: 130 after Ctrl-C, 143 after SIGTERM."""
    return TERMINATED if _state.first == signal.SIGTERM else INTERRUPTED


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  # what a handler is given
    """The first signal ends the work; later ones must not get in the way of cleaning up, unless that takes long."""
    now = time.monotonic()
    if _state.deferred:
        if _state.first is None:
            _state.first, _state.at = number, now
        return
    if _state.first is not None and not _state.lost and now - _state.at < _REPEAT_WINDOW_S:
        return
    if _state.first is None:
        _state.first, _state.at = number, now
    _state.lost = False
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _excepted(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Another Ctrl-C may come behind the last `except`."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)


def _unraisable(caught: Any) -> None:
    """Where an exception gets lost, in a `__del__` for example, the signal comes once more a moment later."""
    if not isinstance(caught.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(caught)
        return
    _state.lost = True
    number = signal.SIGTERM if isinstance(caught.exc_value, Terminated) else signal.SIGINT
    again = threading.Timer(_AGAIN_S, _thread.interrupt_main, [number])
    again.daemon = True
    again.start()
