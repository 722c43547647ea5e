"""TF32 is on in the calls alone, and says where it was on before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.bench.timing import sampling
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.models.inputs.model_inputs import Arguments, images
from resnet_cli.measure.optimizations import comparison
from resnet_cli.measure.optimizations.precision.tf32 import build
from resnet_cli.measure.optimizations.variant import UnavailableError
from tests.helpers.fake_clock import SimulatedBackend, SimulatedClock


def precisions(conv: str = "tf32", matmul: str = "none") -> tuple[Any, Any]:
    return SimpleNamespace(fp32_precision=conv), SimpleNamespace(fp32_precision=matmul)


def seen(parts: tuple[Any, Any]) -> tuple[str, str]:
    return parts[0].fp32_precision, parts[1].fp32_precision


class Watching(nn.Module):
    """Notes which precisions its forward finds."""

    def __init__(self, parts: tuple[Any, Any]) -> None:
        super().__init__()
        self.parts: list[Any] = list(parts)
        self.precisions: list[tuple[str, str]] = []
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        self.precisions.append((self.parts[0].fp32_precision, self.parts[1].fp32_precision))
        if self.fails:
            raise RuntimeError("no kernel")
        return x


def test_tf32_is_on_in_the_call_alone() -> None:
    parts = precisions()
    net = Watching(parts)
    inputs = Arguments((torch.zeros(1, 3, 4, 4),), {})
    variant = build(net, inputs, SimulatedBackend(capability=(9, 0), fp32_settings=parts))
    with variant.context():
        variant.call()
    assert net.precisions == [("tf32", "tf32")]
    assert seen(parts) == ("tf32", "none")
    assert variant.remark == "already on for convolutions in plain eager"
    net.fails = True
    with pytest.raises(RuntimeError), variant.context():
        variant.call()
    assert seen(parts) == ("tf32", "none")


WAIT = ["now", "synchronize", "now"]  # what follows on a timed call


class Switch:
    """A setting of torch that takes time to change."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock, self._precision = clock, "ieee"

    @property
    def fp32_precision(self) -> str:
        return self._precision

    @fp32_precision.setter
    def fp32_precision(self, precision: str) -> None:
        self._clock.log.append(f"set {precision}")
        self._precision = precision


def test_nothing_is_switched_within_the_timed_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample reads the clock three times, and between the first and the last nothing else happens than the call."""
    monkeypatch.setattr(sampling, "gc", SimpleNamespace(isenabled=bool, collect=int, disable=int, enable=int))
    clock = SimulatedClock()

    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            clock.log.append(f"call {settings[0].fp32_precision}")
            clock.run(0.01)
            return x.flatten(1)

    settings: Any = (Switch(clock), Switch(clock))
    result = comparison.compare_optimizations(
        Workload(Net(), inputs=images((3, 2, 2)), device=torch.device("cpu"), dtype=torch.float32, fresh=False),
        1,
        backend=SimulatedBackend(clock, capability=(9, 0), fp32_settings=settings),
        limits=Limits(max_time_s=0.3, min_time_s=0.0),
        chosen=("tf32",),
    )
    assert [row.status for row in result.rows] == ["measured", "measured"]
    log = clock.log
    requests = [
        log[place + 1] for place, what in enumerate(log) if what == "now" and log[place + 2 : place + 5] == WAIT
    ]
    assert {what for what in requests if what.startswith("call")} == {"call ieee", "call tf32"}
    assert not [what for what in requests if what.startswith("set")]
    assert settings[0].fp32_precision == "ieee"


@pytest.mark.parametrize(
    ("parts", "capability", "reason"),
    [
        (precisions("tf32", "tf32"), (9, 0), "already on for convolutions and matrix products"),
        (precisions(), (7, 5), "needs compute capability 8.0, and this GPU has 7.5"),
        ((), None, "this device has no TF32"),
    ],
)
def test_tf32_that_cannot_be_turned_on(parts: Any, capability: tuple[int, int] | None, reason: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        build(
            nn.Identity(),
            Arguments((torch.zeros(1),), {}),
            SimulatedBackend(capability=capability, fp32_settings=parts),
        )
    assert str(caught.value) == reason
