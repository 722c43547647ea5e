"""Terminals of every width and kind: figures stay whole, lines fit, and colour is only where it is wanted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resnet_cli.formatting import width
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.formats.terminal import to_terminal, to_text
from resnet_cli.render.pages import page
from tests.helpers import terminal
from tests.helpers.results_bench import everything
from tests.helpers.results_summary_flops import flops_result, summary_result

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

WIDTHS = (40, 80, 120, 200)
RESULTS: dict[str, Callable[[], Result]] = {"summary": summary_result, "flops": flops_result, "bench": everything}
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# A number that stands alone, with its sign, its groups and its exponent; "ResIdentity0" and "3×3" are names.
FIGURE = re.compile(r"(?<!\S)[-+±<]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?(?!\S)")
CUT = re.compile(r"(?<!\S)[-+±<]?[\d,]*\.?\d+(?:…|\.\.\.)(?!\S)")
PLAIN: tuple[Mapping[str, str], ...] = ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"})


def assert_fits(text: str, columns: int) -> None:
    assert "\x1b" not in text
    assert all(width(line) <= columns for line in text.splitlines())
    assert not CUT.search(text)


@pytest.mark.parametrize("kind", RESULTS)
@pytest.mark.parametrize("columns", WIDTHS)
def test_a_figure_that_is_shown_is_whole(kind: str, columns: int) -> None:
    drawing = page(RESULTS[kind](), ViewOptions())
    shown = terminal.drawn(lambda stream: to_terminal(drawing, stream), columns)
    assert COLOUR.search(shown)
    text = COLOUR.sub("", shown)
    assert_fits(text, columns)
    figures = set(FIGURE.findall(text))
    assert len(figures) > 5
    assert figures <= set(FIGURE.findall(to_text(drawing)))


@pytest.mark.parametrize("kind", RESULTS)
@pytest.mark.parametrize("settings", PLAIN, ids=" ".join)
def test_no_colour_where_none_is_wanted(
    kind: str, settings: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    drawing = page(RESULTS[kind](), ViewOptions())
    for columns in WIDTHS:
        shown = terminal.drawn(lambda stream: to_terminal(drawing, stream), columns)
        assert shown == to_text(drawing, columns)


@pytest.mark.parametrize("kind", RESULTS)
def test_an_ascii_terminal_gets_whole_figures_too(kind: str) -> None:
    drawing = page(RESULTS[kind](), ViewOptions())
    natural = set(FIGURE.findall(to_text(drawing, None, "ascii")))
    for columns in WIDTHS:
        text = COLOUR.sub("", terminal.drawn(lambda stream: to_terminal(drawing, stream), columns, "ascii"))
        assert text.isascii()
        assert_fits(text, columns)
        assert set(FIGURE.findall(text)) <= natural


def test_a_cut_figure_would_be_seen() -> None:
    assert CUT.search("conv1  6,422,5…  x")
    assert CUT.search("conv1  0.3...")
    assert not CUT.search("Res…ty0  12  1, 2 and more...")
    assert FIGURE.findall("a 6,422,52 3.1e-01 3×3 ±2.5% conv1") == ["6,422,52", "3.1e-01", "±2.5%"]


# The whole program

RESNET18 = {"11.69", "1.81"}  # M parameters, GMACs: torchvision's own figures
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("columns", "environment", "coloured"),
    [
        (40, {}, True),
        (80, {"TERM": "dumb", "FORCE_COLOR": "1"}, False),
        (200, {**C_LOCALE, "NO_COLOR": "1"}, False),
    ],
    ids=["narrow", "dumb", "ascii"],
)
def test_the_program_at_a_terminal(columns: int, environment: dict[str, str], coloured: bool) -> None:
    shown = terminal.run(["summary", "--depth", "18", "--levels", "2"], columns, environment=environment)
    assert shown.code == 0
    assert bool(COLOUR.search(shown.screen)) == coloured
    # A sign of life is drawn and erased before the result.
    text = COLOUR.sub("", shown.screen).rpartition("\r\x1b[K")[2]
    assert_fits(text, columns)
    assert set(FIGURE.findall(text)) >= RESNET18
    assert text.isascii() == ("LC_ALL" in environment)
    if not coloured:
        assert "\x1b[3" not in shown.screen
    if environment.get("TERM") == "dumb":
        assert "\x1b" not in shown.screen


def test_off_a_terminal_nothing_is_cut_or_coloured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "resnet_cli", "summary", "--depth", "18", "--no-collapse"]
    surroundings = {**os.environ, "FORCE_COLOR": "1", "GITHUB_ACTIONS": "1", "COLUMNS": "40"}
    done = subprocess.run(command, capture_output=True, check=True, env=surroundings)
    assert done.stderr == b""
    text = done.stdout.decode("utf-8")
    assert "\x1b" not in text
    assert "…" not in text
    assert max(map(width, text.splitlines())) > 80
    assert set(FIGURE.findall(text)) >= RESNET18


def test_json_in_a_file_is_whole_while_a_terminal_watches(tmp_path: Path) -> None:
    """P1: what draws a bar on standard error may take over standard output, and only where it is a terminal."""
    path = tmp_path / "out.json"
    with path.open("wb") as file:
        shown = terminal.run(
            ["bench", "--depth", "18", "--image-size", "32", "--max-time", "0.05", "--no-ceiling", "--format", "json"],
            80,
            stdout=file,
        )
    assert shown.code == 0
    assert json.loads(path.read_bytes())["schema"] == "resnet-cli/bench/2"
    assert "…\r\x1b[K" in shown.screen  # progress was drawn, so it had the occasion
    assert "schema" not in shown.screen
