"""Several processes, for real and in figures."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.sampling import Limits
from resnet_cli.measure.bench.workload_cost import workload_cost
from resnet_cli.measure.distributed import cpu_threads, launcher, replicas
from resnet_cli.measure.distributed.coordination import PeerGoneError
from resnet_cli.measure.distributed.cpu_threads import threads_each
from resnet_cli.measure.distributed.efficiency import DDP, REPLICAS, combined, notes
from resnet_cli.measure.distributed.launcher import launch, run_here
from resnet_cli.measure.distributed.process_group import RankInfo, launched_by_torchrun, require_gpus, silenced_fds
from resnet_cli.measure.distributed.replicas import ReplicaConfig
from resnet_cli.measure.distributed.synchronized_sampling import RankSamples
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.network.architectures import resolve

HELPERS = Path(__file__).parents[2] / "helpers"
ROOT = HELPERS.parents[1]
TINY = resolve(repeat="1,1,1,1", num_classes=10)
QUESTION = ReplicaConfig(image=(3, 32, 32), batch_sizes=(2,), spec=TINY, limits=Limits(max_time_s=0.4, min_time_s=0.1))


def network(name: str, mode: str) -> ReplicaConfig:
    """Of a network that does not survive, with time enough for that."""
    return replace(QUESTION, spec=None, model=f"{HELPERS / 'distributed_models.py'}:{name}", mode=mode)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; nothing may be left there, nor in this process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    variables, main, before = set(os.environ), sys.modules["__main__"], torch.get_num_threads()
    yield tmp_path
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert (set(os.environ), sys.modules["__main__"], torch.get_num_threads()) == (variables, main, before)


# For real


def test_two_processes(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    rows = launch(2, replace(QUESTION, batch_sizes=(1, 3), threads=1), said.append)
    assert [row.batch_size for row in rows] == [1, 3]
    for row in rows:
        assert (row.backend, row.wrapper, row.threads) == ("gloo", "replicas", 1)
        assert [(rank.rank, rank.device) for rank in row.ranks] == [(0, "cpu"), (1, "cpu")]
        assert row.images_per_s == pytest.approx(sum(rank.images_per_s for rank in row.ranks))
        assert row.efficiency == pytest.approx(row.images_per_s / (2 * row.single_process_images_per_s))
        assert row.ranks[row.slowest_rank].images_per_s == min(rank.images_per_s for rank in row.ranks)
        for rank in row.ranks:  # its rate has what lies between two calls in it, too
            assert 0 < rank.images_per_s <= row.batch_size / rank.time.mean_s
        assert row.ranks[0].time.samples_s != row.ranks[1].time.samples_s
    assert said[0] == "starting 2 processes"
    assert capfd.readouterr() == ("", "")


def test_two_processes_of_torchrun_train(tmp_path: Path) -> None:
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*runner, "--log-dir", str(tmp_path), str(HELPERS / "distributed_script.py")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)  # of rank 0 alone, and nothing beside it
    assert (row["backend"], row["wrapper"]) == ("gloo", "DistributedDataParallel")
    first, second = row["ranks"]
    assert len(first["time"]["samples_s"]) == len(second["time"]["samples_s"])  # in lockstep
    assert row["images_per_s"] == pytest.approx(first["images_per_s"] + second["images_per_s"])


def test_a_process_that_dies_ends_the_run(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ResnetCliError, match="process 1 of 2 ended with exit code 7"):
        launch(2, network("Mortal", "train"))
    assert capfd.readouterr() == ("", "")


def test_a_process_that_raises_says_why(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ResnetCliError, match=r"^process 1 of 2 at batch 2: failed: the weather is bad$"):
        launch(2, network("Raising", "inference"))
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_ends_all(folder: Path) -> None:
    pids: list[int] = []

    def interrupt(text: str) -> None:
        if text.startswith("batch") and not pids:
            pids.extend(child.pid for child in multiprocessing.active_children() if child.pid)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        launch(2, replace(QUESTION, limits=Limits(ci_width=1e-9, max_time_s=600)), interrupt)
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", ["inference", "train"])
def test_a_process_per_gpu(mode: str) -> None:
    processes = torch.cuda.device_count()
    (row,) = launch(processes, replace(QUESTION, device="cuda", mode=mode))
    assert row.backend == "nccl"
    assert [rank.device for rank in row.ranks] == [f"cuda:{index}" for index in range(processes)]
    assert row.efficiency == pytest.approx(row.images_per_s / (processes * row.single_process_images_per_s))


# In figures


def found(samples: list[float], calls: int, seconds: float) -> dict[str, object]:
    return {"host": "here", "device": "cpu", "samples": samples, "calls": calls, "seconds": seconds}


def test_rates_add_up_and_the_slowest_is_named() -> None:
    alone = RankSamples(samples_s=[0.1, 0.1], calls=20, seconds=2.0)
    each = [found([0.125], 16, 2.0), found([0.25], 10, 2.5), found([0.2], 10, 2.0)]
    row = combined(4, "gloo", REPLICAS, 2, alone, each, 0.95)
    assert [rank.images_per_s for rank in row.ranks] == [32, 16, 20]
    assert (row.images_per_s, row.single_process_images_per_s) == (68, 40)
    assert row.efficiency == 68 / (3 * 40)
    assert row.slowest_rank == 1
    assert row.single_process.median_s == 0.1


def test_of_equal_rates_the_one_with_slower_calls_is_the_slowest() -> None:
    alone = RankSamples(samples_s=[0.1], calls=10, seconds=1.0)
    row = combined(1, "gloo", DDP, 1, alone, [found([0.1], 10, 1.0), found([0.11], 10, 1.0)], 0.95)
    assert row.slowest_rank == 1


def test_notes_say_the_threads_and_what_lockstep_means() -> None:
    alone = RankSamples(samples_s=[0.1], calls=10, seconds=1.0)
    plain = combined(1, "gloo", REPLICAS, 1, alone, [found([0.1], 10, 1.0)], 0.95)
    assert notes([]) == ()
    assert ["each process has 1 thread," in note.text for note in notes([plain])] == [True]
    texts = [note.text for note in notes([replace(plain, wrapper=DDP, threads=2)])]
    assert "2 threads" in texts[0]
    assert "waits for the slowest" in texts[1]


@pytest.mark.parametrize(
    ("asked", "variable", "processes", "each"),
    [(3, None, 2, 3), (None, None, 2, 4), (None, None, 3, 2), (None, None, 100, 1), (None, "5", 2, 5)],
)
def test_threads_of_each_process(
    asked: int | None, variable: str | None, processes: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert threads_each(asked, processes) == each


def test_the_one_thread_of_torchrun_is_nobodys_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 4, 5}, raising=False)
    monkeypatch.setattr(cpu_threads, "_siblings", lambda number: f"{number % 3}")
    assert threads_each(None, 1) == 3


# Who one is, and what goes wrong


def test_a_place_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert RankInfo.from_environment() == RankInfo(5, 8, 1, 4)
    monkeypatch.delenv("LOCAL_RANK")
    assert RankInfo.from_environment() == RankInfo(5, 8, 1, 4)
    assert not launched_by_torchrun()
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", "1")
    assert launched_by_torchrun()


@pytest.mark.parametrize("rank", [None, "", "one", "2", "-1"])
def test_an_environment_without_sense_is_an_error(rank: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    with pytest.raises(ResnetCliError, match="environment") as raised:
        run_here(QUESTION)
    assert "torchrun" in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("rank", "told", "error"), [("0", False, ResnetCliError), ("0", True, SystemExit), ("1", False, SystemExit)]
)
def test_only_one_process_speaks_of_a_failure(
    rank: str, told: bool, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(question: object, progress: object) -> None:
        raise PeerGoneError("another one is gone", told=told)

    monkeypatch.setattr(launcher, "replicate", gone)
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(error) as raised:
        run_here(QUESTION)
    if isinstance(raised.value, SystemExit):
        assert raised.value.code == 2


@pytest.mark.parametrize(
    ("code", "says"),
    [(1, "ended with exit code 1"), (-signal.SIGSEGV, "ended by SIGSEGV"), (-99, "ended by signal 99")],
)
def test_an_end_without_a_word_is_told_by_its_exit_code(code: int, says: str) -> None:
    error = launcher._failed(3, 4, code, None)
    assert isinstance(error, ResnetCliError)
    assert str(error).startswith("process 3 of 4 ")
    assert says in str(error)
    assert error.hint is None


def test_an_end_by_the_system_may_be_for_want_of_memory() -> None:
    error = launcher._failed(0, 2, -signal.SIGKILL, None)
    assert isinstance(error, ResnetCliError)
    assert "memory" in (error.hint or "")


def test_a_fault_of_ours_is_no_error_of_the_users() -> None:
    report = {"ours": False, "message": "TypeError: oh", "hint": None, "detail": None}
    error = launcher._failed(1, 2, 1, report)
    assert not isinstance(error, ResnetCliError)
    assert str(error) == "process 1 of 2: TypeError: oh"


def test_nothing_is_started_for_no_process_or_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResnetCliError, match="--nproc 0"):
        launch(0, QUESTION)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ResnetCliError, match="3 processes need a GPU each, and this machine has 2") as raised:
        launch(3, replace(QUESTION, device="cuda"))
    assert "--nproc 2" in (raised.value.hint or "")
    require_gpus(2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ResnetCliError, match="has none"):
        require_gpus(1)


def test_several_processes_run_on_two_kinds_of_device() -> None:
    with pytest.raises(ResnetCliError, match="do not run on mps"):
        launch(2, replace(QUESTION, device="mps"))


def test_a_batch_that_all_together_have_no_memory_for_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    model = replicas._build(QUESTION)
    asked = workload_cost(ModelUnderTest(model, ""), QUESTION.image, torch.float32, "inference").bytes_at(2)
    cpu = torch.device("cpu")
    monkeypatch.setattr(conditions, "available_bytes", lambda device: 3 * asked)
    replicas._require_memory(QUESTION, model, cpu, torch.float32, 3)
    with pytest.raises(ResnetCliError, match="--batch-size 2: out of memory: 4 processes need"):
        replicas._require_memory(QUESTION, model, cpu, torch.float32, 4)
    replicas._require_memory(QUESTION, model, torch.device("cuda", 0), torch.float32, 4)  # each has a GPU of its own
    monkeypatch.setattr(conditions, "available_bytes", lambda device: None)
    replicas._require_memory(QUESTION, model, cpu, torch.float32, 1000)


def test_what_is_muted_is_lost_and_the_rest_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    with silenced_fds(1):
        os.write(1, b"lost")
        os.write(2, b"kept")
    os.write(1, b"after")
    assert capfd.readouterr() == ("after", "kept")
