"""Numbers as text, for every page, chart and note, and text as numbers."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

UNKNOWN = "–"
_TIMES = (("ns", 1e9), ("µs", 1e6), ("ms", 1e3), ("s", 1.0))
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_NUMBER = re.compile(
    r"\s*([0-9](?:[0-9_,]*[0-9])?(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*(?:([kKMGTPE])(i?))?"
    r"(?:B|MACs?|FLOPs?)?\s*",
    re.ASCII,
)


def scaled(value: float | None, unit: str = "") -> str:
    """Three to four significant digits with an SI prefix: 11689512 -> "11.69 M", with unit "MAC" -> "11.69 MMAC"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    magnitude, index = abs(value), 0
    # 999.95 would read "1000.0": it belongs to the next prefix.
    while magnitude >= 999.95 and index < len(_PREFIXES) - 1:
        magnitude /= 1000
        index += 1
    digits = f"{magnitude:.0f}" if index == 0 and float(value).is_integer() else _digits(magnitude)
    sign = "-" if value < 0 else ""
    return f"{sign}{digits} {_PREFIXES[index]}{unit}".rstrip()


def rate(value: float | None) -> str:
    """Things per second, with three significant digits at least: 1234.5 -> "1,234", 67.9 -> "67.90", 0.04 -> "0.04"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if not value:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 999.95 else ("-" if value < 0 else "") + _digits(abs(value))


def _digits(magnitude: float) -> str:
    """Three to four significant digits; two of what is below 0.1."""
    if magnitude >= 99.995:
        return f"{magnitude:.1f}"
    return f"{magnitude:.2f}" if magnitude >= 0.0995 or not magnitude else f"{magnitude:.2g}"


def seconds(value: float | None) -> str:
    """A time with three to four significant digits: 0.01472 -> "14.72 ms", 0.0003124 -> "312.4 µs"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if not value:
        return "0 s"
    sign, magnitude = "-" if value < 0 else "", abs(value)
    # 999.95 would read "1000.0": it belongs to the next unit.
    unit, number = next(
        ((unit, magnitude * factor) for unit, factor in _TIMES if magnitude * factor < 999.95), ("s", magnitude)
    )
    if number < 0.005:
        return f"<{sign}0.01 {unit}"
    digits = f"{number:.2f}" if number < 99.995 else f"{number:.1f}" if number < 999.95 else f"{number:,.0f}"
    return f"{sign}{digits} {unit}"


def exact(value: float | None) -> str:
    """Every digit, in groups of three: 11689512 -> "11,689,512"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if isinstance(value, int) or (value.is_integer() and abs(value) < 2**53):
        return f"{int(value):,}"
    return f"{value:,.6g}"


def percent(fraction: float | None) -> str:
    """A share of the whole: 0.0653 -> "6.5%"; what is above 0 and rounds to 0 is "<0.1%"."""
    if fraction is None or not math.isfinite(fraction):
        return UNKNOWN
    text = f"{100 * fraction:.1f}"
    if text in ("0.0", "-0.0"):
        return "<0.1%" if fraction > 0 else "0.0%"
    return f"{text}%"


def percent_setting(fraction: float) -> str:
    """A share that a person chose, with the digits that it has: 0.95 -> "95%", 0.005 -> "0.5%"."""
    return f"{100 * fraction:g}%"


def ratio(value: float | None) -> str:
    """A quotient such as FLOPs per byte: 21.33 -> "21.3", 0.04 -> "0.04"."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.1f}" if not value or abs(value) >= 0.995 else f"{value:.2g}"


def dimensions(sizes: Sequence[int] | None) -> str:
    """A shape: (1, 64, 112, 112) -> "1×64×112×112"."""
    return UNKNOWN if sizes is None else "×".join(map(str, sizes))


def size(sizes: Sequence[int] | None) -> str:
    """A kernel, stride or field: (3, 3) -> "3", (3, 5) -> "3×5"."""
    if sizes is None:
        return UNKNOWN
    return str(sizes[0]) if len(set(sizes)) == 1 else dimensions(sizes)


def parse(text: str) -> float:
    """A number as people write it: "4.2G" -> 4.2e9, "11_689_512" -> 11689512.0, "44.7 MB" -> 44.7e6, "16 GiB" -> 2**34.

    Raises:
        ValueError: it is not a number, or not finite.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a valid number")
    power = _PREFIXES.index(match[2].replace("K", "k")) if match[2] else 0
    number: float = float(re.sub("[_,]", "", match[1])) * (1024 if match[3] else 1000) ** power
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not finite")
    return number


def printable(text: str) -> str:
    """Text with control characters and bidirectional marks spelled out: ESC -> "\\x1b"."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def width(text: str) -> int:
    """Columns that a text takes in a terminal (wide East Asian characters take two, combining ones none)."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
