"""A histogram and a timeline of samples in block characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.render.pages.bench.sparkline import LEVELS, blocks, histogram, timeline, within_fences


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60), st.integers(1, 40))
def test_a_histogram_counts_every_sample_that_is_not_an_outlier(samples: list[float], bins: int) -> None:
    counts = histogram(samples, bins)
    low, high = within_fences(samples)
    assert len(counts) == bins
    assert sum(counts) == sum(low <= sample <= high for sample in samples)
    assert min(samples) <= low <= high <= max(samples)
    drawing = blocks(counts)
    assert LEVELS[-1] in drawing
    assert [block == LEVELS[0] for block in drawing] == [count == 0 for count in counts]


def test_an_outlier_does_not_squash_a_histogram() -> None:
    samples = [float(value) for value in range(100, 120)]
    assert histogram([*samples, 10_000.0], 4) == histogram(samples, 4) == (5, 5, 5, 5)
    assert within_fences([*samples, 10_000.0]) == (100.0, 119.0)


def test_few_or_equal_samples_have_no_outlier() -> None:
    assert within_fences([1.0, 1.1, 50.0]) == (1.0, 50.0)
    assert histogram([2.0] * 9, 3) == (9, 0, 0)
    assert within_fences([1.0] * 9 + [2.0]) == (1.0, 2.0)
    with pytest.raises(ValueError, match="no samples"):
        histogram([], 3)


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=200), st.integers(1, 40))
def test_a_timeline_has_a_block_for_each_group(samples: list[float], groups: int) -> None:
    drawing = timeline(samples, groups)
    assert len(drawing) == min(groups, len(samples))
    assert LEVELS[0] in drawing
    assert (LEVELS[-1] in drawing) == (len(set(drawing)) > 1)


def test_drift_shows_in_a_timeline_and_a_single_slow_sample_does_not() -> None:
    rising = [1 + index / 100 + 0.3 * (index % 2) for index in range(160)]
    assert timeline(rising, 8) == "▁▂▃▄▅▆▇█"
    assert timeline(rising[::-1], 8) == "█▇▆▅▄▃▂▁"
    assert timeline([1.0] * 20 + [9.0] + [1.0] * 19, 4) == "▁▁▁▁"
