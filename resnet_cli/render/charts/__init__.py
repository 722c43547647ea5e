"""The figures that results can be drawn as: what each is called, what it shows, what it is made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.charts.architecture import architecture
from resnet_cli.render.charts.batch_sweep import sweep
from resnet_cli.render.charts.drawing.primitives import Drawing, stacked
from resnet_cli.render.charts.error_trace import deviations
from resnet_cli.render.charts.flops_waterfall import walks
from resnet_cli.render.charts.icicle import Node, icicle, measures, of_modules, tree
from resnet_cli.render.charts.optimizations import ladder
from resnet_cli.render.charts.roofline import roofline
from resnet_cli.render.charts.samples import distribution
from resnet_cli.render.charts.versus import versus
from resnet_cli.render.pages.sections import FIGURES
from resnet_cli.render.charts.grouping import NetworkResults

Draw = Callable[[NetworkResults], Drawing | None]


@dataclass(frozen=True, slots=True)
class Figure:
    """One kind of figure.

    Args:
        title: of its panel.
        caption: how to read it, in a sentence or two.
        draw: makes it from what is known of a network; None where that is too little.
        needs: the command whose result it is made from.
    """

    title: str
    caption: str
    draw: Draw
    needs: str


def nodes(entry: NetworkResults) -> Node | None:
    """The tree of layers of an entry, with the times that a benchmark found."""
    root = tree(entry.summary, None if entry.bench is None else entry.bench.layers)
    return of_modules(entry.flops.root) if root is None and entry.flops is not None else root


def _icicle(entry: NetworkResults) -> Drawing | None:
    root = nodes(entry)
    found = () if root is None else measures(root)
    return None if root is None or not found else icicle(root, found[0], entry.label)


def by_key() -> dict[str, Figure]:
    """Every figure, in the order of the page; a sweep is of all networks together and stands alone in `draw_sweep`."""
    return {
        "architecture": Figure(
            "architecture",
            "A slab is a block: as high as its feature map (on a logarithmic scale), as wide as it has channels. "
            "Above it its skip connection: blue is the identity, amber a projection.",
            lambda entry: None if entry.summary is None else architecture(entry.summary),
            "summary",
        ),
        "icicle": Figure(
            "where it goes",
            "Every layer is as wide as its share; what stands below a module is inside it.",
            _icicle,
            "summary",
        ),
        "roofline": Figure(
            "roofline",
            "A dot is a layer, its area the share of the time. Under the slope memory is the limit, under the flat "
            "roof arithmetic is; both roofs were measured. How far below its roof a layer stays is what could be won.",
            lambda entry: None if entry.bench is None else roofline(entry.bench),
            "bench --layers",
        ),
        "distribution": Figure(
            "distribution",
            "The samples in the order of measuring, where drift would show, and how often each time came. The line is "
            "the median, the band its interval; percentiles are there where so many samples support them.",
            lambda entry: None if entry.bench is None else distribution(entry.bench),
            "bench",
        ),
        "versus": Figure(
            "one against the other",
            "Time over time, call by call in turn; left of 1 ours is faster. The band is what counts as the same.",
            lambda entry: None if entry.bench is None else versus(entry.bench),
            "bench --against",
        ),
        "ladder": Figure(
            "ladder",
            "What each lever gains over plain eager, with its interval, in one interleaved run.",
            lambda entry: None if entry.bench is None else ladder(entry.bench),
            "bench --ladder",
        ),
        "deviations": Figure(
            "differences, operator by operator",
            "Dots: how far the networks are apart up to there. Rings: our operator on the reference's own inputs, "
            "so a ring above the noise is where the fault is. On the floor they are equal bit for bit.",
            lambda entry: None if entry.parity is None else deviations(entry.parity),
            "compare-torchvision",
        ),
        "walks": Figure(
            "why your number is not theirs",
            "From one tool's figure to another's: each step is an operator that the two count differently.",
            lambda entry: None if entry.flops is None else walks(entry.flops),
            "flops",
        ),
    }


SWEEP_NEEDS = "bench --batch-size 1,8,32"
SWEEP_TITLE = "batch sweep"
SWEEP_CAPTION = "Latency and throughput by batch size; the knee is the smallest batch near the best throughput."


def draw_sweep(found: Sequence[NetworkResults]) -> Drawing | None:
    """All benchmarks by batch size; None where none has two sizes."""
    return sweep([(entry.label, entry.bench) for entry in found if entry.bench is not None])


def choose_figure(key: str | None, found: Sequence[NetworkResults]) -> Drawing:
    """One figure, of every network that it can be made of; without a key the first that can be made.

    Raises:
        ResnetCliError: there is nothing to make it from.
    """
    if key is None:
        first = next((drawing for one in FIGURES if (drawing := _draw(one, found)) is not None), None)
        if first is None:
            raise ResnetCliError("the results have nothing to make a figure from", "write an .html, which has tables")
        return first
    drawing = _draw(key, found)
    if drawing is None:
        needs = SWEEP_NEEDS if key == "sweep" else by_key()[key].needs
        raise ResnetCliError(f"--figure {key}: there is nothing to make it from", f"it needs the result of {needs}")
    return drawing


def _draw(key: str, found: Sequence[NetworkResults]) -> Drawing | None:
    if key == "sweep":
        return draw_sweep(found)
    draw = by_key()[key].draw
    drawings = [(entry.label, drawing) for entry in found if (drawing := draw(entry)) is not None]
    return stacked(drawings) if drawings else None
