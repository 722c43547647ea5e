"""A group of one process, for real: who it is, what it hears, what is said meanwhile."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import torch
from torch import distributed
from torch._C._distributed_c10d import HashStore
from torch.distributed import distributed_c10d

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.distributed import process_group as module
from resnet_cli.measure.distributed.coordination import Coordinator, PeerGoneError
from resnet_cli.measure.distributed.process_group import RankInfo, process_group, silenced_fds

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, timedelta]]:
    """A meeting place in memory; what it was asked for."""
    found: list[tuple[str, timedelta]] = []

    def rendezvous(url: str, *, timeout: timedelta) -> Iterator[tuple[HashStore, int, int]]:
        found.append((url, timeout))
        yield HashStore(), 0, 1

    monkeypatch.setattr(module, "rendezvous", rendezvous)
    return found


def environment(monkeypatch: pytest.MonkeyPatch, place: RankInfo) -> None:
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    for name, value in zip(names, (place.rank, place.count, place.local_rank, place.local_count), strict=True):
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    "place", [RankInfo(0, 1, 0, 1), RankInfo(7, 8, 3, 4), RankInfo(0, 2, 1, 2), RankInfo(1, 2, 0, 1)]
)
def test_every_place_of_a_run_is_one(place: RankInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, place)
    assert RankInfo.from_environment() == place


@pytest.mark.parametrize(
    "place",
    [RankInfo(2, 2, 0, 2), RankInfo(-1, 2, 0, 2), RankInfo(0, 2, 2, 2), RankInfo(0, 2, -1, 2), RankInfo(0, 2, 0, 3)],
)
def test_a_place_outside_of_its_run_is_none(place: RankInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, place)
    with pytest.raises(ResnetCliError, match=f"process {place.rank} of 2, and {place.local_rank} of"):
        RankInfo.from_environment()


def test_a_process_without_a_local_count_has_all_on_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch, RankInfo(3, 4, 0, 0))
    monkeypatch.delenv("LOCAL_RANK")
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert RankInfo.from_environment() == RankInfo(3, 4, 3, 4)


def test_whoever_has_joined_shares_and_starts_until_it_leaves(asked: list[tuple[str, timedelta]]) -> None:
    with process_group(RankInfo(0, 1, 0, 1), CPU, 70.0) as peers:
        assert (peers.rank, peers.count) == (0, 1)
        assert peers.share([1, "a"]) == [[1, "a"]]
        peers.start()
        assert distributed.get_backend() == "gloo"
        backend = distributed_c10d._get_default_group()._get_backend(CPU)
        # Nobody is waited for without an end, neither at the door nor within.
        assert backend.options._timeout == timedelta(seconds=300)
    assert asked == [("env://", timedelta(seconds=300))]
    assert not distributed.is_initialized()


def test_silence_is_borne_as_long_as_was_asked_for(
    asked: list[tuple[str, timedelta]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = map(float, count(0, 100))
    with process_group(RankInfo(0, 1, 0, 1), CPU, 250.0) as peers:
        monkeypatch.setattr(peers, "_now", lambda: next(seconds))
        monkeypatch.setattr(peers, "_sleep", lambda nap: None)
        peers.count = 2  # the other one never comes
        with pytest.raises(PeerGoneError, match="silent for 250 s"):
            peers.share(None)
    assert next(seconds) == 400


def test_a_start_is_the_barrier_of_all(asked: list[tuple[str, timedelta]], monkeypatch: pytest.MonkeyPatch) -> None:
    met = []
    monkeypatch.setattr(distributed, "barrier", lambda: met.append("here"))
    with process_group(RankInfo(0, 1, 0, 1), CPU) as peers:
        peers.start()
    assert met == ["here"]


def test_the_group_is_left_by_whoever_fails_too(asked: list[tuple[str, timedelta]]) -> None:
    with pytest.raises(ValueError, match="oh"), process_group(RankInfo(0, 1, 0, 1), CPU):
        raise ValueError("oh")
    assert not distributed.is_initialized()


@pytest.mark.parametrize(
    ("error", "says"), [(RuntimeError("no route\nat all"), "no route"), (ValueError(), "ValueError")]
)
def test_others_that_cannot_be_reached_are_told(error: Exception, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def rendezvous(url: str, *, timeout: timedelta) -> Iterator[Any]:
        raise error

    monkeypatch.setattr(module, "rendezvous", rendezvous)
    with pytest.raises(PeerGoneError) as caught, process_group(RankInfo(1, 3, 1, 3), CPU):
        pass
    assert str(caught.value) == f"process 1 of 3 cannot reach the others: {says}"
    assert not caught.value.told


@pytest.mark.parametrize(("rank", "heard"), [(0, "warned"), (1, "")])
def test_the_first_process_alone_may_write_to_standard_error(
    rank: int, heard: str, asked: list[tuple[str, timedelta]], capfd: pytest.CaptureFixture[str]
) -> None:
    with process_group(RankInfo(rank, 2, rank, 2), CPU):
        warnings.warn("torch has something to say", stacklevel=1)
        os.write(1, b"said")
        os.write(2, b"warned")
    os.write(1, b"after")
    assert capfd.readouterr() == ("after", heard)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is done with two GPUs that are not there."""
    found: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    monkeypatch.setattr(module, "rendezvous", lambda *_, **__: iter([(HashStore(), 1, 2)]))

    def init(backend: str, **options: Any) -> None:
        found.append((backend, options["rank"], options["world_size"], options["device_id"]))

    monkeypatch.setattr(distributed, "init_process_group", init)
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: found.append("left"))
    return found


def test_a_process_with_a_gpu_takes_it_before_it_joins(log: list[object]) -> None:
    with process_group(RankInfo(1, 2, 1, 2), GPU) as peers:
        assert isinstance(peers, Coordinator)
        assert log == [GPU, ("nccl", 1, 2, GPU)]
    assert log[2:] == ["left"]


def test_where_a_gpu_s_run_failed_nobody_waits_for_the_others(log: list[object]) -> None:
    with pytest.raises(ValueError, match="oh"), process_group(RankInfo(1, 2, 1, 2), GPU):
        raise ValueError("oh")
    assert "left" not in log


def test_a_gpu_for_each_process_of_this_machine_has_to_be_there(log: list[object]) -> None:
    with pytest.raises(ResnetCliError, match="3 processes need a GPU each"), process_group(RankInfo(1, 3, 1, 3), GPU):
        pass
    assert log == []


def test_what_was_written_before_or_after_is_not_lost(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(1, "w", closefd=False, encoding="utf-8") as stream:  # one that keeps what it is given for a while
        monkeypatch.setattr(sys, "stdout", stream)
        stream.write("before ")
        with silenced_fds((1, 2)):
            stream.write("within ")
        stream.write("after")
    assert capfd.readouterr() == ("before after", "")


@pytest.mark.parametrize("stdout", [None, "closed"])
def test_streams_that_are_gone_do_not_matter(
    stdout: str | None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = None
    if stdout is not None:
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    with silenced_fds(1):
        os.write(1, b"lost")
    os.write(1, b"kept")
    assert capfd.readouterr().out == "kept"


def test_no_file_descriptor_is_left_open_or_closed() -> None:
    def free() -> list[int]:
        numbers = [os.dup(1) for _ in range(5)]
        for number in numbers:
            os.close(number)
        return numbers

    before = free()
    with silenced_fds((1, before[-1], 2)):  # of which one is closed
        pass
    assert free() == before
