"""All parts of a benchmark together, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench import benchmark
from resnet_cli.measure.bench.baseline import with_baseline
from resnet_cli.measure.bench.benchmark import bench
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.timing import batch_timing
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.models import OtherModel
from resnet_cli.measure.bench.workloads.workload_cost import workload_cost
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.results.bench import BenchResult, Ceiling
from resnet_cli.results.common import INCOMPLETE, INTERNAL_ERROR
from tests.helpers.fake_clock import SimulatedBackend, SimulatedClock, without_garbage

CPU = torch.device("cpu")
no_garbage = pytest.fixture(autouse=True)(without_garbage)
CEILING = Ceiling(flops_per_s=2e6, bytes_per_s=1e5, compute=(), bandwidth=())
CONFIG = BenchmarkConfig(
    inputs=images((3, 4, 4)), batch_sizes=(2,), device=CPU, limits=Limits(max_time_s=1.0, min_time_s=0.1), ceiling=False
)
MACS = 48 * 5


class Net(nn.Module):
    """A layer on 48 numbers; its forward does something first, such as taking time."""

    def __init__(self, first: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.first = first
        self.layer = nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta:
            self.first(x)
        logits: Tensor = self.layer(x.flatten(1))
        return logits


def measure_ceiling(
    device: torch.device, dtype: torch.dtype, clock: SimulatedBackend, *, progress: Callable[[str], None]
) -> Ceiling:
    assert (device, dtype) == (CPU, torch.float32)
    progress("the ceiling: a kernel")
    clock.clock.run(2.0)
    return CEILING


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimulatedClock:
    clock = SimulatedClock(queued=False)
    monkeypatch.setattr(benchmark, "device_backend", lambda device: SimulatedBackend(clock, queued=False))
    monkeypatch.setattr(benchmark, "measure_ceiling", measure_ceiling)
    return clock


def net(clock: SimulatedClock, seconds: float = 0.01) -> Net:
    return Net(lambda x: clock.run(seconds))


def run(model: nn.Module, config: BenchmarkConfig = CONFIG, progress: Any = None, **options: Any) -> BenchResult:
    return bench(ModelUnderTest(model, "net"), config, progress=progress or (lambda text: None), **options)


def test_all_that_was_asked_for_is_in_the_result(clock: SimulatedClock) -> None:
    config = replace(CONFIG, batch_sizes=(2, 4), ceiling=True, layers=True, optimizations=("folded",))
    messages: list[str] = []
    competitor = OtherModel(net(clock, 0.02), "other")
    result = run(net(clock), config, messages.append, reference=competitor)
    assert "the ceiling: a kernel" in messages
    assert result.ceiling == CEILING
    assert [row.batch_size for row in result.timings] == [2, 4]
    for row, compared in zip(result.timings, result.versus, strict=True):
        assert row.flops == 2 * MACS * row.batch_size
        assert row.images_per_s == pytest.approx(row.batch_size / 0.01)
        assert row.ceiling_share == pytest.approx(2 * MACS * row.batch_size / 0.01 / 2e6)
        assert (compared.model, compared.reference, compared.batch_size) == ("net", "other", row.batch_size)
        assert compared.ratio == pytest.approx(0.5)
    assert [row.knee for row in result.timings] == [False, True]
    assert result.layers is not None
    assert result.layers.batch_size == 2
    assert [layer.bound for layer in result.layers.layers] == ["memory", "memory"]  # few operations per byte
    assert result.optimizations is not None
    assert (result.optimizations.batch_size, [row.key for row in result.optimizations.rows]) == (2, ["eager", "folded"])
    assert (result.fail_above, result.failed, result.interrupted) == (None, False, False)


def test_against_a_saved_run_a_sure_slowdown_fails(clock: SimulatedClock) -> None:
    saved = run(net(clock))
    result = with_baseline(run(net(clock, 0.02)), saved, 0.5)
    (compared,) = result.versus
    assert compared.method == "baseline"
    assert compared.ratio == pytest.approx(2.0)
    assert result.failed
    assert result.fail_above == 0.5
    assert not with_baseline(run(net(clock, 0.014)), saved, 0.5).failed
    assert "machine-speed-unknown" in [note.key for note in result.notes]


class Normed(Net):
    """Its norm needs statistics."""

    def __init__(self, first: Callable[[Tensor], object]) -> None:
        super().__init__(first)
        self.layer = nn.Sequential(nn.Linear(48, 5), nn.BatchNorm1d(5))  # type: ignore[assignment]


@pytest.mark.parametrize(("fresh", "sizes"), [(True, {2, 4}), (False, {2})])
def test_only_an_untrained_network_sees_a_batch_for_its_norms_first(
    fresh: bool, sizes: set[int], clock: SimulatedClock
) -> None:
    seen = set()

    def look(x: Tensor) -> None:
        seen.add(len(x))
        clock.run(0.1)

    run(Normed(look), replace(CONFIG, fresh=fresh, optimizations=("folded",)))
    assert seen == sizes


def test_a_training_step_trains_and_is_held_against_the_ceiling(clock: SimulatedClock) -> None:
    model = net(clock)
    before = model.layer.weight.clone()
    result = run(model, replace(CONFIG, mode="train", ceiling=True))
    assert not torch.equal(model.layer.weight, before)
    (row,) = result.timings
    assert row.flops == 2 * 2 * MACS * 2  # forward, and the weight's gradient; the image needs none
    assert row.ceiling_share == pytest.approx(row.flops / 0.01 / 2e6)


def test_threads_and_algorithms_are_chosen_while_it_runs_and_put_back(clock: SimulatedClock) -> None:
    def settings() -> tuple[int, bool]:
        return torch.get_num_threads(), torch.backends.cudnn.benchmark

    seen = set()

    def look(x: Tensor) -> None:
        seen.add(settings())
        clock.run(0.1)

    before = settings()
    result = run(Net(look), replace(CONFIG, threads=before[0] + 1))
    assert seen == {(before[0] + 1, True)}
    assert result.conditions.threads == before[0] + 1
    assert settings() == before
    seen.clear()
    run(Net(look))
    assert seen == {(before[0], True)}


def test_a_twentieth_of_the_free_memory_is_left_to_others(
    clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = net(clock)
    needed = workload_cost(ModelUnderTest(model, "net"), CONFIG.inputs, torch.float32, "inference").bytes_at(2)
    monkeypatch.setattr(SimulatedBackend, "free_memory", lambda self: int(needed / 0.94))
    assert run(model).timings[0].status == "measured"
    monkeypatch.setattr(SimulatedBackend, "free_memory", lambda self: int(needed / 0.96))
    with pytest.raises(ResnetCliError, match="`batch_size=2`: out of memory: needs") as caught:
        run(model)
    assert "smaller" in (caught.value.hint or "")
    monkeypatch.setattr(SimulatedBackend, "free_memory", lambda self: int(1.9 * needed / 0.94))
    with pytest.raises(ResnetCliError, match="`batch_size=2`: out of memory: needs"):
        run(model, reference=OtherModel(model, "other"))  # both together
    result = run(model, replace(CONFIG, batch_sizes=(500, 1), layers=True))
    assert [row.status for row in result.timings] == ["out of memory", "measured"]
    assert result.layers is not None
    assert result.layers.batch_size == 1  # the first that ran


def interrupting(words: str) -> Callable[[str], None]:
    """Ctrl-C as soon as the progress begins with these words."""

    def progress(text: str) -> None:
        if text.startswith(words):
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("words", ["counting", "batch 2: warming"])
def test_ctrl_c_before_there_is_a_figure_is_passed_on(words: str, clock: SimulatedClock) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(net(clock, 1.0), replace(CONFIG, limits=Limits(max_time_s=40.0)), progress=interrupting(words))


@pytest.mark.parametrize(
    ("words", "rows", "layers", "optimizations"),
    [
        ("batch 2: 1", 1, False, False),  # among the samples
        ("batch 4: warming", 1, False, False),
        ("optimizations: building", 2, False, False),
        ("optimizations: 1", 2, False, True),
        ("layers: warming", 2, False, True),
        ("layers: 1", 2, True, True),
    ],
)
def test_ctrl_c_keeps_what_was_measured_before(
    words: str, rows: int, layers: bool, optimizations: bool, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_first", 2)
    monkeypatch.setattr(signals, "_acknowledged", False)
    config = replace(
        CONFIG,
        batch_sizes=(2, 4),
        limits=Limits(max_time_s=40.0, min_time_s=39.0, ci_width=0.0),
        layers=True,
        optimizations=("channels-last",),
    )
    result = run(net(clock, 0.2), config, progress=interrupting(words))
    assert result.interrupted
    assert len(result.timings) == rows
    assert result.timings[0].wall is not None
    signals.check()  # the work goes on: the result is to be shown yet
    assert (result.layers is not None, result.optimizations is not None) == (layers, optimizations)


ERRORS = [(ResnetCliError("no such thing", "another one"), INCOMPLETE), (TypeError("a bug"), INTERNAL_ERROR)]


@pytest.mark.parametrize(("error", "key"), ERRORS)
@pytest.mark.parametrize(("part", "rows"), [("layer_times", 2), ("compare_optimizations", 2), ("time_batch", 1)])
def test_an_error_keeps_what_was_measured_before(
    part: str, rows: int, error: Exception, key: str, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = batch_timing.time_batch

    def fail(workload: Any, batch_size: int, *args: Any, **options: Any) -> Any:
        if part == "time_batch" and batch_size == 2:
            return real(workload, batch_size, *args, **options)
        raise error

    if part == "time_batch":
        monkeypatch.setattr(batch_timing, "time_batch", fail)
    else:
        monkeypatch.setattr(benchmark, part, lambda *args, **options: fail(None, 0))
    result = run(net(clock), replace(CONFIG, batch_sizes=(2, 4), layers=True, optimizations=("channels-last",)))
    assert [row.status for row in result.timings] == ["measured"] * rows
    assert (result.optimizations is None) == (part == "compare_optimizations")  # the parts do not depend on each other
    assert [note.key for note in result.notes if note.level == "error"] == [key]
    assert not result.interrupted


@pytest.mark.parametrize(("error", "key"), ERRORS)
def test_an_error_before_there_is_a_result_is_raised(
    error: Exception, key: str, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise error

    monkeypatch.setattr(batch_timing, "time_batch", fail)
    with pytest.raises(type(error)):
        run(net(clock))


def test_there_are_no_rates_of_products_where_not_all_are_counted(clock: SimulatedClock) -> None:
    class Solving(Net):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = super().forward(x) @ torch.linalg.matrix_exp(torch.eye(5, device=x.device))
            return out

    result = run(Solving(lambda x: clock.run(0.01)), replace(CONFIG, layers=True))
    (row,) = result.timings
    assert result.uncounted_macs == ("linalg_matrix_exp",)
    assert (row.flops, row.flops_per_s, row.ceiling_share) == (None, None, None)
    assert row.images_per_s is not None
    assert result.layers is not None
    assert {layer.flops_per_s for layer in result.layers.layers} == {None}
    assert "uncounted-macs" in {note.key for note in result.notes}
