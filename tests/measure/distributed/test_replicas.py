"""One process of a run, by itself: its rows, its errors, and what it refuses to try."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, distributed, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.workload_cost import workload_cost
from resnet_cli.measure.distributed import replicas, synchronized_sampling
from resnet_cli.measure.distributed.process_group import DisconnectedError, RankInfo
from resnet_cli.measure.distributed.replicas import ReplicaConfig, measure_replicas, threads_each
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.user_model import LoadedModel
from resnet_cli.measure.system.devices.registry import device_of_rank
from resnet_cli.results.bench import Replicas
from tests.helpers.fake_clock import SimulatedBackend, out_of_memory

CONFIG = ReplicaConfig(
    inputs=images((3, 4, 4)),
    batch_sizes=(2, 5),
    model="net.py:net",
    limits=Limits(max_time_s=4.0, min_time_s=0.0),
    threads=1,
    seed=3,
)


class Net(nn.Module):
    """A linear layer; its forward first calls a function of the test's."""

    def __init__(self, first: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.linear, self.unused, self.first = nn.Linear(48, 2), nn.Linear(1, 1), first

    def __deepcopy__(self, memo: object) -> Net:
        return Net(self.first)

    def forward(self, x: Tensor) -> Tensor:
        self.first(x)
        logits: Tensor = self.linear(x.flatten(1))
        return logits


class Run:
    """A process of a run of one, in virtual time."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch, self.backend, self.rows = patch, SimulatedBackend(queued=False), []  # type: ignore[var-annotated]
        patch.setattr(replicas, "device_backend", lambda device: self.backend)
        # Collecting the garbage of all that torch has loaded takes longer than anything here.
        patch.setattr(synchronized_sampling, "gc", SimpleNamespace(collect=int, freeze=int, unfreeze=int))
        for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}.items():
            patch.setenv(name, value)

    def __call__(self, first: Callable[[Tensor], object], config: ReplicaConfig = CONFIG) -> list[Replicas]:
        self.patch.setattr(
            replicas, "load_with_examples", lambda name, given: LoadedModel(Net(first), name, None, False)
        )
        measure_replicas(config, lambda text: None, self.rows.append)
        return self.rows


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    yield Run(monkeypatch)
    if distributed.is_initialized():
        distributed.destroy_process_group()


@pytest.mark.parametrize(("mode", "wrapper"), [("inference", "replicas"), ("train", "DistributedDataParallel")])
def test_one_of_one_reaches_what_it_reaches_alone(mode: str, wrapper: str, run: Run) -> None:
    learning: set[bool] = set()

    def step(x: Tensor) -> None:
        learning.add(torch.is_grad_enabled())
        run.backend.clock.run(0.01)

    rows = run(step, replace(CONFIG, mode=mode))
    assert learning == {mode == "train"}
    assert [(row.batch_size, row.backend, row.wrapper) for row in rows] == [(2, "gloo", wrapper), (5, "gloo", wrapper)]
    for row in rows:
        assert row.single_process_images_per_s == pytest.approx(row.batch_size / 0.01)
        assert row.efficiency == pytest.approx(1.0)
        assert row.ranks[0].time.median_s == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("error", "message", "has_hint"),
    [
        (ValueError("the weather\nis bad"), "failed: the weather", False),
        (out_of_memory(), "out of memory: CUDA out of memory", True),
    ],
)
def test_an_error_of_a_late_batch_names_it_and_earlier_rows_stay(
    error: Exception, message: str, has_hint: bool, run: Run
) -> None:
    def fail(x: Tensor) -> None:
        if len(x) == 5:
            raise error
        run.backend.clock.run(0.01)

    with pytest.raises(ResnetCliError, match=f"^process 0 of 1 at batch 5: {message}") as caught:
        run(fail)
    assert (caught.value.hint is not None) == has_hint
    assert [row.batch_size for row in run.rows] == [2]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"),
        RuntimeError("Broken pipe"),
        distributed.DistNetworkError("recv failed"),
    ],
)
def test_a_connection_that_breaks_is_the_failure_of_another_process(error: Exception, run: Run) -> None:
    def fail(x: Tensor) -> None:
        raise error

    with pytest.raises(DisconnectedError):
        run(fail)


def test_memory_for_all_processes_has_to_be_free(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = Net(lambda x: None), CONFIG.inputs
    assert inputs is not None
    needed = workload_cost(ModelUnderTest(model, "net"), inputs, torch.float32, "inference").bytes_at(5)
    cpu, gpu = SimulatedBackend(queued=False, free=4 * needed), SimulatedBackend(free=needed)
    replicas._require_memory(CONFIG, model, inputs, cpu, 4)
    replicas._require_memory(CONFIG, model, inputs, gpu, 5)  # each has a GPU of its own
    replicas._require_memory(CONFIG, model, inputs, SimulatedBackend(free=None), 5)
    with pytest.raises(ResnetCliError, match="`batch_size=5`: out of memory: 5 processes need"):
        replicas._require_memory(CONFIG, model, inputs, cpu, 5)


def test_weights_are_those_of_the_seed(tmp_path: Path) -> None:
    code = "from torch import nn\ndef net(width):\n    return nn.Linear(width, 1)\n"
    (tmp_path / "net.py").write_text(code, encoding="ascii")
    config = replace(CONFIG, model=f"{tmp_path / 'net.py'}:net", arguments=(("width", 7),))
    first, second, other = (next(replicas._build(replace(config, seed=seed))[0].parameters()) for seed in (1, 1, 2))
    assert first.shape == (1, 7)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_each_process_calls_the_users_example_inputs(tmp_path: Path) -> None:
    code = """
from typing import NamedTuple
import torch
from torch import Tensor, nn

class Pair(NamedTuple):
    x: Tensor

class Net(nn.Linear):
    def forward(self, pair):
        return super().forward(pair.x)

def example_inputs():
    return (Pair(torch.ones(1, 4)),)
"""
    (tmp_path / "pair.py").write_text(code, encoding="ascii")
    arguments = (("in_features", 4), ("out_features", 2))
    config = replace(CONFIG, inputs=None, model=f"{tmp_path / 'pair.py'}:Net", arguments=arguments)
    model, inputs = replicas._build(pickle.loads(pickle.dumps(config)))
    assert inputs.at_batch(3).random(0, torch.float32).call(model).shape == (3, 2)


def test_devices_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_of_rank("cpu", 3, 4) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of_rank("cuda", 1, 2) == torch.device("cuda", 1)
    with pytest.raises(ResnetCliError, match="3 processes need a GPU each; this machine has 2"):
        device_of_rank("cuda", 0, 3)
    with pytest.raises(ResnetCliError, match="do not run on mps"):
        device_of_rank("mps", 0, 2)


@pytest.mark.parametrize(
    ("chosen", "variable", "processes", "each"),
    [(3, None, 2, 3), (None, None, 2, 4), (None, None, 100, 1), (None, "5", 2, 5), (None, "1", 2, 3)],
)
def test_threads_of_each_process(
    chosen: int | None, variable: str | None, processes: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)  # torchrun sets 1 where the user has chosen nothing
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(12)), raising=False)
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 6)
    assert threads_each(chosen, processes) == each


@pytest.mark.parametrize("rank", [None, "", "one", "2", "-1"])
def test_an_environment_that_is_not_valid_is_an_error(rank: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    with pytest.raises(ResnetCliError, match="environment"):
        RankInfo.from_environment()
