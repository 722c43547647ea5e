"""A pass written down: what lives when, what autograd keeps, who does the backward work, what a pixel sees."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.measure.models import model as networks
from resnet_cli.measure.tracing import tracer
from resnet_cli.measure.tracing.trace import OperatorCall, Trace
from resnet_cli.measure.tracing.tracer import ForwardFailedError
from resnet_cli.network.architectures import ARCHITECTURES, Block, ModelSpec
from resnet_cli.network.resnet import build
from tests.helpers.models import (
    DEPTHS,
    IMAGE,
    SAMPLE,
    Functional,
    Holder,
    Residual,
    Shared,
    SqueezeExcite,
    meta_copy,
    on_meta,
    summary_of_member,
    torchvision_network,
)

SMALL = ModelSpec("small", "basic", (1, 2, 1, 1))


def traced(model: nn.Module, *shape: int, training: bool = False) -> Trace:
    return tracer.run(meta_copy(model), (on_meta(*shape),), training=training, backward=training)


class Chain(nn.Module):
    """A forward by function."""

    def __init__(self, forward: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = forward

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def residual(x: Tensor) -> Tensor:
    y = x.relu()
    return y + y.relu().relu()


def residual_in_place(x: Tensor) -> Tensor:
    y = x.relu()
    out = y.relu().relu()
    out += y
    return out


# Bytes alive after each allocation, of tensors of 64 bytes; an operator's input lives while it runs.
CHAINS: dict[str, tuple[nn.Module, list[int]]] = {
    "out of place": (nn.Sequential(nn.ReLU(), nn.ReLU(), nn.ReLU()), [64, 128, 128]),
    "in place": (nn.Sequential(nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU(inplace=True)), [64]),
    "in place on the input": (nn.Sequential(nn.ReLU(inplace=True), nn.ReLU()), [64]),
    "residual": (Chain(residual), [64, 128, 192, 192]),
    "residual in place": (Chain(residual_in_place), [64, 128, 192]),
    "views": (Chain(lambda x: x.relu().flatten().view(4, 4).t()), [64]),
    "kept by a view": (Chain(lambda x: (lambda view: view.relu().relu())(x.relu()[0])), [64, 128, 192]),
    "two outputs": (Chain(lambda x: (x.relu(), x.relu())), [64, 128]),
    "half as many": (Chain(lambda x: x.relu()[:, :, :2].relu()), [64, 96]),
}


@pytest.mark.parametrize("case", CHAINS)
def test_what_lives_by_hand(case: str) -> None:
    model, alive = CHAINS[case]
    found = traced(model, 1, 1, 4, 4)
    assert found.alive == alive
    assert found.peak == found.root.peak == max(alive)


def test_the_peak_names_the_module_that_ran() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 8, 1), nn.Conv2d(8, 1, 1))
    found = traced(model, 1, 1, 4, 4)
    assert (found.peak, found.peak_at) == (9 * 64, "1")
    assert [call.peak for call in found.root.modules()] == [9 * 64, 64, 9 * 64, 9 * 64]


@pytest.mark.parametrize("name", SAMPLE)
def test_inference_peaks_where_torchvision_does(name: str) -> None:
    theirs = tracer.run(meta_copy(torchvision_network(name)), (on_meta(*IMAGE),))
    assert summary_of_member(name).memory.inference_peak_bytes == theirs.peak


# Storage liveness and saved_tensors_hooks on torchvision's networks, torch 2.15, in MB.
MEASURED = {
    "resnet18": (6.42, 21.62),
    "resnet50": (10.44, 85.52),
}


@pytest.mark.parametrize("name", DEPTHS)
def test_memory_is_what_was_measured(name: str) -> None:
    memory = summary_of_member(name).memory
    assert memory.saved_for_backward_bytes is not None
    assert (round(memory.inference_peak_bytes / 1e6, 2), round(memory.saved_for_backward_bytes / 1e6, 2)) == MEASURED[
        name
    ]


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_autograd_really_keeps_that_much(block: Block) -> None:
    """A training forward with real tensors, the storages that autograd keeps counted once."""
    model, x = build(ModelSpec("small", block, (1, 2, 1, 1))).train(), torch.randn(2, 3, 64, 64)
    aside = {tensor.data_ptr() for tensor in (x, *model.parameters(), *model.buffers())}
    kept: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in aside:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(x)
    assert traced(model, 2, 3, 64, 64, training=True).saved == sum(storage.nbytes() for storage in kept.values())
    assert logits.shape == (2, 1000)


@pytest.mark.parametrize("model", [Residual(True), Residual(False), Functional(), Shared(), SqueezeExcite()])
def test_backward_macs_are_torchs(model: nn.Module) -> None:
    with FlopCounterMode(display=False) as counter:
        model(torch.randn(2, 3, 8, 8)).sum().backward()
    found = traced(model, 2, 3, 8, 8, training=True)
    assert 2 * sum(op.counted.macs for op in found.operators) == counter.get_total_flops()
    assert sum(op.counted.macs for op in found.operators if op.backward) == sum(
        call.backward_macs for call in found.root.modules()
    )


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_frozen_weight_saves_its_gradient(frozen: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 5, 1, bias=False))
    model[frozen].weight.requires_grad_(False)
    calls = list(traced(model, 2, 3, 8, 8, training=True).root.modules())
    first, second = 2 * 64 * 12, 2 * 64 * 20
    # Nothing goes towards the image; the second layer's input needs a gradient where the first is trained.
    expected = [0, second] if frozen == 0 else [first, second]
    assert [call.backward_macs for call in calls[1:]] == expected


def test_the_backward_work_of_a_function_belongs_to_the_module_that_called_it() -> None:
    calls = {call.path: call for call in traced(Functional(), 2, 3, 8, 8, training=True).root.modules()}
    weight_only = 2 * 64 * 4 * 27
    assert calls["conv"].backward_macs == 2 * (2 * 64 * 2 * 4)
    assert calls["relu"].backward_macs == 0
    assert calls[""].backward_macs == weight_only


def test_a_second_pass_sees_what_the_first_saw() -> None:
    copy = meta_copy(build(SMALL))
    first, second = (tracer.run(copy, (on_meta(2, 3, 64, 64),), training=True, backward=True) for _ in range(2))
    assert (first.alive, first.saved) == (second.alive, second.saved)
    assert first.alive[-1] < first.peak


def test_a_trace_needs_no_garbage_collector() -> None:
    """Storages go when Python's counts say so: else every figure would depend on when the collector runs."""
    gc.disable()
    try:
        first = traced(build(SMALL), 1, 3, 64, 64, training=True)
    finally:
        gc.enable()
    gc.collect()
    assert first.alive == traced(build(SMALL), 1, 3, 64, 64, training=True).alive


# Araujo et al. 2019, "Computing Receptive Fields of Convolutional Neural Networks" (doi:10.23915/distill.00021),
# has 483, 1027 and 1507 for the v1 bottlenecks; those of v1.5 and the basic blocks were worked out by its formula.
FIELDS = {"resnet18": 435, "resnet50": 427}
FIELDS_V1 = {"resnet50": 483, "resnet101": 1027, "resnet152": 1507}


@pytest.mark.parametrize("name", DEPTHS)
def test_receptive_fields(name: str) -> None:
    (last,) = (layer for layer in summary_of_member(name).root.children if layer.path == "l3")
    assert last.receptive_field == (FIELDS[name], FIELDS[name])
    assert last.total_stride == (32, 32)
    (tail,) = (layer for layer in summary_of_member(name).root.children if layer.path == "tail")
    assert tail.receptive_field is None


@pytest.mark.parametrize("name", FIELDS_V1)
def test_receptive_fields_of_the_papers_bottlenecks(name: str) -> None:
    subject = networks.model_from_spec(replace(ARCHITECTURES[name], stride_in_1x1=True))
    found = tracer.run(subject.model, (on_meta(*IMAGE),))
    (last,) = (call for call in found.root.modules() if call.path == "l3")
    fields = [op.receptive for call in last.modules() for op in call.children if isinstance(op, OperatorCall)]
    assert fields[-1] is not None
    assert (fields[-1].size, fields[-1].stride) == ((FIELDS_V1[name],) * 2, (32, 32))


class Crossed(nn.Module):
    """A tall and a broad window side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.tall, self.broad = nn.Conv2d(3, 3, (3, 1), padding=(1, 0)), nn.Conv2d(3, 3, (1, 5), padding=(0, 2))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.tall(x) + self.broad(x)
        return out


class Unequal(nn.Module):
    """Two images of one size whose pixels stand for steps of another width."""

    def __init__(self) -> None:
        super().__init__()
        self.coarse, self.large = nn.Conv2d(3, 3, 2, stride=2), nn.Conv2d(3, 3, 17)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.coarse(x) + self.large(x)
        return out


def field_after(model: nn.Module) -> tuple[tuple[int, int], tuple[int, int]] | None:
    receptive = traced(model, 1, 3, 32, 32).operators[-1].receptive
    return None if receptive is None else (receptive.size, receptive.stride)


def test_receptive_fields_by_hand() -> None:
    assert field_after(nn.Conv2d(3, 4, 1)) == ((1, 1), (1, 1))
    assert field_after(nn.Conv2d(3, 4, (3, 5), stride=(1, 2))) == ((3, 5), (1, 2))
    assert field_after(nn.Conv2d(3, 4, 3, dilation=2)) == ((5, 5), (1, 1))
    assert field_after(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))) == (
        (7, 7),
        (2, 2),
    )
    assert field_after(nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(3, 2))) == ((6, 6), (4, 4))
    assert field_after(nn.MaxPool2d(3, 1, dilation=2)) == ((5, 5), (1, 1))
    assert field_after(Chain(lambda x: functional.avg_pool2d(x, 3))) == ((3, 3), (3, 3))  # its stride is its window
    assert field_after(Chain(lambda x: torch.ops.aten.max_pool2d_with_indices(x, [2])[0])) == ((2, 2), (2, 2))
    assert field_after(Chain(lambda x: torch.ops.aten.avg_pool2d(x, [3], [2]))) == ((3, 3), (2, 2))
    assert field_after(Crossed()) == ((3, 5), (1, 1))  # the larger of both on either axis
    assert field_after(Residual(in_place=True)) == field_after(Residual(in_place=False)) == ((3, 3), (1, 1))


@pytest.mark.parametrize(
    "model",
    [
        SqueezeExcite(),  # every pixel of the scale has seen the whole image
        nn.AdaptiveAvgPool2d(4),
        nn.ConvTranspose2d(3, 4, 2, 2),
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)),
        Chain(lambda x: x + x.mean((2, 3), keepdim=True)),
        Chain(lambda x: x[:, :, ::2].relu()),
        Chain(lambda x: x.transpose(2, 3).relu()),
        Unequal(),
    ],
    ids=["squeeze", "adaptive", "transposed", "linear", "mean", "slice", "turned", "unequal"],
)
def test_where_no_field_is_defined_there_is_none(model: nn.Module) -> None:
    assert field_after(model) is None


@dataclass
class Out:
    """An output as some libraries make it."""

    logits: Tensor
    extra: None = None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: y,
        lambda y: (y, y),
        lambda y: [None, y],
        lambda y: {"features": {"last": y}},
        lambda y: Out(y),
        lambda y: Holder,
    ],
    ids=["tensor", "tuple", "list", "dict", "dataclass", "nothing"],
)
def test_outputs_of_any_make(wrap: Callable[[Tensor], Any]) -> None:
    class Wrapping(nn.Conv2d):
        def forward(self, x: Tensor) -> Any:
            return wrap(super().forward(x))

    found = traced(nn.Sequential(Wrapping(3, 4, 1)), 1, 3, 8, 8)
    (call,) = list(found.root.modules())[1:]
    assert call.input_shape == (1, 3, 8, 8)
    assert call.output_shape == (None if wrap(torch.ones(1)) is Holder else (1, 4, 8, 8))


def test_a_failure_says_how_far_the_input_came() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), nn.Conv2d(9, 4, 1)))
    with pytest.raises(ForwardFailedError, match="channel") as caught:
        traced(model, 1, 3, 8, 8)
    assert [call.path for call in caught.value.reached] == ["", "1", "1.1"]
    assert isinstance(caught.value.cause, RuntimeError)
    assert [call.output_shape for call in caught.value.root.modules()] == [None, (1, 4, 8, 8), None, (1, 4, 8, 8), None]


def test_a_forward_may_catch_what_a_module_of_its_raises() -> None:
    class Trying(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bad, self.good = nn.Conv2d(5, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            try:
                out: Tensor = self.bad(x)
            except RuntimeError:
                out = self.good(x)
            return out

    calls = list(traced(Trying(), 1, 3, 8, 8).root.modules())
    assert [(call.path, call.parent.path if call.parent else None, call.output_shape) for call in calls] == [
        ("", None, (1, 3, 8, 8)),
        ("bad", "", None),
        ("good", "", (1, 3, 8, 8)),
    ]


DECODERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "1d, grouped": (nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1, groups=2), (2, 4, 5)),
    "2d": (nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1), (2, 4, 5, 5)),
    "3d": (nn.ConvTranspose3d(4, 3, 2), (2, 4, 3, 3, 3)),
}


@pytest.mark.parametrize("case", DECODERS)
def test_a_training_step_through_a_transposed_convolution_is_that_of_real_tensors(case: str) -> None:
    """Whose bias has as many values as it has output channels, which is not the first size of its weight."""
    layer, shape = DECODERS[case]
    decoder = nn.Sequential(layer, nn.Tanh())
    step = traced(decoder, *shape, training=True)
    gradients = [parameter.grad for parameter in step.root.module.parameters()]
    assert [None if grad is None else grad.shape for grad in gradients] == [p.shape for p in decoder.parameters()]
    macs = {op.name: op.counted.macs for op in step.operators if op.counted.macs}
    assert macs["convolution_backward"] == macs["convolution"]  # of the weight: the input has no gradient


def test_memory_alone_is_the_memory_of_a_full_trace() -> None:
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 2))
    model = block.to("meta")
    images = torch.empty(2, 3, 8, 8, device="meta")
    full = tracer.run(model, (images,), training=True, backward=True)
    alone = tracer.run(model, (images,), training=True, backward=True, memory_only=True)
    assert alone.alive == full.alive
    assert (alone.peak, alone.operators) == (full.peak, [])
