"""The ladder: a bar for each lever, a reason for each that could not be measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.render.charts.drawing.primitives import Box
from resnet_cli.render.charts.optimizations import ladder
from resnet_cli.results.bench import BenchResult, OptimizationResult, OptimizationsResult
from tests.helpers.chart_checks import having, outside, size, sound, words
from tests.helpers.results_bench import BARE, climbed, rung
from tests.helpers.results_summary_flops import HOSTILE


def of(*rungs: OptimizationResult, best: str | None = None) -> BenchResult:
    return replace(BARE, optimizations=OptimizationsResult(1, rungs, best, "take it", "sharp"))


def bars(result: BenchResult) -> list[Box]:
    return [mark for mark in sound(ladder(result)).marks if isinstance(mark, Box)]


def test_a_bar_for_each_lever_that_was_measured() -> None:
    drawing = sound(ladder(climbed()))
    assert [bar.role for bar in bars(climbed())] == ["other", "fall", "rise", "fall", "fall", "fall"]
    assert size(drawing) < 8_000


def test_lengths_are_gains() -> None:
    eager, folded = bars(of(rung("eager", "eager", 1.0, None, None, 0.0), rung("a", "a", 3.0, 0.1, 2, 0.0)))
    assert folded.width == pytest.approx(3 * eager.width)


def test_what_could_not_run_has_its_reason() -> None:
    said = words(sound(ladder(climbed())))
    assert "unavailable: only on CUDA: on a processor float16 is emulated" in said
    assert "failed: RuntimeError" in said


def test_costs_stand_beside_the_gain() -> None:
    said = words(sound(ladder(climbed()))).splitlines()
    for text in ("4.41×", "31.20 s", "3,010", "never", "8.9e-03", "1×"):
        assert text in said
    assert sum(line.endswith("◀") for line in said) == 1


def test_an_interval_around_1_has_no_colour() -> None:
    unsure = replace(rung("a", "a", 1.2, 0.1, None, 0.0), ci_low=0.8, ci_high=900.0)
    drawing = sound(ladder(of(rung("eager", "eager", 1.0, None, None, 0.0), unsure)))
    assert not having(drawing, "fall")
    assert not having(drawing, "rise")
    (whisker,) = having(drawing, "whisker")
    assert max(numbers[0] for _, numbers in whisker.segments) <= 606  # type: ignore[union-attr]


def test_no_ladder() -> None:
    assert ladder(BARE) is None
    assert ladder(of()) is None


def test_long_names_and_a_hundred_levers() -> None:
    rungs = [rung(f"{i}", f"{HOSTILE * 30} {i}", 0.1 + i / 10, 1e9, 10**12, 1e-300) for i in range(100)]
    drawing = sound(ladder(of(*rungs)))
    assert "and 60 more levers" in words(drawing)


FIGURES = st.none() | st.floats()


@given(
    st.lists(
        st.builds(
            replace,
            st.just(climbed().optimizations.rows[2]),  # type: ignore[union-attr]
            title=st.text(max_size=320),
            reason=st.none() | st.text(),
            time=st.none() | st.just(climbed().optimizations.rows[1].time),  # type: ignore[union-attr]
            gain=FIGURES,
            low=FIGURES,
            high=FIGURES,
            setup_s=FIGURES,
            pays_after=st.none() | st.integers(),
            difference=FIGURES,
            same_top1=FIGURES,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_no_figures_break_it(rungs: list[OptimizationResult]) -> None:
    drawing = ladder(of(*rungs))
    assert drawing is not None
    assert outside(drawing) == []
    size(drawing)
