"""A chart of one network or of several, with what a page shows around the drawing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from resnet_cli.render.charts.drawing.primitives import Drawing, Group, Label, Mark
from resnet_cli.render.charts.grouping import NetworkResults


@dataclass(frozen=True, slots=True)
class Detail:
    """A drawing that a click in the panel opens."""

    key: str  # that links of the panel's drawing name
    facts: tuple[str, ...]  # its summary line; the first is its title
    drawing: Drawing | None


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawing of a chart."""

    drawing: Drawing
    label: str = ""  # of the network; "" where the drawing shows all networks
    remark: str = ""  # follows the chart's caption
    legend: tuple[tuple[str, str], ...] = ()  # role and meaning of its colours
    details: tuple[Detail, ...] = ()
    zoom_data: dict[str, Any] | None = None  # from which report.js redraws it


def per_network(networks: Sequence[NetworkResults], draw: Callable[[NetworkResults], Drawing | None]) -> list[Panel]:
    """A panel for each network that can be drawn."""
    drawings = [(draw(network), network.label) for network in networks]
    return [Panel(drawing, label) for drawing, label in drawings if drawing is not None]


def stacked(panels: Sequence[Panel]) -> Drawing:
    """All panels as one drawing, below each other, each with its label; a single one has no label."""
    if len(panels) == 1:
        return panels[0].drawing
    marks: list[Mark] = []
    y = 0.0
    for panel in panels:
        marks.append(Label(0, y + 16, panel.label, "title"))
        marks.append(Group(panel.drawing.marks, shift=(0.0, y + 30)))
        y += panel.drawing.height + 60
    width = max(panel.drawing.width for panel in panels)
    return Drawing(width, y - 30, tuple(marks), "; ".join(panel.drawing.label for panel in panels))
