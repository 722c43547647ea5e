"""Terminals of every width and kind: figures stay whole, lines fit, and colour is only where it is wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from resnet_cli.cli import main
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


# The whole program

SUMMARY = ["summary", "--depth", "18", "--levels", "2"]
RESNET18 = {"11.69", "1.81"}  # M parameters, GMACs: torchvision's own figures
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def assert_resnet18_is_shown(shown: terminal.Shown, columns: int) -> str:
    """The text without colours; a progress line is drawn and erased before it."""
    assert shown.code == 0
    text = COLOUR.sub("", shown.screen).rpartition("\r\x1b[K")[2]
    assert_fits(text, columns)
    assert set(FIGURE.findall(text)) >= RESNET18
    return text


def test_a_narrow_terminal() -> None:
    shown = terminal.run_here(SUMMARY, 40)
    assert COLOUR.search(shown.screen)
    assert not assert_resnet18_is_shown(shown, 40).isascii()


def test_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = terminal.run_here(SUMMARY, 80)
    assert_resnet18_is_shown(shown, 80)
    assert "\x1b" not in shown.screen


def test_an_ascii_terminal() -> None:
    shown = terminal.run(SUMMARY, 200, environment={**C_LOCALE, "NO_COLOR": "1"})
    assert assert_resnet18_is_shown(shown, 200).isascii()
    assert "\x1b[3" not in shown.screen


def test_off_a_terminal_nothing_is_cut_or_coloured(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"FORCE_COLOR": "1", "GITHUB_ACTIONS": "1", "COLUMNS": "40"}.items():
        monkeypatch.setenv(name, value)
    assert main(["summary", "--depth", "18", "--no-collapse"]) == 0
    text, err = capfd.readouterr()
    assert err == ""
    assert "\x1b" not in text
    assert "…" not in text
    assert max(map(width, text.splitlines())) > 80
    assert set(FIGURE.findall(text)) >= RESNET18


def test_json_in_a_file_is_whole_while_a_terminal_watches(tmp_path: Path) -> None:
    """What draws a bar on standard error may take over standard output, and only where it is a terminal."""
    path = tmp_path / "out.json"
    with path.open("wb") as file:
        line = "bench --repeat 1,1,1,1 --image-size 32 --max-time 0.05 --no-ceiling --format json"
        shown = terminal.run_here(line.split(), 80, stdout=file)
    assert shown.code == 0
    assert json.loads(path.read_bytes())["schema"] == "resnet-cli/bench/2"
    assert "…\r\x1b[K" in shown.screen  # progress was drawn, so it had the occasion
    assert "schema" not in shown.screen
