"""Optimizations in virtual time: speed-up, break-even, the recommendation, and rows that fail."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.models.inputs.model_inputs import Arguments, images
from resnet_cli.measure.optimizations import comparison
from resnet_cli.measure.optimizations.comparison import compare_optimizations
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.results.bench import OptimizationResult, OptimizationsResult
from tests.helpers.fake_clock import SimulatedBackend, SimulatedClock, fake_optimization, without_garbage

CPU = torch.device("cpu")
no_garbage = pytest.fixture(autouse=True)(without_garbage)
IMAGE = (3, 4, 4)
LIMITS = Limits(max_time_s=4.0, min_time_s=0.5)


class Net(nn.Module):
    """Logits that are simply the first pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :5] * self.scale


@dataclass
class Fake:
    """An optimization in virtual time.

    Args:
        seconds: of a call.
        setup_s: until it is made.
        change: of its logits.
        raises: in place of being made.
        breaks: raised by the call of this number.
    """

    seconds: float = 0.01
    setup_s: float = 0.0
    change: Callable[[Tensor], Tensor] = lambda logits: logits
    raises: BaseException | None = None
    breaks: tuple[int, BaseException] | None = None
    calls: int = 0

    def row(self, clock: SimulatedClock, key: str) -> Any:
        def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
            clock.run(self.setup_s)
            if self.raises is not None:
                raise self.raises

            def run(images: Tensor) -> Tensor:
                self.calls += 1
                if self.breaks is not None and self.calls == self.breaks[0]:
                    raise self.breaks[1]
                clock.run(self.seconds)
                logits: Tensor = model(images)
                return self.change(logits)

            return Variant(run, inputs)

        return fake_optimization(key, build, keeps_precision=key not in {"bfloat16", "float16", "tf32"})


Compare = Callable[..., OptimizationsResult]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Compare:
    """A comparison of fakes by key; plain eager takes 10 ms if it is not given."""

    def run(limits: Limits = LIMITS, batch_size: int = 1, **fakes: Fake) -> OptimizationsResult:
        clock = SimulatedClock(queued=False)
        named = {key.replace("_", "-"): fake for key, fake in fakes.items()}
        eager = named.pop("eager", Fake())
        monkeypatch.setattr(comparison, "EAGER", eager.row(clock, "eager"))
        monkeypatch.setattr(comparison, "OPTIMIZATIONS", {key: fake.row(clock, key) for key, fake in named.items()})
        return compare_optimizations(
            Workload(Net(), inputs=images(IMAGE), device=torch.device("cpu"), dtype=torch.float32, fresh=False),
            batch_size,
            backend=SimulatedBackend(clock, queued=False),
            limits=limits,
            chosen=tuple(named),
        )

    return run


def by_key(result: OptimizationsResult) -> dict[str, OptimizationResult]:
    return {row.key: row for row in result.rows}


def test_gain_and_break_even(compared: Compare) -> None:
    result = compared(folded=Fake(0.008), compile=Fake(0.004, setup_s=6.0))
    rows = by_key(result)
    assert [row.key for row in result.rows] == ["eager", "folded", "compile"]
    eager, compiled = rows["eager"], rows["compile"]
    assert (eager.speedup, eager.ci_low, eager.ci_high, eager.setup_s, eager.break_even_calls) == (1, 1, 1, None, None)
    assert compiled.speedup == pytest.approx(2.5)
    assert compiled.ci_low == pytest.approx(2.5)
    assert compiled.ci_high == pytest.approx(2.5)
    assert compiled.setup_s == pytest.approx(6.004)
    assert compiled.break_even_calls == math.ceil(6.004 / 0.006)
    assert compiled.time is not None
    assert compiled.time.median_s == pytest.approx(0.004)
    assert rows["folded"].speedup == pytest.approx(1.25)
    assert result.best == "compile"
    assert result.stopped == "converged"


@pytest.mark.parametrize(
    ("precision", "title"), [("float32", "eager"), ("float32, all in TF32", "eager (float32, all in TF32)")]
)
def test_plain_eager_says_where_it_is_not_all_float32(
    compared: Compare, precision: str, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimulatedBackend, "precision", lambda self, dtype: precision)
    assert [row.title for row in compared(folded=Fake()).rows] == [title, "folded"]


def test_a_slower_row_never_pays_and_nothing_is_taken(compared: Compare) -> None:
    result = compared(folded=Fake(0.02, setup_s=1.0))
    row = by_key(result)["folded"]
    assert row.speedup == pytest.approx(0.5)
    assert row.break_even_calls is None
    assert result.best is None


def test_fewer_bits_are_named_but_not_taken(compared: Compare) -> None:
    result = compared(folded=Fake(0.005), bfloat16=Fake(0.002, change=lambda logits: logits * 1.01))
    assert result.best == "folded"
    assert by_key(result)["bfloat16"].logit_difference == pytest.approx(0.01, rel=1e-4)
    assert "bfloat16" in result.recommendation


@pytest.mark.parametrize("distance", [0.024, 0.157])  # TF32 of an untrained ResNet-50 and ResNet-152
def test_rounding_that_plain_eager_does_too_breaks_no_variant(compared: Compare, distance: float) -> None:
    eager = Fake(change=lambda logits: logits * (1 + distance))
    folded = Fake(0.005, change=lambda logits: logits * (1 - distance))
    broken = Fake(0.001, change=lambda logits: logits * (1 + 4 * distance))
    result = compared(eager=eager, folded=folded, compile=broken)
    assert by_key(result)["folded"].status == "measured"
    assert by_key(result)["compile"].status == "failed"
    assert result.best == "folded"


def test_another_likeliest_class_is_counted(compared: Compare) -> None:
    row = by_key(compared(bfloat16=Fake(change=lambda logits: logits.roll(1, 1))))["bfloat16"]
    assert row.top1_agreement is not None
    assert row.top1_agreement < 1


@pytest.mark.parametrize(
    ("fake", "status", "reason"),
    [
        (Fake(raises=UnavailableError("needs a moon")), "unavailable", "needs a moon"),
        (Fake(raises=RuntimeError("no kernel in /some/where\nand much more")), "failed", "no kernel in …"),
        (Fake(breaks=(1, torch.OutOfMemoryError("too large"))), "failed", "too large"),
        (Fake(breaks=(4, RuntimeError("later"))), "failed", "later"),  # in the comparison of logits
        (Fake(breaks=(12, RuntimeError("warming"))), "failed", "warming"),
        (Fake(breaks=(60, RuntimeError("much later"))), "failed", "much later"),  # among the samples
        (Fake(change=lambda logits: logits * math.nan), "failed", "NaN or infinity"),
        (Fake(change=lambda logits: logits.where(logits < logits.max(), math.inf)), "failed", "NaN or infinity"),
        (Fake(change=lambda logits: logits[:, :2]), "failed", "another shape"),
        (Fake(change=lambda logits: logits.flip(1)), "failed", "changes the logits"),
    ],
)
def test_a_row_that_does_not_run_is_a_row_that_says_why(
    compared: Compare, fake: Fake, status: str, reason: str
) -> None:
    result = compared(folded=fake, compile=Fake(0.005))
    rows = by_key(result)
    row = rows["folded"]
    assert row.status == status
    assert row.reason is not None
    assert reason in row.reason
    assert "/some" not in row.reason
    assert (row.time, row.speedup, row.break_even_calls) == (None, None, None)
    assert rows["compile"].speedup == pytest.approx(2.0)
    assert result.best == "compile"


@pytest.mark.parametrize("call", [1, 60])
def test_without_plain_eager_there_is_no_comparison(compared: Compare, call: int) -> None:
    with pytest.raises(ResnetCliError, match="plain eager does not run") as caught:
        compared(eager=Fake(breaks=(call, RuntimeError("no memory"))), folded=Fake())
    assert "no memory" in str(caught.value)


def test_ctrl_c_keeps_the_whole_rounds(compared: Compare) -> None:
    result = compared(folded=Fake(0.005, breaks=(150, KeyboardInterrupt())))
    assert result.stopped == "interrupted"
    counts = {len(row.time.samples_s) for row in result.rows if row.time is not None}
    assert len(counts) == 1
    assert counts.pop() > 20
    assert result.best == "folded"


def test_the_time_is_for_all_rows_together(compared: Compare) -> None:
    seconds = [0.05 * number for number in range(1, 1 + len(OPTIMIZATIONS))]
    fakes = {key.replace("-", "_"): Fake(second) for key, second in zip(OPTIMIZATIONS, seconds, strict=True)}
    result = compared(limits=Limits(max_time_s=10.0, ci_width=1e-9, min_time_s=100.0), **fakes)
    assert result.stopped == "time"
    total = sum(sum(row.time.samples_s) for row in result.rows if row.time is not None)
    assert total < 10.0 + sum(seconds)  # the last round is finished


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    from resnet_cli.network.resnet import build

    device = torch.device("cuda", 0)
    result = compare_optimizations(
        Workload(build(18), inputs=images((3, 64, 64)), device=device, dtype=torch.float32),
        1,
        backend=device_backend(device),
        limits=Limits(max_time_s=4.0),
    )
    rows = by_key(result)
    for key in ("channels-last", "folded", "channels-last-folded", "bfloat16", "float16", "cuda-graph"):
        assert rows[key].status == "measured", rows[key].reason
    graph = rows["cuda-graph"]
    assert graph.logit_difference is not None
    assert graph.logit_difference < 1e-2
    assert rows["compile"].status == "measured" or rows["compile"].reason
