"""The one error that reaches a user as a sentence instead of a traceback."""

from __future__ import annotations

BAD_INPUT = 2
CHECK_FAILED = 1
INTERRUPTED = 130
TERMINATED = 143


class ResnetCliError(Exception):
    """Something that the user can mend.

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
