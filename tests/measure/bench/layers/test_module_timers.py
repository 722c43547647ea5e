"""Timers within a network whose forwards are unusual."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_cli.measure.bench.layers.module_timers import ModuleTimers, seconds_by_site
from tests.helpers.fake_clock import SimulatedClock


class Step(nn.Module):
    """Takes time."""

    def __init__(self, clock: SimulatedClock, seconds: float, error: Exception | None = None) -> None:
        super().__init__()
        self.clock, self.seconds, self.error = clock, seconds, error

    def forward(self, x: Tensor) -> Tensor:
        self.clock.run(self.seconds)
        if self.error is not None:
            raise self.error
        return x


class Careful(nn.Module):
    """Falls back on another layer."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        try:
            out: Tensor = self.first(x)
        except ValueError:
            out = self.second(x)
        return out


def test_a_layer_that_fails_and_is_caught_has_its_time_as_well() -> None:
    clock = SimulatedClock(queued=False)
    net = nn.Sequential(Careful(Step(clock, 1.0, ValueError()), Step(clock, 0.5)), Step(clock, 0.25))
    timers = ModuleTimers(net, clock)
    with timers:
        net(torch.ones(1))
    assert seconds_by_site(timers.spans) == {
        ("", 1): 1.75,
        ("0", 1): 1.5,
        ("0.first", 1): 1.0,
        ("0.second", 1): 0.5,
        ("1", 1): 0.25,
    }
