"""Operators under `torch.inference_mode()` reach a dispatch mode whole; they are recorded in parts as elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.measure.tracing import tracer
from tests.helpers.models import flops_of, on_meta


class Frozen(nn.Module):
    """A head behind a part that runs in inference mode."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body.requires_grad_(False), head

    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            x = self.body(x)
        out: Tensor = self.head(x.clone())
        return out


class First(nn.Module):
    """The first output of a layer, which is given the input several times."""

    def __init__(self, layer: nn.Module, times: int = 1) -> None:
        super().__init__()
        self.layer, self.times = layer, times

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(*[x] * self.times)[0]
        return out


BODIES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolution": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), (6, 6)),
    "linear": (lambda: nn.Sequential(nn.Flatten(2), nn.Linear(36, 4)), (6, 6)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 2), (4, 4)),
    "recurrent": (lambda: nn.Sequential(nn.Flatten(2), First(nn.GRU(16, 4, batch_first=True))), (4, 4)),
    "attention": (lambda: nn.Sequential(nn.Flatten(2), First(nn.MultiheadAttention(16, 2), 3)), (4, 4)),
}


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_part_in_inference_mode_is_recorded_as_without_it(case: str, device: str) -> None:
    make, size = BODIES[case]
    plain, frozen = make().to(device).eval(), Frozen(make(), nn.Identity()).to(device)
    x = torch.ones(2, 3, *size, device=device)
    inside = tracer.run(frozen, (x,))
    outside = tracer.run(plain, (x,))
    macs = sum(op.counted.macs for op in inside.operators if op.module.path.startswith("body"))
    assert macs == sum(op.counted.macs for op in outside.operators) > 0


def test_the_macs_of_a_frozen_part_are_torchs_and_enter_every_row() -> None:
    network = Frozen(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
    with FlopCounterMode(display=False) as counter:
        network(torch.ones(2, 3, 8, 8))
    flops = flops_of(network, (2, 3, 8, 8))
    assert flops.flops == counter.get_total_flops() == 2 * 2 * (4 * 3 * 9 * 36 + 2 * 4 * 9 * 16)
    assert [row.macs for row in flops.root.children] == [2 * 4 * 3 * 9 * 36, 2 * 2 * 4 * 9 * 16]


def test_a_training_step_behind_a_frozen_part() -> None:
    network = Frozen(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)).to("meta")
    step = tracer.run(network, (on_meta(2, 3, 8, 8),), training=True, backward=True)
    assert sum(op.counted.macs for op in step.operators if op.backward) == 2 * 2 * 4 * 9 * 16  # of the head's weight
