"""Which columns of a table fit a width, and how wide each is: numbers are never cut, names give way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_cli.render.document import Column

BAR = 8  # columns of a full bar; it shrinks before a column is left out


@dataclass(frozen=True, slots=True)
class Need:
    """The width that a column asks for."""

    column: Column
    natural: int  # its widest text
    least: int  # of a name; a number needs all of its width
    comfort: int  # between the two; a name is cut to this before a column is hidden
    bar: int = 0  # what its bar takes on top, with the space before


@dataclass(slots=True)
class Place:
    """A column that is drawn."""

    index: int  # of the table's columns
    width: int  # of its text
    bar: int  # of its bar; 0: none


def fit(needs: Sequence[Need], room: int | None, gap: int) -> list[Place]:
    """The places of the columns that are drawn, in order; the first is always there.

    Args:
        needs: of every column, the name first.
        room: how wide the medium is; None where that does not matter.
        gap: spaces between two columns.
    """
    places = [Place(i, need.natural, need.bar) for i, need in enumerate(needs)]
    if room is None:
        return places
    # Columns with a priority are hidden first, then those from the right.
    while _droppable(places, needs) and _taken(places, needs, gap, "comfort") > room:
        places.remove(max(_droppable(places, needs), key=lambda p: (needs[p.index].column.priority, p.index)))
    while len(places) > 1 and _taken(places, needs, gap, "least") > room:
        places.remove(places[-1])
    excess = sum(place.width + place.bar for place in places) + gap * (len(places) - 1) - room
    name, others = places[0], places[:0:-1]
    for place, target in [
        *((other, "comfort") for other in others),
        *((other, "bar") for other in others),
        (name, "comfort"),
        *((other, "no bar") for other in others),
        (name, "least"),
        *((other, "least") for other in others),
    ]:
        excess -= _shrink(place, needs[place.index], target, excess)
    name.width = min(name.width, room)
    return places


def _droppable(places: list[Place], needs: Sequence[Need]) -> list[Place]:
    return [place for place in places[1:] if needs[place.index].column.priority]


def _taken(places: list[Place], needs: Sequence[Need], gap: int, measure: str) -> int:
    widths: list[int] = [getattr(needs[place.index], measure) for place in places]
    return sum(widths) + gap * (len(widths) - 1)


def _shrink(place: Place, need: Need, target: str, excess: int) -> int:
    """Narrow a column by the excess, at most down to a target; returns by how much."""
    if excess <= 0:
        return 0
    if target in ("bar", "no bar"):
        thinner = min(excess, max(place.bar - (1 + BAR // 2 if target == "bar" else 0), 0))
        if target == "no bar" and 0 < place.bar - thinner < 3:
            thinner = place.bar
        place.bar -= thinner
        return thinner
    taken: int = min(excess, max(place.width - getattr(need, target), 0))
    place.width -= taken
    return taken
