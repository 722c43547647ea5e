"""A command line, run in this process as the shell would run it, and what any of them has to keep to."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NoReturn

from resnet_cli.cli import main

PATIENCE_S = 60.0  # far beyond what any case takes: who exceeds it waits for what never comes
RAN = (0, 1)  # it is so, a check failed


class HungError(BaseException):
    """A command waits for what never comes. No Exception, so that nothing on the way takes it for one of its own."""


@contextmanager
def watched(seconds: float = PATIENCE_S) -> Iterator[None]:
    """Interrupt what takes longer, system calls included."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise HungError(f"still running after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Outcome:
    arguments: tuple[str, ...]
    code: int
    out: bytes
    err: str


@contextmanager
def _descriptor(number: int, file: BinaryIO) -> Iterator[None]:
    """A standard stream, down to its descriptor: /dev/stdout and C libraries go there too."""
    kept = os.dup(number)
    os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


@contextmanager
def _stream(name: str, number: int) -> Iterator[None]:
    before = getattr(sys, name)
    own = io.TextIOWrapper(os.fdopen(os.dup(number), "wb"), encoding="utf-8", errors="replace")
    setattr(sys, name, own)
    try:
        yield
    finally:
        setattr(sys, name, before)
        own.close()


def run(arguments: Sequence[str], stdin: str = os.devnull) -> Outcome:
    """Run it; what arrives at the three standard descriptors is caught."""
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        Path(stdin).open("rb") as empty,
        _descriptor(0, empty),
        _descriptor(1, out),
        _descriptor(2, err),
        _stream("stdout", 1),
        _stream("stderr", 2),
        watched(),
    ):
        try:
            code = main(list(arguments))
        except SystemExit as left:  # a closed pipe leaves so
            code = int(left.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        out.seek(0)
        err.seek(0)
        return Outcome(tuple(arguments), code, out.read(), err.read().decode("utf-8"))


def check(outcome: Outcome) -> None:
    """What holds of every command line.

    Raises:
        AssertionError: it ended in another way than it may.
    """
    assert outcome.code in (*RAN, 2), outcome
    if any(argument.endswith("/dev/stderr") for argument in outcome.arguments) and outcome.code in RAN:
        return  # the result is where it should be
    assert "Traceback" not in outcome.err, outcome
    assert all(character.isprintable() or character == "\n" for character in outcome.err), outcome
    lines = outcome.err.splitlines()
    if outcome.code in RAN:
        assert all(line.startswith(("note: ", "warning: ")) for line in lines), outcome
        _check_output(outcome)
        return
    assert outcome.out == b"", outcome
    assert lines, outcome
    assert lines[0].startswith("error: "), outcome
    assert len(lines[0]) > len("error: "), outcome
    detail = lines[1:-1] if len(lines) > 1 and lines[-1].startswith("hint: ") else lines[1:]
    # Only a network of the user has lines of its own to show.
    assert not detail or "--model" in " ".join(outcome.arguments), outcome
    assert all(line.startswith("  ") for line in detail), outcome


def _check_output(outcome: Outcome) -> None:
    if outcome.out.startswith(b"\x89PNG\r\n\x1a\n"):  # a picture is no text
        return
    text = outcome.out.decode("utf-8")
    assert "Traceback" not in text, outcome
    if not text or text.startswith("Usage:"):
        return
    form = _format(outcome.arguments)
    if form == "json":
        assert str(json.loads(text, parse_constant=_refuse)["schema"]).startswith("resnet-cli/"), outcome
    elif form == "csv":
        assert len({len(row) for row in csv.reader(io.StringIO(text))}) == 1, outcome
    elif form == "svg":
        ET.fromstring(text)
    else:
        assert all(character.isprintable() or character == "\n" for character in text), outcome


def _refuse(name: str) -> NoReturn:
    raise AssertionError(f"{name} in JSON")


def _format(arguments: Sequence[str]) -> str:
    """The last --format that was asked for."""
    found = "terminal"
    for option, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if option in ("--format", "-f"):
            found = value.strip().lower()
        elif match := re.fullmatch(r"--format=(.*)", option, re.DOTALL):
            found = match[1].strip().lower()
    return found
