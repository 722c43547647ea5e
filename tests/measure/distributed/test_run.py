"""`bench` with several processes: their rows as one result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench import run_context
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.distributed import run
from resnet_cli.measure.distributed.efficiency import REPLICAS, combined
from resnet_cli.measure.distributed.process_group import DisconnectedError
from resnet_cli.measure.distributed.replicas import ReplicaConfig
from resnet_cli.measure.distributed.synchronized_sampling import RankSamples
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import model_from_spec
from resnet_cli.network.architectures import resolve
from resnet_cli.results.bench import Replicas
from resnet_cli.results.common import INCOMPLETE
from tests.helpers.fake_clock import SimulatedBackend

SPEC = resolve(repeat="1,1,1,1", num_classes=10)
CONFIG = BenchmarkConfig(
    inputs=images((3, 40, 30)), batch_sizes=(2, 9), device=torch.device("cpu"), mode="train", threads=3, seed=5
)
SAMPLES = RankSamples([0.1], 10, 1.0)
ROW = combined(2, "gloo", REPLICAS, 4, SAMPLES, [("here", "cpu", SAMPLES)])

Keep = Callable[[Replicas], None]


def measured(monkeypatch: pytest.MonkeyPatch, act: Callable[[ReplicaConfig, Keep], None]) -> Any:
    def launch(processes: int, config: ReplicaConfig, progress: object, keep: Keep) -> None:
        assert processes == 2
        act(config, keep)

    monkeypatch.setattr(run, "launch", launch)
    return run.bench_multi_process(model_from_spec(SPEC), CONFIG, 2, progress=print)


def test_rows_are_the_result_under_the_conditions_of_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[ReplicaConfig] = []

    def act(config: ReplicaConfig, keep: Keep) -> None:
        configs.append(config)
        keep(ROW)
        keep(replace(ROW, batch_size=9))

    result = measured(monkeypatch, act)
    assert [row.batch_size for row in result.replicas] == [2, 9]
    assert (result.interrupted, result.conditions.threads, result.conditions.background_cpu_load) == (False, 4, None)
    expected = ReplicaConfig(inputs=images((3, 40, 30)), batch_sizes=(2, 9), spec=SPEC, mode="train", threads=3, seed=5)
    assert configs == [replace(expected, limits=CONFIG.limits)]


def test_ctrl_c_keeps_the_rows_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "acknowledge", lambda: None)

    def act(config: ReplicaConfig, keep: Keep) -> None:
        keep(ROW)
        raise KeyboardInterrupt

    assert measured(monkeypatch, act).interrupted

    def at_once(config: ReplicaConfig, keep: Keep) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(monkeypatch, at_once)


def test_an_error_keeps_the_rows_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(config: ReplicaConfig, keep: Keep) -> None:
        keep(ROW)
        raise ResnetCliError("process 1 of 2 ended")

    result = measured(monkeypatch, act)
    assert [row.batch_size for row in result.replicas] == [2]
    assert [note.key for note in result.notes if note.level == "error"] == [INCOMPLETE]


@pytest.mark.parametrize(("rank", "error"), [("0", ResnetCliError), ("1", SystemExit)])
def test_rank_0_alone_reports_that_another_process_failed(
    rank: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: object) -> None:
        raise DisconnectedError("connection closed")

    monkeypatch.setattr(run, "measure_replicas", measure)
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(error):
        run.bench_multi_process(model_from_spec(SPEC), CONFIG, None, progress=print)


class Clocks:
    """Of a GPU: another rate at each look."""

    def __init__(self, rates: list[float], missing: str | None = None) -> None:
        self.clocks: list[float] = []
        self.reasons: set[str] = set()
        self.missing = missing
        self.left = rates

    def sample(self) -> None:
        if self.left:
            self.clocks.append(self.left.pop(0))
            self.reasons.add("power cap")

    def close(self) -> None:
        pass


class Watched(SimulatedBackend):
    """One of several GPUs with a clock."""

    clocks: list[Clocks]

    def clock_monitor(self) -> Clocks | None:
        return self.clocks.pop(0)


def test_clocks_of_all_gpus_are_read_while_the_processes_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Watched, "clocks", [Clocks([1.0e9, 2.0e9]), Clocks([3.0e9], "NVML: Not Supported")], raising=False
    )
    monkeypatch.setattr(run, "device_of_rank", lambda kind, rank, processes: torch.device("cuda", rank))
    monkeypatch.setattr(run_context, "device_backend", lambda device: Watched())

    def launch(processes: int, config: ReplicaConfig, progress: Callable[[str], None], keep: Keep) -> None:
        progress("batch 2: warming up")
        progress("batch 2: 10 samples")
        keep(ROW)

    monkeypatch.setattr(run, "launch", launch)
    result = run.bench_multi_process(model_from_spec(SPEC), CONFIG, 2, progress=lambda text: None)
    assert result is not None
    assert (result.conditions.clock_hz, result.conditions.throttled) == (2.0e9, ("power cap",))
    assert {"throttled", "gpu-clock-unknown"} <= {note.key for note in result.notes}
