"""Layers whose times differ from forward to forward, and what is said of them: medians, in virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.bench.layers.layer_times import layer_times
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.bench.workloads.workload_cost import layers
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.results.bench import LayerTimes
from tests.helpers.fake_clock import SimulatedBackend, SimulatedClock, without_garbage

no_garbage = pytest.fixture(autouse=True)(without_garbage)
IMAGE = (3, 2, 2)


class Step(nn.Module):
    """Takes time when it runs."""

    def __init__(self, run: Callable[[], object]) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta:
            self.run()
        return x.clone()


def measured(model: nn.Module, clock: SimulatedClock) -> LayerTimes:
    root = layers(ModelUnderTest(model, "net"), images(IMAGE), torch.float32)
    work = Workload(model, inputs=images(IMAGE), device=torch.device("cpu"))
    limits = Limits(ci_width=0.0, max_time_s=6.0)
    backend = SimulatedBackend(clock, queued=False)
    return layer_times(work, 1, root, backend=backend, limits=limits, progress=lambda text: None)


def test_a_time_is_the_median_of_the_forwards() -> None:
    clock, dice = SimulatedClock(queued=False), random.Random(1)
    times = measured(Step(lambda: clock.run(dice.choice([0.001, 0.001, 0.002, 0.009, 0.009]))), clock)
    assert times.forwards > 300
    assert times.forward_s == times.instrumented_s == times.layers[0].time_s == pytest.approx(0.002)
    assert times.layers[0].ci_low_s <= 0.002 <= times.layers[0].ci_high_s


def test_an_interval_reaches_to_what_the_parts_add_up_to() -> None:
    """Of ten calls of a layer three take no time: each takes 5 ms mostly, three together mostly 10 or less."""
    clock, dice = SimulatedClock(queued=False), random.Random(2)

    def step() -> Step:
        return Step(lambda: clock.run(0.005 if dice.random() < 0.7 else 1e-5))

    times = measured(nn.Sequential(step(), step(), step()), clock)
    whole, *parts = times.layers
    assert [part.time_s for part in parts] == pytest.approx([0.005] * 3)
    assert times.forward_s == pytest.approx(0.01001)
    assert whole.time_s == pytest.approx(0.015)
    assert whole.ci_low_s <= 0.01001 * (1 + 1e-9)
    assert whole.ci_high_s == whole.time_s


class Sometimes(nn.Module):
    """Some forwards go by its first layer."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.dice = random.Random(3)

    def forward(self, x: Tensor) -> Any:
        return self.second(x if not x.is_meta and self.dice.random() < 0.3 else self.first(x))


def test_a_layer_that_some_forwards_skip_has_a_row() -> None:
    clock = SimulatedClock(queued=False)
    times = measured(Sometimes(Step(lambda: clock.run(0.01)), Step(lambda: clock.run(0.02))), clock)
    assert [row.path for row in times.layers] == ["", "first", "second"]
    assert [row.time_s for row in times.layers[1:]] == pytest.approx([0.01, 0.02])
