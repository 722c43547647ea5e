"""Threads of a process that shares its machine: how many are its own, and that they are put back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from resnet_cli.measure.distributed import cpu_threads
from resnet_cli.measure.distributed.cpu_threads import settings, threads_each


@pytest.fixture
def processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of three cores with two processors each, of which this process may run on five."""
    for number in range(6):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{number % 3},{number % 3 + 3}\n", encoding="ascii")
    monkeypatch.setattr(cpu_threads, "Path", lambda path: tmp_path / path.removeprefix("/"))
    # Of process 0, which is this one.
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0: {0, 1, 2, 3, 4}}[pid], raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.mark.usefixtures("processors")
@pytest.mark.parametrize(("processes", "each"), [(1, 3), (2, 1), (3, 1), (4, 1)])
def test_two_processors_of_a_core_are_one_thread(processes: int, each: int) -> None:
    assert threads_each(None, processes) == each


def test_where_cores_are_not_told_every_processor_is_one(processors: Path) -> None:
    for path in processors.glob("sys/devices/system/cpu/*/topology/*"):
        path.unlink()
    assert threads_each(None, 1) == 5


@pytest.mark.usefixtures("processors")
@pytest.mark.parametrize(("count", "each"), [(8, 8), (None, 1)])
def test_where_no_affinity_is_told_all_processors_are_ours(
    count: int | None, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert threads_each(None, 1) == each


@pytest.mark.usefixtures("processors")
@pytest.mark.parametrize(("chosen", "each"), [("2", 2), ("0", 3), ("many", 3), ("", 3)])
def test_a_number_of_threads_of_the_user_is_kept(chosen: str, each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    assert threads_each(None, 2) == each


def test_settings_hold_within_and_are_put_back_after_a_fault() -> None:
    def now() -> tuple[int, bool]:
        return torch.get_num_threads(), torch.backends.cudnn.benchmark

    before = now()
    within = []

    def fail() -> None:
        with settings(before[0] + 1):
            within.append(now())
            raise ValueError("oh")

    with pytest.raises(ValueError, match="oh"):
        fail()
    assert within == [(before[0] + 1, True)]
    assert now() == before
