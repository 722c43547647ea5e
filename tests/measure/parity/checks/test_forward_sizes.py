"""Outputs at other sizes of the image, and two networks line by line with what each operator gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

from resnet_cli.measure.parity.checks import forward as forward_checks
from resnet_cli.measure.parity.checks.forward import Forward
from resnet_cli.measure.parity.setup import ParityRun
from resnet_cli.results.compare import BITWISE, DIFFERENT, NOT_COMPARABLE, ROUNDING, SKIPPED, AlignedOp
from tests.helpers.models import make, network, only_check
from tests.measure.parity.checks.test_forward import Does, OwnNorm, evaluated, prepared


def at_other_sizes(ours: nn.Module, theirs: nn.Module, forward: Forward | None = None, **asked: Any) -> ParityRun:
    made = prepared(ours, theirs, **asked)
    made.findings.clear()
    made.forward = forward
    make(made, "shapes")
    return made


def test_outputs_are_equal_at_other_sizes() -> None:
    check = only_check(at_other_sizes(network(), network()))
    assert (check.key, check.verdict, check.error, check.limit) == ("shapes", BITWISE, 0.0, None)
    assert check.text == "outputs at 97 × 161, 32 × 32 and batch size 1 are bitwise equal"


def test_rounding_at_other_sizes() -> None:
    made = at_other_sizes(network(norm=OwnNorm(4)), network())
    assert only_check(made).verdict == ROUNDING
    assert only_check(made).limit == pytest.approx(1e-5)  # ten times what single precision is known for
    assert only_check(made).text == "outputs at 97 × 161, 32 × 32 and batch size 1 differ by rounding"
    assert not made.findings
    for floor, limit in ((1e-7, 1e-6), (1e-12, 1e-11), (None, 1e-5)):
        made = at_other_sizes(network(norm=OwnNorm(4)), network(), Forward(ROUNDING, {}, {}, [], floor))
        assert only_check(made).limit == pytest.approx(limit)
        assert only_check(made).verdict == (DIFFERENT if floor == 1e-12 else ROUNDING)
    made = at_other_sizes(network(norm=OwnNorm(4)), network(), rtol=0.25)
    assert only_check(made).limit == 0.25
    # Small, and yet double precision has shown that it is none.
    made = at_other_sizes(network(norm=OwnNorm(4)), network(), Forward(DIFFERENT, {}, {}, [], 1e-7))
    assert only_check(made).verdict == DIFFERENT


def sizes(function: Callable[[Tensor], Tensor], side: int) -> nn.Module:
    """Does something at one of the sizes alone: 30 and 95 are what the convolution leaves of 32 and 97."""
    return nn.Sequential(nn.ReLU(), Does(lambda x: function(x) if x.shape[2] == side else x))


def failing(x: Tensor) -> Tensor:
    raise ValueError("not  this\none")


@pytest.mark.parametrize(
    ("side", "function", "said"),
    [
        (30, failing, "32 × 32: the model fails (not this one)"),
        (95, failing, "97 × 161: the model fails (not this one)"),
        (30, lambda x: x[:1], "32 × 32: the output has shape 1 × 5, torchvision's 2 × 5"),
        (95, lambda x: x + 1, "outputs at 97 × 161 differ"),
    ],
)
def test_what_differs_at_one_size_alone_is_found(side: int, function: Callable[[Tensor], Tensor], said: str) -> None:
    made = at_other_sizes(network(relu=sizes(function, side)), network())
    assert only_check(made).verdict == DIFFERENT
    assert only_check(made).text == said
    (found,) = made.findings
    assert (found.check, found.category, found.text) == ("shapes", "shape", said)
    made, _ = evaluated(network(relu=sizes(function, side)), network())
    make(made, "shapes")
    assert made.findings[-1].text.endswith(f"only for other inputs: {said}")


def test_a_network_of_square_images_is_compared_at_these() -> None:
    square = network(average=Does(lambda x: nn.functional.avg_pool2d(x, x.size(3))))
    made = at_other_sizes(square, network())
    assert only_check(made).verdict == ROUNDING
    assert "97 × 161: the model takes square images only" in only_check(made).text
    assert [note.key for note in made.notes] == ["square-images-only"]
    assert not made.findings


def test_what_differs_for_a_single_image_alone_is_found() -> None:
    squeezed = network(flat=Does(Tensor.squeeze))  # drops the axis of the batch too, where it has length 1
    made = at_other_sizes(squeezed, network())
    assert only_check(made).verdict == DIFFERENT
    assert only_check(made).text == "batch size 1: the output has shape 5, torchvision's 1 × 5"
    assert [found.subject for found in made.findings] == ["output"]
    assert only_check(at_other_sizes(squeezed, network(flat=Does(Tensor.squeeze)))).verdict == BITWISE


def test_a_size_that_the_reference_does_not_take_says_nothing_of_ours() -> None:
    made = at_other_sizes(network(relu=sizes(failing, 30)), network(relu=sizes(failing, 30)))
    assert only_check(made).verdict == BITWISE
    assert only_check(made).text == "32 × 32: torchvision itself fails"
    assert not made.findings
    none = nn.Sequential(nn.ReLU(), Does(lambda x: x if x.is_meta else failing(x)))
    made = at_other_sizes(network(relu=none), network(relu=none))
    assert (only_check(made).verdict, only_check(made).error) == (SKIPPED, None)
    assert only_check(made).text.count("torchvision itself fails") == 3


def test_arbitrary_values_are_not_comparable_at_other_sizes() -> None:
    made = at_other_sizes(network(relu=nn.PReLU()), network())
    assert only_check(made).verdict == NOT_COMPARABLE
    assert only_check(made).text.startswith("relu.weight of the model has no counterpart")
    assert not made.findings


def drawn(ours: nn.Module, theirs: nn.Module, **asked: Any) -> list[AlignedOp]:
    made, _ = evaluated(ours, theirs, **asked)
    return forward_checks.side_by_side(made)


def test_lines_have_what_each_operator_gave() -> None:
    lines = drawn(network(), network())
    assert [(one.cumulative, one.isolated, one.rounding, one.is_first_difference) for one in lines] == [
        (0.0, 0.0, True, False)
    ] * 5
    lines = drawn(network(norm=OwnNorm(4)), network())
    assert not any(one.is_first_difference for one in lines)
    assert all(one.rounding for one in lines)
    assert lines[-1].cumulative


def test_the_first_difference_is_marked_and_no_other() -> None:
    lines = drawn(network(norm=OwnNorm(4, 0.1)), network())
    assert [one.is_first_difference for one in lines] == [False, True, False, False, False]
    assert [one.rounding for one in lines] == [True, False, False, False, False]
    assert [bool(one.isolated and one.isolated > 1e-5) for one in lines] == [False, True, False, False, False]
    lines = drawn(network(norm=nn.Identity(), fc=nn.Linear(4, 5, bias=False)), network())
    assert [(one.status, one.is_first_difference) for one in lines if one.status != "equal"] == [
        ("missing", True),
        ("setting", False),
    ]
    missing = next(one for one in lines if one.status == "missing")
    assert (missing.cumulative, missing.isolated, missing.rounding) == (None, None, True)
    assert lines[-1].cumulative
