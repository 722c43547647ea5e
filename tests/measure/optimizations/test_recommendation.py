"""Which optimization is recommended."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resnet_cli.measure.optimizations.recommendation import best_optimization, recommendation
from resnet_cli.results.bench import OptimizationResult

PLAIN = OptimizationResult("folded", "folded", "measured", None, "float32", None, 2.0, 2.0, 2.0, 1.0, 7, 2e-6, 1.0)
HALF = replace(PLAIN, key="bfloat16", dtype="bfloat16", logit_difference=0.004, top1_agreement=0.75)
KEEPING = {"eager", "folded", "compile"}


def faster(row: OptimizationResult, gain: float) -> OptimizationResult:
    return replace(row, speedup=gain, ci_low=gain, ci_high=gain)


def sentence(*rows: OptimizationResult, as_good: float = 0.01) -> str:
    return recommendation(rows, best_optimization(rows, KEEPING, as_good), KEEPING, 8, as_good)


def test_of_several_in_fewer_bits_the_fastest_is_named() -> None:
    float16 = replace(faster(HALF, 4.0), key="float16")
    for rows in ((PLAIN, faster(HALF, 3.0), float16), (PLAIN, float16, faster(HALF, 3.0))):
        assert sentence(*rows).endswith(
            "; float16 is 4.00× as fast, but changes the logits by 0.4% (top-1 the same for 6 of 8)"
        )


def test_logits_of_an_untrained_network_are_no_price() -> None:
    text = recommendation((PLAIN, faster(HALF, 3.0)), PLAIN, KEEPING, 0, 0.01)
    assert "bfloat16 is 3.00×" in text
    assert "logits" not in text


@pytest.mark.parametrize(("gain", "named"), [(1.99, False), (2.01, False), (2.03, True)])
def test_fewer_bits_have_to_be_faster_than_the_best_by_more_than_the_measurement_is_sure(
    gain: float, named: bool
) -> None:
    assert ("bfloat16" in sentence(PLAIN, faster(HALF, gain))) == named


def test_fewer_bits_that_are_faster_by_chance_are_not_named() -> None:
    assert "bfloat16" not in sentence(PLAIN, replace(HALF, speedup=5.0, ci_low=0.99, ci_high=25.0))


def test_what_takes_no_time_to_make_is_not_paid_for() -> None:
    for calls in (None, 0):
        assert "break-even" not in sentence(replace(PLAIN, break_even_calls=calls))


def test_of_equally_fast_rows_one_that_took_no_time_is_taken() -> None:
    dear = replace(PLAIN, key="compile", setup_s=0.05)
    for cost in (None, 0.0):
        free = replace(PLAIN, setup_s=cost)
        assert best_optimization([dear, free], KEEPING, 0.01) == free


def test_nothing_is_advised_where_nothing_ran() -> None:
    failed = replace(PLAIN, status="failed", reason="no kernel", time=None, speedup=None, ci_low=None, ci_high=None)
    assert best_optimization([failed], KEEPING, 0.01) is None
    assert sentence(failed).startswith("stay with plain eager")
