"""From values to pixels: linear and logarithmic scales with round ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_EQUAL = 1e-9  # values that differ relatively by less are drawn as equal
_SMALLEST = 1e-290  # ranges below it lose digits or vanish in the arithmetic of a float


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from low to high on pixels from start to end."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value; a value outside is clipped."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (self.end - self.start) * ((value - low) / (high - low) if high > low else 0.5)

    def ticks(self, most: int = 6) -> tuple[float, ...]:
        """Round values within the scale, in order."""
        return _decades(self.low, self.high, most) if self.logarithmic else _steps(self.low, self.high, most)


def linear(values: Sequence[float], start: float, end: float, *, margin: float = 0.04) -> Scale:
    """A scale that holds all values, with a little room beyond them.

    Args:
        values: one or more, finite.
        start: pixel of the lowest.
        end: pixel of the highest.
        margin: room beyond them as a share of their range.
    """
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    if high - low <= max(_EQUAL * size, _SMALLEST):
        half = (size if size > _SMALLEST else 1.0) / 2
        low, high = low - half, high + half
    return Scale(low - (high - low) * margin, high + (high - low) * margin, start, end)


def logarithmic(values: Sequence[float], start: float, end: float, margin: float = 1.3) -> Scale:
    """The same on a logarithmic scale; `margin` is a factor. Values that are not positive lie at its lower edge."""
    positive = [value for value in values if value > 0] or [1.0]
    return Scale(min(positive) / margin, max(positive) * margin, start, end, logarithmic=True)


def _steps(low: float, high: float, most: int) -> tuple[float, ...]:
    rough = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999), 10 * power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(index * step, 12 - math.floor(math.log10(step))) for index in range(first, last + 1))


def _decades(low: float, high: float, most: int) -> tuple[float, ...]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / most))
    tens = tuple(10.0**power for power in range(first, last + 1, every))
    if len(tens) >= 2:
        return tens
    between = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
    ticks = tuple(value for value in between if low <= value <= high)
    return ticks if len(ticks) >= 2 else _steps(low, high, most)
