"""Warm-up and sampling in virtual time: when they end, in which order, and how often what they say is so."""

from __future__ import annotations

import gc
import math
import random
from collections import Counter
from collections.abc import Iterator
from itertools import count, repeat
from statistics import NormalDist

import pytest

from resnet_cli.measure.bench.stats.estimators import median_interval, quantile
from resnet_cli.measure.bench.stats.ratios import FASTER, SAME, SLOWER, UNCLEAR, paired_ratio, verdict
from resnet_cli.measure.bench.timing.sampling import CONVERGED, INTERRUPTED, TIME, Limits, sample, warm_up
from tests.helpers.fake_clock import Machine, SimulatedCall, SimulatedClock, autoregressive, steps

RUNS = 100


@pytest.fixture(autouse=True, scope="module")
def small_heap() -> Iterator[None]:
    """Sampling collects garbage first, and torch's objects make that slow; they are set aside."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(queued=False)


def noisy(clock: SimulatedClock, seconds: float, noise: float, *, rho: float = 0.0, seed: int = 0) -> SimulatedCall:
    values = autoregressive(random.Random(seed), rho)
    return SimulatedCall(clock, (seconds * math.exp(noise * next(values)) for _ in repeat(None)))


# When sampling ends


def test_it_ends_when_the_interval_is_narrow(clock: SimulatedClock) -> None:
    taken = sample(clock, [noisy(clock, 0.02, 0.02)], Limits(ci_width=0.01, max_time_s=60))
    (walls,) = taken.walls
    low, high = median_interval(walls)
    assert taken.stopped == CONVERGED
    assert (high - low) / quantile(sorted(walls), 0.5) <= 0.01
    assert taken.seconds == pytest.approx(sum(walls))
    assert taken.seconds < 30


def test_it_ends_with_the_time(clock: SimulatedClock) -> None:
    taken = sample(clock, [noisy(clock, 0.02, 0.5)], Limits(ci_width=0.01, max_time_s=3))
    assert taken.stopped == TIME
    assert 3 <= taken.seconds < 3.5


def test_one_round_is_measured_however_long_it_takes(clock: SimulatedClock) -> None:
    taken = sample(clock, [steps(clock, 30.0), steps(clock, 40.0)], Limits(max_time_s=1))
    assert taken.stopped == TIME
    assert taken.walls == [[30.0], [40.0]]


def test_of_several_calls_every_ratio_must_be_narrow(clock: SimulatedClock) -> None:
    calls = [steps(clock, 0.01), steps(clock, 0.01), noisy(clock, 0.01, 0.05)]
    taken = sample(clock, calls, Limits(max_time_s=600, ci_width=0.01))
    assert taken.stopped == CONVERGED
    _, low, high = paired_ratio(taken.walls[2], taken.walls[0])
    assert high - low <= 0.0101
    assert len(taken.series[0]) > 200
    quick = sample(clock, calls[:2], Limits(max_time_s=600, ci_width=0.01))
    assert len(quick.series[0]) < len(taken.series[0])


# In which order


def test_each_round_goes_the_other_way(clock: SimulatedClock) -> None:
    calls = [steps(clock, 1.0, name=name) for name in "abc"]
    taken = sample(clock, calls, Limits(max_time_s=12))
    called = "".join(name for name in clock.log if name in "abc")
    assert called == "abccba" * 2
    assert [len(samples) for samples in taken.series] == [4, 4, 4]


# Progress


def test_progress_is_reported_between_samples() -> None:
    clock = SimulatedClock()  # with a queue: a call that has returned is not done yet
    running: list[str] = []

    def call() -> None:
        running.append("begun")
        clock.run(0.05, enqueue_s=0.01)

    def progress(text: str) -> None:
        assert not clock.busy
        assert clock.log[-3:] == ["now", "now", "now"]  # of the last sample's end, the round's begin and a look's end
        clock.log.append("reported")

    sample(clock, [call, call], Limits(max_time_s=5, min_time_s=5), progress)
    assert clock.log.count("reported") >= 5
    # Two samples a round, two marks a sample: between two words there are whole rounds.
    assert all(part.count("record_event") % 4 == 0 for part in " ".join(clock.log).split("reported"))


# Ctrl-C and errors


@pytest.mark.parametrize(("which", "at", "whole"), [(0, 4, 3), (1, 4, 3), (1, 2, 1), (0, 2, 1)])
def test_ctrl_c_keeps_whole_rounds(clock: SimulatedClock, which: int, at: int, whole: int) -> None:
    calls = [steps(clock, 0.1), steps(clock, 0.2)]
    calls[which].raises = {at: KeyboardInterrupt()}
    taken = sample(clock, calls, Limits())
    assert taken.stopped == INTERRUPTED
    assert [len(samples) for samples in taken.series] == [whole, whole]
    assert taken.walls[0] == pytest.approx([0.1] * whole)


def test_ctrl_c_while_progress_is_reported(clock: SimulatedClock) -> None:
    def progress(text: str) -> None:
        raise KeyboardInterrupt

    taken = sample(clock, [steps(clock, 0.1)], Limits(), progress)
    assert taken.stopped == INTERRUPTED
    assert len(taken.series[0]) == 5


def test_no_garbage_is_collected_within_a_sample(clock: SimulatedClock) -> None:
    enabled = []

    def call() -> None:
        enabled.append(gc.isenabled())
        clock.run(0.1)

    sample(clock, [call], Limits(max_time_s=1))
    assert not any(enabled)
    assert gc.isenabled()


# Warm-up


def test_warm_up_reports_the_first_call(clock: SimulatedClock) -> None:
    call = SimulatedCall(clock, iter([3.0, *repeat(0.02, 200)]))
    start = warm_up(clock, call, Limits())
    assert start.first_call_s == pytest.approx(3.0)
    assert start.converged
    assert start.calls == 21 == call.calls
    assert start.duration_s == pytest.approx(3.4)


def test_warm_up_waits_for_a_compiler(clock: SimulatedClock) -> None:
    """Compiled at the second call, and once more at the 18th: neither is left for the samples."""
    dice = random.Random(0)
    durations = [2.0, 5.0, *repeat(0.05, 15), 4.0, *repeat(0.02, 300)]
    call = SimulatedCall(clock, (seconds * (1 + 0.02 * dice.gauss(0, 1)) for seconds in durations))
    start = warm_up(clock, call, Limits(max_time_s=120))
    assert start.converged
    assert 18 + 10 < start.calls < 60


def test_warm_up_is_not_over_before_a_clock_can_rise(clock: SimulatedClock) -> None:
    start = warm_up(clock, steps(clock, 0.0005), Limits())
    assert start.converged
    assert 0.2 <= start.duration_s < 0.25


def test_warm_up_ends_though_times_do_not_converge(clock: SimulatedClock) -> None:
    call = SimulatedCall(clock, (0.01 * 1.02**index for index in count()))
    start = warm_up(clock, call, Limits(max_time_s=20))
    assert not start.converged
    assert 5 <= start.duration_s < 5.5
    assert start.calls == call.calls


def test_a_call_that_takes_all_the_time_is_called_three_times(clock: SimulatedClock) -> None:
    start = warm_up(clock, steps(clock, 100.0), Limits(max_time_s=20))
    assert not start.converged
    assert start.calls == 3


def test_a_first_call_takes_as_long_as_it_does(clock: SimulatedClock) -> None:
    """Compiling for longer than a warm-up may last leaves the time for the calls after it."""
    start = warm_up(clock, SimulatedCall(clock, iter([60.0, *repeat(0.02, 300)])), Limits(max_time_s=20))
    assert start.first_call_s == 60.0
    assert start.converged
    assert start.calls == 21


# How often what sampling says is so


@pytest.mark.parametrize(
    ("noise", "rho", "width", "least"), [(0.02, 0.0, 0.02, 0.95), (0.03, 0.5, 0.02, 0.92), (0.05, 0.7, 0.03, 0.92)]
)
def test_coverage_when_sampling_chose_its_own_end(noise: float, rho: float, width: float, least: float) -> None:
    """To stop as soon as an interval looks narrow favours those that are too narrow; so one check is not enough."""
    hits = 0
    ends: Counter[str] = Counter()
    # The median is that of the calls with spikes, which lie above it.
    true = 0.05 * math.exp(noise * NormalDist().inv_cdf(0.5 / 0.98))
    for seed in range(RUNS):
        clock = SimulatedClock(queued=False)
        machine = Machine(clock, random.Random(seed), noise=noise, rho=rho, spikes=0.02, drift=0)
        taken = sample(clock, [machine.call(0.05)], Limits(ci_width=width, max_time_s=20))
        low, high = median_interval(taken.walls[0])
        hits += low <= true <= high
        ends[taken.stopped] += 1
    assert ends[CONVERGED] / RUNS > 0.3
    assert hits / RUNS >= least


def compared(
    seed: int, slower: float, *, noise: float = 0.01, rho: float = 0.5, max_time_s: float = 20.0
) -> tuple[str, bool]:
    """The verdict on two networks on one simulated machine, and whether the interval holds the true ratio."""
    clock = SimulatedClock(queued=False)
    machine = Machine(clock, random.Random(seed), noise=noise, rho=rho, spikes=0.03, drift=0.1)
    limits = Limits(ci_width=0.01, max_time_s=max_time_s)
    taken = sample(clock, [machine.call(0.03 * slower), machine.call(0.03)], limits)
    model_times, reference_times = taken.walls
    _, low, high = paired_ratio(model_times, reference_times)
    return verdict(low, high, limits.ci_width), low <= slower <= high


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_a_network_against_itself_is_the_same(rho: float) -> None:
    """A/A: at most 5 in 100 may come out FASTER or SLOWER, and nearly all must come out SAME."""
    runs = [compared(seed, 1.0, rho=rho) for seed in range(RUNS)]
    verdicts = Counter(result for result, _ in runs)
    assert (verdicts[FASTER] + verdicts[SLOWER]) / RUNS <= 0.05
    assert verdicts[SAME] / RUNS >= 0.9
    assert sum(holds for _, holds in runs) / RUNS >= 0.93


def test_a_network_against_itself_is_unclear_where_the_noise_is_too_loud() -> None:
    verdicts = Counter(compared(seed, 1.0, noise=0.1, max_time_s=5.0)[0] for seed in range(RUNS))
    assert (verdicts[FASTER] + verdicts[SLOWER]) / RUNS <= 0.05
    assert verdicts[UNCLEAR] / RUNS >= 0.9


@pytest.mark.parametrize(("slower", "expected"), [(1.03, SLOWER), (1 / 1.03, FASTER)])
def test_a_true_difference_is_found(slower: float, expected: str) -> None:
    runs = [compared(seed, slower) for seed in range(RUNS)]
    assert Counter(result for result, _ in runs)[expected] / RUNS >= 0.9
    assert sum(holds for _, holds in runs) / RUNS >= 0.93


def test_a_difference_at_the_edge_of_the_band_is_seldom_called_one() -> None:
    """A true ratio of 1.01 lies within the band of 1 %: SLOWER is an error, and at most 5 in 100 may make it."""
    verdicts = Counter(compared(seed, 1.01)[0] for seed in range(RUNS))
    assert verdicts[SLOWER] / RUNS <= 0.05
    assert verdicts[FASTER] == 0
