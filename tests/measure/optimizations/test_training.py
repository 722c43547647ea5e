"""Optimizations of a training step: the same gradients, other times and memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.batch_limit import MemoryLimit
from resnet_cli.measure.bench.workloads.optimizers import SGD
from resnet_cli.measure.bench.workloads.training import TrainingStep
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.models.copies import independent_copy
from resnet_cli.measure.models.inputs.model_inputs import Arguments, images
from resnet_cli.measure.optimizations import training
from resnet_cli.measure.optimizations.gradient_checkpointing import build, checkpointed_blocks
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from resnet_cli.measure.optimizations.training import compare_training
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.devices.cpu import CpuBackend
from resnet_cli.network.resnet import ResNet
from resnet_cli.results.bench import OptimizationsResult
from tests.helpers.fake_clock import fake_optimization

CPU = torch.device("cpu")
BATCH = 8


class Block(nn.Module):
    """Two layers and what is added to them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.drop = nn.Conv2d(8, 8, 3, padding=1), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.drop(self.conv2(torch.relu(self.bn(self.conv1(x)))))
        return result


def net(blocks: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Sequential(*(Block() for _ in range(blocks))),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


def compared(model: nn.Module, *chosen: str) -> OptimizationsResult:
    return compare_training(
        Workload(model, inputs=images((3, 16, 16)), device=CPU, mode="train"),
        BATCH,
        backend=CpuBackend(CPU),
        limits=Limits(max_time_s=0.1, min_time_s=0.0),
        chosen=chosen,
        progress=lambda text: None,
        duplicate=independent_copy,
    )


def test_checkpointing_computes_the_same_in_less_memory() -> None:
    result = compared(net(), "gradient-checkpointing", "channels-last", "compile")
    eager, channels_last, checkpointed = result.rows  # compile is for inference
    assert [row.status for row in result.rows] == ["measured"] * 3
    assert checkpointed.logit_difference == 0
    assert channels_last.logit_difference is not None
    assert channels_last.logit_difference < 1e-4
    assert checkpointed.reason == "running statistics of batch norm move twice in a step"
    assert eager.peak_memory_bytes is not None
    assert checkpointed.peak_memory_bytes is not None
    assert checkpointed.peak_memory_bytes < 0.6 * eager.peak_memory_bytes
    assert f"takes {checkpointed.peak_memory_bytes / eager.peak_memory_bytes:.2f}× the memory" in result.recommendation


@pytest.mark.parametrize("is_checkpointed", [False, True])
def test_the_memory_is_that_of_real_storages(is_checkpointed: bool) -> None:
    rows = compared(net(), "gradient-checkpointing").rows
    model = net().train()
    if is_checkpointed:
        build(model, Arguments((), {}), CpuBackend(CPU))
    limit = MemoryLimit(1 << 40, [*model.parameters(), *model.buffers()])
    with limit:
        inputs = images((3, 16, 16)).at_batch(BATCH).random(0, torch.float32, CPU)
        step = TrainingStep(model, inputs, SGD, CPU)
        for _ in range(2):
            step()
    assert rows[is_checkpointed].peak_memory_bytes == pytest.approx(limit.peak, rel=0.05)


def test_blocks_are_the_outermost_modules_with_layers_in_a_sequence() -> None:
    resnet = ResNet(3, 7, [2, 1, 1, 1], block="basic", stem="cifar")
    assert len(checkpointed_blocks(resnet)) == 5
    block = Block()
    shared = nn.Sequential(nn.Sequential(block, block), nn.ModuleList([nn.Linear(1, 1), Block()]))
    assert checkpointed_blocks(shared) == [block, shared[1][1]]  # type: ignore[index]


def test_without_blocks_there_is_nothing_to_checkpoint() -> None:
    with pytest.raises(UnavailableError, match="no sequence of blocks"):
        build(nn.Sequential(nn.Flatten(), nn.Linear(768, 5)), Arguments((), {}), CpuBackend(CPU))
    _, row = compared(nn.Sequential(nn.Flatten(), nn.Linear(768, 5)), "gradient-checkpointing").rows
    assert (row.status, row.time) == ("unavailable", None)


def scaled(factor: float) -> Callable[[nn.Module, Arguments, DeviceBackend], Variant]:
    """The network with other gradients, and the same outputs."""

    def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
        for parameter in model.parameters():
            parameter.register_hook(lambda gradient: factor * gradient)  # type: ignore[no-untyped-call]
        return Variant(model, inputs)

    return build


@pytest.mark.parametrize(("factor", "status"), [(1.001, "measured"), (1.1, "failed"), (float("nan"), "failed")])
def test_other_gradients_are_no_optimization(factor: float, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake: Any = fake_optimization("scaled", scaled(factor))
    fake.modes = ("train",)
    monkeypatch.setattr(training, "OPTIMIZATIONS", {"scaled": fake})
    _, row = compared(net(2), "scaled").rows
    assert row.status == status
    assert row.logit_difference == 0


def test_a_network_that_does_not_train_is_an_error() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.weight).detach()

    with pytest.raises(ResnetCliError, match="plain eager does not train"):
        compared(Fixed(), "gradient-checkpointing")


def test_the_lines_checkpoint_as_the_optimization_does() -> None:
    model, other = net().train(), net().train()
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    exec("\n".join(OPTIMIZATIONS["gradient-checkpointing"].code), {"blocks": blocks})
    image = torch.randn(2, 3, 16, 16)
    gradients = []
    for each in (model, other):
        torch.manual_seed(1)
        each(image).sum().backward()
        gradients.append([parameter.grad for parameter in each.parameters()])
    for mine, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, expected)
