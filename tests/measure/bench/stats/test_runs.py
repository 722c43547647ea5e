"""Intervals over processes: properties, values by hand, and how often they miss on machines that drift and jump."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.measure.bench.stats.runs import (
    RunEstimate,
    components,
    half_width,
    interval,
    ratio_of_runs,
    run_estimate,
)

ESTIMATES = st.lists(st.builds(RunEstimate, log=st.floats(-20, 5), error=st.floats(0, 0.5)), min_size=2, max_size=12)


def shifted(runs: list[RunEstimate], by: float) -> list[RunEstimate]:
    return [RunEstimate(run.log + by, run.error) for run in runs]


# By hand


def test_the_spread_of_the_medians_is_what_the_errors_within_leave_and_that() -> None:
    runs = [RunEstimate(0.0, 0.1), RunEstimate(0.2, 0.1), RunEstimate(0.4, 0.2)]
    found = components(runs)
    assert found.within == pytest.approx((0.01 + 0.01 + 0.04) / 3)
    assert found.between == pytest.approx(0.04 - 0.02)
    assert found.squared_error == pytest.approx(0.04 / 3)
    ratio, low, high = interval(runs)
    assert ratio == pytest.approx(math.exp(0.2))
    assert math.log(high / low) == pytest.approx(2 * 4.303 * math.sqrt(0.04 / 3))


def test_processes_that_agree_better_than_each_knows_are_not_taken_at_their_word() -> None:
    runs = [RunEstimate(1.0, 0.1)] * 4
    assert components(runs).between == 0
    _, low, high = interval(runs)
    assert math.log(high / low) == pytest.approx(2 * 3.182 * 0.1 / 2)


def test_an_estimate_has_the_error_of_its_interval() -> None:
    run = run_estimate(0.02, 0.02 * math.exp(-0.02093), 0.02 * math.exp(0.02093))
    assert run.error == pytest.approx(0.01)
    assert run.log == pytest.approx(math.log(0.02))


def test_two_sets_of_equal_spread_have_the_freedom_of_both() -> None:
    one, other = (
        [RunEstimate(value, 0.0) for value in (0.0, 0.1, 0.2)],
        [RunEstimate(value, 0.0) for value in (1.0, 1.1, 1.2)],
    )
    _, low, high = ratio_of_runs(other, one)
    assert math.log(high / low) == pytest.approx(2 * 2.776 * math.sqrt(2 * 0.01 / 3))


def test_a_single_run_has_the_spread_of_the_other_side() -> None:
    several, single = [RunEstimate(value, 0.0) for value in (0.0, 0.1, 0.2)], [RunEstimate(0.5, 0.03)]
    ratio, low, high = ratio_of_runs(several, single)
    assert ratio == pytest.approx(math.exp(-0.4))
    assert math.log(high / low) == pytest.approx(2 * 4.303 * math.sqrt(0.01 / 3 + 0.01 + 0.0009))
    turned, turned_low, turned_high = ratio_of_runs(single, several)
    assert (turned, turned_low, turned_high) == pytest.approx((1 / ratio, 1 / high, 1 / low))


@pytest.mark.parametrize("runs", [[], [RunEstimate(0.0, 0.1)]])
def test_one_process_says_nothing_of_others(runs: list[RunEstimate]) -> None:
    with pytest.raises(ValueError, match="two of them"):
        interval(runs)
    with pytest.raises(ValueError, match=r"two of them|either side"):
        ratio_of_runs(runs, [RunEstimate(0.0, 0.1)])
    with pytest.raises(ValueError, match="either side"):
        ratio_of_runs([RunEstimate(0.0, 0.1)] * 2, [])


@pytest.mark.parametrize("times", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0)])
def test_no_time(times: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        run_estimate(*times)


# Properties


@given(runs=ESTIMATES, by=st.floats(-3, 3))
def test_times_in_another_unit_have_the_same_relative_interval(runs: list[RunEstimate], by: float) -> None:
    before, after = interval(runs), interval(shifted(runs, by))
    assert [math.log(value) - by for value in after] == pytest.approx([math.log(value) for value in before], abs=1e-6)


@given(runs=ESTIMATES)
def test_the_interval_holds_the_mean_and_covers_both_components(runs: list[RunEstimate]) -> None:
    middle, low, high = interval(runs)
    assert low <= middle <= high
    assert math.log(middle) == pytest.approx(fmean(run.log for run in runs), abs=1e-9)
    error = math.log(high / low) / 2 / 1.96
    n = len(runs)
    assert error >= stdev(run.log for run in runs) / math.sqrt(n) - 1e-9
    assert error >= math.sqrt(fmean(run.error**2 for run in runs) / n) - 1e-9


@given(model=ESTIMATES, reference=ESTIMATES)
def test_the_ratio_turned_round_is_its_inverse(model: list[RunEstimate], reference: list[RunEstimate]) -> None:
    ratio, low, high = map(math.log, ratio_of_runs(model, reference))
    turned = [math.log(value) for value in ratio_of_runs(reference, model)]
    assert turned == pytest.approx([-ratio, -high, -low], abs=1e-6)


@given(between=st.floats(0, 0.01), within=st.floats(1e-9, 0.01), runs=st.integers(2, 40), paired=st.booleans())
def test_more_runs_are_never_worse(between: float, within: float, runs: int, paired: bool) -> None:
    assert half_width(between, within, runs + 1, paired=paired) < half_width(between, within, runs, paired=paired)


# Simulated machines

Machine = Callable[[random.Random, int], list[float]]


def steady(dice: random.Random, runs: int) -> list[float]:
    """Each process has its own level."""
    return [dice.gauss(0, 0.03) for _ in range(runs)]


def drifting(dice: random.Random, runs: int) -> list[float]:
    """Ten percent slower from the first to the last process, as a machine that becomes warm."""
    return [dice.gauss(0, 0.02) + 0.1 * index / (runs - 1) for index in range(runs)]


def jumping(dice: random.Random, runs: int) -> list[float]:
    """Every fifth process, by chance, is disturbed by 10%."""
    return [dice.gauss(0, 0.01) + 0.1 * (dice.random() < 0.2) for _ in range(runs)]


def lasting(dice: random.Random, runs: int) -> list[float]:
    """What slows a process is often still there in the next one."""
    levels, level = [], dice.gauss(0, 0.02)
    for _ in range(runs):
        levels.append(level)
        level = 0.5 * level + dice.gauss(0, 0.02 * math.sqrt(0.75))
    return levels


def measured(machine: Machine, dice: random.Random, runs: int, log: float) -> list[RunEstimate]:
    """What processes on this machine report: each sees its level, with an error of 0.5% that it knows."""
    return [RunEstimate(log + level + dice.gauss(0, 0.005), 0.005) for level in machine(dice, runs)]


def alarms(machine: Machine, runs: int, slowdown: float, limit: float, sessions: int = 800) -> float:
    """How often a network that is slower by so much fails a gate of this limit."""
    dice = random.Random(f"{machine.__name__} {runs} {slowdown}")
    failed = 0
    for _ in range(sessions):
        before, now = measured(machine, dice, runs, 0.0), measured(machine, dice, runs, math.log1p(slowdown))
        failed += ratio_of_runs(now, before)[1] > 1 + limit
    return failed / sessions


@pytest.mark.parametrize("runs", [3, 5, 10])
@pytest.mark.parametrize("machine", [steady, drifting, jumping])
def test_a_slowdown_of_just_the_limit_fails_in_at_most_one_of_forty(machine: Machine, runs: int) -> None:
    # 2.5% and three standard errors of 800 sessions.
    assert alarms(machine, runs, slowdown=0.05, limit=0.05) <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 800)


@pytest.mark.parametrize("machine", [steady, drifting, jumping, lasting])
def test_an_unchanged_network_passes_a_gate_of_5_percent(machine: Machine) -> None:
    assert alarms(machine, 5, slowdown=0.0, limit=0.05) <= 0.01


def test_a_slowdown_that_can_be_told_fails() -> None:
    assert alarms(steady, 5, slowdown=0.20, limit=0.05) > 0.95


@pytest.mark.parametrize("machine", [steady, drifting, jumping])
def test_intervals_of_one_network_agree(machine: Machine) -> None:
    """19 of 20 pairs of sessions have an interval of their ratio that holds 1."""
    dice = random.Random(machine.__name__)
    agree = 0
    for _ in range(600):
        _, low, high = ratio_of_runs(measured(machine, dice, 5, 0.0), measured(machine, dice, 5, 0.0))
        agree += low <= 1 <= high
    assert agree / 600 >= 0.93


def test_samples_of_one_process_alone_would_cry_wolf() -> None:
    """The errors within processes leave out what differs between them."""
    dice = random.Random(3)
    agree = 0
    for _ in range(500):
        (one,), (other,) = measured(steady, dice, 1, 0.0), measured(steady, dice, 1, 0.0)
        agree += abs(one.log - other.log) <= 1.96 * math.hypot(one.error, other.error)
    assert agree / 500 < 0.5
