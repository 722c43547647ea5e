"""A replica per process, with a launcher of our own: what each is asked, and what is made of their answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from resnet_cli import signals
from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.sampling import Limits
from resnet_cli.measure.distributed import launcher
from resnet_cli.measure.distributed.efficiency import REPLICAS, combined
from resnet_cli.measure.distributed.replicas import ReplicaConfig
from resnet_cli.measure.distributed.run import bench_multi_process
from resnet_cli.measure.distributed.synchronized_sampling import RankSamples
from resnet_cli.measure.models.model import ModelUnderTest, model_from_spec
from resnet_cli.network.architectures import resolve
from resnet_cli.results.bench import BenchResult, Replicas

SPEC = resolve(repeat="1,1,1,1", num_classes=10)
LIMITS = Limits(ci_width=0.02, max_time_s=3.0)
QUESTION = BenchmarkConfig(
    image=(3, 40, 30),
    batch_sizes=(2, 9),
    device=torch.device("cuda", 0),
    dtype=torch.bfloat16,
    mode="train",
    limits=LIMITS,
    threads=3,
    seed=5,
)


def row(batch_size: int, threads: int = 3) -> Replicas:
    rank = {"host": "here", "device": "cpu", "samples": [0.1], "calls": 10, "seconds": 1.0}
    return combined(batch_size, "gloo", REPLICAS, threads, RankSamples([0.1], 10, 1.0), [rank], 0.95)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file system of a machine that has done nothing yet."""
    (tmp_path / "proc").mkdir()
    ticks(tmp_path, 0, 0, 0)
    watch = conditions.ConditionMonitor
    monkeypatch.setattr(conditions, "ConditionMonitor", lambda device: watch(torch.device("cpu"), root=tmp_path))
    monkeypatch.setattr("resnet_cli.measure.bench.run_context.environment", lambda device: None)
    monkeypatch.setattr(conditions, "precision", lambda dtype, device: str(dtype))
    return tmp_path


def ticks(root: Path, busy: int, idle: int, stolen: int) -> None:
    (root / "proc/stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 {stolen} 0 0\n", encoding="ascii")


Rescue = Callable[[tuple[Replicas, ...]], None]


def many(monkeypatch: pytest.MonkeyPatch, act: Callable[[ReplicaConfig, Rescue], Any], **options: Any) -> BenchResult:
    """With what a launcher does in place of starting processes."""

    def launch(processes: int, question: ReplicaConfig, progress: object, rescue: Rescue) -> Any:
        assert processes == 2
        return act(question, rescue)

    monkeypatch.setattr(launcher, "launch", launch)
    options = {"described": model_from_spec(SPEC), "progress": print, **options}
    result = bench_multi_process(question=QUESTION, processes=2, **options)
    assert result is not None
    return result


@pytest.mark.usefixtures("root")
def test_each_process_is_asked_what_the_user_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ReplicaConfig] = []

    def act(question: ReplicaConfig, rescue: Rescue) -> tuple[Replicas, ...]:
        asked.append(question)
        return (row(2),)

    many(monkeypatch, act)
    own = ModelUnderTest(nn.Identity(), "Net")
    many(monkeypatch, act, described=own, model="net.py:Net", arguments={"width": 16, "depth": 2})
    common: dict[str, Any] = {
        "image": (3, 40, 30),
        "batch_sizes": (2, 9),
        "dtype": "bfloat16",
        "device": "cuda",
        "mode": "train",
    }
    make = partial(ReplicaConfig, **common, limits=LIMITS, seed=5, threads=3)
    assert asked == [make(spec=SPEC), make(model="net.py:Net", arguments=(("width", 16), ("depth", 2)))]


def test_their_rows_are_the_result_under_their_own_conditions(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (row(2, threads=4), row(9, threads=4))

    def act(question: ReplicaConfig, rescue: Rescue) -> tuple[Replicas, ...]:
        ticks(root, 500, 400, 100)
        return rows

    found = many(monkeypatch, act)
    assert found.replicas == rows
    assert not found.interrupted
    assert found.conditions.threads == 4
    assert found.conditions.background_cpu_load is None  # what is busy is ours
    assert found.conditions.steal_time_share == 0.1
    assert [note.text for note in found.notes] == [
        "each process has 4 threads, the one that was measured alone too",
        "the hypervisor gave 10 % of the time to other guests of this machine",
    ]


@pytest.mark.usefixtures("root")
def test_ctrl_c_keeps_the_batches_that_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(question: ReplicaConfig, rescue: Rescue) -> tuple[Replicas, ...]:
        rescue((row(2),))
        raise KeyboardInterrupt

    monkeypatch.setattr(signals, "_state", signals._State(first=2))
    found = many(monkeypatch, act)
    assert found.interrupted
    assert [one.batch_size for one in found.replicas] == [2]
    signals.check()  # the work goes on: the result is to be shown yet


@pytest.mark.usefixtures("root")
def test_ctrl_c_before_a_batch_was_measured_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(question: ReplicaConfig, rescue: Rescue) -> tuple[Replicas, ...]:
        rescue(())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        many(monkeypatch, act)


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("rows", [None, (row(2),)])
def test_of_torchrun_s_processes_the_first_one_speaks(
    rows: tuple[Replicas, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "run_here", lambda question, progress: rows)
    found = bench_multi_process(model_from_spec(SPEC), QUESTION, None, progress=print)
    assert (None if found is None else found.replicas) == rows
