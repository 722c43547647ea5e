"""Progress on standard error, drawn only where it is a terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator

from resnet_cli import signals
from resnet_cli.render.text.encoding import Charset

_ERASE = "\r\x1b[K"


def is_interactive() -> bool:
    """Whether standard error is a terminal that lines can be drawn over."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


@contextlib.contextmanager
def status(text: str) -> Iterator[None]:
    """Show a text while the block runs, then erase it. Draws once: no thread, nothing redirected."""
    with progress() as update:
        update(text)
        yield
        signals.check()


@contextlib.contextmanager
def progress() -> Iterator[Callable[..., None]]:
    """Show a changing text, and a bar where the amount of work is known, while the block runs; then erase it.

    Yields:
        update(text, done=0, of=0): draws a text, and a bar of how much is done.
    """
    stream, shown = sys.stderr, is_interactive()

    def update(text: str, done: int = 0, of: int = 0) -> None:
        signals.check()
        if not shown:
            return
        bar = f"{'━' * (20 * done // of)}{'─' * (20 - 20 * done // of)} {done}/{of}  " if of else ""
        width = shutil.get_terminal_size().columns - 1
        with contextlib.suppress(OSError):
            stream.write(_ERASE + Charset(stream.encoding).text(f"{bar}{text}…")[:width])
            stream.flush()

    try:
        yield update
    finally:
        if shown:
            with contextlib.suppress(OSError):
                stream.write(_ERASE)
                stream.flush()
