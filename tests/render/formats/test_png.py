"""Text in a PNG: with the font that comes with the package, on every machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import pytest
import resvg_py

import resnet_cli
from resnet_cli.render.charts.drawing.primitives import Box, Drawing, Label
from resnet_cli.render.formats.png import CHARACTERS, FONT_FILES, to_png


def written(text: str, role: str = "") -> Drawing:
    box = Box(0, 0, 100, 20, "panel")
    return Drawing(100, 20, (box, Label(2, 16, text, role)) if text else (box,), "a label")


@pytest.fixture
def asks_system(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A machine without fonts; for each picture, whether the fonts of the system were asked for."""
    render: Callable[..., bytes] = resvg_py.svg_to_bytes
    asks = []

    def without_fonts(**options: Any) -> bytes:
        asks.append(not options.get("skip_system_fonts", False))
        return render(**options | {"skip_system_fonts": True})

    monkeypatch.setattr(resvg_py, "svg_to_bytes", without_fonts)
    return asks


def test_text_is_written_on_a_machine_without_fonts(asks_system: list[bool]) -> None:
    words = to_png(written("layer1.0.conv1 → 64×56×56"))
    assert words.startswith(b"\x89PNG\r\n\x1a\n")
    assert words != to_png(written(""))
    assert words != to_png(written("layer1.0.conv1 → 64×56×56", "strong"))  # bold has a file of its own
    assert not any(asks_system)


def test_another_script_asks_the_fonts_of_the_system(asks_system: list[bool]) -> None:
    beside_latin = to_png(written("网络 net"))
    assert asks_system == [True]
    assert beside_latin != to_png(written(""))


def shape(text: str, weight: int) -> bytes:
    """Text by our font alone, in the middle, since an accent of its own is drawn to the left."""
    label = f'<text x="16" y="16" font-family="DejaVu Sans" font-weight="{weight}">{escape(text)}</text>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="48" height="20">{label}</svg>'
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, font_files=FONT_FILES, skip_system_fonts=True))


@pytest.mark.parametrize("weight", [400, 600])
def test_the_font_has_its_characters(weight: int) -> None:
    blank = shape("", weight)
    assert shape("网", weight) == blank  # what the font lacks leaves no trace
    codes = [code for block in CHARACTERS for code in block]
    sample = [chr(code) for code in codes[weight // 200 :: 3]]
    assert [text for text in sample if text.isprintable() and shape(text, weight) == blank] in ([], [" "])


def test_the_font_has_every_symbol_of_the_drawings() -> None:
    sources = "".join(path.read_text() for path in Path(resnet_cli.__file__).parent.rglob("*.py"))
    symbols = set(re.findall(r"[^\x00-\x7f]", sources))
    assert {"×", "✓", "µ"} <= symbols
    assert [symbol for symbol in symbols if not any(ord(symbol) in block for block in CHARACTERS)] == []
