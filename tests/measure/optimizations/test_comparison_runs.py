"""What a ladder makes of networks and machines that are less simple, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.bench.sampling import Limits
from resnet_cli.measure.models import random_init
from resnet_cli.measure.optimizations import comparison
from resnet_cli.measure.optimizations.comparison import compare_optimizations
from resnet_cli.measure.optimizations.registry import Machine, Optimization
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.results.bench import OptimizationResult, OptimizationsResult
from tests.helpers.fake_clock import SimulatedClock, without_garbage

no_garbage = pytest.fixture(autouse=True)(without_garbage)
CPU = torch.device("cpu")
LIMITS = Limits(max_time_s=4.0, min_time_s=0.5)
Make = Callable[[nn.Module, Tensor, Machine], Variant]


class Net(nn.Module):
    """Two outputs, of five numbers and of three."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": x.flatten(1)[:, :5], "more": x.flatten(1)[:, 5:8]}


def climbed(
    clock: SimulatedClock,
    monkeypatch: pytest.MonkeyPatch,
    eager: Make,
    folded: Make,
    limits: Limits = LIMITS,
    model: nn.Module | None = None,
    **options: Any,
) -> OptimizationsResult:
    monkeypatch.setattr(comparison, "EAGER_OPTIMIZATION", Optimization("eager", "eager", eager))
    monkeypatch.setattr(comparison, "BY_KEY", {"folded": Optimization("folded", "folded", folded)})
    options = {"image": (3, 4, 4), "batch_size": 2, "seed": 5, **options}
    return compare_optimizations(model or Net(), device=CPU, limits=limits, clock=clock, chosen=("folded",), **options)


def taking(clock: SimulatedClock, seconds: float, change: Callable[[Any], Any] = lambda output: output) -> Make:
    def make(model: nn.Module, image: Tensor, on: Machine) -> Variant:
        def run(images: Tensor) -> object:
            clock.run(seconds)
            return change(model(images))

        return Variant(run, image)

    return make


def test_of_several_outputs_each_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(output: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**output, "more": output["more"] * 1.01}

    clock = SimulatedClock(queued=False)
    rung: OptimizationResult = climbed(clock, monkeypatch, taking(clock, 0.01), taking(clock, 0.01, change)).rows[1]
    assert rung.status == "measured"
    assert rung.logit_difference is not None
    assert 0.001 < rung.logit_difference < 0.01


def test_what_does_not_read_its_input_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock(queued=False)

    def deaf(model: nn.Module, image: Tensor, on: Machine) -> Variant:
        return Variant(lambda images: model(image), image)

    result = climbed(clock, monkeypatch, taking(clock, 0.01), deaf)
    assert [rung.status for rung in result.rows] == ["measured", "failed"]
    assert clock.freed == 0


def test_images_are_those_of_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock(queued=False)
    seen: list[Tensor] = []

    def look(model: nn.Module, image: Tensor, on: Machine) -> Variant:
        seen.append(image)
        return taking(clock, 0.01)(model, image, on)

    climbed(clock, monkeypatch, taking(clock, 0.01), look)
    assert torch.equal(seen[0], random_init.image((2, 3, 4, 4), 5))


def test_memory_of_a_rung_that_fails_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock(queued=False)

    def fail(model: nn.Module, image: Tensor, on: Machine) -> Variant:
        raise RuntimeError("no memory")

    assert climbed(clock, monkeypatch, taking(clock, 0.01), fail).rows[1].reason == "no memory"
    assert clock.freed == 1


def test_a_gain_of_a_third_pays_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock(queued=False)

    def dear(model: nn.Module, image: Tensor, on: Machine) -> Variant:
        clock.run(1.0)
        return taking(clock, 3 / 256)(model, image, on)

    rung = climbed(clock, monkeypatch, taking(clock, 4 / 256), dear).rows[1]
    assert rung.speedup == pytest.approx(4 / 3)
    assert rung.setup_s == 1 + 3 / 256
    assert rung.break_even_calls == 256 + 3  # a call saves 1 / 256 s


def test_all_warm_ups_together_take_a_quarter_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock(queued=False)

    def restless(model: nn.Module, image: Tensor, on: Machine) -> Variant:
        seconds = [0.001]

        def run(images: Tensor) -> object:
            seconds[0] *= 1.02  # it never stands still
            clock.run(seconds[0])
            return model(images)

        return Variant(run, image)

    begun: list[float] = []

    def sample(*options: Any) -> Any:
        begun.append(clock.host_s)
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "sample", sample)
    with pytest.raises(KeyboardInterrupt):
        climbed(clock, monkeypatch, restless, restless, Limits(max_time_s=8.0))
    assert begun[0] == pytest.approx(2.0, abs=0.2)


class Watching(nn.Module):
    """Notes which precision its forward finds."""

    def __init__(self, part: Any, found: list[str]) -> None:
        super().__init__()
        self.look: Callable[[], None] = lambda: found.append(part.fp32_precision)

    def forward(self, x: Tensor) -> Tensor:
        self.look()
        return x.flatten(1)


@pytest.mark.parametrize(("capability", "first"), [((9, 0), "ieee"), (None, "tf32")])
def test_on_a_gpu_the_truth_is_that_of_all_bits(
    capability: tuple[int, int] | None, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimulatedClock(queued=False)
    part = SimpleNamespace(fp32_precision="tf32")
    found: list[str] = []
    on = Machine(CPU, capability, precisions=(part, part))
    climbed(clock, monkeypatch, taking(clock, 0.01), taking(clock, 0.01), model=Watching(part, found), on=on)
    batches = 4  # of two images each
    assert found[:batches] == [first] * batches
    assert set(found[batches:]) == {"tf32"}
