"""Walks: each step from where the one before ended, every digit, an axis that says where it begins."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.render.charts.drawing.primitives import Box, Drawing
from resnet_cli.render.charts.flops_waterfall import walks
from resnet_cli.results.flops import FlopsResult, Reconciliation, ReconciliationStep
from tests.helpers.chart_checks import having, outside, size, sound, words
from tests.helpers.results_summary_flops import HOSTILE, flops_result


def step(difference: int, meaning: str = "elements through batch norm") -> ReconciliationStep:
    return ReconciliationStep("B", meaning, ("batch_norm",), abs(difference), 2.0, 0.0, difference)


def of(*them: Reconciliation) -> FlopsResult:
    return replace(flops_result(), reconciliations=them)


def walk(start: int, *differences: int) -> Reconciliation:
    return Reconciliation("odd", "ours", start, start + sum(differences), tuple(map(step, differences)))


def bars(drawing: Drawing) -> list[Box]:
    return [mark for mark in drawing.marks if isinstance(mark, Box)]


def test_steps_lead_from_figure_to_figure() -> None:
    start, first, second, third, end = bars(sound(walks(flops_result())))
    assert [mark.role for mark in (start, first, second, third, end)] == ["figure", "fall", "fall", "fall", "figure"]
    assert start.x + start.width == pytest.approx(first.x + first.width)
    assert first.x == pytest.approx(second.x + second.width)
    assert end.x + end.width == pytest.approx(second.x, abs=1)


def test_every_digit_stands_there() -> None:
    said = words(sound(walks(flops_result()))).splitlines()
    for text in ("3,400,750 FLOP", "−1,200,000", "−500,000", "−750", "1,700,000 MAC", "odd one → resnet-cli"):
        assert text in said
    assert "R: 0.5× → 0× · relu" in said


def test_an_axis_that_does_not_begin_at_0_says_so_and_its_bars_are_torn() -> None:
    drawing = sound(walks(of(walk(4_111_512_576, -22_227_968, -100_352))))
    assert "the axis begins at 4.08 G" in words(drawing)
    assert len(having(drawing, "tear")) == 2
    assert bars(drawing)[1].width > 60


def test_an_axis_from_0_has_bars_in_proportion() -> None:
    drawing = sound(walks(of(walk(8_000, -4_000))))
    assert "the axis begins" not in words(drawing)
    assert having(drawing, "tear") == []
    start, fall, end = bars(drawing)
    assert start.width == pytest.approx(2 * end.width)
    assert fall.width == pytest.approx(end.width)


def test_a_step_up_rises() -> None:
    _, rise, _ = bars(sound(walks(of(walk(3_857_973_248, 231_211_008)))))
    assert rise.role == "rise"


def test_two_in_a_row() -> None:
    one, two = sound(walks(of(walk(10, -5)))), sound(walks(of(walk(10, -5), walk(9, 1))))
    assert (one.width, two.width) == (530, 1090)
    assert one.height == two.height


def test_no_walks() -> None:
    assert walks(of()) is None


def test_names_from_outside_and_many_steps() -> None:
    steps = tuple(step(-1, HOSTILE * 30) for _ in range(300))
    drawing = sound(walks(of(*(Reconciliation(HOSTILE * 30, "gone", 10**9, 10**9 - 300, steps) for _ in range(50)))))
    assert "and 288 more" in words(drawing)
    assert "and 26 more" in words(drawing)


@pytest.mark.parametrize("figures", [(0,), (0, 0), (5, 0), (-5, 10), (10**40, -(10**39)), (0, 10**30)])
def test_figures_without_a_range(figures: tuple[int, ...]) -> None:
    sound(walks(of(walk(*figures))))


@given(
    st.lists(
        st.builds(
            Reconciliation,
            st.text(max_size=320), st.sampled_from(["ours", "odd", "nothing"]), st.integers(), st.integers(),
            st.lists(
                st.builds(ReconciliationStep, st.text(), st.text(max_size=320), st.just(("relu", "<b>")), st.integers(),
                          st.floats(), st.floats(), st.integers()),
                max_size=3,
            ).map(tuple),
        ),
        min_size=1,
        max_size=2,
    )
)  # fmt: skip
def test_no_figures_break_it(them: list[Reconciliation]) -> None:
    drawing = walks(of(*them))
    assert drawing is not None
    assert outside(drawing) == []
    size(drawing)


def test_a_coefficient_that_is_no_number() -> None:
    unknown = replace(step(-5), from_coefficient=float("nan"))
    assert "B: – → 0×" in words(sound(walks(of(Reconciliation("odd", "ours", 10, 5, (unknown,))))))
