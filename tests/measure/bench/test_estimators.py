"""The statistics as pure functions: against properties, published values, Python's own, and known distributions.

Coverage is simulated with fixed seeds. In several hundred series an interval of 95 % misses by chance a little more
often than that, so what is asserted lies below.
"""

from __future__ import annotations

import math
import random
import statistics as python
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_cli.measure.bench.estimators import (
    FASTER,
    MIN_SAMPLES,
    SAME,
    SLOWER,
    UNCLEAR,
    autocorrelation,
    describe,
    drift,
    effective_samples,
    independent_ratio,
    is_steady,
    knee,
    median_interval,
    min_samples_for_percentile,
    outliers,
    paired_ratio,
    percentile,
    quantile,
    student_t,
    verdict,
)
from resnet_cli.results.bench import Distribution
from tests.helpers.fake_clock import autoregressive, series

RUNS = 300
Interval = Callable[[list[float]], tuple[float, float]]
TIMES = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60)


# Order statistics


@settings(deadline=None)
@given(times=TIMES, share=st.floats(0, 1))
def test_a_quantile_lies_within_the_series(times: list[float], share: float) -> None:
    ordered = sorted(times)
    assert quantile(ordered, 0) == ordered[0]
    assert quantile(ordered, 1) == ordered[-1]
    assert ordered[0] <= quantile(ordered, share) * (1 + 1e-12)
    assert quantile(ordered, share) <= ordered[-1] * (1 + 1e-12)


@settings(deadline=None)
@given(times=st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=60))
def test_quantiles_are_those_of_python(times: list[float]) -> None:
    ordered = sorted(times)
    assert quantile(ordered, 0.5) == pytest.approx(python.median(times))
    inclusive = python.quantiles(times, n=20, method="inclusive")
    assert [quantile(ordered, index / 20) for index in range(1, 20)] == pytest.approx(inclusive)


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], -0.1), ([1.0], 1.1), ([1.0], math.nan)])
def test_a_quantile_of_nothing(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        quantile(values, share)


# Student's t


# From the table of percentage points in Fisher and Yates, "Statistical Tables", as in most textbooks.
@pytest.mark.parametrize(
    ("share", "freedom", "published"),
    [
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.995, 2, 9.925),
        (0.9995, 2, 31.599),
        (0.995, 3, 5.841),
        (0.975, 4, 2.776),
        (0.95, 5, 2.015),
        (0.95, 6, 1.943),
        (0.975, 9, 2.262),
        (0.975, 19, 2.093),
        (0.995, 19, 2.861),
        (0.995, 30, 2.750),
        (0.975, 120, 1.980),
    ],
)
def test_student_t_as_published(share: float, freedom: int, published: float) -> None:
    assert student_t(share, freedom) == pytest.approx(published, abs=0.0006)
    assert student_t(1 - share, freedom) == pytest.approx(-published, abs=0.0006)


@settings(deadline=None)
@given(share=st.floats(0.001, 0.999))
def test_student_t_where_it_has_a_closed_form(share: float) -> None:
    assert student_t(share, 1) == pytest.approx(math.tan(math.pi * (share - 0.5)), abs=1e-9)
    middle = 2 * share - 1
    assert student_t(share, 2) == pytest.approx(middle * math.sqrt(2 / (1 - middle**2)), abs=1e-9)


def test_student_t_goes_over_into_the_normal() -> None:
    assert student_t(0.975, 10_000) == pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-3)
    assert student_t(0.5, 7) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("share", "freedom"), [(0.0, 3), (1.0, 3), (0.9, 0)])
def test_no_student_t(share: float, freedom: int) -> None:
    with pytest.raises(ValueError, match="Student"):
        student_t(share, freedom)


# The interval of the median: what holds for every series


@settings(deadline=None)
@given(times=TIMES)
def test_the_interval_holds_the_median(times: list[float]) -> None:
    low, high = median_interval(times)
    assert min(times) <= low * (1 + 1e-12)
    assert low <= python.median(times) * (1 + 1e-12)
    assert python.median(times) <= high * (1 + 1e-12)
    assert high <= max(times) * (1 + 1e-12)


@settings(deadline=None)
@given(times=TIMES, more=st.floats(0.5, 0.999), less=st.floats(0.5, 0.999))
def test_more_confidence_is_no_narrower(times: list[float], more: float, less: float) -> None:
    more, less = max(more, less), min(more, less)
    low, high = median_interval(times, less)
    lower, higher = median_interval(times, more)
    assert lower <= low * (1 + 1e-12)
    assert higher >= high * (1 - 1e-12)


@settings(deadline=None)
@given(times=TIMES, scale=st.sampled_from([0.001, 0.5, 3.0, 1000.0]))
def test_the_unit_does_not_matter(times: list[float], scale: float) -> None:
    low, high = median_interval(times)
    assert median_interval([scale * time for time in times]) == pytest.approx((scale * low, scale * high))


@settings(deadline=None)
@given(times=st.lists(st.integers(0, 1000), min_size=1, max_size=60), shift=st.integers(-5, 5000))
def test_a_constant_moves_the_interval(times: list[int], shift: int) -> None:
    low, high = median_interval(times)
    assert median_interval([time + shift for time in times]) == pytest.approx((low + shift, high + shift))


@settings(deadline=None)
@given(times=TIMES)
def test_time_may_run_backwards(times: list[float]) -> None:
    # Only where the batches are all of one length: the cuts are then the same from both ends.
    times = times[: len(times) // 20 * 20] or times[:1]
    assert median_interval(times[::-1]) == pytest.approx(median_interval(times))


@settings(deadline=None)
@given(times=st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=MIN_SAMPLES - 1))
def test_few_samples_give_their_extremes(times: list[float]) -> None:
    assert median_interval(times) == (min(times), max(times))


@pytest.mark.parametrize("n", [1, 5, 6, 39, 400])
def test_equal_samples_leave_no_doubt(n: int) -> None:
    assert median_interval([0.5] * n) == (0.5, 0.5)
    assert effective_samples([0.5] * n) == n


def test_no_samples() -> None:
    for function in (median_interval, describe):
        with pytest.raises(ValueError, match="needs values"):
            function([])


# The interval of the median: how often it holds the true one


def coverage(make: Callable[[random.Random], list[float]], true: float, interval: Interval) -> float:
    """The share of simulated series whose interval holds the true median."""
    hits = 0
    for seed in range(RUNS):
        low, high = interval(make(random.Random(seed)))
        hits += low <= true <= high
    return hits / RUNS


def for_independent_samples(samples: list[float]) -> tuple[float, float]:
    """The ordinary interval of the median, by the binomial distribution of the samples below it."""
    ordered = sorted(samples)
    reach = NormalDist().inv_cdf(0.975) * 0.5 / math.sqrt(len(ordered))
    return quantile(ordered, 0.5 - reach), quantile(ordered, 0.5 + reach)


DISTRIBUTIONS: dict[str, tuple[Callable[[random.Random], float], float]] = {
    "normal": (lambda dice: dice.gauss(0, 1), 0.0),
    "exponential": (lambda dice: dice.expovariate(1), math.log(2)),
    "lognormal": (lambda dice: dice.lognormvariate(0, 1), 1.0),
    "two levels": (
        lambda dice: dice.gauss(1 if dice.random() < 0.6 else 3, 0.1),
        1 + 0.1 * NormalDist().inv_cdf(5 / 6),
    ),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("n", [8, 40, 200])
def test_coverage_of_independent_samples(name: str, n: int) -> None:
    draw, true = DISTRIBUTIONS[name]
    assert coverage(lambda dice: [draw(dice) for _ in range(n)], true, median_interval) >= 0.93


@pytest.mark.parametrize(
    ("rho", "n", "least"), [(0.5, 40, 0.92), (0.5, 100, 0.93), (0.5, 400, 0.93), (0.9, 100, 0.88), (0.9, 400, 0.92)]
)
def test_coverage_of_dependent_samples(rho: float, n: int, least: float) -> None:
    assert coverage(lambda dice: series(dice, rho, n), 0.0, median_interval) >= least


@pytest.mark.parametrize(("rho", "most"), [(0.5, 0.85), (0.9, 0.45)])
def test_the_ordinary_interval_fails_on_the_same_series(rho: float, most: float) -> None:
    assert coverage(lambda dice: series(dice, rho, 400), 0.0, for_independent_samples) <= most


def test_the_interval_is_no_wider_than_it_must_be() -> None:
    """Coverage alone would be had from the extremes. Of independent samples a fifth more than the ordinary is paid."""
    wide = ordinary = 0.0
    for seed in range(100):
        samples = series(random.Random(seed), 0.0, 400)
        low, high = median_interval(samples)
        wide += high - low
        low, high = for_independent_samples(samples)
        ordinary += high - low
    assert 1 <= wide / ordinary <= 1.25


def test_confidence_is_what_it_says() -> None:
    half = coverage(lambda dice: series(dice, 0.0, 400), 0.0, lambda samples: median_interval(samples, 0.5))
    assert 0.45 <= half <= 0.75


def test_a_drift_is_in_the_interval() -> None:
    rising = [1 + 0.1 * index / 400 for index in range(400)]
    low, high = median_interval(rising)
    assert high - low > 0.05


def test_effective_samples() -> None:
    def of(rho: float) -> float:
        return python.median(effective_samples(series(random.Random(seed), rho, 400)) for seed in range(50))

    # An AR(1) series of 400 with correlation .5 tells its mean as well as 400 (1 - .5) / (1 + .5) = 133 do; its
    # median, which a rank depends on less than a value does, a little better.
    assert of(0.0) > 250
    assert 80 <= of(0.5) <= 220
    assert of(0.9) < 40
    assert effective_samples([1.0, 2.0, 3.0]) == 3


# Autocorrelation


def test_autocorrelation() -> None:
    for rho in (0.0, 0.5, 0.9):
        found = autocorrelation(series(random.Random(1), rho, 4000))
        # Spearman's coefficient of a normal pair (Pearson 1907): 6 / pi asin(rho / 2).
        assert found == pytest.approx(6 / math.pi * math.asin(rho / 2), abs=0.05)
    assert autocorrelation([1, 2] * 20) == pytest.approx(-1, abs=0.05)
    assert autocorrelation([1.0, 2.0]) is None
    assert autocorrelation([1.0] * 10) is None


def test_one_outlier_does_not_hide_autocorrelation() -> None:
    samples = series(random.Random(1), 0.9, 200)
    before = autocorrelation(samples)
    samples[100] = 1e6
    assert autocorrelation(samples) == pytest.approx(before, abs=0.05)


# Percentiles


def test_samples_that_a_percentile_needs() -> None:
    # MLPerf's load generator, early_stopping.cc and mlperf.conf.
    assert [min_samples_for_percentile(share) for share in (0.5, 0.9, 0.95, 0.99, 0.999)] == [11, 64, 130, 662, 6636]
    with pytest.raises(ValueError, match="percentile"):
        min_samples_for_percentile(1.0)


def test_a_percentile_needs_its_samples() -> None:
    for share, needed in ((0.9, 64), (0.95, 130), (0.99, 662)):
        ordered = [float(value) for value in range(needed)]
        assert percentile(ordered, share) == pytest.approx(share * (needed - 1))
        assert percentile(ordered[:-1], share) is None


# Outliers


def test_outliers_are_beyond_the_outer_fences() -> None:
    samples = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0]  # quartiles 12 and 16, fences 0 and 28
    assert outliers(samples) == ()
    assert outliers([*samples[:4], 28.5, *samples[4:]]) == ()  # the quartiles move with it, the fence to 30.5
    assert outliers([*samples[:4], 31.0, *samples[4:]]) == (4,)
    assert outliers([-5.0, *samples, 40.0]) == (0, 10)
    assert outliers([1.0, 1.0, 1.0, 1.0, 100.0]) == ()  # too few to know quartiles


def test_of_normal_noise_next_to_nothing_is_an_outlier() -> None:
    # Outer fences of a normal distribution lie at 4.7 standard deviations: 2 in a million.
    assert outliers(series(random.Random(3), 0.0, 4000)) == ()


def test_outliers_are_counted_and_not_dropped() -> None:
    samples = [*(1 + 0.01 * (index % 7) for index in range(100)), 50.0]
    told = describe(samples)
    assert told.outliers == 1
    assert told.max_s == 50.0
    assert told.samples_s == tuple(samples)
    assert told.mean_s == pytest.approx(python.fmean(samples))


# Drift


def test_drift_is_found() -> None:
    dice = random.Random(5)
    samples = [(1 + 0.06 * index / 300) * (1 + 0.01 * dice.gauss(0, 1)) for index in range(300)]
    assert drift(samples) == pytest.approx(0.04, abs=0.01)  # from the middle of the first third to that of the last
    assert drift(samples[::-1]) == pytest.approx(-0.04, abs=0.01)


@pytest.mark.parametrize("rho", [0.0, 0.5])
@pytest.mark.parametrize("n", [60, 300])
def test_drift_is_seldom_seen_where_there_is_none(rho: float, n: int) -> None:
    alarms = sum(
        drift([10 + value for value in series(random.Random(seed), rho, n)]) is not None for seed in range(RUNS)
    )
    assert alarms / RUNS <= 0.03


def test_drift_of_too_few() -> None:
    assert drift([float(index) for index in range(3 * MIN_SAMPLES - 1)]) is None


# Warm


def settles_after(samples: list[float]) -> int | None:
    """How many samples have been seen when the series is called steady."""
    return next((n for n in range(1, len(samples) + 1) if is_steady(samples[:n])), None)


def test_a_step_down_is_waited_for() -> None:
    """A compiler is done after 12 calls: both windows lie behind that, but for a quarter that quartiles allow."""
    dice = random.Random(1)
    samples = [(3.0 if index < 12 else 1.0) * (1 + 0.02 * dice.gauss(0, 1)) for index in range(60)]
    found = settles_after(samples)
    assert found is not None
    assert 12 + 16 <= found <= 12 + 20


@pytest.mark.parametrize("decay", [3, 10])
def test_a_decaying_start_is_waited_for(decay: int) -> None:
    for seed in range(30):
        dice = random.Random(seed)
        samples = [(1 + 5 * math.exp(-index / decay)) * (1 + 0.02 * dice.gauss(0, 1)) for index in range(200)]
        found = settles_after(samples)
        assert found is not None
        # What is left in the newer window's middle is less than a tenth.
        assert 5 * math.exp(-(found - 5) / decay) < 0.1


@pytest.mark.parametrize("fall", [0.02, 0.1])
def test_an_even_fall_is_never_steady(fall: float) -> None:
    assert settles_after([10 - fall * index for index in range(90)]) is (None if fall == 0.1 else 20)


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_noise_is_not_called_unsteady_forever(noise: float, rho: float) -> None:
    for seed in range(50):
        values = autoregressive(random.Random(seed), rho)
        found = settles_after([math.exp(noise * next(values)) for _ in range(150)])
        assert found is not None
        assert found >= 20


def test_single_spikes_do_not_matter() -> None:
    samples = [1.0] * 20
    samples[4] = samples[15] = 100.0
    assert is_steady(samples)


def test_windows() -> None:
    assert not is_steady([1.0] * 19)
    assert is_steady([1.0] * 20)
    assert is_steady([1.0] * 4, window=2)
    assert not is_steady([2.0, 2.0, 1.0, 1.0], window=2)
    assert is_steady([0.0] * 20)  # a clock that is too coarse
    with pytest.raises(ValueError, match="window"):
        is_steady([1.0], window=1)


# Descriptions


@settings(deadline=None)
@given(times=TIMES)
def test_a_description_is_that_of_python(times: list[float]) -> None:
    told = describe(times)
    assert told.median_s == pytest.approx(python.median(times))
    assert told.mean_s == pytest.approx(python.fmean(times))
    assert (told.min_s, told.max_s, told.samples_s) == (min(times), max(times), tuple(times))
    assert (told.ci_low_s, told.ci_high_s) == median_interval(times)
    if len(times) > 1:
        assert told.std_s == pytest.approx(python.stdev(times))
    else:
        assert told.std_s is None
    assert 0 < told.effective_samples <= len(times)


def test_a_description_of_many() -> None:
    told = describe([float(value) for value in range(1, 1001)])
    assert (told.p90_s, told.p95_s, told.p99_s) == pytest.approx((900.1, 950.05, 990.01))
    few = describe([float(value) for value in range(1, 101)])
    assert few.p90_s == pytest.approx(90.1)
    assert few.p95_s is few.p99_s is None


# Ratios


def test_what_slows_both_down_is_not_in_the_ratio() -> None:
    """Coverage of the paired ratio, under noise that lasts and a drift that both share."""
    hits = 0
    for seed in range(RUNS):
        dice = random.Random(seed)
        shared = series(dice, 0.9, 200)
        ours, theirs = [], []
        for index, value in enumerate(shared):
            machine = math.exp(0.05 * value) * (1 + 0.5 * index / 200)
            ours.append(1.02 * machine * math.exp(0.01 * dice.gauss(0, 1)))
            theirs.append(machine * math.exp(0.01 * dice.gauss(0, 1)))
        ratio, low, high = paired_ratio(ours, theirs)
        assert high - low < 0.02  # the machine alone moves by 50 %
        assert low <= ratio <= high
        hits += low <= 1.02 <= high
    assert hits / RUNS >= 0.93


@settings(deadline=None)
@given(
    pairs=st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)), min_size=1, max_size=50),
    scale=st.floats(0.01, 100),
)
def test_the_ratio_follows_the_times(pairs: list[tuple[float, float]], scale: float) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    told = paired_ratio(ours, theirs)
    assert paired_ratio([scale * time for time in ours], theirs) == pytest.approx(tuple(scale * part for part in told))
    assert paired_ratio(ours, ours) == (1.0, 1.0, 1.0)


def test_the_first_of_a_round_may_be_faster() -> None:
    """Two equal calls in turn, where the first of each round finds a warm cache: no difference, and a sharp one."""
    dice = random.Random(2)
    first = [0.97 * (1 + 0.002 * dice.gauss(0, 1)) for _ in range(100)]
    second = [1 + 0.002 * dice.gauss(0, 1) for _ in range(100)]
    ours = [(first if index % 2 == 0 else second)[index] for index in range(100)]
    theirs = [(second if index % 2 == 0 else first)[index] for index in range(100)]
    ratio, low, high = paired_ratio(ours, theirs)
    assert ratio == pytest.approx(1, abs=0.002)
    assert low <= 1 <= high
    assert high - low < 0.004
    # Round by round it would be one or the other.
    low, high = median_interval([our / their for our, their in zip(ours, theirs, strict=True)])
    assert high - low > 0.04


@pytest.mark.parametrize(
    ("ours", "theirs"), [([1.0], [1.0, 2.0]), ([], []), ([0.0, 1.0], [1.0, 1.0]), ([1.0, 1.0], [1.0, -1.0])]
)
def test_no_ratio(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"longer|shorter|needs values|above 0"):
        paired_ratio(ours, theirs)


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_coverage_of_a_ratio_of_two_runs(rho: float) -> None:
    def run(dice: random.Random, median: float, n: int) -> Distribution:
        return describe([median * math.exp(0.05 * value) for value in series(dice, rho, n)])

    hits = 0
    for seed in range(RUNS):
        dice = random.Random(seed)
        ratio, low, high = independent_ratio(run(dice, 1.1, 80), run(dice, 1.0, 160))
        assert low <= ratio <= high
        hits += low <= 1.1 <= high
    assert hits / RUNS >= 0.93


def test_a_ratio_of_two_runs_by_hand() -> None:
    ours = replace(describe([1.0]), median_s=2.0, ci_low_s=2.0 / 1.03, ci_high_s=2.0 * 1.03)
    theirs = replace(ours, median_s=1.0, ci_low_s=1.0 / 1.04, ci_high_s=1.04)
    # In logarithms, of a right-angled triangle.
    reach = math.exp(math.hypot(math.log(1.03), math.log(1.04)))
    assert independent_ratio(ours, theirs) == pytest.approx((2.0, 2 / reach, 2 * reach))
    assert independent_ratio(ours, ours)[0] == 1.0
    ratio, low, high = independent_ratio(ours, theirs)
    assert independent_ratio(theirs, ours) == pytest.approx((1 / ratio, 1 / high, 1 / low))


def test_no_ratio_of_no_time() -> None:
    with pytest.raises(ValueError, match="above 0"):
        independent_ratio(describe([1.0]), describe([0.0, 1.0, 1.0]))


# Verdicts


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0.90, 0.98, FASTER),
        (0.90, 0.99, UNCLEAR),  # reaches the band
        (0.985, 0.995, UNCLEAR),
        (0.99, 1.01, SAME),  # the band's edges belong to it
        (0.995, 1.005, SAME),
        (1.002, 1.008, SAME),  # a difference, but too small to count
        (0.98, 1.02, UNCLEAR),  # too wide to say
        (1.005, 1.02, UNCLEAR),
        (1.01, 1.05, UNCLEAR),
        (1.02, 1.05, SLOWER),
    ],
)
def test_verdicts(low: float, high: float, found: str) -> None:
    assert verdict(low, high, 0.01) == found


@settings(deadline=None)
@given(low=st.floats(0.5, 2), width=st.floats(0, 1), band=st.floats(0, 0.3))
def test_a_wider_interval_never_says_more(low: float, width: float, band: float) -> None:
    told = verdict(low, low + width, band)
    assert verdict(low - 0.01, low + width + 0.01, band) in (told, UNCLEAR)


# The knee


def test_knee() -> None:
    assert knee([(1, 60.0), (8, 95.0), (32, 100.0)]) == 8
    assert knee([(32, 100.0), (8, 89.0), (1, 60.0)]) == 32
    assert knee([(1, 100.0), (8, 90.0)]) == 1
    assert knee([(1, 60.0), (8, 75.0), (32, 100.0)], share=0.75) == 8
    assert knee([(1, 60.0)]) is None
    assert knee([]) is None


@settings(deadline=None)
@given(rates=st.lists(st.tuples(st.integers(1, 512), st.floats(1, 1e5)), min_size=2, unique_by=lambda row: row[0]))
def test_no_smaller_batch_does_as_well_as_the_knee(rates: list[tuple[int, float]]) -> None:
    found = knee(rates)
    best = max(rate for _, rate in rates)
    assert found in [batch for batch, _ in rates]
    assert all((rate >= 0.9 * best) == (batch >= found) or batch > found for batch, rate in rates if found is not None)


def test_a_series_of_the_simulation_is_what_it_says() -> None:
    values = series(random.Random(1), 0.9, 20_000)
    product = python.fmean(a * b for a, b in pairwise(values))
    assert product / python.fmean(value**2 for value in values) == pytest.approx(0.9, abs=0.02)
    assert python.stdev(values) == pytest.approx(1, abs=0.1)


def test_a_run_that_wandered_still_leaves_its_outliers_out() -> None:
    wandered = [*(1 + index / 100 for index in range(100)), 1e6]
    low, high = median_interval(wandered, 0.95)
    assert low < 1.1
    assert 1.9 < high < 2.1
    # Of fewer samples than two a batch (2 x 20) any may be the median.
    assert median_interval(wandered[-39:], 0.95)[1] > 1e5
    assert median_interval(wandered[-41:], 0.95)[1] < 2.1
    few = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1e6]  # a run of ten that drifts says nothing of its ends
    assert median_interval(few, 0.95)[1] > 9.0


def test_the_fewest_samples_may_have_an_outlier() -> None:
    steady = [1.0 + index / 100 for index in range(MIN_SAMPLES - 1)]
    assert outliers([*steady, 50.0]) == (MIN_SAMPLES - 1,)
    assert outliers([*steady[1:], 50.0]) == ()


def test_the_lowest_percentile_needs_two_samples() -> None:
    assert min_samples_for_percentile(0.0) == 2


def test_correlation_is_that_of_the_ranks() -> None:
    # Ranks 0 to 3 about 1.5: (0.75 - 0.25 + 0.75) / (2.25 + 0.25 + 0.25 + 2.25), as Box and Jenkins define it.
    assert autocorrelation([1.0, 10.0, 100.0, 1000.0]) == pytest.approx(0.25)
    assert autocorrelation([1.0, 1000.0, 10.0, 100.0]) == pytest.approx((-2.25 - 0.75 - 0.25) / 5)  # ranks 0, 3, 1, 2
    assert autocorrelation([1.0, 1.0, 2.0, 2.0]) == pytest.approx(0.25)  # equal ones share a rank: 0.5, 0.5, 2.5, 2.5


def test_windows_are_alike_within_half_their_own_spread() -> None:
    older = [0.9, 0.9, 0.9, 1.0, 1.0, 1.0, 1.1, 1.1, 1.1]
    wider = [0.6, 0.6, 0.6, 1.0, 1.0, 1.0, 1.4, 1.4, 1.4]
    assert is_steady([*older, *wider], 9)
    assert not is_steady([*older, *(one + 0.5 for one in older)], 9)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ([0.8, 0.8, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0]),
        ([1.0, 1.0, 1.0, 1.2, 1.2], [1.0, 1.0, 1.2, 1.2, 1.2]),
        ([1.0, 1.0, 1.0, 1.2, 1.2], [1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_one_quartile_that_moves_is_not_steady(older: list[float], newer: list[float]) -> None:
    assert not is_steady([*older, *newer], window=5)
    assert is_steady([*newer, *newer], window=5)


def test_twelve_ratios_are_taken_in_pairs_of_both_orders() -> None:
    ours, theirs = [1.1, 1.0] * 6, [1.0, 1.1] * 6
    assert paired_ratio(ours, theirs, 0.95) == pytest.approx((1.0, 1.0, 1.0))
