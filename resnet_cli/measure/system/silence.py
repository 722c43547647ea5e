"""Keeps what libraries print, warn and log away from the user's terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silenced(*loggers: str, output: bool = False) -> Iterator[None]:
    """Ignore warnings while the context lasts, and on request log records and printed text.

    Args:
        loggers: names of loggers that are silenced; "" silences all.
        output: whether text that Python code writes to standard output and standard error is dropped too. It must
            be off while a user's network runs.
    """
    disabled = logging.root.manager.disable
    levels = [(logging.getLogger(name), logging.getLogger(name).level) for name in loggers if name]
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        if "" in loggers:
            stack.callback(logging.disable, disabled)
            logging.disable(logging.CRITICAL)
        for logger, level in levels:
            stack.callback(logger.setLevel, level)
            logger.setLevel(logging.CRITICAL + 1)
        if output:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield
