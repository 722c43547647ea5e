"""The largest batch that fits: held against the same figures at that batch and at the next one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.cost.memory import _largest_batch
from resnet_cli.measure.cost.summary import summarize
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.system.devices.cpu import CpuBackend
from resnet_cli.network.resnet import build
from resnet_cli.results.summary import Memory
from tests.helpers.models import CPU, Scale, subject
from tests.helpers.tiny_resnet import TinyResNet


class Wide(nn.Module):
    """Few weights and large activations: the activations decide."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu()).mean((2, 3))  # type: ignore[no-any-return]


class Heavy(nn.Module):
    """Many weights and small activations: their gradients decide."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(3 * 8 * 8, 300)
        self.out = nn.Linear(300, 300, bias=False)
        self.out.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lin(x.flatten(1)).relu())  # type: ignore[no-any-return]


class Pool(nn.Module):
    """No parameter at all."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu().mean((2, 3))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "wide": Wide,
    "heavy": Heavy,
    "resnet": TinyResNet,
    "scale": Scale,
}
SIZES = {"wide": 16, "heavy": 8, "resnet": 32, "scale": 4}


def measured(name: str, batch: int, dtype: torch.dtype = torch.float32) -> Memory:
    shape = (batch, 3, SIZES[name], SIZES[name])
    return summarize(subject(NETWORKS[name]()), inputs=images(shape), dtype=dtype, device=CPU).memory


at = cache(measured)


def with_room(name: str, batch: int, room: int | None, monkeypatch: pytest.MonkeyPatch) -> Memory:
    monkeypatch.setattr(CpuBackend, "total_memory", lambda self: room)
    return measured(name, batch)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_sums_are_sums_of_the_parts(name: str) -> None:
    memory = at(name, 3)
    state = NETWORKS[name]().state_dict()
    weights: int = sum(tensor.nbytes for tensor in state.values())
    trainable = 4 * sum(one.numel() for one in NETWORKS[name]().parameters() if one.requires_grad)
    given = 4 * 3 * 3 * SIZES[name] ** 2
    assert memory.parameter_bytes + memory.buffer_bytes == weights
    assert memory.input_bytes == given
    assert memory.gradient_bytes == memory.optimizer_bytes == trainable
    assert memory.inference_bytes == weights + given + memory.inference_peak_bytes
    assert memory.training_peak_bytes is not None
    # The gradients live in the peak; the optimizer's share comes on top.
    assert memory.training_bytes == weights + given + memory.training_peak_bytes + trainable
    assert memory.training_peak_bytes >= trainable


@pytest.mark.parametrize("batch", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_largest_batch_fits_and_the_next_does_not(name: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = at(name, 7)
    assert needed.training_bytes is not None
    exact = with_room(name, batch, needed.inference_bytes, monkeypatch)
    assert exact.largest_batch_inference == 7
    assert with_room(name, batch, needed.inference_bytes - 1, monkeypatch).largest_batch_inference == 6
    exact = with_room(name, batch, needed.training_bytes, monkeypatch)
    assert exact.largest_batch_training == 7
    assert with_room(name, batch, needed.training_bytes - 1, monkeypatch).largest_batch_training == 6


def test_where_not_even_the_weights_fit_no_image_does(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = with_room("heavy", 2, 1000, monkeypatch)
    assert (memory.largest_batch_inference, memory.largest_batch_training) == (0, 0)


def test_without_a_size_of_the_device_there_is_no_largest_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = with_room("heavy", 2, None, monkeypatch)
    assert (memory.largest_batch_inference, memory.largest_batch_training) == (None, None)
    assert memory.training_bytes == at("heavy", 2).training_bytes


def test_what_cannot_be_trained_has_a_largest_batch_at_inference_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuBackend, "total_memory", lambda self: 10**9)
    # A batch norm over a single value cannot be trained; the twice as large batch of two could.
    memory = summarize(subject(build(18)), inputs=images((1, 3, 32, 32)), dtype=torch.float32, device=CPU).memory
    assert memory.training_peak_bytes is memory.training_bytes is memory.saved_for_backward_bytes is None
    assert memory.largest_batch_training is None
    assert memory.largest_batch_inference


def test_a_moment_without_activations_limits_nothing_and_the_tightest_decides() -> None:
    # Moments of a x batch + b with (a, b) = (10, 5), (3, 50): 10 n + 5 <= 95 at 9, 3 n + 50 <= 95 at 15.
    assert _largest_batch([25, 56], [45, 62], 2, 0.0, 95) == 9
    assert _largest_batch([56, 25], [62, 45], 2, 0.0, 95) == 9
    assert _largest_batch([25, 56], [45, 62], 2, 1.0, 95) == 8  # with an input of 1: 11 n + 5
    assert _largest_batch([50, 25], [50, 45], 2, 0.0, 95) == 9  # b alone
    assert _largest_batch([50], [50], 2, 0.0, 95) is None
    assert _largest_batch([1], [2], 2, 0.0, 95) == 190  # half a byte an image
    assert _largest_batch([25], [45], 2, 0.0, -5) == 0
    assert _largest_batch([25, 56], [45], 2, 0.0, 95) is None  # a forward that does other things at another batch


def test_a_network_without_parameters_has_no_gradients() -> None:
    memory = summarize(subject(Pool()), inputs=images((2, 3, 4, 4)), dtype=torch.float32, device=CPU).memory
    assert (memory.parameter_bytes, memory.gradient_bytes, memory.optimizer_bytes) == (0, 0, 0)
    assert memory.inference_bytes == 2 * 4 * 2 * 3 * 16 + 4 * 2 * 3  # the input, what is behind the ReLU, its means


def test_half_precision_halves_everything_here() -> None:
    single, half = at("heavy", 2), at("heavy", 2, torch.float16)
    assert single.gradient_bytes == 2 * half.gradient_bytes
    assert half.training_bytes
    assert single.training_bytes == 2 * half.training_bytes


class MixedDtypes(nn.Module):
    """A frozen table of complex numbers beside float32 weights, which alone have gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        self.table = nn.Parameter(torch.zeros(5, dtype=torch.complex64), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


def test_gradients_have_the_dtype_of_their_parameter() -> None:
    memory = summarize(subject(MixedDtypes()), inputs=images((2, 3, 4, 4)), dtype=torch.float32, device=CPU).memory
    assert memory.parameter_bytes == 12 * 4 + 5 * 8
    assert (memory.gradient_bytes, memory.optimizer_bytes) == (12 * 4, 12 * 4)
