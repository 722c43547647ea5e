"""Every fact of every operator of a network so small that all of them can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.ops.receptive_field import Field
from resnet_cli.measure.tracing import tracer
from resnet_cli.measure.tracing.trace import Trace
from resnet_cli.measure.tracing.tracer import ForwardFailedError
from tests.helpers.models import meta_copy, on_meta


class Small(nn.Module):
    """A convolution, a ReLU in place, a constant that is no buffer, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.lin = nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Linear(16, 5)
        self.constant = torch.ones(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x)) * self.constant
        out: Tensor = self.lin(x.flatten(1))
        return out


def small(*, training: bool = False) -> Trace:
    return tracer.run(meta_copy(Small()), (on_meta(2, 3, 2, 2),), training=training, backward=training)


IMAGE, MAP, LOGITS = 4 * 2 * 3 * 4, 4 * 2 * 4 * 4, 4 * 2 * 5  # bytes


def test_what_each_operator_is_and_where_it_ran() -> None:
    found = [(op.name, op.in_place, op.is_view, op.backward, op.module.path) for op in small().operators]
    assert found == [
        ("convolution", False, False, False, "conv"),
        ("relu", True, False, False, "relu"),
        ("mul", False, False, False, ""),
        ("view", False, True, False, ""),
        ("addmm", False, False, False, "lin"),
    ]


def test_what_each_operator_is_given_and_gives() -> None:
    image = (2, 4, 2, 2)
    found = [(op.input_shapes, op.output_shape, op.output_elements) for op in small().operators]
    assert found == [
        (((2, 3, 2, 2),), image, 32),
        ((image,), image, 32),
        ((image, (4, 1, 1)), image, 32),
        ((image,), (2, 16), 32),
        (((2, 16),), (2, 5), 10),
    ]


def test_what_each_operator_allocates_and_moves() -> None:
    found = [(op.allocated, op.moved, op.peak) for op in small().operators]
    assert found == [
        (MAP, IMAGE + 4 * (12 + 4) + MAP, MAP),
        (0, 2 * MAP, MAP),
        (MAP, MAP + 4 * 4 + MAP, 2 * MAP),
        (0, 0, MAP),
        (LOGITS, MAP + 4 * (80 + 5) + LOGITS, MAP + LOGITS),
    ]


def test_what_each_operator_reads_and_sees() -> None:
    operators = small().operators
    conv, relu, product, view, linear = operators
    # A constant has no writer; who reads a view reads what it looks at.
    assert [op.reads for op in operators] == [(None,), (conv,), (relu,), (product,), (product,)]
    pixel = Field((1, 1), (1, 1))
    assert [op.receptive for op in operators] == [pixel, pixel, pixel, None, None]
    assert view.output_shape != linear.output_shape


def test_a_module_that_allocates_nothing_has_what_lives_meanwhile_for_its_peak() -> None:
    found = small()
    assert {call.path: call.peak for call in found.root.modules()} == {
        "": 2 * MAP,
        "conv": MAP,
        "relu": MAP,
        "lin": MAP + LOGITS,
    }
    assert (found.peak, found.peak_at, found.alive) == (2 * MAP, "", [MAP, 2 * MAP, MAP + LOGITS])


def test_what_each_module_keeps_and_computes_backward() -> None:
    calls = {call.path: call for call in small(training=True).root.modules()}
    # The ReLU keeps its output, the product keeps the constant, the linear layer keeps the product.
    assert {path: call.saved for path, call in calls.items()} == {"": 2 * MAP + 16, "conv": 0, "relu": MAP, "lin": MAP}
    # Nothing goes towards the image; the linear layer's gradient goes both ways.
    assert {path: call.backward_macs for path, call in calls.items()} == {
        "": 0,
        "conv": 2 * 4 * 12,
        "relu": 0,
        "lin": 2 * 2 * 80,
    }


def test_work_backward_belongs_to_who_made_the_node() -> None:
    backward = [(op.name, op.module.path) for op in small(training=True).operators if op.backward and not op.is_view]
    assert backward == [
        ("sum", ""),
        ("ones_like", ""),
        ("mm", "lin"),
        ("mm", "lin"),
        ("sum", "lin"),
        ("mul", ""),
        ("threshold_backward", "relu"),
        ("convolution_backward", "conv"),
    ]


def test_the_first_module_that_reaches_the_peak_is_named() -> None:
    found = tracer.run(nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU()), (on_meta(1, 1, 4, 4),))
    assert (found.alive, found.peak_at) == ([64, 128, 128], "1")


def test_graphs_that_are_gone_when_the_forward_ends_save_nothing() -> None:
    """Three graphs that are thrown away, one after the other, perhaps at one and the same address."""

    class Wasteful(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            weight = torch.ones_like(x).requires_grad_()
            for _ in range(3):
                (x + weight).sigmoid()
            return (x + weight).sigmoid()

    trace = tracer.run(Wasteful(), (on_meta(1, 1, 4, 4),), training=True, backward=True)
    assert (trace.saved, trace.root.saved) == (64, 64)


def test_what_two_operators_keep_counts_once() -> None:
    found = tracer.run(
        meta_copy(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))), (on_meta(2, 4),), training=True
    )
    assert found.saved == 4 * 2 * 8  # the ReLU's output, for itself and for the weight's gradient
    assert [call.saved for call in found.root.modules()] == [64, 0, 64, 0]


def test_arithmetic_on_weights_is_work() -> None:
    class Scaled(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.conv2d(x, self.weight * 2)

    found = tracer.run(meta_copy(Scaled(3, 4, 1)), (on_meta(2, 3, 2, 2),))
    assert [(op.name, op.allocated, op.counted.operations) for op in found.operators] == [
        ("mul", 4 * 12, 12),
        ("convolution", MAP, 2 * 8 * 12),
    ]
    assert found.alive == [48, 48 + MAP]


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "nothing that can be trained": lambda x: x,
    "nothing at all": lambda x: None,
    "constants": lambda x: {"a": [torch.ones(3)]},
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_without_a_trainable_output_there_is_no_step(case: str) -> None:
    class Ending(nn.Conv2d):
        def forward(self, x: Tensor) -> Any:
            super().forward(x)
            return OUTPUTS[case](x)

    reason = "none of its outputs depends on a trainable parameter"
    if case == "nothing at all":
        reason = "it returns NoneType, in which no tensor was found"
    with pytest.raises(ForwardFailedError, match=reason):
        tracer.run(meta_copy(Ending(3, 4, 1)), (on_meta(1, 3, 4, 4),), training=True, backward=True)
    assert tracer.run(meta_copy(Ending(3, 4, 1)), (on_meta(1, 3, 4, 4),)).root.children


def test_a_network_may_end_the_program() -> None:
    class Ending(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise SystemExit(3)

    with pytest.raises(ForwardFailedError) as caught:
        tracer.run(Ending(), (on_meta(1, 3, 4, 4),))
    assert isinstance(caught.value.cause, SystemExit)
    assert [call.path for call in caught.value.reached] == [""]
    assert str(caught.value) == "3"


def test_inputs_that_are_handed_on_by_name_are_inputs() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.inner(input=x)
            return out

    found = tracer.run(meta_copy(Named()), (on_meta(1, 3, 4, 4),))
    assert [call.input_shape for call in found.root.modules()] == [(1, 3, 4, 4)] * 2
