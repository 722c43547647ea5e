"""Training with `dtype=float16` or `bfloat16`: float32 weights, autocast, a scaled loss for float16."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.workloads.batch_limit import MemoryLimit
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.bench.workloads.workload_cost import workload_cost
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest

CPU = torch.device("cpu")
HALVES = [torch.float16, torch.bfloat16]


class Probe(nn.Module):
    """A convolution and a head; keeps the dtypes of what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)
        self.seen: list[torch.dtype] = []
        self.loss_scale = 0.0  # magnitude of the gradient of the logits

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x)
        self.seen += [x.dtype, features.dtype]
        logits: Tensor = self.head(features.mean((2, 3)))
        if logits.requires_grad:
            logits.register_hook(self.arrived)  # type: ignore[no-untyped-call]
        return logits

    def arrived(self, gradient: Tensor) -> None:
        self.loss_scale = float(gradient.abs().max())


def trained(dtype: torch.dtype, *, mixed: bool = True) -> tuple[Workload, Probe]:
    torch.manual_seed(0)
    probe = Probe()
    work = Workload(probe, inputs=images((3, 8, 8)), device=CPU, dtype=dtype, mode="train", mixed=mixed)
    return work, probe


@pytest.mark.parametrize("dtype", HALVES)
def test_products_are_half_precision_and_weights_are_not(dtype: torch.dtype) -> None:
    work, probe = trained(dtype)
    output = work.call(4)()
    assert isinstance(output, Tensor)
    assert output.dtype == dtype
    assert probe.seen == [torch.float32, dtype]
    assert {parameter.dtype for parameter in probe.parameters()} == {torch.float32}
    gradients = [parameter.grad for parameter in probe.parameters()]
    assert {gradient.dtype for gradient in gradients if gradient is not None} == {torch.float32}


def test_only_the_loss_of_float16_is_scaled() -> None:
    """Gradients that the optimizer sees are those of the loss itself; those that float16 has to hold are not."""
    steps = {}
    for dtype in HALVES:
        work, probe = trained(dtype)
        work.call(4)()
        gradient = probe.head.weight.grad
        assert gradient is not None
        steps[dtype] = probe.loss_scale, float(gradient.abs().max())
    assert steps[torch.float16][0] > 1000 * steps[torch.bfloat16][0]
    assert steps[torch.float16][1] == pytest.approx(steps[torch.bfloat16][1], rel=0.05)


def test_a_small_gradient_changes_a_weight_in_mixed_precision_only() -> None:
    """A step of 1e-3 of a small gradient is lost in a float16 weight near 1, and kept in a float32 one."""
    for mixed in (True, False):
        work, probe = trained(torch.float16, mixed=mixed)
        with torch.no_grad():
            probe.head.bias.fill_(1.0)
        before = probe.head.bias.detach().clone()
        work.call(64)()
        changed = not torch.equal(before, probe.head.bias)
        assert changed == mixed


def test_a_step_without_half_precision_is_as_before() -> None:
    work, _ = trained(torch.float32, mixed=False)
    assert isinstance(output := work.call(4)(), Tensor)
    assert output.dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("mode", "dtype", "autocast"),
    [
        ("train", torch.float16, "float16 autocast"),
        ("train", torch.bfloat16, "bfloat16 autocast"),
        ("train", torch.float32, None),
        ("train", None, None),
        ("inference", torch.bfloat16, None),
    ],
)
def test_half_precision_is_mixed_in_train_mode_only(mode: str, dtype: torch.dtype | None, autocast: str | None) -> None:
    config = BenchmarkConfig(images((3, 8, 8)), (1,), CPU, dtype=dtype, mode=mode)
    assert (config.autocast, config.weight_dtype) == (autocast, torch.float32 if autocast else dtype)


def test_the_memory_of_a_step_holds_float32_weights_and_half_activations() -> None:
    """Against the storages of a real step: weights, gradients, momentum, autocast's copies, what backward saves."""

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, 512, bias=False), nn.Linear(512, 8, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x.flatten(1)))  # type: ignore[no-any-return]

    network, batch_size = Wide(), 256
    work = Workload(
        network, inputs=images((1, 8, 8)), device=CPU, dtype=torch.bfloat16, mode="train", fresh=False, mixed=True
    )
    with MemoryLimit(1 << 40, network.parameters()) as counted:
        call = work.call(batch_size)
        call()
        call()  # the second one has the optimizer's momentum
    cost = workload_cost(ModelUnderTest(Wide(), "wide"), images((1, 8, 8)), torch.bfloat16, "train")
    assert cost.bytes_at(batch_size) == pytest.approx(counted.peak, rel=0.15)
