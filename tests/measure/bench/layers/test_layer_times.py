"""Where the time goes: every operator takes a known time in virtual time, so every row is known too."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.layers.layer_times import layer_times
from resnet_cli.measure.bench.timing.sampling import INTERRUPTED, Limits
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.bench.workloads.workload_cost import layers
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.devices.cpu import CpuBackend
from resnet_cli.results.bench import Ceiling, LayerTime, LayerTimes
from tests.helpers.fake_clock import SimulatedBackend, SimulatedClock, without_garbage
from tests.helpers.models import WithoutModules

CPU = torch.device("cpu")
no_garbage = pytest.fixture(autouse=True)(without_garbage)
IMAGE = (3, 8, 8)
LIMITS = Limits(ci_width=0.01, max_time_s=2.0, min_time_s=0.1)
ENDLESS = Limits(ci_width=0.0, max_time_s=60.0, min_time_s=60.0)
COSTS = {"conv": 4e-3, "relu": 1e-3, "add": 2e-3, "flatten": 0.0}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Real time is no matter here, and threads that wait for each other on a busy machine take much of it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass
class Machine(TorchDispatchMode):
    """Operators take the times that they are told to take.

    Args:
        clock: of the device.
        costs: seconds of an operator, by the beginning of its name.
        raises: in place of the operator of this number; the first one is 1.
        disturb: adds to the time of an operator.
    """

    clock: SimulatedClock
    costs: Mapping[str, float] = field(default_factory=lambda: COSTS)
    raises: Mapping[int, BaseException] = field(default_factory=dict)
    disturb: Callable[[], float] = lambda: 0.0
    operators: int = 0

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if tensors := [value for value in args if isinstance(value, Tensor)]:
            if tensors[0].is_meta:  # counting, not running
                return output
            cost = next((cost for name, cost in self.costs.items() if func.__name__.startswith(name)), 0.0)
            self.operators += 1
            if self.operators in self.raises:
                raise self.raises[self.operators]
            self.clock.run(cost + (self.disturb() if cost else 0.0))
        return output


class Block(nn.Module):
    """A convolution, a ReLU that is called twice, a residual add."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        return self.relu(self.relu(self.conv(x)) + x)  # type: ignore[no-any-return]


class Net(nn.Module):
    """Two blocks in a container, then what a network does without a module."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 1)
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, x: Tensor) -> Tensor:
        """One row for each image."""
        return torch.flatten(torch.relu(self.blocks(self.stem(x))), 1)


def measure(
    model: nn.Module,
    clock: SimulatedClock | DeviceBackend,
    *,
    batch_size: int = 1,
    ceiling: Ceiling | None = None,
    limits: Limits = LIMITS,
    image: tuple[int, int, int] = IMAGE,
) -> LayerTimes:
    root = layers(ModelUnderTest(model, "net"), images((batch_size, *image)), torch.float32)
    workload = Workload(model, inputs=images(image), device=CPU)
    backend = SimulatedBackend(clock, queued=False) if isinstance(clock, SimulatedClock) else clock
    return layer_times(
        workload, batch_size, root, backend=backend, limits=limits, ceiling=ceiling, progress=lambda _: None
    )


def rows(measured: LayerTimes) -> dict[tuple[str, int], LayerTime]:
    return {(row.path, row.call): row for row in measured.layers}


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def assert_adds_up(measured: LayerTimes) -> None:
    leaves = [row for row in measured.layers if row.is_leaf]
    assert sum(row.time_s for row in leaves) + measured.other_s == pytest.approx(measured.instrumented_s)
    assert sum(row.share for row in leaves) + measured.other_s / measured.instrumented_s == pytest.approx(1.0)
    assert sum(row.macs_share for row in leaves) == pytest.approx(1.0)
    assert all(row.ci_low_s <= row.time_s <= row.ci_high_s for row in measured.layers)


def test_every_layer_has_its_time() -> None:
    clock = SimulatedClock(queued=False)
    with Machine(clock):
        measured = measure(Net(), clock)
    times = {(path, call): pytest.approx(row.time_s) for (path, call), row in rows(measured).items()}
    assert times == {
        ("", 1): 21e-3,
        ("stem", 1): 4e-3,
        ("blocks", 1): 16e-3,
        **{(f"blocks.{number}", 1): 8e-3 for number in range(2)},
        **{(f"blocks.{number}.conv", 1): 4e-3 for number in range(2)},
        **{(f"blocks.{number}.relu", call): 1e-3 for number in range(2) for call in (1, 2)},
        **{(f"blocks.{number}:add", 1): 2e-3 for number in range(2)},
        (":relu", 1): 1e-3,
    }
    assert measured.instrumented_s == pytest.approx(21e-3)
    assert measured.forward_s == pytest.approx(21e-3)
    assert measured.other_s == pytest.approx(0.0, abs=1e-9)
    assert_adds_up(measured)


def test_rows_stand_in_the_order_of_the_forward_with_their_names() -> None:
    clock = SimulatedClock(queued=False)
    with Machine(clock):
        measured = measure(Net(), clock)
    shown = [(row.depth, row.name, row.layer_type, row.is_leaf) for row in measured.layers]
    block = [(3, "conv", "Conv2d", True), (3, "relu", "ReLU", True), (3, "relu", "ReLU", True), (3, "add", "add", True)]
    assert shown == [
        (0, "net", "Net", False),
        (1, "stem", "Conv2d", True),
        (1, "blocks", "Sequential", False),
        (2, "0", "Block", False),
        *block,
        (2, "1", "Block", False),
        *block,
        (1, "relu", "relu", True),
    ]


def test_a_module_under_two_names_is_one_that_is_called_twice() -> None:
    shared = nn.Conv2d(3, 3, 1)
    clock = SimulatedClock(queued=False)
    with Machine(clock):
        measured = measure(nn.Sequential(shared, nn.Sequential(shared, nn.ReLU())), clock)
    assert [(row.path, row.call) for row in measured.layers] == [("", 1), ("0", 1), ("1", 1), ("0", 2), ("1.1", 1)]
    assert [row.time_s for row in measured.layers] == pytest.approx([9e-3, 4e-3, 5e-3, 4e-3, 1e-3])
    assert_adds_up(measured)


def test_rates_and_bounds_follow_from_the_trace() -> None:
    model = Net()
    root = layers(ModelUnderTest(model, "net"), images((2, *IMAGE)), torch.float32)
    clock = SimulatedClock(queued=False)
    stem = root.children[0]
    ridge = stem.ops / stem.bytes_moved
    bounds = []
    for flops in (0.99 * ridge, 1.01 * ridge):
        with Machine(clock):
            measured = measure(model, clock, batch_size=2, ceiling=Ceiling(4 * flops, 4.0, (), ()))
        row = rows(measured)["stem", 1]
        bounds.append(row.bound)
        assert row.macs == stem.macs == 2 * 8 * 8 * 3 * 3
        assert row.macs_share == pytest.approx(stem.macs / root.macs)
        assert row.flops_per_s == pytest.approx(2 * stem.macs / 4e-3)
        assert row.bytes_per_s == pytest.approx(stem.bytes_moved / 4e-3)
        assert row.arithmetic_intensity == pytest.approx(ridge)
    assert bounds == ["compute", "memory"]
    assert measured.batch_size == 2


def test_the_cost_of_the_clocks_is_not_that_of_layers() -> None:
    clock = SimulatedClock(queued=False, read_s=1e-4)
    with Machine(clock):
        measured = measure(Net(), clock)
    assert measured.forward_s == pytest.approx(21e-3 + 1e-4, abs=2e-4)
    looks = 2 * len(measured.layers)
    assert measured.instrumented_s == pytest.approx(21e-3 + looks * 1e-4, abs=3e-4)
    assert measured.other_s > 0
    assert_adds_up(measured)


def test_disturbances_fall_on_no_layer_and_everything_adds_up() -> None:
    dice = random.Random(5)
    clock = SimulatedClock(queued=False)
    # Of ten operators in a forward one is hit on average, so nearly every forward is, and hardly ever the same layer.
    with Machine(clock, disturb=lambda: 0.05 if dice.random() < 0.1 else 0.0):
        measured = measure(Net(), clock, limits=Limits(max_time_s=20.0))
    assert measured.forward_s > 0.05
    assert measured.instrumented_s == pytest.approx(21e-3)
    assert_adds_up(measured)


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
@pytest.mark.parametrize("number", [15, 500])
def test_the_network_is_left_without_hooks(error: BaseException, number: int) -> None:
    model = Net()
    clock = SimulatedClock(queued=False)
    with Machine(clock, raises={number: error}):
        if isinstance(error, KeyboardInterrupt) and number == 500:
            assert measure(model, clock, limits=ENDLESS).stopped == INTERRUPTED
        else:
            with pytest.raises(type(error)):
                measure(model, clock, limits=ENDLESS)
    assert hooks(model) == 0
    before = clock.log.count("now")
    model(torch.ones(1, *IMAGE))
    assert clock.log.count("now") == before  # no mode is left either


def test_ctrl_c_keeps_the_whole_forwards() -> None:
    clock = SimulatedClock(queued=False)
    for number in range(400, 412, 3):  # in a forward with clocks or without, wherever it may be
        with Machine(clock, raises={number: KeyboardInterrupt()}):
            measured = measure(Net(), clock, limits=ENDLESS)
        assert measured.stopped == INTERRUPTED
        assert measured.forwards >= 6
        assert measured.instrumented_s == pytest.approx(21e-3)
        assert_adds_up(measured)


class Odd(nn.Module):
    """Everything that a network of somebody else may do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.never = nn.Linear(3, 3)
        self.listed = nn.ModuleList([nn.ReLU(), nn.Identity()])
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> dict[str, object]:
        """A dictionary of tuples."""
        features = self.conv(input=x)  # by keyword
        for layer in self.listed:
            features = layer(features)
        by_hand = nn.functional.conv2d(x, self.conv.weight)
        return {"out": (features * self.scale, [by_hand]), "nothing": None}


def test_work_by_hand_is_the_containers_own() -> None:
    clock = SimulatedClock(queued=False)
    with Machine(clock, costs={"conv": 4e-3, "relu": 1e-3, "mul": 2e-3}):
        measured = measure(Odd(), clock)
    assert {row.path: pytest.approx(row.time_s) for row in measured.layers} == {
        "": 11e-3,
        "conv": 4e-3,
        "listed.0": 1e-3,
        "listed.1": 0.0,
        ":own": 6e-3,
    }
    assert rows(measured)[":own", 1].layer_type == "conv, mul"
    assert_adds_up(measured)


def test_a_network_that_calls_no_module_has_its_own_work_as_a_row() -> None:
    clock = SimulatedClock(queued=False)
    with Machine(clock, costs={"conv": 4e-3, "relu": 1e-3, "sigmoid": 2e-3}):
        measured = measure(WithoutModules(), clock)
    assert {row.path: pytest.approx(row.time_s) for row in measured.layers} == {"": 7e-3, ":own": 7e-3}
    assert_adds_up(measured)


class WithoutHooks(nn.Module):
    """Calls its forward without what torch does around it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """By hand."""
        return self.conv.forward(x)

    __call__ = forward


def test_a_network_that_hides_its_layers_is_an_error() -> None:
    with pytest.raises(ResnetCliError, match="modules"):
        measure(WithoutHooks(), CpuBackend(torch.device("cpu")), limits=Limits(max_time_s=0.01))
