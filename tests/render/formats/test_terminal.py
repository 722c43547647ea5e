"""A page on a terminal: colour where it is wanted, the same text without it, plain text everywhere else."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import pytest

from resnet_cli.render.document import ViewOptions
from resnet_cli.render.formats.terminal import to_terminal, to_text
from resnet_cli.render.pages import page
from resnet_cli.results.summary import SummaryResult
from tests.helpers import terminal


def test_off_a_terminal_there_is_no_colour_and_no_width(
    summary: SummaryResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    stream = io.StringIO()
    to_terminal(page(summary, ViewOptions()), stream)
    assert stream.getvalue() == to_text(page(summary, ViewOptions()))
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("room", [20, 80, 200])
def test_a_terminal_has_colour_and_the_same_text(summary: SummaryResult, room: int) -> None:
    document = page(summary, ViewOptions())
    shown = terminal.drawn(lambda stream: to_terminal(document, stream), room)
    assert "\x1b[" in shown
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == to_text(document, room)


@pytest.mark.parametrize("columns", ["", "0", "x", "9" * 30])
def test_invalid_columns_are_ignored(summary: SummaryResult, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("NO_COLOR", "1")
    document = page(summary, ViewOptions())
    assert terminal.drawn(lambda stream: to_terminal(document, stream), 60) == to_text(document, 60)


def test_drawing_needs_no_torch_and_text_no_rich() -> None:
    code = (
        "import sys, resnet_cli.render.output, resnet_cli.render.formats.terminal, resnet_cli.results.serialization\n"
        "sys.exit(sorted({'torch', 'rich', 'typer', 'csv'} & set(sys.modules)) != [])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
