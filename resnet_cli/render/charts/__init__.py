"""Registry of charts: a row for each, from which options, help, report sections and README are made.

A chart is added with one module and one row. The module is imported when the chart is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from resnet_cli.errors import ResnetCliError

if TYPE_CHECKING:
    from resnet_cli.render.charts.drawing.primitives import Drawing
    from resnet_cli.render.charts.grouping import NetworkResults
    from resnet_cli.render.charts.panel import Panel


@dataclass(frozen=True, slots=True)
class Chart:
    """One kind of chart.

    Args:
        key: its name on the command line.
        title: heading of its panels.
        shows: what it shows, in a few words.
        caption: how to read it, in a sentence or two.
        section: key of the section of a report that shows it.
        measurements: of `report --measure`, which its results come from.
        commands: whose saved results it can be drawn from.
        function: "module:function" in this package; takes the results of several networks, returns panels.
        batch_sizes: how many different ones the benchmark needs at least.
    """

    key: str
    title: str
    shows: str
    caption: str
    section: str
    measurements: tuple[str, ...]
    commands: tuple[str, ...]
    function: str
    batch_sizes: int = 1

    def panels(self, networks: Sequence[NetworkResults]) -> list[Panel]:
        """The drawings for these networks; none where the results do not suffice."""
        module, _, function = self.function.partition(":")
        panels: list[Panel] = getattr(import_module(f"{__name__}.{module}"), function)(networks)
        return panels


_ROWS = (
    Chart(
        key="architecture",
        title="Architecture",
        shows="stages, blocks and skip connections; click a block for its layers",
        caption="Each bar is one block; height = feature-map size (log scale), width = channels (log scale). Arcs "
        "are skip connections: identity (teal) or projection (orange).",
        section="architecture",
        measurements=("summary",),
        commands=("summary",),
        function="architecture:panels",
    ),
    Chart(
        key="icicle",
        title="Cost by layer",
        shows="share of each layer in MACs, parameters, memory or time, with zoom",
        caption="Width = share of the total; layers inside a module are drawn below it.",
        section="cost",
        measurements=("summary",),
        commands=("summary", "bench --layers"),
        function="icicle:panels",
    ),
    Chart(
        key="roofline",
        title="Roofline",
        shows="arithmetic intensity and rate of each layer under the measured peaks",
        caption="Each dot is one layer; area = share of the time. The roofs are the measured memory bandwidth "
        "(slope) and peak FLOP/s (flat): the distance from a dot to the roof above it is the possible "
        "speed-up.",
        section="roofline",
        measurements=("bench", "layers"),
        commands=("bench --layers",),
        function="roofline:panels",
    ),
    Chart(
        key="samples",
        title="Latency samples",
        shows="timings in order and as a histogram",
        caption="Left: samples in the order of measurement, where drift shows. Right: their histogram. Line: "
        "median; band: its confidence interval. Percentiles are shown where there are enough samples for "
        "them.",
        section="latency",
        measurements=("bench",),
        commands=("bench",),
        function="samples:panels",
    ),
    Chart(
        key="batch-sweep",
        title="Batch sweep",
        shows="latency and throughput by batch size",
        caption="Latency and throughput by batch size. The knee is the smallest batch close to the best throughput.",
        section="latency",
        measurements=("bench",),
        commands=("bench --batch-size 1,8,32",),
        function="batch_sweep:panels",
        batch_sizes=2,
    ),
    Chart(
        key="error-trace",
        title="Error by operator",
        shows="error of every operator, and the first difference",
        caption="Dots: relative error of each output (cumulative). Rings: error of the model's operator when fed "
        "the reference's input, so a ring above the noise marks a fault. Operators in the bottom band are "
        "bitwise equal.",
        section="compare",
        measurements=("compare",),
        commands=("compare-torchvision",),
        function="error_trace:panels",
    ),
)
CHARTS = {chart.key: chart for chart in _ROWS}


def draw_chart(key: str | None, networks: Sequence[NetworkResults]) -> Drawing:
    """One chart of all networks that it can be drawn for.

    Args:
        key: one of `CHARTS`; None: the first that the results suffice for.
        networks: their results.

    Raises:
        ResnetCliError: the results do not suffice.
    """
    from resnet_cli.render.charts.panel import stacked  # noqa: PLC0415  # importing the registry draws nothing

    for chart in _ROWS if key is None else (CHARTS[key],):
        panels = chart.panels(networks)
        if panels:
            return stacked(panels)
    if key is None:
        raise ResnetCliError("the results contain nothing that a chart can show", "write .html, which has tables")
    raise ResnetCliError(
        f"the {key} chart cannot be drawn from these results",
        f"it needs a result of {' or '.join(CHARTS[key].commands)}",
    )
