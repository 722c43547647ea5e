"""Axes: figures that read as everywhere else, and no tick on another."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from resnet_cli.render.charts.drawing import axes
from resnet_cli.render.charts.drawing.axes import Area, Axis
from resnet_cli.render.charts.drawing.primitives import Drawing
from tests.helpers.chart_checks import labels, sound, words

AREA = Area(100, 30, 500, 200)
FIGURES = st.floats(-1e30, 1e30)


def plot(values: list[float], *, log: bool, text: object = axes.seconds) -> Drawing:
    x = Axis(axes.scale(values, AREA.left, AREA.right, log=log), axes.seconds, "time of a call")
    y = Axis(axes.scale(values, AREA.bottom, AREA.top, log=log), axes.amount("FLOP/s"), "rate")
    return Drawing(530, 240, tuple(axes.frame(AREA, x, y)), "")


def test_round_figures_have_no_zeros_behind_them() -> None:
    assert axes.seconds(0.02) == "20 ms"
    assert axes.seconds(0.0205) == "20.5 ms"
    assert axes.seconds(0) == "0 s"
    assert axes.amount("FLOP/s")(1e9) == "1 GFLOP/s"
    assert axes.amount()(0.001) == "0.001"
    assert axes.amount()(100) == "100"
    assert axes.percent(0.2) == "20%"
    assert axes.power(1e-7) == "1e-07"
    assert axes.power(0) == "0"


def test_a_logarithmic_axis_has_ticks_at_powers_of_ten() -> None:
    drawn = words(plot([0.002, 3], log=True))
    assert "10 ms" in drawn
    assert "100 ms" in drawn
    assert "1 s" in drawn


def test_an_axis_within_a_power_of_ten_has_ticks_nevertheless() -> None:
    axis = Axis(axes.scale([2.2, 3.4], 0, 100, log=True, margin=1.1), axes.amount())
    assert len(axes.texts(axis)) >= 2


def test_two_ticks_that_read_alike_are_one() -> None:
    axis = Axis(axes.scale([1.0, 1.000001], 0, 100, log=False), axes.seconds)
    texts = [text for _, text in axes.texts(axis)]
    assert len(texts) == len(set(texts))


@given(st.lists(FIGURES, min_size=1, max_size=5))
@example([5e-324])
@example([-5e-324, 5e-324])
@example([1e-300, 2e-300])
def test_any_figures_make_a_sound_frame(values: list[float]) -> None:
    sound(plot(values, log=False))


@given(st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=5))
def test_any_positive_figures_make_a_sound_logarithmic_frame(values: list[float]) -> None:
    sound(plot(values, log=True))


def test_a_legend_counts_what_has_no_place() -> None:
    entries = [(f"series{index}", f"{'network' * 40} {index}") for index in range(9)]
    drawing = sound(Drawing(600, 20, tuple(axes.legend(entries, 0, 12, 600)), ""))
    assert labels(drawing)[-1].text == "and 7 more"


def test_a_short_legend_is_whole() -> None:
    drawing = sound(Drawing(600, 20, tuple(axes.legend([("conv", "convolution"), ("norm", "norm")], 0, 12, 600)), ""))
    assert words(drawing) == "convolution\nnorm"
