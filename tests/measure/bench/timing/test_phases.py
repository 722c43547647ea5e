"""A training step and its phases."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnet_cli.measure.bench.timing.phases import time_phases
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.optimizers import OPTIMIZERS, Optimizer
from resnet_cli.measure.bench.workloads.training import TrainingStep
from resnet_cli.measure.models.inputs.model_inputs import images
from tests.helpers.fake_clock import SimulatedBackend, SimulatedClock

CPU = torch.device("cpu")


class Slow(torch.autograd.Function):
    """Takes time in both directions."""

    clock: SimulatedClock

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        Slow.clock.run(1.0)
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        Slow.clock.run(3.0)
        return gradient


class Net(nn.Sequential):
    """A layer whose output takes time."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(12, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = Slow.apply(super().forward(x))  # type: ignore[no-untyped-call]
        return result


def step(model: nn.Module, optimizer: Optimizer = OPTIMIZERS["sgd"]) -> TrainingStep:
    inputs = images((3, 2, 2)).at_batch(4).random(0, torch.float32, CPU)
    return TrainingStep(model, inputs, optimizer, CPU)


def weights(model: nn.Module) -> list[object]:
    return [parameter.tolist() for parameter in model.parameters()]


@pytest.mark.parametrize("queued", [True, False])
def test_each_phase_has_its_own_time(queued: bool) -> None:
    Slow.clock = SimulatedClock(queued=queued)
    phases = time_phases(step(Net()), SimulatedBackend(Slow.clock, queued=queued), Limits(max_time_s=80.0))
    assert [phase.name for phase in phases] == ["forward", "backward", "optimizer"]
    forward, backward, optimizer = phases
    assert forward.median_s == pytest.approx(1.0, rel=0.01)
    assert backward.median_s == pytest.approx(3.0, rel=0.01)
    assert optimizer.median_s < 0.01
    assert sum(phase.share for phase in phases) == pytest.approx(1.0)
    assert forward.ci_low_s <= forward.median_s <= forward.ci_high_s


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_whole_step_is_its_phases_and_trains_as_torch_does(optimizer: Optimizer) -> None:
    Slow.clock = SimulatedClock(queued=False)
    torch.manual_seed(0)
    one, other, by_hand = Net(), Net(), Net()
    for model in (other, by_hand):
        model.load_state_dict(one.state_dict())
    whole, parts = step(one, optimizer), step(other, optimizer)
    for _ in range(3):
        whole()
        for phase in parts.phases.values():
            phase()
    assert weights(one) == weights(other)
    reference = getattr(torch.optim, optimizer.name)(by_hand.parameters(), **optimizer.settings)
    (x,), _ = images((3, 2, 2)).at_batch(4).random(0, torch.float32, CPU)
    labels = torch.randint(3, (4,), generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        reference.zero_grad()
        nn.functional.cross_entropy(by_hand(x), labels).backward()  # type: ignore[no-untyped-call]
        reference.step()
    assert weights(one) == weights(by_hand)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_optimizer_keeps_as_many_values_as_its_row_says(optimizer: Optimizer) -> None:
    parameter = nn.Parameter(torch.ones(7))
    built = optimizer.build([parameter])
    parameter.grad = torch.ones(7)
    built.step()
    states = [value for value in built.state[parameter].values() if isinstance(value, torch.Tensor)]
    assert sum(value.numel() for value in states if value.dim()) == 7 * optimizer.states
