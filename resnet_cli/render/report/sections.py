"""The sections of a report: the charts of each topic, and the tables that they are drawn from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from resnet_cli.formatting import printable
from resnet_cli.render.charts import CHARTS, Chart
from resnet_cli.render.charts.drawing import svg_writer
from resnet_cli.render.charts.grouping import NetworkResults
from resnet_cli.render.charts.panel import Panel
from resnet_cli.render.document import Document, ViewOptions
from resnet_cli.render.pages import page
from resnet_cli.results.checkpoint import CheckpointResult

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

# Key, title, and the field of `NetworkResults` whose tables the section shows. Charts name their section in their row.
SECTIONS = (
    ("architecture", "Architecture", None),
    ("cost", "Cost by layer", "summary"),
    ("roofline", "Roofline", None),
    ("latency", "Latency", "bench"),
    ("compare", "Comparison", "compare"),
    ("flops", "FLOPs", "flops"),
    ("more", "More results", "others"),
)
_BENCH_LEVELS = 2  # of layer times: the chart shows every layer


@dataclass(frozen=True, slots=True)
class SectionPanel:
    """A panel with its texts and its drawings as markup."""

    chart: Chart
    panel: Panel
    drawing: Markup
    details: tuple[tuple[str, tuple[str, ...], Markup], ...]  # key, facts and drawing of each
    zoom_data: Markup | None  # JSON for report.js

    @property
    def caption(self) -> str:
        """How to read it."""
        return f"{self.chart.caption} {self.panel.remark}".strip()


@dataclass(frozen=True, slots=True)
class Section:
    """One topic."""

    key: str
    title: str
    panels: tuple[SectionPanel, ...]
    tables: tuple[tuple[str, Document], ...]  # label and document


def sections(networks: Sequence[NetworkResults], ungrouped: Sequence[Result], view: ViewOptions) -> tuple[Section, ...]:
    """The sections that have a chart or a table.

    Args:
        networks: results by network.
        ungrouped: results that are not about a single network.
        view: of the tables.
    """
    all_sections = []
    for key, title, slot in SECTIONS:
        charts = (chart for chart in CHARTS.values() if chart.section == key)
        panels = tuple(panel for chart in charts for panel in _panels(chart, networks))
        if slot == "others":
            others = (*(result for network in networks for result in network.others), *ungrouped)
            tables = tuple((document.title, document) for document in (page(result, view) for result in others))
        else:
            tables = tuple(_tables(networks, slot, view))
        if panels or tables:
            all_sections.append(Section(key, title, panels, tables))
    return tuple(all_sections)


def _tables(networks: Sequence[NetworkResults], slot: str | None, view: ViewOptions) -> Iterator[tuple[str, Document]]:
    if slot == "bench" and view.levels is None:
        view = replace(view, levels=_BENCH_LEVELS)
    for network in networks:
        result = None if slot is None else getattr(network, slot)
        in_checkpoint = any(isinstance(other, CheckpointResult) and other.summary is result for other in network.others)
        if result is not None and not in_checkpoint:  # the page of the checkpoint shows its summary
            yield network.label, page(result, view)


def _panels(chart: Chart, networks: Sequence[NetworkResults]) -> Iterator[SectionPanel]:
    for index, panel in enumerate(chart.panels(networks)):
        identity = "" if panel.zoom_data is None else f"{chart.key}-{index}"
        details = tuple(
            (
                detail.key,
                detail.facts,
                Markup("") if detail.drawing is None else _markup(svg_writer.inline(detail.drawing)),
            )
            for detail in panel.details
        )
        zoom_data = None if panel.zoom_data is None else _script_data(panel.zoom_data)
        yield SectionPanel(chart, panel, _markup(svg_writer.inline(panel.drawing, identity)), details, zoom_data)


def _markup(svg: str) -> Markup:
    return Markup(svg)  # the writer escapes every text


def _script_data(data: Any) -> Markup:
    """JSON that no text in it can end the script element of."""
    text = json.dumps(_printable(data), separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _printable(data: Any) -> Any:
    """Data with every text in it escaped."""
    if isinstance(data, str):
        return printable(data)
    if isinstance(data, list):
        return [_printable(item) for item in data]
    return {key: _printable(value) for key, value in data.items()} if isinstance(data, dict) else data
