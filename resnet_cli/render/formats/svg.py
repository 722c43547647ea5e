"""A document as a picture of a terminal, for slides and README files: one self-contained SVG file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from resnet_cli.formatting import width
from resnet_cli.render.charts.drawing.theme import palette
from resnet_cli.render.document import Document
from resnet_cli.render.pages.bench.sparkline import LEVELS
from resnet_cli.render.text.encoding import Charset
from resnet_cli.render.text.layout import TextLine, lines

_ROOM = 120  # columns of a picture; a wider one is unreadable on a slide
_CELL, _LINE, _SIZE, _MARGIN = 8.4, 19, 14, 24  # pixels: a column, a line, the letters, the border
_FONTS = "ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
_COLOURS = ("paper", "ink", "faint", "accent", "good", "bad", "warning")
_CLASSES = {
    "dim": "faint", "rule": "faint", "hidden": "faint", "bar": "accent", "good": "good",
    "bad": "bad strong", "warning": "warning", "note": "accent",
    "title": "ink strong", "heading": "ink strong", "head": "ink strong", "strong": "ink strong",
}  # fmt: skip


def to_svg(page: Document) -> str:
    """The document in a frame, in the light or dark theme of the viewer."""
    drawn = list(lines(page, _ROOM, Charset()))
    columns = max((sum(width(text) for text, _ in line) for line in drawn), default=0)
    wide, high = round(columns * _CELL) + 2 * _MARGIN, len(drawn) * _LINE + 2 * _MARGIN
    body = [mark for index, line in enumerate(drawn) for mark in _marks(line, _MARGIN + index * _LINE)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="resnet-cli" viewBox="0 0 {wide} {high}" '
            f'width="{wide}" height="{high}" '
            f'role="img" aria-label={quoteattr(Charset().text(page.title))}>',
            "<style>",
            f".resnet-cli text {{ font: {_SIZE}px {_FONTS}; white-space: pre; }}",
            ".resnet-cli .strong { font-weight: 600; }",
            *_rules(palette(dark=True)),
            "@media (prefers-color-scheme: light) {",
            *_rules(palette(dark=False)),
            "}",
            "</style>",
            f'<rect class="paper" width="{wide}" height="{high}" rx="10"/>',
            *body,
            "</svg>\n",
        ]
    )


def _rules(colours: dict[str, str]) -> Iterator[str]:
    """Rules without CSS variables, which presentation programs do not know."""
    for name in _COLOURS:
        yield f".resnet-cli .{name} {{ fill: {colours[name]}; }}"


def _marks(line: TextLine, top: int) -> Iterator[str]:
    """The marks of a line: each run of words at its own column, so that columns align in any font."""
    column = 0
    for text, role in line:
        # Two spaces part two columns: each run is placed by itself.
        for run in re.finditer(r"\S+(?: \S+)*", text):
            left = _MARGIN + (column + width(text[: run.start()])) * _CELL
            if role == "histogram":
                yield from _histogram(run[0], left, top)
            else:
                yield _bar(run[0], left, top) if role == "bar" else _text(run[0], role, left, top)
        column += width(text)


def _text(text: str, role: str, left: float, top: int) -> str:
    classes = _CLASSES.get(role, "ink")
    length = f' textLength="{width(text) * _CELL:.1f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="{left:.1f}" y="{top + _SIZE}" class="{classes}"{length}>{escape(text)}</text>'


def _bar(text: str, left: float, top: int) -> str:
    """Eighth blocks as one rectangle, without the seams that letters would have."""
    eighths = sum(8 if block == "█" else 1 + "▏▎▍▌▋▊▉".index(block) for block in text)
    return f'<rect class="accent" x="{left:.1f}" y="{top + 4}" width="{eighths * _CELL / 8:.1f}" height="{_SIZE - 3}"/>'


def _histogram(text: str, left: float, top: int) -> Iterator[str]:
    """Lower blocks as upright rectangles on one line."""
    for index, block in enumerate(text):
        high = (LEVELS.index(block) + 1) * (_SIZE - 3) / len(LEVELS)
        x, y = left + index * _CELL, top + 1 + _SIZE - high
        yield f'<rect class="accent" x="{x:.1f}" y="{y:.1f}" width="{_CELL - 0.4:.1f}" height="{high:.1f}"/>'
