"""Ratios of times, verdicts and the knee: coverage by simulation with fixed seeds, properties, and values by hand."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.measure.bench.stats.estimators import describe, median_interval
from resnet_cli.measure.bench.stats.ratios import (
    FASTER,
    SAME,
    SLOWER,
    UNCLEAR,
    independent_ratio,
    knee,
    paired_ratio,
    verdict,
)
from resnet_cli.results.bench import Distribution
from tests.helpers.fake_clock import series

RUNS = 100


def test_what_slows_both_down_is_not_in_the_ratio() -> None:
    """Coverage of the paired ratio, under noise that lasts and a drift that both share."""
    hits = 0
    for seed in range(RUNS):
        dice = random.Random(seed)
        shared = series(dice, 0.9, 200)
        model, reference = [], []
        for index, value in enumerate(shared):
            machine = math.exp(0.05 * value) * (1 + 0.5 * index / 200)
            model.append(1.02 * machine * math.exp(0.01 * dice.gauss(0, 1)))
            reference.append(machine * math.exp(0.01 * dice.gauss(0, 1)))
        ratio, low, high = paired_ratio(model, reference)
        assert high - low < 0.02  # the machine alone moves by 50 %
        assert low <= ratio <= high
        hits += low <= 1.02 <= high
    assert hits / RUNS >= 0.93


@given(
    pairs=st.lists(st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)), min_size=1, max_size=50),
    scale=st.floats(0.01, 100),
)
def test_the_ratio_follows_the_times(pairs: list[tuple[float, float]], scale: float) -> None:
    model, reference = [a for a, _ in pairs], [b for _, b in pairs]
    ratio = paired_ratio(model, reference)
    assert paired_ratio([scale * time for time in model], reference) == pytest.approx(
        tuple(scale * part for part in ratio)
    )
    assert paired_ratio(model, model) == (1.0, 1.0, 1.0)


def test_the_first_of_a_round_may_be_faster() -> None:
    """Two equal calls in turn, where the first of each round finds a warm cache: no difference, and a sharp one."""
    dice = random.Random(2)
    first = [0.97 * (1 + 0.002 * dice.gauss(0, 1)) for _ in range(100)]
    second = [1 + 0.002 * dice.gauss(0, 1) for _ in range(100)]
    model = [(first if index % 2 == 0 else second)[index] for index in range(100)]
    reference = [(second if index % 2 == 0 else first)[index] for index in range(100)]
    ratio, low, high = paired_ratio(model, reference)
    assert ratio == pytest.approx(1, abs=0.002)
    assert low <= 1 <= high
    assert high - low < 0.004
    # Round by round it would be one or the other.
    low, high = median_interval([a / b for a, b in zip(model, reference, strict=True)])
    assert high - low > 0.04


@pytest.mark.parametrize(
    ("model", "reference"), [([1.0], [1.0, 2.0]), ([], []), ([0.0, 1.0], [1.0, 1.0]), ([1.0, 1.0], [1.0, -1.0])]
)
def test_no_ratio(model: list[float], reference: list[float]) -> None:
    with pytest.raises(ValueError, match=r"longer|shorter|needs values|above 0"):
        paired_ratio(model, reference)


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
    model = replace(describe([1.0]), median_s=2.0, ci_low_s=2.0 / 1.03, ci_high_s=2.0 * 1.03)
    reference = replace(model, median_s=1.0, ci_low_s=1.0 / 1.04, ci_high_s=1.04)
    # In logarithms, of a right-angled triangle.
    reach = math.exp(math.hypot(math.log(1.03), math.log(1.04)))
    assert independent_ratio(model, reference) == pytest.approx((2.0, 2 / reach, 2 * reach))
    assert independent_ratio(model, model)[0] == 1.0
    ratio, low, high = independent_ratio(model, reference)
    assert independent_ratio(reference, model) == pytest.approx((1 / ratio, 1 / high, 1 / low))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
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
def test_verdicts(low: float, high: float, expected: str) -> None:
    assert verdict(low, high, 0.01) == expected


@given(low=st.floats(0.5, 2), width=st.floats(0, 1), band=st.floats(0, 0.3))
def test_a_wider_interval_never_says_more(low: float, width: float, band: float) -> None:
    ratio = verdict(low, low + width, band)
    assert verdict(low - 0.01, low + width + 0.01, band) in (ratio, UNCLEAR)


def test_knee() -> None:
    assert knee([(1, 60.0), (8, 95.0), (32, 100.0)]) == 8
    assert knee([(32, 100.0), (8, 89.0), (1, 60.0)]) == 32
    assert knee([(1, 100.0), (8, 90.0)]) == 1
    assert knee([(1, 60.0), (8, 75.0), (32, 100.0)], share=0.75) == 8
    assert knee([(1, 60.0)]) is None
    assert knee([]) is None
