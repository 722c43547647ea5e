"""Results of several processes as one."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean, geometric_mean, stdev

import pytest

from resnet_cli.measure.bench.processes.merge import merged
from resnet_cli.results.bench import BenchResult, Versus
from resnet_cli.results.common import Note
from tests.helpers.results_bench import BARE, CEILING, CONDITIONS, PEAK, distribution, series, timing, without_memory


def result(seconds: float, seed: int, **changes: object) -> BenchResult:
    wall = distribution(series(seconds, 60, seed=seed))
    made = replace(BARE, timings=(timing(1, wall), timing(8, distribution(series(7 * seconds, 40, seed=seed)))))
    return replace(made, **changes)  # type: ignore[arg-type]


THREE = [result(seconds, seed) for seed, seconds in enumerate((0.010, 0.012, 0.011))]


def test_a_single_process_is_its_own_result() -> None:
    assert merged(THREE[:1]) is THREE[0]
    with pytest.raises(ValueError, match="no results"):
        merged([])


def test_the_median_is_that_of_the_processes_and_its_interval_has_their_spread() -> None:
    row = merged(THREE).timings[0]
    walls = [each.timings[0].wall for each in THREE]
    medians = [wall.median_s for wall in walls if wall is not None]
    assert row.wall is not None
    assert row.wall.samples_s == tuple(sample for wall in walls if wall is not None for sample in wall.samples_s)
    assert row.wall.median_s == pytest.approx(geometric_mean(medians), rel=1e-3)
    # Student's t of 2 degrees of freedom; the error within a process is far smaller than their spread.
    reach = 4.303 * stdev(map(math.log, medians)) / math.sqrt(3)
    assert math.log(row.wall.ci_high_s / row.wall.ci_low_s) == pytest.approx(2 * reach, rel=0.02)


def test_each_process_is_a_run_of_each_batch_size() -> None:
    together = merged(THREE)
    assert [(run.batch_size, run.process, run.samples) for run in together.runs] == [
        *((1, number, 60) for number in (1, 2, 3)),
        *((8, number, 40) for number in (1, 2, 3)),
    ]
    spread, _ = together.spreads
    assert (spread.batch_size, spread.quantity) == (1, "time")
    logs = [math.log(run.median_s) for run in together.runs[:3]]
    assert math.hypot(spread.between, spread.within) == pytest.approx(stdev(logs))


def test_rates_are_means_and_the_peak_is_that_of_the_process_that_measured_it() -> None:
    results = [replace(THREE[0], ceiling=CEILING), *THREE[1:]]
    row = merged(results).timings[0]
    rates = [each.timings[0].images_per_s or 0.0 for each in THREE]
    assert row.images_per_s == pytest.approx(fmean(rates))
    assert row.flops is not None
    assert row.flops_per_s == pytest.approx(row.flops * fmean(rates))
    assert row.ceiling_share == pytest.approx(row.flops * fmean(rates) / PEAK)


def test_a_batch_that_did_not_fit_once_is_that_of_the_other_processes() -> None:
    small = replace(THREE[0], timings=(THREE[0].timings[0], without_memory(8)))
    together = merged([small, *THREE[1:]])
    assert together.timings[1].status == "measured"
    assert [run.process for run in together.runs if run.batch_size == 8] == [2, 3]
    without = merged([small, small])
    assert without.timings[1].status == "out of memory"
    assert {run.batch_size for run in without.runs} == {1}


def test_ratios_of_processes_are_one_with_a_verdict_of_its_own() -> None:
    def compared(ratio: float) -> BenchResult:
        wall = distribution(series(0.010, 60))
        versus = Versus(
            1, "interleaved", "a", "b", wall, wall, ratio, ratio - 0.001, ratio + 0.001, 0.01, "SAME", "converged"
        )
        return replace(THREE[0], versus=(versus,))

    (same,) = merged([compared(ratio) for ratio in (1.001, 0.999, 1.002, 1.0)]).versus
    assert same.verdict == "SAME"
    assert same.ratio == pytest.approx(1.0005, abs=1e-4)
    (unclear,) = merged([compared(ratio) for ratio in (1.03, 0.97, 1.04, 0.99)]).versus
    assert unclear.verdict == "UNCLEAR"
    assert unclear.ci_low < 0.99
    assert unclear.ci_high > 1.03


def test_disturbances_are_those_of_all_processes() -> None:
    loads = (0.0, 0.2, 0.4)
    quiet = Note("note", "GPU", "gpu-clock-unknown")
    results = [
        replace(
            each,
            conditions=replace(
                CONDITIONS, background_cpu_load=load, throttled=("heat",) if load else (), duration_s=2.0
            ),
            notes=(quiet, *([Note("warning", f"load of {load}", "background-load")] if load else [])),
        )
        for each, load in zip(THREE, loads, strict=True)
    ]
    together = merged(results)
    assert together.conditions.background_cpu_load == pytest.approx(0.2)
    assert together.conditions.duration_s == 6.0
    assert together.conditions.throttled == ("heat",)
    assert sorted(note.key for note in together.notes) == ["background-load", "gpu-clock-unknown", "throttled"]
    assert "0.2 cores" in next(note.text for note in together.notes if note.key == "background-load")
