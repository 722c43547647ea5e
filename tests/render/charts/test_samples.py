"""The samples of a benchmark: all that was measured can be seen, and one slow call squashes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resnet_cli.render.charts.drawing.primitives import Box, LineMark
from resnet_cli.render.charts.samples import samples_chart
from resnet_cli.results.bench import BenchResult, Distribution
from tests.helpers.chart_checks import having, labels, size, sound, words
from tests.helpers.results_bench import BARE, distribution, on_cuda, one_batch, series, sweep, timing


def of(samples: tuple[float, ...], **changes: object) -> BenchResult:
    wall = distribution(samples) if len(samples) > 1 else single(samples[0])
    return of_walls(replace(wall, **changes))  # type: ignore[arg-type]


def of_walls(*walls: Distribution) -> BenchResult:
    return replace(BARE, timings=tuple(replace(timing(1, single(1.0)), wall=wall) for wall in walls))


def single(time: float) -> Distribution:
    return Distribution((time,), time, time, time, time, time, time, None, None, None, None, None, 1.0, 0, None)


@pytest.mark.parametrize("make", [one_batch, sweep, on_cuda])
def test_usual_results_are_sound(make: object) -> None:
    drawing = sound(samples_chart(make()))  # type: ignore[operator]
    assert size(drawing) < 35_000


def test_nothing_measured() -> None:
    assert samples_chart(BARE) is None
    assert samples_chart(replace(sweep(), timings=sweep().timings[-1:])) is None  # out of memory


def test_figures_stand_beside_their_lines() -> None:
    drawing = sound(samples_chart(one_batch()))
    wall = one_batch().timings[0].wall
    assert wall is not None
    text = words(drawing)
    assert "14.73 ms median" in text
    assert "p95" in text
    (line,) = having(drawing, "mark")
    assert isinstance(line, LineMark)
    (median,) = [label for label in labels(drawing) if "median" in label.text and label.role == "small strong"]
    assert median.y == pytest.approx(line.y1 + 4)


def test_the_band_is_the_interval_of_the_median() -> None:
    drawing = sound(samples_chart(of(tuple(1 + i / 100 for i in range(101)), ci_low_s=1.4, ci_high_s=1.6)))
    (band,) = having(drawing, "band")
    (line,) = having(drawing, "mark")
    assert isinstance(band, Box)
    assert isinstance(line, LineMark)
    assert band.y < line.y1 < band.y + band.height
    # A fifth of the range of samples, which spans the height but for its margins.
    assert band.height == pytest.approx(160 * 0.2 / 1.08, rel=0.01)


def test_outliers_are_marked_and_do_not_stretch_the_axis() -> None:
    samples = (*[0.010 + 0.0001 * (i % 7) for i in range(50)], 5.0)
    drawing = sound(samples_chart(of(samples)))
    assert "1 slow (up to 5.00 s)" in words(drawing)
    assert len(having(drawing, "warning")) == 2  # the mark and its sentence
    assert "4 s" not in words(drawing)


def test_a_drift_shows() -> None:
    drawing = sound(samples_chart(of(tuple(0.01 + 1e-6 * i for i in range(1000)))))
    (trend,) = having(drawing, "trend")
    heights = [numbers[1] for _, numbers in trend.segments]  # type: ignore[union-attr]
    assert heights == sorted(heights, reverse=True)


@pytest.mark.parametrize("samples", [(0.01,), (0.01,) * 30, (0.0, 0.0), (0.0,), (1e-9, 1e3)])
def test_samples_without_a_spread(samples: tuple[float, ...]) -> None:
    sound(samples_chart(of(samples)))


def test_a_hundred_batch_sizes_are_counted() -> None:
    wall = distribution(series(0.01, 200))
    drawing = sound(samples_chart(replace(BARE, timings=tuple(timing(1 + i, wall) for i in range(100)))))
    assert "and 88 more batch sizes" in words(drawing)
    assert size(drawing) < 60_000
