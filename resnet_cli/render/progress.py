"""A sign of life on standard error while nothing else can be said; nobody but a person at a terminal sees it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator

from resnet_cli import signals
from resnet_cli.formatting import printable
from resnet_cli.render.text.encoding import Charset

_ERASE = "\r\x1b[K"


def is_interactive() -> bool:
    """Whether standard error is a terminal that lines can be drawn over."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


@contextlib.contextmanager
def status(what: str) -> Iterator[None]:
    """Show what is going on, and leave no trace of it. Draws once: no thread, nothing redirected."""
    stream, shown = sys.stderr, is_interactive()
    if shown:
        with contextlib.suppress(OSError):
            stream.write(Charset(stream.encoding).text(f"{what}…"))
            stream.flush()
    try:
        yield
        signals.check()
    finally:
        if shown:
            with contextlib.suppress(OSError):
                stream.write(_ERASE)
                stream.flush()


@contextlib.contextmanager
def progress() -> Iterator[Callable[..., None]]:
    """As `status`, with another text whenever there is one, and a bar where it is known how much is done.

    Yields:
        tell(text, done=0, of=0).
    """
    stream, shown = sys.stderr, is_interactive()

    def tell(text: str, done: int = 0, of: int = 0) -> None:
        signals.check()
        if not shown:
            return
        glyphs = Charset(stream.encoding)
        bar = f"{'━' * (20 * done // of)}{'─' * (20 - 20 * done // of)} {done}/{of}  " if of else ""
        width = shutil.get_terminal_size().columns - 1
        with contextlib.suppress(OSError):
            stream.write(_ERASE + glyphs.text(f"{bar}{printable(text)}…")[:width])
            stream.flush()

    try:
        yield tell
    finally:
        if shown:
            with contextlib.suppress(OSError):
                stream.write(_ERASE)
                stream.flush()
