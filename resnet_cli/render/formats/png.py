"""A drawing as PNG, by resvg (the extra `png`)."""

from __future__ import annotations

from pathlib import Path

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.charts.drawing.primitives import Drawing
from resnet_cli.render.charts.drawing.svg_writer import standalone
from resnet_cli.render.charts.drawing.theme import FONT

_ZOOM = 2.0  # for high-density screens and print
_MAX_PIXELS = 30_000  # per side

# The font is part of the package, since resvg leaves out all text on a machine without fonts, as containers are.
# It is DejaVu Sans 2.37, which has every symbol of the drawings. The files contain only these characters (fontTools:
# pyftsubset DejaVuSans.ttf --unicodes=20-7E,A0-24F,... --no-hinting --name-IDs='*').
FONT_FILES = [str(Path(__file__).parents[1] / "fonts" / name) for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")]
CHARACTERS = (
    range(0x0020, 0x007F),  # Latin
    range(0x00A0, 0x0250),
    range(0x0370, 0x0500),  # Greek, Cyrillic
    range(0x1E00, 0x1EFA),  # more of Latin
    range(0x2000, 0x20B6),  # punctuation, superscripts, currencies
    range(0x2190, 0x2300),  # arrows, mathematics
    range(0x2500, 0x2600),  # boxes, geometric shapes
    range(0x2713, 0x2718),  # check marks
)


def to_png(drawing: Drawing) -> bytes:
    """A drawing in the light theme, with two pixels per unit of length.

    Raises:
        ResnetCliError: resvg is not installed.
    """
    try:
        import resvg_py  # noqa: PLC0415  # an extra
    except ImportError:
        raise ResnetCliError(
            "a PNG needs resvg-py, which is not installed", "pip install 'resnet-cli[png]', or write an .svg"
        ) from None
    zoom = min(_ZOOM, _MAX_PIXELS / max(drawing.width, drawing.height, 1.0))
    svg = standalone(drawing, "light").replace(FONT, "'DejaVu Sans'")
    # Names in the user's code may be in any script: system fonts, if any, cover what the packaged font lacks.
    is_covered = all(any(ord(character) in block for block in CHARACTERS) for character in set(svg) - {"\n"})
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=zoom, font_files=FONT_FILES, skip_system_fonts=is_covered))
