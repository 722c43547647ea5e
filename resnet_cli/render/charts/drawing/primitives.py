"""The marks of a drawing. Lengths are CSS pixels, y grows downwards; a role is what a mark means, not its colour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    role: str = ""
    radius: float = 0.0
    hint: str = ""  # tooltip: name and values
    data: int | None = None  # index of its node in the zoom data of the panel


@dataclass(frozen=True, slots=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    role: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class LineMark:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    role: str = "axis"


@dataclass(frozen=True, slots=True)
class Curve:
    """A path: move, line and cubic segments, each a letter and its coordinates."""

    segments: tuple[tuple[str, tuple[float, ...]], ...]
    role: str = "edge"
    arrow: bool = False  # at its end
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """A text on one line."""

    x: float
    y: float  # of its baseline
    text: str
    role: str = ""  # "", "faint", "strong", "title", "small", "good", "bad", "warning"; several with a space between
    anchor: str = "start"  # "start", "middle", "end"


@dataclass(frozen=True, slots=True)
class Group:
    """Marks that belong together."""

    marks: tuple[Mark, ...]
    role: str = ""
    link: str = ""  # key of the detail that a click opens
    hint: str = ""
    shift: tuple[float, float] = (0.0, 0.0)  # to the right and down


Mark = Box | Dot | LineMark | Curve | Label | Group


@dataclass(frozen=True, slots=True)
class Drawing:
    """Marks in a frame from (0, 0) to (width, height)."""

    width: float
    height: float
    marks: tuple[Mark, ...]
    label: str  # description for screen readers
    narrow: bool = False  # it may shrink with the page, since its texts are few or large


# Text widths are upper estimates by the widths of a wide sans-serif, since the font is not known.
_LETTER = 0.61
SIZES = {"title": 16.0, "small": 10.5}
SIZE = 12.0


def text_width(text: str, role: str = "") -> float:
    """An upper estimate of how wide a label is."""
    return len(text) * _LETTER * next((SIZES[word] for word in role.split() if word in SIZES), SIZE)


def fitted(text: str, room: float, role: str = "") -> str:
    """The text, cut with an ellipsis where it is wider than the room; "" where nothing of it fits."""
    if text_width(text, role) <= room:
        return text
    letters = int(room / text_width("x", role)) - 1
    return f"{text[:letters]}…" if letters >= 2 else ""


def bounds(marks: tuple[Mark, ...]) -> tuple[float, float]:
    """How far marks reach to the right and down."""
    right = down = 0.0
    for mark in marks:
        reach = _reach(mark)
        right, down = max(right, reach[0]), max(down, reach[1])
    return right, down


def _reach(mark: Mark) -> tuple[float, float]:
    match mark:
        case Box():
            return mark.x + mark.width, mark.y + mark.height
        case Dot():
            return mark.x + mark.radius, mark.y + mark.radius
        case LineMark():
            return max(mark.x1, mark.x2), max(mark.y1, mark.y2)
        case Curve():
            numbers = [number for _, coordinates in mark.segments for number in coordinates]
            return max(numbers[::2], default=0.0), max(numbers[1::2], default=0.0)
        case Label():
            share = {"start": 1.0, "middle": 0.5, "end": 0.0}[mark.anchor]
            return mark.x + share * text_width(mark.text, mark.role), mark.y + 4
        case Group():
            right, down = bounds(mark.marks)
            return right + mark.shift[0], down + mark.shift[1]
