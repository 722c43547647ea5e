"""The roofline: layers where they belong, roofs as measured, and nothing where there is nothing."""

from __future__ import annotations

from dataclasses import replace

from resnet_cli.render.charts.drawing.primitives import Dot, Drawing
from resnet_cli.render.charts.roofline import roofline
from resnet_cli.results.bench import BenchResult, Ceiling, LayerTime, LayerTimes
from tests.helpers.chart_checks import having, size, sound, words
from tests.helpers.results_bench import BARE, CEILING, layer, layered


def of(*layers: LayerTime, ceiling: Ceiling | None = CEILING) -> BenchResult:
    return replace(BARE, ceiling=ceiling, layers=LayerTimes(1, 0.01, 0.01, 0.0, 10, layers))


def dots(drawing: Drawing) -> list[Dot]:
    """Of layers, not of the legend."""
    return [mark for mark in having(drawing, "dot") if isinstance(mark, Dot)]


def test_a_dot_per_leaf_that_does_something() -> None:
    drawing = sound(roofline(layered()))
    # Batch norm, ReLU and add of this sample have no operations, as of a result that counts matrix products alone.
    assert [dot.role for dot in dots(drawing)] == ["conv dot", "conv dot", "linear dot"]
    assert "head.conv" in words(drawing)


def test_roofs_are_labelled_with_figure_and_kernel() -> None:
    text = words(sound(roofline(layered())))
    assert "430.0 GFLOP/s · conv 3×3 256→256 at 14×14, batch 32, oneDNN layout" in text
    assert "31.10 GB/s · add in" in text


def test_a_layer_at_its_roof_touches_it() -> None:
    """The flat roof and a point of its rate are at one height."""
    moved = 10**6
    at_peak = replace(
        layer("a", "Conv2d", 1, 1e-3, 0, moved, leaf=True), arithmetic_intensity=CEILING.flops_per_s * 1e-3 / moved
    )
    drawing = sound(roofline(of(at_peak)))
    (roof,) = having(drawing, "roof")
    assert abs(dots(drawing)[0].y - roof.segments[-1][1][1]) < 0.5  # type: ignore[union-attr]


def test_without_ceilings_the_points_stand_alone() -> None:
    drawing = sound(roofline(replace(layered(), ceiling=None)))
    assert having(drawing, "roof") == []
    assert len(dots(drawing)) == 3


def test_nothing_to_draw() -> None:
    assert roofline(BARE) is None
    assert roofline(of()) is None
    assert roofline(of(layer("a", "ReLU", 1, 1e-3, 0, 0, leaf=True))) is None
    assert roofline(of(layer("a", "Conv2d", 1, 1e-3, 1000, 1000))) is None  # no leaf


def test_thousands_of_layers_are_counted() -> None:
    leaves = [layer(f"{'deep.' * 60}{i}", "Conv2d", 1, 1e-5, 1000 + i * 999, 10**6, leaf=True) for i in range(3000)]
    drawing = sound(roofline(of(*leaves)))
    assert len(dots(drawing)) == 200
    assert "are not drawn" in words(drawing)
    assert size(drawing) < 45_000
