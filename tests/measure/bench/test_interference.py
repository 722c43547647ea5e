"""What disturbs a measurement, where counters are short, fall or belong to somebody else, and how it is told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.conditions import ConditionMonitor, Interference, notes

CPU = torch.device("cpu")


class Computer:
    """A machine with files as Linux writes them, and clocks of its own; a tick is a hundredth of a second."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.seconds = 50.0
        self.own = {"user": 0.0, "system": 0.0, "children_user": 0.0, "children_system": 0.0}

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")

    def ticks(self, *counts: int) -> None:
        """User, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice: see proc_stat(5)."""
        self.write("proc/stat", f"cpu  {' '.join(map(str, counts))}\nbtime 1\n")


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    made = Computer(tmp_path)
    monkeypatch.setattr(
        conditions,
        "os",
        SimpleNamespace(times=lambda: SimpleNamespace(**made.own), sysconf=lambda name: {"SC_CLK_TCK": 100}[name]),
    )
    monkeypatch.setattr(conditions, "time", SimpleNamespace(perf_counter=lambda: made.seconds))
    return made


def watched(computer: Computer, before: tuple[int, ...], after: tuple[int, ...], seconds: float) -> Interference:
    computer.ticks(*before)
    watch = ConditionMonitor(CPU, root=computer.root)
    watch.start()
    computer.ticks(*after)
    computer.seconds += seconds
    return watch.stop()


@pytest.mark.parametrize("kind", range(7))
def test_what_counts_as_work_of_others(kind: int, computer: Computer) -> None:
    """Neither waiting for work nor for a disk keeps a processor busy; all that is done for users or devices does."""
    counts = [0] * 10
    counts[kind] = 50
    found = watched(computer, (0,) * 10, tuple(counts), 0.5)
    assert found.other_load == (0.0 if kind in (3, 4) else 1.0)
    assert found.stolen == 0.0


def test_guests_are_in_the_time_of_users_already(computer: Computer) -> None:
    found = watched(computer, (0,) * 10, (50, 0, 0, 0, 0, 0, 0, 50, 50, 50), 0.5)
    assert (found.other_load, found.stolen) == (1.0, 0.5)


@pytest.mark.parametrize("whose", ["user", "system", "children_user", "children_system"])
def test_our_own_work_is_no_other_s(whose: str, computer: Computer) -> None:
    computer.ticks(*[0] * 10)
    computer.own[whose] = 3.0
    watch = ConditionMonitor(CPU, root=computer.root)
    watch.start()
    computer.ticks(400, *[0] * 9)
    computer.own[whose] = 5.0
    computer.seconds += 4.0
    assert watch.stop().other_load == pytest.approx(0.5)


def test_counters_that_fall_tell_nothing_worse_than_nothing(computer: Computer) -> None:
    """As they do on a machine that moves to another host."""
    computer.own["user"] = -9.0
    found = watched(computer, (100, 0, 0, 0, 0, 0, 0, 80, 0, 0), (90, 0, 0, 500, 0, 0, 0, 20, 0, 0), 1.0)
    assert (found.other_load, found.stolen) == (0.0, 0.0)


def test_a_kernel_that_counts_less_tells_nothing(computer: Computer) -> None:
    found = watched(computer, (1,) * 7, (90,) * 7, 1.0)
    assert (found.other_load, found.stolen) == (None, None)
    assert watched(computer, (0,) * 8, (10,) * 8, 1.0).stolen == pytest.approx(1 / 8)


def test_no_time_has_no_load(computer: Computer) -> None:
    found = watched(computer, (5,) * 10, (5,) * 10, 0.0)
    assert (found.other_load, found.stolen) == (None, None)


def test_what_was_never_started_tells_nothing_of_before(computer: Computer) -> None:
    computer.ticks(*[7] * 10)
    assert ConditionMonitor(CPU, root=computer.root).stop() == Interference()


def test_heat_of_any_core_is_told_once(computer: Computer) -> None:
    def hits(*counts: int) -> None:
        for number, count in enumerate(counts):
            computer.write(f"sys/devices/system/cpu/cpu{number}/thermal_throttle/core_throttle_count", f"{count}\n")

    hits(4, 0, 9)
    watch = ConditionMonitor(CPU, root=computer.root)
    watch.start()
    assert watch.stop().throttled == ()
    hits(4, 1, 9)
    assert watch.stop().throttled == ("temperature of the processor",)


@pytest.mark.parametrize(
    ("seen", "threads", "level", "says"),
    [
        (Interference(other_load=0.1), 1, None, ""),
        (Interference(other_load=0.11), 1, "warning", "kept 0.1 processors busy"),
        (Interference(stolen=0.02), 1, None, ""),
        (Interference(stolen=0.03), 1, "warning", "gave 3 % of the time"),
        (Interference(throttled=("power cap", "heat")), 1, "warning", "slowed down meanwhile: power cap, heat"),
        (Interference(quota=2.0), 2, None, ""),
        (Interference(quota=2.0), 3, "warning", "3 threads on a quota of 2 processors"),
        (Interference(quota=2.5), 3, "warning", "use --threads 2"),
        (Interference(quota=0.5), 1, "warning", "use --threads 1"),
        (Interference(missing="no driver"), 1, "note", "of the GPU are not known: no driver"),
    ],
)
def test_only_what_disturbs_is_told(seen: Interference, threads: int, level: str | None, says: str) -> None:
    found = list(notes(seen, threads))
    assert [note.level for note in found] == [level] * (level is not None)
    assert all(says in note.text for note in found)


@pytest.mark.parametrize(
    ("capability", "said"), [("AVX512", "AVX512"), ("AVX2", "AVX2"), ("DEFAULT", None), ("NO AVX", None), ("", None)]
)
def test_instructions_are_told_where_there_are_some(
    capability: str, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert conditions.instructions() == said


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (
            "  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605\n"
            "  - Intel(R) MKL-DNN v3.7.1 (Git Hash 8d263e6)\n",
            ("MKL 2024.2", "oneDNN 3.7.1"),
        ),
        ("  - oneDNN v3.11 (Git Hash 1)\n", ("oneDNN 3.11",)),
        ("PyTorch built with:\n  - OpenMP 201511\n", ()),
    ],
)
def test_libraries_are_told_with_their_versions(
    shown: str, said: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.__config__, "show", lambda: shown)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert conditions.libraries() == said
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: None)  # as on other makers' GPUs
    assert conditions.libraries() == said
