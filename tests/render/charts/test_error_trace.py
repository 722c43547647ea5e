"""Deviations: equal is a flat line, what differs stands out, what cannot be told is marked as such."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resnet_cli.render.charts.drawing.primitives import Box, Curve, Dot
from resnet_cli.render.charts.drawing.primitives import LineMark as Stroke
from resnet_cli.render.charts.error_trace import error_trace
from resnet_cli.results.compare import AlignedOp, Check, CompareInputs, CompareResult, Mapping
from tests.helpers.chart_checks import having, size, sound, words
from tests.helpers.results_summary_flops import ENVIRONMENT, HOSTILE, NETWORK


def line(path: str = "l0.block.conv1", cumulative: float | None = 0.0, **changes: object) -> AlignedOp:
    made = AlignedOp(path, path, "conv", "conv", "3×3", "3×3", "equal", cumulative, 0.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def of(*lines: AlignedOp, noise: float | None = 4.7e-7, limit: float | None = 4.7e-6) -> CompareResult:
    return CompareResult(
        NETWORK, "torchvision resnet18", "0.29", "different", False,
        (Check("eval", "forward, eval mode", "different", 0.1, limit, ""),), (), (), lines,
        Mapping("alignment", (), 0, 0, 0, (), ()), CompareInputs(0, "randomised", (1,), (1,), (), noise),
        None, (), ENVIRONMENT, (),
    )  # fmt: skip


def network(count: int) -> list[AlignedOp]:
    return [line(f"l{index * 4 // count}.block.conv{index}") for index in range(count)]


def heights(mark: object) -> set[float]:
    assert isinstance(mark, Curve)
    return {numbers[1] for letter, numbers in mark.segments if letter.isupper()}


@pytest.mark.parametrize("count", [1, 70, 174, 519, 5000])
def test_bit_for_bit_is_a_flat_line(count: int) -> None:
    drawing = sound(error_trace(of(*network(count))))
    assert f"all {count:,} operators are bitwise equal" in words(drawing)
    (equal,) = having(drawing, "points")
    assert len(heights(equal)) == 1
    assert having(drawing, "limit") == []
    assert size(drawing) < 12_000


def test_one_that_differs_among_equal_ones_breaks_the_line() -> None:
    lines = network(519)
    lines[260] = replace(lines[260], cumulative=1e-3, isolated=1e-3)
    drawing = sound(error_trace(of(*lines)))
    equal, different = having(drawing, "points")
    assert isinstance(equal, Curve)
    assert sum(letter == "M" for letter, _ in equal.segments) == 2
    assert different.role == "points different"
    (ring,) = [mark for mark in drawing.marks if isinstance(mark, Dot) and mark.role == "isolated" and mark.hint]
    assert "l2.block.conv260" in ring.hint


def test_a_larger_error_stands_higher() -> None:
    drawing = sound(error_trace(of(line(), line("b", 1e-5), line("c", 1e-3), line("d", 0.1))))
    (different,) = having(drawing, "different")[-1:]
    assert isinstance(different, Curve)
    ys = [numbers[1] for letter, numbers in different.segments if letter == "M"]
    assert ys == sorted(ys, reverse=True)
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2])


def test_the_first_difference_and_the_limits_are_named() -> None:
    drawing = sound(error_trace(of(line(), line("l1.block.ResSkip.conv1", 0.3, is_first_difference=True))))
    text = words(drawing)
    assert "first difference: l1.block.ResSkip.conv1 conv" in text
    assert "noise floor" in text
    assert "4.7e-06" in text
    assert len([mark for mark in having(drawing, "first-difference") if isinstance(mark, Stroke)]) == 1


@pytest.mark.parametrize("first", [0, 5, 60, 69])
def test_the_first_difference_is_named_wherever_it_is(first: int) -> None:
    lines = [
        replace(each, cumulative=0.5 if i >= first else 0.0, is_first_difference=i == first)
        for i, each in enumerate(network(70))
    ]
    assert "first difference: l" in words(sound(error_trace(of(*lines))))


def test_what_is_no_number_is_marked_and_not_drawn_as_equal() -> None:
    lines = [
        each if i < 9 else replace(each, cumulative=None, is_first_difference=i == 9)
        for i, each in enumerate(network(20))
    ]
    drawing = sound(error_trace(of(*lines)))
    boxes = [mark for mark in having(drawing, "unknown") if isinstance(mark, Box) and mark.hint]
    assert len(boxes) == 1
    assert boxes[0].hint.startswith("11 operators from")
    assert "9 of 20 operators are bitwise equal" in words(drawing)


def test_operators_without_a_counterpart_have_a_tick() -> None:
    lines = [
        *network(30),
        line("a", None, reference_path=None, reference_op=None, status="extra", isolated=None),
        line("b", None, model_path=None, model_op=None, status="missing", isolated=None),
        line("c", 0.1, status="setting"),
        line("d", 0.1, status="replaced"),
        line("e", 0.1, status="moved"),
    ]
    drawing = sound(error_trace(of(*lines)))
    for status in ("extra", "missing", "setting", "replaced", "moved"):
        assert [mark for mark in having(drawing, status) if isinstance(mark, Curve)], status
    assert not [mark for mark in having(drawing, "unknown") if mark.hint]  # type: ignore[union-attr]


def test_names_from_outside() -> None:
    lines = [
        line(f"{HOSTILE * 30}.{i}", 0.5, isolated=0.5, is_first_difference=i == 3, status="setting")
        for i in range(1000)
    ]
    assert size(sound(error_trace(of(*lines)))) < 40_000


def test_nothing_side_by_side() -> None:
    assert error_trace(of()) is None
