"""One process of a run, as a run of one: what it measures, and what it says when it cannot."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, distributed, nn
from torch._C._distributed_c10d import HashStore

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.sampling import Limits
from resnet_cli.measure.bench.workload import Workload
from resnet_cli.measure.bench.workload_cost import workload_cost
from resnet_cli.measure.distributed import process_group, replicas, synchronized_sampling
from resnet_cli.measure.distributed.coordination import Coordinator, PeerGoneError, SingleProcess
from resnet_cli.measure.distributed.process_group import RankInfo
from resnet_cli.measure.distributed.replicas import ReplicaConfig, own_device, replicate
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.results.bench import Replicas
from tests.helpers.fake_clock import SimulatedClock, out_of_memory

CPU = torch.device("cpu")
QUESTION = ReplicaConfig(
    image=(3, 4, 4), batch_sizes=(2, 5), model="net", limits=Limits(max_time_s=2.0, min_time_s=0.5), seed=3, threads=1
)


class Net(nn.Module):
    """A layer that is used and one that is not; its forward does something first, such as taking time."""

    def __init__(self, first: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.first = first
        self.layer, self.idle = nn.Linear(48, 5), nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta:
            self.first(x)
        logits: Tensor = self.layer(x.flatten(1))
        return logits


class Run:
    """A run of one process, on a device in virtual time."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.store = HashStore()
        self.clock = SimulatedClock(queued=False)
        self.said: list[str] = []
        self.kept: list[Replicas] = []
        patch.setattr(process_group, "rendezvous", lambda *_, **__: iter([(self.store, 0, 1)]))
        patch.setattr(replicas, "clock", lambda device: self.clock)
        # Collecting the garbage of all that torch has loaded takes longer than anything here.
        patch.setattr(synchronized_sampling, "gc", SimpleNamespace(collect=int, freeze=int, unfreeze=int))
        patch.setenv("RANK", "0")
        patch.setenv("WORLD_SIZE", "1")

    def __call__(self, first: Callable[[Tensor], object], **changes: Any) -> tuple[Replicas, ...]:
        self.patch.setattr(replicas, "load_model", lambda name, arguments: (Net(first), name))
        rows = replicate(replace(QUESTION, **changes), self.said.append, self.kept.append)
        assert rows is not None
        return rows

    @property
    def told(self) -> bool:
        """Whether the others were told of a failure."""
        return self.store.check(["try 0/peers/failed"])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    yield Run(monkeypatch)
    assert not distributed.is_initialized()


@pytest.mark.parametrize(("mode", "wrapper"), [("inference", "replicas"), ("train", "DistributedDataParallel")])
def test_one_of_one_reaches_what_it_reaches_alone(mode: str, wrapper: str, run: Run) -> None:
    learning: set[bool] = set()

    def step(x: Tensor) -> None:
        learning.add(torch.is_grad_enabled())
        run.clock.run(0.01)

    rows = run(step, mode=mode)
    assert learning == {mode == "train"}
    assert list(rows) == run.kept
    assert [row.batch_size for row in rows] == [2, 5]
    for row in rows:
        assert (row.backend, row.wrapper, row.threads) == ("gloo", wrapper, 1)
        assert row.single_process_images_per_s == pytest.approx(row.batch_size / 0.01)
        assert row.efficiency == pytest.approx(1.0)
        (rank,) = row.ranks
        assert (rank.rank, rank.host, rank.device) == (0, socket.gethostname(), "cpu")
        assert rank.time.median_s == pytest.approx(0.01)
    for words in ("batch 2, one process alone: ", "batch 5, 1 processes together: "):
        assert any(text.startswith(words) for text in run.said)
    assert not run.told


def test_images_are_of_the_seed_and_of_the_rank(run: Run) -> None:
    seen: list[Tensor] = []

    def look(x: Tensor) -> None:
        seen.append(x)
        run.clock.run(0.1)

    run(look, batch_sizes=(2,), dtype="bfloat16")
    assert {str(x) for x in seen} == {str(random_init.image((2, 3, 4, 4), 3, torch.bfloat16))}
    seen.clear()

    def share(value: object, nap_s: float = 0.0) -> list[Any]:
        if not seen:
            waits.append(nap_s)
        return [value]

    waits: list[float] = []
    peers = cast(Coordinator, SimpleNamespace(rank=2, count=4, share=share, start=SingleProcess().start))
    assert replicas._row(QUESTION, Net(look), 2, CPU, torch.float32, peers, print) is None  # that is for the first one
    assert {str(x) for x in seen} == {str(random_init.image((2, 3, 4, 4), 5))}
    assert len(waits) == 1  # for the first one, which is measured alone: hardly ever awake
    assert waits[0] >= 0.1


def test_each_batch_begins_with_the_same_weights(run: Run) -> None:
    def first(x: Tensor) -> None:
        run.clock.run(0.1)

    net = Net(first)
    run.patch.setattr(replicas, "_build", lambda question: net)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    run(first, mode="train")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize(
    ("error", "says", "hint"),
    [
        (ValueError("the weather\nis bad"), "failed: the weather", None),
        (out_of_memory(), "out of memory: CUDA out of memory", "use a smaller --batch-size or fewer processes"),
    ],
)
def test_a_failure_is_told_to_the_user_and_to_the_others(
    error: Exception, says: str, hint: str | None, run: Run
) -> None:
    def fail(x: Tensor) -> None:
        raise error

    with pytest.raises(ResnetCliError, match=f"^process 0 of 1 at batch 2: {says}") as caught:
        run(fail)
    assert caught.value.hint == hint
    assert run.told
    assert run.kept == []


def test_the_others_wait_for_as_long_as_one_may_be_measured(run: Run) -> None:
    waits: list[float] = []

    def joined(place: RankInfo, device: torch.device, patience_s: float) -> Any:
        waits.append(patience_s)
        return process_group.process_group(place, device, patience_s)

    run.patch.setattr(replicas, "joined", joined)
    run(lambda x: run.clock.run(1.0), batch_sizes=(2,), limits=Limits(max_time_s=5000.0, ci_width=1.0, min_time_s=0.0))
    assert waits[0] > 2 * 5000  # warm-up and samples


def net(idle: bool = True, frozen: bool = False) -> nn.Module:
    made = Net(lambda x: None)
    if not idle:
        del made.idle
    elif frozen:
        made.idle.requires_grad_(False)
    return made


@pytest.mark.parametrize(
    ("model", "foreign", "looks"),
    [
        (net(), True, True),
        (net(idle=False), True, False),
        (net(frozen=True), True, False),
        (net(), False, False),  # ours have none
    ],
)
def test_parameters_without_a_gradient_are_looked_for_where_there_are_some(
    model: nn.Module, foreign: bool, looks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[int] | None, bool]] = []

    def wrap(model: nn.Module, *, device_ids: list[int] | None, find_unused_parameters: bool) -> nn.Module:
        asked.append((device_ids, find_unused_parameters))
        return model

    monkeypatch.setattr(replicas, "DistributedDataParallel", wrap)
    work = Workload(model, image=(3, 4, 4), device=CPU, mode="train")
    assert replicas._wrapped(work, 2, foreign) is model
    work.device = torch.device("cuda", 1)
    replicas._wrapped(work, 2, False)
    assert asked == [(None, looks), ([1], False)]


def test_what_cannot_be_trained_is_told_in_its_own_words(run: Run) -> None:
    run.patch.setattr(Net, "forward", lambda self, x: x.flatten(1).clone())
    run.patch.setattr(replicas, "_require_memory", lambda *_: None)
    with pytest.raises(ResnetCliError, match=r"^no output of the network depends on its parameters"):
        run(lambda x: None, mode="train")
    assert run.told


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"),
        RuntimeError("Broken pipe"),
        RuntimeError("Connection reset by peer"),
        distributed.DistNetworkError("recv failed"),
    ],
)
def test_a_connection_that_breaks_is_another_one_s_failure(error: Exception, run: Run) -> None:
    def fail(x: Tensor) -> None:
        raise error

    with pytest.raises(PeerGoneError, match="another process of this run ended"):
        run(fail)
    assert not run.told  # it is not this one that failed


def test_what_all_need_has_to_be_free_before_anything_is_tried(run: Run) -> None:
    run.patch.setattr(conditions, "available_bytes", lambda device: 1000)
    with pytest.raises(
        ResnetCliError, match=r"--batch-size 2: out of memory: a process needs .* and 1\.00 kB are free"
    ):
        run(lambda x: pytest.fail("it was tried"))
    assert run.told


def test_a_network_is_ours_or_the_user_s_and_has_weights_of_the_seed(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net(width):\n    return nn.Linear(width, 1)\n", encoding="ascii"
    )
    asked = ReplicaConfig(
        image=(3, 4, 4), batch_sizes=(1,), model=f"{tmp_path / 'net.py'}:net", arguments=(("width", 7),), seed=1
    )
    first, second, other = (next(replicas._build(replace(asked, seed=seed)).parameters()) for seed in (1, 1, 2))
    assert first.shape == (1, 7)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    with pytest.raises(ResnetCliError, match="no network was named"):
        replicas._build(replace(asked, model=None))


def test_a_process_on_gpus_takes_the_one_of_its_number() -> None:
    assert own_device("cuda", 3) == torch.device("cuda", 3)
    assert own_device("cpu", 3) == CPU
    with pytest.raises(ResnetCliError, match="several processes do not run on mps"):
        own_device("mps", 0)


def test_memory_of_a_gpu_is_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    model, gpu = net(), torch.device("cuda", 0)
    needed = workload_cost(ModelUnderTest(model, "net"), QUESTION.image, torch.float32, "inference").bytes_at(5)
    monkeypatch.setattr(conditions, "available_bytes", lambda device: needed)
    replicas._require_memory(QUESTION, model, gpu, torch.float32, 4)
    monkeypatch.setattr(conditions, "available_bytes", lambda device: needed - 1)
    with pytest.raises(ResnetCliError, match="--batch-size 5: out of memory: a process needs"):
        replicas._require_memory(QUESTION, model, gpu, torch.float32, 4)
