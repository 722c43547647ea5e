"""The ladder in virtual time: gains, break-even, what is advised, and what becomes of a rung that fails."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.device_timer import HostClock
from resnet_cli.measure.bench.sampling import Limits
from resnet_cli.measure.optimizations import comparison
from resnet_cli.measure.optimizations.comparison import compare_optimizations
from resnet_cli.measure.optimizations.recommendation import best_optimization, recommendation
from resnet_cli.measure.optimizations.registry import Machine, Optimization
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.network.resnet import ResNet
from resnet_cli.results.bench import OPTIMIZATIONS, OptimizationResult, OptimizationsResult
from tests.helpers.fake_clock import SimulatedClock, without_garbage

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
    """A lever in virtual time.

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

    def lever(self, clock: SimulatedClock, key: str) -> Optimization:
        def make(model: nn.Module, image: Tensor, on: Machine) -> Variant:
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

            return Variant(run, image)

        return Optimization(key, key, make, keeps_precision=key not in {"bfloat16", "float16", "tf32"})


Climb = Callable[..., OptimizationsResult]


@pytest.fixture
def climbed(monkeypatch: pytest.MonkeyPatch) -> Climb:
    """A ladder of fakes by key; plain eager takes 10 ms if it is not given."""

    def run(limits: Limits = LIMITS, batch_size: int = 1, **fakes: Fake) -> OptimizationsResult:
        clock = SimulatedClock(queued=False)
        named = {key.replace("_", "-"): fake for key, fake in fakes.items()}
        eager = named.pop("eager", Fake())
        monkeypatch.setattr(comparison, "EAGER_OPTIMIZATION", eager.lever(clock, "eager"))
        monkeypatch.setattr(comparison, "BY_KEY", {key: fake.lever(clock, key) for key, fake in named.items()})
        return compare_optimizations(
            Net(),
            image=IMAGE,
            batch_size=batch_size,
            device=CPU,
            seed=0,
            limits=limits,
            clock=clock,
            chosen=tuple(named),
        )

    return run


def by_key(result: OptimizationsResult) -> dict[str, OptimizationResult]:
    return {rung.key: rung for rung in result.rows}


def test_gain_and_break_even(climbed: Climb) -> None:
    result = climbed(folded=Fake(0.008), compile=Fake(0.004, setup_s=6.0))
    rungs = by_key(result)
    assert [rung.key for rung in result.rows] == ["eager", "folded", "compile"]
    eager, compiled = rungs["eager"], rungs["compile"]
    assert (eager.speedup, eager.ci_low, eager.ci_high, eager.setup_s, eager.break_even_calls) == (1, 1, 1, None, None)
    assert compiled.speedup == pytest.approx(2.5)
    assert compiled.ci_low == pytest.approx(2.5)
    assert compiled.ci_high == pytest.approx(2.5)
    assert compiled.setup_s == pytest.approx(6.004)
    assert compiled.break_even_calls == math.ceil(6.004 / 0.006)
    assert compiled.time is not None
    assert compiled.time.median_s == pytest.approx(0.004)
    assert rungs["folded"].speedup == pytest.approx(1.25)
    assert result.best == "compile"
    assert result.stopped == "sharp"
    assert result.recommendation == (
        "take compile: 2.50× as fast as plain eager, paid for after 1,001 calls, "
        "logits within 0.0e+00 (top-1 the same for 8 of 8)"
    )


@pytest.mark.parametrize(
    ("precision", "title"), [("float32", "eager"), ("float32, all in TF32", "eager (float32, all in TF32)")]
)
def test_plain_eager_says_where_it_is_not_all_float32(
    climbed: Climb, precision: str, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnet_cli.measure.bench.conditions.precision", lambda dtype, device: precision)
    assert [rung.title for rung in climbed(folded=Fake()).rows] == [title, "folded"]


def test_all_rungs_are_sampled_in_turn(climbed: Climb) -> None:
    rungs = climbed(folded=Fake(0.02), compile=Fake(0.02)).rows
    counts = {len(rung.time.samples_s) for rung in rungs if rung.time is not None}
    assert len(counts) == 1


def test_a_slower_rung_never_pays_and_nothing_is_taken(climbed: Climb) -> None:
    result = climbed(folded=Fake(0.02, setup_s=1.0))
    rung = by_key(result)["folded"]
    assert rung.speedup == pytest.approx(0.5)
    assert rung.break_even_calls is None
    assert result.best is None
    assert result.recommendation == "stay with plain eager: nothing else in this precision is surely faster"


def test_fewer_bits_are_named_but_not_taken(climbed: Climb) -> None:
    result = climbed(folded=Fake(0.005), bfloat16=Fake(0.002, change=lambda logits: logits * 1.01))
    assert result.best == "folded"
    assert by_key(result)["bfloat16"].logit_difference == pytest.approx(0.01, rel=1e-4)
    assert result.recommendation.endswith(
        "; bfloat16 is 5.00× as fast, but moves the logits by 1 % (top-1 the same for 8 of 8)"
    )


def test_another_likeliest_class_is_counted(climbed: Climb) -> None:
    rung = by_key(climbed(bfloat16=Fake(change=lambda logits: logits.roll(1, 1))))["bfloat16"]
    assert rung.top1_agreement is not None
    assert rung.top1_agreement < 1


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
        (Fake(change=lambda logits: logits.flip(1)), "failed", "no rounding does"),
    ],
)
def test_a_rung_that_does_not_run_is_a_row_that_says_why(climbed: Climb, fake: Fake, status: str, reason: str) -> None:
    result = climbed(folded=fake, compile=Fake(0.005))
    rungs = by_key(result)
    rung = rungs["folded"]
    assert rung.status == status
    assert rung.reason is not None
    assert reason in rung.reason
    assert "/some" not in rung.reason
    assert (rung.time, rung.speedup, rung.break_even_calls) == (None, None, None)
    assert rungs["compile"].speedup == pytest.approx(2.0)
    assert result.best == "compile"


@pytest.mark.parametrize("call", [1, 60])
def test_without_plain_eager_there_is_no_ladder(climbed: Climb, call: int) -> None:
    with pytest.raises(ResnetCliError, match="plain eager does not run") as caught:
        climbed(eager=Fake(breaks=(call, RuntimeError("no memory"))), folded=Fake())
    assert "no memory" in str(caught.value)


def test_a_network_that_takes_no_such_image_is_an_error_of_the_user() -> None:
    with pytest.raises(ResnetCliError, match="plain eager does not run: "):
        compare_optimizations(
            nn.Conv2d(2, 2, 1),
            image=IMAGE,
            batch_size=1,
            device=CPU,
            seed=0,
            limits=LIMITS,
            clock=SimulatedClock(queued=False),
        )


def test_ctrl_c_keeps_the_whole_rounds(climbed: Climb) -> None:
    result = climbed(folded=Fake(0.005, breaks=(150, KeyboardInterrupt())))
    assert result.stopped == "interrupted"
    counts = {len(rung.time.samples_s) for rung in result.rows if rung.time is not None}
    assert len(counts) == 1
    assert counts.pop() > 20
    assert result.best == "folded"


def test_ctrl_c_while_a_rung_is_made_ends_it(climbed: Climb) -> None:
    with pytest.raises(KeyboardInterrupt):
        climbed(folded=Fake(raises=KeyboardInterrupt()))


def test_the_time_is_for_all_rungs_together(climbed: Climb) -> None:
    fakes = {key.replace("-", "_"): Fake(0.05 * number) for number, key in enumerate(OPTIMIZATIONS, 1)}
    result = climbed(limits=Limits(max_time_s=10.0, ci_width=1e-9, min_time_s=100.0), **fakes)
    assert result.stopped == "time"
    total = sum(sum(rung.time.samples_s) for rung in result.rows if rung.time is not None)
    assert total < 10.0 + 2  # the last round is finished


@pytest.mark.parametrize(("batch_size", "images"), [(1, 8), (3, 9), (16, 16)])
def test_logits_are_compared_on_whole_batches(climbed: Climb, batch_size: int, images: int) -> None:
    sizes = []

    def note(logits: Tensor) -> Tensor:
        sizes.append(len(logits))
        return logits

    result = climbed(folded=Fake(0.001, change=note), batch_size=batch_size)
    assert set(sizes) == {batch_size}
    assert f"the same for {images} of {images}" in result.recommendation


def row(key: str, gain: float, setup_s: float = 1.0, low: float | None = None) -> OptimizationResult:
    return OptimizationResult(
        key=key,
        title=key,
        status="measured",
        reason=None,
        dtype="float32",
        time=None,
        speedup=gain,
        ci_low=gain if low is None else low,
        ci_high=gain,
        setup_s=setup_s,
        break_even_calls=1,
        logit_difference=2e-6,
        top1_agreement=1.0,
    )


def test_of_equally_fast_rungs_the_cheapest_is_best() -> None:
    cheap, dear, slow = row("folded", 1.995, 0.1), row("compile", 2.0, 30.0), row("channels-last", 1.9, 0.01)
    keys = {"folded", "compile", "channels-last"}
    assert best_optimization([slow, dear, cheap], keys, 0.01) == cheap
    assert best_optimization([slow, dear, cheap], keys, 0.001) == dear


def test_what_is_not_surely_faster_is_not_best() -> None:
    assert best_optimization([row("folded", 1.5, low=0.99)], {"folded"}, 0.01) is None


def test_one_call_is_one_call() -> None:
    best = row("folded", 1.5)
    sentence = recommendation([best], best, {"folded"}, 8, 0.01)
    assert sentence == (
        "take folded: 1.50× as fast as plain eager, paid for after 1 call, "
        "logits within 2.0e-06 (top-1 the same for 8 of 8)"
    )


def test_half_precision_that_is_no_faster_than_the_best_is_not_named() -> None:
    best = row("folded", 1.5)
    half = replace(row("bfloat16", 1.4), dtype="bfloat16")
    assert "bfloat16" not in recommendation([best, half], best, {"folded"}, 8, 0.01)


def test_on_this_machine() -> None:
    told: list[str] = []
    result = compare_optimizations(
        ResNet(3, 7, [1, 1, 1, 1], stem="cifar"),
        image=(3, 16, 16),
        batch_size=2,
        device=CPU,
        seed=0,
        limits=Limits(max_time_s=0.3, min_time_s=0.0),
        clock=HostClock(),
        chosen=("folded", "channels-last", "bfloat16", "tf32", "cuda-graph"),
        progress=told.append,
    )
    rungs = by_key(result)
    assert list(rungs) == ["eager", "channels-last", "folded", "bfloat16", "tf32", "cuda-graph"]
    assert rungs["eager"].logit_difference == 0
    for key in ("channels-last", "folded"):
        difference = rungs[key].logit_difference
        assert difference is not None
        assert difference < 1e-5
        assert rungs[key].top1_agreement == 1
    assert rungs["bfloat16"].dtype == "bfloat16"
    assert [rungs[key].status for key in ("tf32", "cuda-graph")] == ["unavailable"] * 2
    assert any("conv-bn folded" in text for text in told)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    from resnet_cli.measure.bench.device_timer import CudaClock
    from resnet_cli.network.resnet import build

    device = torch.device("cuda", 0)
    result = compare_optimizations(
        build(18),
        image=(3, 64, 64),
        batch_size=1,
        device=device,
        seed=0,
        limits=Limits(max_time_s=4.0),
        clock=CudaClock(device),
    )
    rungs = by_key(result)
    for key in ("channels-last", "folded", "channels-last-folded", "bfloat16", "float16", "cuda-graph"):
        assert rungs[key].status == "measured", rungs[key].reason
    graph = rungs["cuda-graph"]
    assert graph.logit_difference is not None
    assert graph.logit_difference < 1e-2
    assert rungs["compile"].status == "measured" or rungs["compile"].reason
