"""A command line, run in this process, and what holds of every one of them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from hypothesis import HealthCheck, settings

from resnet_cli.cli import main
from tests.helpers.cli_examples import Reached

TIMEOUT_S = 60.0  # far beyond what any case takes
ASKED = os.environ.get("FUZZ_CASES")
CASES = int(ASKED or 24)  # for each command
OK = (0, 1)


def fuzzed(cases: int) -> settings:
    """Settings of a test: the same cases each time, unless FUZZ_CASES asks for more."""
    return settings(
        max_examples=max(1, cases),
        derandomize=ASKED is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


class HungError(BaseException):
    """A command waits for what never comes."""


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise HungError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def snapshot(folder: Path) -> dict[str, str]:
    """The content of every file, by its name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.iterdir()
        if path.name != "__pycache__"
    }


def check(line: Sequence[str]) -> int:
    """Run a line, whose measurement is replaced by `Reached`, and see that it ends as any line has to.

    Returns:
        The exit code; 0 where the measurement was reached.

    Raises:
        AssertionError: it ended in another way than it may.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _watched():
        try:
            code = main(list(line))
        except Reached:
            return 0
        except SystemExit as left:
            code = int(left.code or 0)
    lines = err.getvalue().splitlines()
    assert code in (*OK, 2), (line, code, lines)
    assert all(character.isprintable() or character == "\n" for character in err.getvalue()), (line, lines)
    if code in OK:
        assert all(text.startswith(("note: ", "warning: ")) for text in lines), (line, lines)
        return code
    assert out.getvalue() == "", line
    errors = [number for number, text in enumerate(lines) if text.startswith("error: ")]
    assert errors, (line, lines)
    assert not any("Traceback" in text for text in lines[errors[0] :]), (line, lines)
    return code
