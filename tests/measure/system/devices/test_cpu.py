"""The backend of the processor: memory with and without a container's limit, peaks, bfloat16."""

from __future__ import annotations

import mmap
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from resnet_cli.measure.system.devices import cpu
from resnet_cli.measure.system.devices.cpu import CpuBackend

CPU = CpuBackend(torch.device("cpu"))
MEGABYTE = 1 << 20


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control group of a container on a host of 256 GB, 200 GB of them free."""
    memory = SimpleNamespace(total=256 * 10**9, available=200 * 10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(cpu, "ROOT", tmp_path)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n", encoding="ascii")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    return tmp_path / "sys/fs/cgroup"


def test_memory_is_that_of_the_host_without_a_limit(container: Path) -> None:
    assert (CPU.total_memory(), CPU.free_memory()) == (256 * 10**9, 200 * 10**9)


def test_a_limit_of_the_container_is_all_the_memory_there_is(container: Path) -> None:
    """The largest batch of a summary was that of the host: many times too large."""
    for name, text in (("max", 8 * 10**9), ("current", 3 * 10**9), ("stat", "inactive_file 1000000000")):
        (container / f"memory.{name}").write_text(f"{text}\n", encoding="ascii")
    assert (CPU.total_memory(), CPU.free_memory()) == (8 * 10**9, 6 * 10**9)


def test_this_machine() -> None:
    total, free = CPU.total_memory(), CPU.free_memory()
    assert total is not None
    assert free is not None
    assert 0 < free <= total


@pytest.mark.parametrize(
    ("avx2", "bfloat16", "tiles", "emulates"),
    [(True, False, False, True), (True, True, False, False), (True, False, True, False), (False, False, False, False)],
)
def test_an_x86_processor_without_bfloat16_emulates_it(
    avx2: bool, bfloat16: bool, tiles: bool, emulates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx2_supported", lambda: avx2)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    assert CPU.emulates_bfloat16() == emulates


def can_reset_the_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return "VmHWM" in Path("/proc/self/status").read_text()
    except OSError:
        return False


needs_a_peak = pytest.mark.skipif(not can_reset_the_peak(), reason="this system does not reset the peak of a process")


def resident_block() -> mmap.mmap:
    """100 MB that were not resident before: an allocation may be given memory that this process has freed."""
    block = mmap.mmap(-1, 100 * MEGABYTE)
    for page in range(0, len(block), mmap.PAGESIZE):
        block[page] = 1
    return block


@needs_a_peak
def test_a_peak_of_100_megabytes_is_seen() -> None:
    backend = CpuBackend(torch.device("cpu"))
    backend.reset_peak_memory()
    before = backend.peak_memory()
    block = resident_block()
    during = backend.peak_memory()
    block.close()
    after = backend.peak_memory()
    assert before is not None
    assert during is not None
    assert after is not None
    assert before[1] == "resident"
    assert 95 * MEGABYTE < during[0] - before[0] < 130 * MEGABYTE
    # A peak stays, though the memory is gone; Linux counts it to some tens of pages for each processor.
    assert after[0] > during[0] - 5 * MEGABYTE


@needs_a_peak
def test_a_peak_from_before_is_forgotten() -> None:
    backend = CpuBackend(torch.device("cpu"))
    backend.reset_peak_memory()
    block = resident_block()
    with_it = backend.peak_memory()
    block.close()
    backend.reset_peak_memory()
    without = backend.peak_memory()
    assert with_it is not None
    assert without is not None
    assert with_it[0] - without[0] > 90 * MEGABYTE


def test_a_peak_that_cannot_be_reset_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> int:
        raise PermissionError

    backend = CpuBackend(torch.device("cpu"))
    assert backend.peak_memory() is None
    monkeypatch.setattr(Path, "write_text", refuse)
    backend.reset_peak_memory()
    assert backend.peak_memory() is None
