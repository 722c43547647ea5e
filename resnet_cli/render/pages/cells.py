"""Cells: how a value of each kind stands in a table."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Value

EMPTY = Cell("")


def text_cell(text: str | None, style: str = "", value: Value = None) -> Cell:
    """A text; `value` where the data have another name for it."""
    if text is None:
        return Cell(formatting.UNKNOWN, None, "dim")
    return Cell(text, text if value is None else value, style)


def _number(text: str, value: float | None, style: str = "") -> Cell:
    """A number; zero and what is not known stand back."""
    return Cell(text, value, style or ("" if value else "dim"))


def scaled(value: float | None, unit: str = "", style: str = "") -> Cell:
    """A number with an SI prefix: 11.69 M."""
    return _number("0" if value == 0 else formatting.scaled(value, unit), value, style)


def exact(value: float | None, style: str = "") -> Cell:
    """A number with every digit: 11,689,512."""
    return _number(formatting.exact(value), value, style)


def seconds(value: float | None, style: str = "") -> Cell:
    """A time: 14.72 ms."""
    return _number(formatting.seconds(value), value, style)


def percent(value: float | None, style: str = "") -> Cell:
    """A share of the whole: 6.5%."""
    return _number(formatting.percent(value), value, style)


def share(value: float | None, largest: float = 1.0) -> Cell:
    """A share of the whole with a bar, which is full at the largest share of the table."""
    bar = None if value is None or not largest else min(value / largest, 1.0)
    return Cell("0" if value == 0 else formatting.percent(value), value, "" if value else "dim", bar)


def relative_ci(low: float, middle: float, high: float) -> Cell:
    """Half the width of a confidence interval as a share of its estimate: ±0.4%."""
    half = (high - low) / 2 / middle if middle and high > low else None  # one sample has no interval
    return _number(formatting.UNKNOWN if half is None else f"±{formatting.percent(half)}", half)


def rate(value: float | None, style: str = "") -> Cell:
    """Things per second: 67.9."""
    return _number(formatting.rate(value), value, style)


def ratio(value: float | None) -> Cell:
    """A quotient: 21.3."""
    return _number(formatting.ratio(value), value)


def factor(value: float | None, digits: int = 2, unit: str = "×", style: str = "") -> Cell:
    """How many times as much: 1.87×."""
    return _number(formatting.UNKNOWN if value is None else f"{value:,.{digits}f}{unit}", value, style)


def error(value: float | None, style: str = "") -> Cell:
    """A relative error: 3.1e-07; exactly 0 is 0."""
    return _number(formatting.UNKNOWN if value is None else f"{value:.1e}" if value else "0", value, style)


def difference(value: int | None) -> Cell:
    """A signed number with every digit: +4,992,512."""
    return _number(formatting.UNKNOWN if value is None else f"{value:+,}" if value else "0", value)


def dimensions(shape: Sequence[int]) -> Cell:
    """The shape of a tensor: 64×3×7×7."""
    text = formatting.dimensions(shape)
    return Cell(text or "scalar", text)


def yes_no(answer: bool | None, yes: str, no: str, unknown: str = "") -> Cell:
    """A yes or no that reads without its colour."""
    if answer is None:
        return Cell(unknown, None, "dim")
    return Cell(f"✓ {yes}".rstrip(), True, "good") if answer else Cell(f"✗ {no}".rstrip(), False, "bad")


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 difference", "3 differences"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: Sequence[str], limit: int) -> str:
    """The first names of a list, and how many more there are."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more:,} more" if more > 0 else "")
