"""A sign of life on standard error while nothing else can be said; nobody but a person at a terminal sees it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from resnet_cli.render.glyphs import Glyphs

_ERASE = "\r\x1b[K"


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show what is going on, and leave no trace of it. Draws once: no thread, nothing redirected."""
    stream = sys.stderr
    shown = stream is not None and stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    if shown:
        with contextlib.suppress(OSError):
            stream.write(Glyphs(stream.encoding).text(f"{what}…"))
            stream.flush()
    try:
        yield
    finally:
        if shown:
            with contextlib.suppress(OSError):
                stream.write(_ERASE)
                stream.flush()
