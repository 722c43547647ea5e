"""Disturbances of a benchmark: background load, steal time, quota, heat, and the clock rate of a GPU."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.conditions import ConditionMonitor, Interference, notes
from tests.helpers.fake_clock import SimulatedBackend

Linux = namedtuple(
    "Linux",
    "user nice system idle iowait irq softirq steal guest guest_nice",
    defaults=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
)
Darwin = namedtuple("Darwin", "user nice system idle", defaults=(0.0, 0.0, 0.0, 0.0))
OWN = ("user", "system", "children_user", "children_system")


class Computer:
    """A machine whose counters the test sets, in seconds."""

    def __init__(self, root: Path) -> None:
        self.root, self.seconds = root, 50.0
        self.times: tuple[float, ...] = Linux()
        self.own = dict.fromkeys(OWN, 0.0)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")

    def monitor(self) -> ConditionMonitor:
        return ConditionMonitor(SimulatedBackend(), root=self.root)

    def seen(self, after: tuple[float, ...], seconds: float) -> Interference:
        monitor = self.monitor()
        self.times = after
        self.seconds += seconds
        return monitor.stop()


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    computer = Computer(tmp_path)
    monkeypatch.setattr(conditions, "psutil", SimpleNamespace(cpu_times=lambda: computer.times))
    monkeypatch.setattr(conditions, "os", SimpleNamespace(times=lambda: SimpleNamespace(**computer.own)))
    monkeypatch.setattr(conditions, "time", SimpleNamespace(perf_counter=lambda: computer.seconds))
    return computer


def test_background_load_is_what_other_processes_do(computer: Computer) -> None:
    # 40 CPU seconds in 10 seconds: 25 busy, 5 stolen, 10 idle; 15 of the busy ones are ours.
    monitor = computer.monitor()
    computer.times, computer.seconds, computer.own["user"] = Linux(user=25, idle=10, steal=5), 60.0, 15.0
    seen = monitor.stop()
    assert seen.background_cpu_load == pytest.approx(1.0)
    assert seen.steal_share == pytest.approx(5 / 40)


@pytest.mark.parametrize("field", Linux._fields[:7])
def test_neither_idle_time_nor_waiting_for_a_disk_is_load(field: str, computer: Computer) -> None:
    seen = computer.seen(Linux(**{field: 0.5}), 0.5)
    assert seen.background_cpu_load == (0.0 if field in ("idle", "iowait") else 1.0)


@pytest.mark.parametrize("whose", OWN)
def test_own_work_and_that_of_children_is_no_background_load(whose: str, computer: Computer) -> None:
    monitor = computer.monitor()
    computer.times, computer.own[whose] = Linux(user=4.0), 2.0
    computer.seconds += 4.0
    assert monitor.stop().background_cpu_load == pytest.approx(0.5)


def test_macos_has_a_load_and_no_steal_time(computer: Computer) -> None:
    computer.times = Darwin(user=1.0, idle=1.0)
    seen = computer.seen(Darwin(user=3.0, idle=3.0), 1.0)
    assert (seen.background_cpu_load, seen.steal_share) == (2.0, None)


def test_a_quota_that_is_used_up(computer: Computer) -> None:
    computer.write("proc/self/cgroup", "0::/jobs/mine\n")
    computer.write("sys/fs/cgroup/jobs/mine/cpu.max", "150000 100000\n")
    computer.write("sys/fs/cgroup/jobs/mine/cpu.stat", "nr_periods 10\nnr_throttled 3\n")
    monitor = computer.monitor()
    computer.write("sys/fs/cgroup/jobs/mine/cpu.stat", "nr_periods 20\nnr_throttled 9\n")
    seen = monitor.stop()
    assert (seen.cpu_quota, len(seen.throttled)) == (1.5, 1)
    assert [note.key for note in notes(seen, threads=2)] == ["throttled", "threads-above-quota"]


def test_heat_of_any_core(computer: Computer) -> None:
    def throttles(*counts: int) -> None:
        for number, count in enumerate(counts):
            computer.write(f"sys/devices/system/cpu/cpu{number}/thermal_throttle/core_throttle_count", f"{count}\n")

    throttles(4, 0, 9)
    assert computer.monitor().stop().throttled == ()
    monitor = computer.monitor()
    throttles(4, 1, 9)
    assert monitor.stop().throttled == ("CPU temperature",)


class Clocks:
    clocks, reasons, missing, closed = [1e9, 3e9, 2e9], {"power cap", "hardware slowdown"}, None, 0

    def sample(self) -> None: ...

    def close(self) -> None:
        self.closed += 1


def test_the_clock_rate_of_a_gpu(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks()
    monkeypatch.setattr(SimulatedBackend, "clock_monitor", lambda self: clocks)
    seen = computer.monitor().stop()
    assert (seen.clock_hz, seen.throttled, clocks.closed) == (2e9, ("hardware slowdown", "power cap"), 1)


@pytest.mark.parametrize(
    ("seen", "threads", "keys"),
    [
        (Interference(background_cpu_load=0.1), 1, []),
        (Interference(background_cpu_load=0.11), 1, ["background-load"]),
        (Interference(steal_share=0.02), 1, []),
        (Interference(steal_share=0.03), 1, ["steal-time"]),
        (Interference(throttled=("power cap",)), 1, ["throttled"]),
        (Interference(cpu_quota=2.0), 2, []),
        (Interference(cpu_quota=2.0), 3, ["threads-above-quota"]),
        (Interference(missing="no driver"), 1, ["gpu-clock-unknown"]),
    ],
)
def test_only_a_disturbance_has_a_note(seen: Interference, threads: int, keys: list[str]) -> None:
    assert [note.key for note in notes(seen, threads)] == keys
