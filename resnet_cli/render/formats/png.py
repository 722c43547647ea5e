"""A drawing as PNG, by resvg (the extra `png`)."""

from __future__ import annotations

from collections.abc import Callable

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.charts.drawing.primitives import Drawing
from resnet_cli.render.charts.drawing.svg_writer import standalone

_ZOOM = 2.0  # for screens of high density, and paper
_MOST_PIXELS = 30_000  # on a side


def to_png(drawing: Drawing) -> bytes:
    """The drawing on light paper, twice as large as its lengths in pixels.

    Raises:
        ResnetCliError: resvg is not installed, or there is no font to write with.
    """
    try:
        import resvg_py  # noqa: PLC0415  # an extra
    except ImportError:
        raise ResnetCliError(
            "a PNG needs resvg-py, which is not installed", "pip install 'resnet-cli[png]', or write an .svg"
        ) from None
    if not _has_font(resvg_py.svg_to_bytes):
        raise ResnetCliError(
            "no font was found on this machine, and a PNG without words says nothing",
            "install one, such as DejaVu Sans, or write an .svg",
        )
    zoom = min(_ZOOM, _MOST_PIXELS / max(drawing.width, drawing.height, 1.0))
    return bytes(resvg_py.svg_to_bytes(svg_string=standalone(drawing, "light"), zoom=zoom))


def _has_font(render: Callable[..., bytes]) -> bool:
    """Whether a letter leaves a trace: without a font resvg leaves text out and says nothing."""
    frame = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20">{}</svg>'
    letter = '<text x="2" y="16" font-family="sans-serif">M</text>'
    return render(svg_string=frame.format(letter)) != render(svg_string=frame.format(""))
