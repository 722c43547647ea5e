"""Exit codes, and the error that reaches a user as a sentence instead of a traceback."""

from __future__ import annotations

import logging
from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit code of a command says."""

    OK = 0  # a closed pipe included
    CHECK_FAILED = 1  # a check that the user asked for: not equivalent, slower than the baseline
    BAD_INPUT = 2
    INTERNAL_ERROR = 70  # a bug of this package, which must never read as a failed check
    INTERRUPTED = 130  # Ctrl-C
    TERMINATED = 143  # SIGTERM


BAD_INPUT = ExitCode.BAD_INPUT
CHECK_FAILED = ExitCode.CHECK_FAILED
INTERRUPTED = ExitCode.INTERRUPTED
TERMINATED = ExitCode.TERMINATED


class ResnetCliError(Exception):
    """An error that the user can fix.

    Texts name a parameter in backticks, with its value where that is of interest: "`depth=19` is not supported",
    "`model` cannot be combined with `depth`". The command line prints such a name as its option (`--depth 19`), so
    that nothing below `commands` has to know the options. Text from outside goes in as it is: it is escaped where
    it is printed.

    Args:
        message: what is wrong, one sentence without a final stop.
        hint: what to do about it, or None.
        exit_code: 2 for bad input, 1 for a check that the user asked for and that failed.
        detail: lines that show where, printed between the message and the hint, or None.
    """

    def __init__(
        self, message: str, hint: str | None = None, exit_code: int = BAD_INPUT, detail: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.detail = detail


class Attempt:
    """A block that may fail in whatever way, as other people's code does; see `attempt`.

    Attributes:
        error: what the block raised; None: nothing.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.error: Exception | None = None

    def __enter__(self) -> Attempt:
        """Begin the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Keep the error and go on after the block; signals and `sys.exit` pass through."""
        if not isinstance(error, Exception):
            return False
        self.error = error
        logging.getLogger("resnet_cli").debug("%s failed", self._what, exc_info=error)
        return True


def attempt(what: str) -> Attempt:
    """Go on after the block where it fails, whatever it raises; `--debug` shows the traceback.

    This is the only mechanism that does so.

    Args:
        what: what is attempted, for the log.
    """
    return Attempt(what)
