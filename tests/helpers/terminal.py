"""The program in a real pseudo-terminal, and a stream that is one."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from resnet_cli.cli import main

DEADLINE_S = 120.0


@dataclass(frozen=True)
class Shown:
    code: int
    screen: str  # all that the terminal was sent, its line ends as they were written


@contextlib.contextmanager
def _terminal(columns: int) -> Iterator[tuple[int, Callable[[], bytes]]]:
    """The program's end of a terminal, and what reached the other one once the program's is closed."""
    near, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    received: list[bytes] = []

    def receive() -> None:
        while True:
            try:
                received.append(os.read(near, 65536))
            except OSError:  # the last program has closed its end
                return
            if not received[-1]:
                return

    reader = threading.Thread(target=receive)
    reader.start()

    def all_of_it() -> bytes:
        reader.join(DEADLINE_S)
        assert not reader.is_alive()
        return b"".join(received).replace(b"\r\n", b"\n")

    try:
        yield other, all_of_it
    finally:
        os.close(near)


def run(
    arguments: Sequence[str],
    columns: int,
    *,
    stdout: IO[bytes] | None = None,
    environment: Mapping[str, str | None] = {},
) -> Shown:
    """`python -m resnet_cli` at a terminal; its standard output elsewhere if a file is given."""
    surroundings = {**os.environ, **environment}
    with _terminal(columns) as (end, screen):
        program = subprocess.Popen(
            [sys.executable, "-m", "resnet_cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=end if stdout is None else stdout,
            stderr=end,
            env={name: value for name, value in surroundings.items() if value is not None},
        )
        os.close(end)
        try:
            code = program.wait(DEADLINE_S)
        finally:
            program.kill()
        return Shown(code, screen().decode("utf-8"))


def run_here(arguments: Sequence[str], columns: int, *, stdout: IO[bytes] | None = None) -> Shown:
    """The same in this process, which has imported torch already; a default encoding and exit codes are not tested."""
    with _terminal(columns) as (end, screen), contextlib.ExitStack() as stack:
        error = stack.enter_context(io.TextIOWrapper(os.fdopen(os.dup(end), "wb", buffering=0), write_through=True))
        binary = os.fdopen(end, "wb", buffering=0) if stdout is None else stdout
        output = stack.enter_context(io.TextIOWrapper(binary, encoding="utf-8", write_through=True))
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(error):
            code = main(list(arguments))
        stack.close()
        if stdout is not None:
            os.close(end)
        return Shown(code, screen().decode("utf-8"))


def drawn(draw: Callable[[io.TextIOWrapper], None], columns: int, encoding: str = "utf-8") -> str:
    """What a terminal is sent when something is drawn on it in this process."""
    with _terminal(columns) as (end, screen):
        with io.TextIOWrapper(os.fdopen(end, "wb", buffering=0), encoding=encoding, write_through=True) as stream:
            draw(stream)
        return screen().decode(encoding)
