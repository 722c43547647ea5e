"""The forward in eval mode and at other sizes: what is rounding, what is not, and who is to blame."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.parity.checks.forward import Forward
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.setup import ParityRun, prepare
from resnet_cli.results.compare import BITWISE, DIFFERENT, NOT_COMPARABLE, ROUNDING
from tests.helpers.models import diagnoses, make, network, only_check


class Does(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def prepared(ours: nn.Module, theirs: nn.Module, **asked: Any) -> ParityRun:
    question = ParityConfig(shape=(2, 3, 16, 16), **asked)
    return prepare(ours, theirs, question, names=("net", "torchvision net"))


def evaluated(ours: nn.Module, theirs: nn.Module, **asked: Any) -> tuple[ParityRun, Forward | None]:
    """Both networks, with the reference's weights unless something else is asked."""
    made = prepared(ours, theirs, **asked)
    make(made, "eval")
    return made, made.forward


def test_the_same_network_is_equal_bit_for_bit() -> None:
    made, forward = evaluated(network(), network())
    check = only_check(made)
    assert (check.key, check.verdict, check.error, check.limit) == ("eval", BITWISE, 0.0, None)
    assert check.text == "5 operators and the output of 2 × 3 × 16 × 16 are bitwise equal"
    assert forward is not None
    assert (forward.verdict, forward.floor, forward.exact) == (BITWISE, None, {})
    assert len(forward.steps) == 5


class OwnNorm(nn.BatchNorm2d):
    """Batch norm by hand, its eps under a name of its own."""

    def __init__(self, channels: int, small: float = 1e-5, *, single: bool = False) -> None:
        super().__init__(channels)
        del self.eps
        self.small, self.single = small, single

    def forward(self, x: Tensor) -> Tensor:
        kind = x.dtype
        x = x.float() if self.single else x
        assert self.running_mean is not None
        assert self.running_var is not None
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        x = (x - mean.view(4, 1, 1)) * torch.rsqrt(var.view(4, 1, 1) + self.small)
        return (x.pow(1) * self.weight.view(4, 1, 1) + self.bias.view(4, 1, 1)).to(kind)


def test_rounding_is_told_from_a_difference_in_double_precision() -> None:
    made, forward = evaluated(network(norm=OwnNorm(4)), network())
    check = only_check(made)
    assert check.verdict == ROUNDING
    assert check.text.startswith("output of 2 × 3 × 16 × 16 differs by rounding; in float64 by ")
    assert forward is not None
    assert forward.floor is not None
    assert 1e-8 < forward.floor < 1e-5  # single precision has 24 bits
    assert check.limit == 10 * forward.floor
    assert 0 < (check.error or 0) < check.limit
    assert not made.findings
    # As small a difference, which double precision does not make smaller.
    made, _ = evaluated(network(flat=Does(lambda x: x.flatten(1) * (1 + 2e-7))), network())
    assert only_check(made).verdict == DIFFERENT


def test_an_operator_that_is_wrong_by_itself_is_diagnosed() -> None:
    """Its settings say nothing of it; its output on the reference's own inputs does."""
    made, forward = evaluated(network(norm=OwnNorm(4, 0.1)), network())
    check = only_check(made)
    assert check.verdict == DIFFERENT
    assert check.text == "output of 2 × 3 × 16 × 16 differs; 4 of 5 operators differ, 1 in isolation"
    (found,) = made.findings
    assert (found.check, found.category, found.subject, found.model_path, found.reference_path) == (
        "eval", "operator", "batch_norm", "norm", "norm",
    )  # fmt: skip
    assert found.text.startswith("norm: differs on the same inputs (relative error ")
    assert forward is not None
    assert forward.verdict == DIFFERENT
    assert not diagnoses(made)


def test_what_is_accused_already_is_not_accused_again() -> None:
    made, _ = evaluated(network(norm=nn.BatchNorm2d(4, eps=0.1)), network())
    assert [one.category for one in made.findings] == ["setting"]
    assert only_check(made).verdict == DIFFERENT
    ours = network()
    with torch.no_grad():
        ours.get_parameter("fc.weight")[0, 0] += 1
    made = prepared(ours, network(), transfer="none")
    make(made, "parameters")
    make(made, "eval")
    assert [one.category for one in made.findings] == ["value"]
    made, _ = evaluated(ours, network(), transfer="none")  # nobody has looked at the values
    assert [(one.category, one.model_path) for one in made.findings] == [("operator", "fc")]


class Functional(nn.Module):
    """A convolution by function, its weight under a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.kernel)


@pytest.mark.parametrize("layer", [Functional, lambda: nn.Sequential(network().get_submodule("conv"))])
def test_a_value_accuses_its_operator_wherever_it_stands(layer: Callable[[], nn.Module]) -> None:
    ours, theirs = nn.Sequential(network(conv=layer())), nn.Sequential(network(conv=layer()))
    with torch.no_grad():
        next(ours.parameters()).mul_(2)
    made = prepared(ours, theirs, transfer="none")
    make(made, "parameters")
    make(made, "eval")
    assert [one.category for one in made.findings] == ["value"]
    made, _ = evaluated(ours, theirs, transfer="none")
    assert [one.category for one in made.findings] == ["operator"]


def test_operators_of_other_sizes_are_no_obstacle() -> None:
    made, forward = evaluated(network(relu=nn.MaxPool2d(2)), network(relu=nn.MaxPool2d(2, 1)))
    assert only_check(made).verdict == DIFFERENT
    assert forward is not None
    assert None in {step.cumulative for step in forward.steps.values()}


def test_an_error_that_is_not_finite_is_told_in_words() -> None:
    ours = network()
    with torch.no_grad():
        ours.get_parameter("fc.weight")[0, 0] = math.nan
    made, _ = evaluated(ours, network(), transfer="none")
    assert made.findings[0].text.endswith("(relative error not finite)")
    assert only_check(made).error is None


class Joined(nn.Module):
    """Adds what its two convolutions give, or twice what the first does."""

    def __init__(self, *, twice: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.twice = twice

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(a)
        out: Tensor = b + b if self.twice else b + a
        return out


def test_where_each_operator_is_right_it_is_the_wiring() -> None:
    made = prepared(Joined(twice=True), Joined(twice=False))
    made.findings.clear()
    made.structure.differences.clear()
    make(made, "eval")
    (found,) = made.findings
    assert (found.check, found.category, found.model_path) == ("eval", "wiring", "")
    assert "the wiring differs, starting at the network (add)" in found.text
    (named,) = diagnoses(made)
    assert (named.key, named.text, named.differences) == ("wiring", found.text, (0,))


def test_values_without_a_counterpart_make_a_difference_not_comparable() -> None:
    made, forward = evaluated(network(relu=nn.PReLU()), network())
    assert only_check(made).verdict == NOT_COMPARABLE
    assert only_check(made).text == "relu.weight of the model has no counterpart, so its values are arbitrary"
    assert forward is not None
    assert "operator" not in {one.category for one in made.findings}


@pytest.mark.parametrize(
    ("asked", "limit", "verdict"),
    [
        ({"rtol": 0.6}, 0.6, ROUNDING),
        ({"rtol": 0.4}, 0.4, DIFFERENT),
        ({"atol": 2.4}, 0.6, ROUNDING),
        ({"atol": 1.6}, 0.4, DIFFERENT),
        ({"rtol": 0.1, "atol": 1.8}, 0.55, ROUNDING),
        ({"rtol": 0.0}, 0.0, DIFFERENT),
    ],
)
def test_a_tolerance_of_the_user(asked: dict[str, float], limit: float, verdict: str) -> None:
    """The reference's largest output is 4, and ours is half as much again."""
    theirs = nn.Sequential(nn.Conv2d(3, 1, 1), Does(lambda x: x * 0 + 4.0))
    ours = nn.Sequential(nn.Conv2d(3, 1, 1), Does(lambda x: x * 0 + 6.0))
    made, _ = evaluated(ours, theirs, **asked)
    assert only_check(made).verdict == verdict
    assert only_check(made).error == 0.5
    assert only_check(made).limit == pytest.approx(limit)


def test_a_tolerance_forgives_what_is_only_inside() -> None:
    """The operators are apart, the outputs are not."""
    theirs = nn.Sequential(nn.Conv2d(3, 1, 1), Does(lambda x: x * 1.0), Does(lambda x: x * 0))
    ours = nn.Sequential(nn.Conv2d(3, 1, 1), Does(lambda x: x * 1.5), Does(lambda x: x * 0))
    for asked in ({"rtol": 1e-3}, {"atol": 1e-3}):  # of nothing, for the outputs are zero
        made, forward = evaluated(ours, theirs, **asked)
        assert (only_check(made).verdict, only_check(made).error) == (ROUNDING, 0.0)
        assert only_check(made).limit == 1e-3
        assert forward is not None
        assert 1e-9 < (forward.floor or 0) < 1e-5  # that of the operator that is furthest from double precision


def test_a_cast_to_float32_is_no_rounding_in_float64() -> None:
    made, _ = evaluated(network(norm=OwnNorm(4, single=True)), network())
    assert only_check(made).verdict == ROUNDING
    assert float(only_check(made).text.rpartition(" ")[2]) < 1e-12
    assert not made.findings
    slightly = nn.Sequential(nn.BatchNorm2d(4), Does(lambda x: x * (1 + 1e-7)))
    worse = nn.Sequential(OwnNorm(4, single=True), Does(lambda x: x * 1.0))
    made, _ = evaluated(network(norm=worse), network(norm=slightly))
    assert only_check(made).verdict == DIFFERENT


def test_a_forward_that_looks_at_values_is_followed_by_its_values() -> None:
    """On `meta` it runs other operators than with an image."""
    looking = Does(lambda x: x.sigmoid() if x.is_meta else x.tanh())
    made, _ = evaluated(network(relu=looking), network(relu=looking))
    assert only_check(made).verdict == BITWISE


def test_a_forward_that_runs_something_else_each_time_cannot_be_followed() -> None:
    count = itertools.count()
    changing = Does(lambda x: x.sigmoid() if next(count) % 2 else x.tanh())
    made, forward = evaluated(network(relu=changing), network())
    assert forward is None
    assert only_check(made).verdict == NOT_COMPARABLE
    assert only_check(made).text.startswith("two forwards do not run the same operators: ")


def refusing(x: Tensor) -> Tensor:
    if not x.is_meta:
        raise ValueError("not this one")
    return x


def test_a_forward_that_fails_is_told_by_its_name() -> None:
    with pytest.raises(ResnetCliError, match=r"the forward of net failed: .*not this one"):
        evaluated(network(relu=nn.Sequential(nn.ReLU(), Does(refusing))), network())
