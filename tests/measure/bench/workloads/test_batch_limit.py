"""The largest batch that fits, by trying and as predicted."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.workloads.batch_limit import MemoryLimit, find_batch_size, largest
from resnet_cli.measure.bench.workloads.optimizers import OPTIMIZERS
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.bench.workloads.workload_cost import workload_cost
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.system.devices.cpu import CpuBackend

CPU = torch.device("cpu")


@given(limit=st.integers(0, 5000), start=st.integers(1, 5000), least=st.integers(1, 2))
def test_the_search_ends_within_a_32nd_below_the_limit(limit: int, start: int, least: int) -> None:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= limit

    found = largest(fits, max(start, least), least)
    if limit < least:
        assert found is None
        return
    assert found is not None
    assert found <= limit <= found + max(1, found // 32)
    assert min(tried) >= least
    assert len(tried) <= 25


def test_a_limit_counts_what_is_alive() -> None:
    held = torch.zeros(250)
    with MemoryLimit(4000, [held]) as limit:
        for _ in range(10):
            held.add(1.0)  # freed at once
        kept = held + 1
        assert limit.peak == 2000
        view = kept[:10]
        with pytest.raises(torch.OutOfMemoryError):
            [held + 1 for _ in range(3)]
    assert view.shape == (10,)
    assert limit.peak == 5000  # the tensor that did not fit was made


class Residual(nn.Module):
    """A block whose activations weigh more than its weights from a few images on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 16 * 16, 24)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(x + self.bn2(self.conv2(x)))
        logits: Tensor = self.head(x.flatten(1))
        return logits


@pytest.mark.parametrize(("mode", "optimizer"), [("inference", "sgd"), ("train", "sgd"), ("train", "adamw")])
def test_a_small_limit_allows_what_was_predicted(mode: str, optimizer: str) -> None:
    model, inputs, row = Residual(), images((3, 16, 16)), OPTIMIZERS[optimizer]
    cost = workload_cost(ModelUnderTest(model, "residual"), inputs, None, mode, row)
    work = Workload(model, inputs=inputs, device=CPU, mode=mode, optimizer=row)
    capacity = 5 * cost.bytes_at(2)
    messages: list[str] = []
    found = find_batch_size(work, cost, CpuBackend(CPU), capacity, messages.append)
    assert found.batch_size == pytest.approx(found.predicted, rel=0.1)
    assert found.batch_size > 10
    assert 0.9 * capacity < found.peak_bytes <= capacity
    assert (found.kind, found.tries) == ("counted", len(messages))


class Squaring(nn.Module):
    """Needs memory that grows with the square of the batch, which no line through two small batches predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x.mean((2, 3)))
        return torch.softmax(x @ x.T, 1) @ x


def test_what_grows_otherwise_than_predicted_is_found() -> None:
    model, inputs = Squaring(), images((4, 2, 2))
    cost = workload_cost(ModelUnderTest(model, "squaring"), inputs, None, "inference")
    work = Workload(model, inputs=inputs, device=CPU)
    found = find_batch_size(work, cost, CpuBackend(CPU), 1_000_000, lambda text: None)
    assert found.batch_size == pytest.approx(340, rel=0.05)  # two squares of 4 bytes: 8 n² = 1 MB, and images
    assert found.predicted > 2 * found.batch_size


def test_nothing_fits() -> None:
    model, inputs = nn.Sequential(nn.Flatten(), nn.Linear(48, 4)), images((3, 4, 4))
    cost = workload_cost(ModelUnderTest(model, "net"), inputs, None, "inference")
    work = Workload(model, inputs=inputs, device=CPU)
    with pytest.raises(ResnetCliError, match="not even a batch of 1"):
        find_batch_size(work, cost, CpuBackend(CPU), 900, lambda text: None)
