"""The sweep: a line for each network, the knee, and what did not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resnet_cli.render.charts.batch_sweep import batch_sweep
from resnet_cli.render.charts.drawing.primitives import Curve
from resnet_cli.results.bench import BenchResult
from tests.helpers.chart_checks import having, outside, size, sound, words
from tests.helpers.results_bench import BARE, distribution, one_batch, series, sweep, timing, without_memory
from tests.helpers.results_summary_flops import HOSTILE


def faster(result: BenchResult, factor: float) -> BenchResult:
    timings = []
    for row in result.timings:
        if row.wall is None or row.images_per_s is None:
            timings.append(row)
            continue
        middle = row.wall.median_s / factor
        wall = replace(row.wall, median_s=middle, ci_low_s=middle * 0.7, ci_high_s=middle * 1.4)
        timings.append(replace(row, wall=wall, images_per_s=row.images_per_s * factor))
    return replace(result, timings=tuple(timings))


def test_a_line_for_each_network_in_both_panels() -> None:
    drawing = sound(batch_sweep([("resnet18", sweep()), ("resnet50", faster(sweep(), 0.4))]))
    for role in ("series0", "series1"):
        assert len([mark for mark in having(drawing, role) if isinstance(mark, Curve)]) == 2
    assert "resnet50" in words(drawing)
    assert len(having(drawing, "whisker")) == 3


def test_knee_and_what_did_not_fit_are_named() -> None:
    text = words(sound(batch_sweep([("resnet18", sweep())])))
    assert "knee: 105.7 images/s at batch 8" in text
    assert "× batch 256, out of memory: needs 12.3 GB where 7.9 GB are free" in text
    assert "256" in text.splitlines()


def test_batch_sizes_stand_in_powers_of_two() -> None:
    """As far from 1 to 8 as from 8 to 64."""
    wall = distribution(series(0.01, 30))
    result = replace(BARE, timings=tuple(timing(batch, wall) for batch in (1, 8, 64)))
    drawing = sound(batch_sweep([("a", result)]))
    first = next(mark for mark in having(drawing, "series0") if isinstance(mark, Curve))
    xs = [numbers[0] for _, numbers in first.segments]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])


def test_no_sweep_no_drawing() -> None:
    assert batch_sweep([]) is None
    assert batch_sweep([("a", BARE), ("b", one_batch())]) is None
    alone = replace(one_batch(), timings=(*one_batch().timings, without_memory(8)))
    assert batch_sweep([("a", alone)]) is None


def test_many_networks_with_long_names() -> None:
    benches = [(f"{HOSTILE * 30}{index}", faster(sweep(), 0.1 + index / 10)) for index in range(30)]
    drawing = batch_sweep(benches)
    assert drawing is not None
    assert outside(drawing) == []
    assert size(drawing) < 60_000
