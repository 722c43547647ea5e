"""A drawing as SVG: inline in a page, or a self-contained file."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from resnet_cli.formatting import printable
from resnet_cli.render.charts.drawing import theme
from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot, Drawing, Group, Label, LineMark, Mark

_MARGIN = 16
_ARROW = 7.0


def inline(drawing: Drawing, identity: str = "") -> str:
    """The drawing as an element of a page that has the rules of `theme`.

    Args:
        drawing: what to draw.
        identity: id of the element, if it needs one.
    """
    wide, high = _number(drawing.width), _number(drawing.height)
    kind = "drawing narrow" if drawing.narrow else "drawing"
    named = f' id="{identity}"' if identity else ""
    return (
        f'<svg{named} class="{kind}" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" role="img" '
        f"aria-label={_attribute(drawing.label)}>{''.join(_all(drawing.marks))}</svg>"
    )


def standalone(drawing: Drawing, colours: str = "both") -> str:
    """The drawing as a file.

    Args:
        drawing: what to draw.
        colours: "light", "dark", or "both": as the viewer's theme is.
    """
    wide, high = _number(drawing.width + 2 * _MARGIN), _number(drawing.height + 2 * _MARGIN)
    dark = [theme.rules(".resnet-cli", theme.palette(True))]
    style = dark if colours == "dark" else [theme.rules(".resnet-cli", theme.palette(False))]
    if colours == "both":
        style += ["@media (prefers-color-scheme: dark) {", *dark, "}"]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="resnet-cli" viewBox="0 0 {wide} {high}" '
            f'width="{wide}" height="{high}" role="img" aria-label={_attribute(drawing.label)}>',
            "<style>",
            *style,
            "</style>",
            f'<rect class="paper" width="{wide}" height="{high}"/>',
            f'<g transform="translate({_MARGIN} {_MARGIN})">',
            *_all(drawing.marks, linked=False),
            "</g>",
            "</svg>\n",
        ]
    )


def _all(marks: tuple[Mark, ...], *, linked: bool = True) -> Iterator[str]:
    for mark in marks:
        yield _mark(mark, linked)


def _mark(mark: Mark, linked: bool) -> str:
    match mark:
        case Box():
            at = f'x="{_number(mark.x)}" y="{_number(mark.y)}" width="{_number(mark.width)}" '
            at += f'height="{_number(mark.height)}"'
            radius = f' rx="{_number(mark.radius)}"' if mark.radius else ""
            data = "" if mark.data is None else f' data-n="{mark.data}"'
            return _element("rect", f"{at}{radius}{data}", mark.role, mark.hint)
        case Dot():
            at = f'cx="{_number(mark.x)}" cy="{_number(mark.y)}" r="{_number(mark.radius)}"'
            return _element("circle", at, mark.role, mark.hint)
        case LineMark():
            at = f'x1="{_number(mark.x1)}" y1="{_number(mark.y1)}" x2="{_number(mark.x2)}" y2="{_number(mark.y2)}"'
            return _element("line", at, mark.role)
        case Curve():
            return _curve(mark)
        case Label():
            anchor = "" if mark.anchor == "start" else f' text-anchor="{mark.anchor}"'
            role = f' class="{mark.role}"' if mark.role else ""
            at = f'x="{_number(mark.x)}" y="{_number(mark.y)}"'
            return f"<text {at}{role}{anchor}>{escape(printable(mark.text))}</text>"
        case Group():
            inside = "".join(_all(mark.marks, linked=linked))
            role = f' class="{mark.role}"' if mark.role else ""
            if mark.link and linked:
                return f'<a href="#{mark.link}"{role}>{_hint(mark.hint)}{inside}</a>'
            dx, dy = map(_number, mark.shift)
            moved = "" if mark.shift == (0.0, 0.0) else f' transform="translate({dx} {dy})"'
            return f"<g{role}{moved}>{_hint(mark.hint)}{inside}</g>"


def _element(name: str, attributes: str, role: str, hint: str = "") -> str:
    role = f' class="{role}"' if role else ""
    return f"<{name} {attributes}{role}>{_hint(hint)}</{name}>" if hint else f"<{name} {attributes}{role}/>"


def _hint(text: str) -> str:
    return f"<title>{escape(printable(text))}</title>" if text else ""


def _curve(curve: Curve) -> str:
    path = "".join(letter + " ".join(map(_number, numbers)) for letter, numbers in curve.segments)
    drawn = _element("path", f'd="{path}"', curve.role, curve.hint)
    if not curve.arrow:
        return drawn
    # A path instead of an SVG marker, since a marker does not inherit the colour of its line.
    numbers = curve.segments[-1][1]
    x, y = numbers[-2:]
    before = numbers[-4:-2] if len(numbers) >= 4 else curve.segments[-2][1][-2:]
    dx, dy = x - before[0], y - before[1]
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    dx, dy = dx / length, dy / length
    back = (x - _ARROW * dx, y - _ARROW * dy)
    sides = [(back[0] + side * 0.45 * _ARROW * dy, back[1] - side * 0.45 * _ARROW * dx) for side in (1, -1)]
    head = "M{} {}L{} {}L{} {}Z".format(*map(_number, (x, y, *sides[0], *sides[1])))
    return f'{drawn}<path d="{head}" class="arrow {curve.role}"/>'


def _number(value: float) -> str:
    """With at most one decimal: tenths of a pixel are invisible."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _attribute(text: str) -> str:
    return quoteattr(printable(text))
