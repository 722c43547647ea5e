"""A page on a terminal: colour where it is wanted, the same text without it, plain text everywhere else."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from resnet_cli.render.document import ViewOptions
from resnet_cli.render.formats.terminal import to_terminal, to_text
from resnet_cli.render.pages import page
from resnet_cli.results.summary import SummaryResult


def test_off_a_terminal_there_is_no_colour_and_no_width(
    summary: SummaryResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    stream = io.StringIO()
    to_terminal(page(summary, ViewOptions()), stream)
    assert stream.getvalue() == to_text(page(summary, ViewOptions()))
    assert "\x1b" not in stream.getvalue()


def on_a_terminal(draw: Callable[[io.TextIOWrapper], None], encoding: str = "utf-8") -> str:
    """What reaches the other end of a pseudo-terminal."""
    main, other = pty.openpty()
    received: list[bytes] = []

    def receive() -> None:
        while True:
            try:
                received.append(os.read(main, 65536))
            except OSError:
                return
            if not received[-1]:
                return

    reader = threading.Thread(target=receive)
    reader.start()
    with io.TextIOWrapper(os.fdopen(other, "wb", buffering=0), encoding=encoding, write_through=True) as stream:
        draw(stream)
    reader.join(10)
    os.close(main)
    return b"".join(received).decode(encoding).replace("\r\n", "\n")


@pytest.mark.parametrize("room", [20, 80, 200])
def test_a_terminal_has_colour_and_the_same_text(
    summary: SummaryResult, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(room))
    drawn = page(summary, ViewOptions())
    shown = on_a_terminal(lambda stream: to_terminal(drawn, stream))
    assert "\x1b[" in shown
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == to_text(drawn, room)


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_no_colour_gets_none(
    summary: SummaryResult, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("FORCE_COLOR", "1")
    drawn = page(summary, ViewOptions())
    assert on_a_terminal(lambda stream: to_terminal(drawn, stream)) == to_text(drawn, 80)


def test_an_ascii_terminal_gets_ascii(summary: SummaryResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    drawn = page(summary, ViewOptions())
    assert on_a_terminal(lambda stream: to_terminal(drawn, stream), "ascii") == to_text(drawn, 80, "ascii")


@pytest.mark.parametrize("columns", ["", "0", "x", "9" * 30])
def test_invalid_columns_are_ignored(summary: SummaryResult, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    shown = on_a_terminal(lambda stream: to_terminal(page(summary, ViewOptions()), stream))
    assert shown == to_text(page(summary, ViewOptions()), 80)  # a pseudo-terminal of no size


def test_drawing_needs_no_torch_and_text_no_rich() -> None:
    code = (
        "import sys, resnet_cli.render.output, resnet_cli.render.formats.terminal, resnet_cli.results.serialization\n"
        "sys.exit(sorted({'torch', 'rich', 'typer', 'csv'} & set(sys.modules)) != [])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
