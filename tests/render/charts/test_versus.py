"""A forest plot: intervals, the band of the same, verdicts that read without colour."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot
from resnet_cli.render.charts.versus import versus
from resnet_cli.results.bench import BenchResult, Versus
from tests.helpers.chart_checks import having, outside, size, sound, words
from tests.helpers.results_bench import BARE, compared, comparison
from tests.helpers.results_summary_flops import HOSTILE


def of(*them: Versus) -> BenchResult:
    return replace(BARE, versus=them)


def test_a_row_for_each_batch_under_its_opponent() -> None:
    drawing = sound(versus(compared()))
    said = words(drawing)
    assert "resnet18 against torchvision resnet18, in turn call by call" in said
    assert "this run against the baseline" in said
    assert said.count("batch 8") == 2
    assert "0.968 (0.957…0.979)" in said
    roles = [mark.role for mark in drawing.marks if isinstance(mark, Dot)]
    assert roles == ["good", "plain", "warning", "bad", "warning"]
    assert size(drawing) < 6_000


def test_each_group_has_its_own_band() -> None:
    first, second = having(sound(versus(compared())), "band")
    assert isinstance(first, Box)
    assert isinstance(second, Box)
    assert second.width == pytest.approx(5 * first.width, rel=0.02)


def test_twice_as_fast_is_as_far_from_1_as_twice_as_slow() -> None:
    drawing = sound(versus(of(*(comparison(1, "SAME", ratio, ratio, ratio) for ratio in (0.5, 1.0, 2.0)))))
    fast, same, slow = [mark.x for mark in drawing.marks if isinstance(mark, Dot)]
    assert same - fast == pytest.approx(slow - same)


def test_a_point_within_the_band_lies_in_its_box() -> None:
    drawing = sound(versus(of(comparison(1, "SAME", 0.995, 0.999, 1.004))))
    (band,) = having(drawing, "band")
    (whisker,) = [mark for mark in having(drawing, "whisker") if isinstance(mark, Curve)]
    assert isinstance(band, Box)
    xs = [numbers[0] for _, numbers in whisker.segments]
    assert band.x < min(xs) < max(xs) < band.x + band.width


def test_an_interval_without_end_leaves_the_others_apart() -> None:
    drawing = sound(versus(of(comparison(1, "UNCLEAR", 0.01, 1.0, 900.0), comparison(2, "SLOWER", 1.8, 2.0, 2.2))))
    one, two = [mark.x for mark in drawing.marks if isinstance(mark, Dot)]
    assert two - one > 60


def test_nothing_compared() -> None:
    assert versus(BARE) is None
    assert versus(of(replace(comparison(1, "SAME", 1.0, 1.0, 1.0), ratio=0.0))) is None


def test_names_from_outside_and_many_rows() -> None:
    them = [comparison(i + 1, "FASTER", 0.8, 0.9, 0.95, model=HOSTILE * 30, reference=HOSTILE * 30) for i in range(100)]
    drawing = sound(versus(of(*them)))
    assert "and 40 more" in words(drawing)


FIGURES = st.floats()


@given(
    st.lists(
        st.builds(
            replace,
            st.just(comparison(1, "SAME", 0.9, 1.0, 1.1)),
            batch_size=st.integers(),
            model=st.text(max_size=320),
            ratio=FIGURES,
            low=FIGURES,
            high=FIGURES,
            band=FIGURES,
            verdict=st.text(),
        ),
        max_size=3,
    )
)
def test_no_figures_break_it(them: list[Versus]) -> None:
    drawing = versus(of(*them))
    if drawing is not None:
        assert outside(drawing) == []
        size(drawing)
