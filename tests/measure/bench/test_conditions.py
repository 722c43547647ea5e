"""What disturbs a measurement, from files as Linux writes them and an NVML of our own."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.conditions import ConditionMonitor, Interference, available_bytes, notes

CPU = torch.device("cpu")
CUDA = torch.device("cuda", 0)


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def stat(user: int = 0, idle: int = 0, steal: int = 0) -> str:
    return f"cpu  {user} 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 {user} 0 0 {idle} 0 0 0 {steal} 0 0\nintr 1 2 3\n"


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Wall seconds and processor seconds of this process at each look."""
    found: list[tuple[float, float]] = []

    def times() -> SimpleNamespace:
        return SimpleNamespace(user=found[0][1], system=0.0, children_user=0.0, children_system=0.0)

    monkeypatch.setattr("resnet_cli.measure.bench.conditions.os.times", times)
    monkeypatch.setattr("resnet_cli.measure.bench.conditions.os.sysconf", lambda _: 100)
    monkeypatch.setattr("resnet_cli.measure.bench.conditions.time.perf_counter", lambda: found.pop(0)[0])
    return found


def test_other_load_is_what_is_busy_beside_us(tmp_path: Path, moments: list[tuple[float, float]]) -> None:
    moments += [(100.0, 7.0), (110.0, 22.0)]
    write(tmp_path, "proc/stat", stat(user=5000, idle=1000))
    watch = ConditionMonitor(CPU, root=tmp_path)
    watch.start()
    # 40 processor seconds in 10 seconds: 25 busy, 5 stolen, 10 idle; 15 of the busy ones are ours.
    write(tmp_path, "proc/stat", stat(user=7500, idle=2000, steal=500))
    seen = watch.stop()
    assert seen.other_load == pytest.approx(1.0)
    assert seen.stolen == pytest.approx(5 / 40)
    assert seen.throttled == ()
    said = [note.text for note in notes(seen, threads=2)]
    assert "kept 1.0 processors busy" in said[0]
    assert "12 % of the time to other guests" in said[1]


def test_a_quiet_machine_has_nothing_to_say(tmp_path: Path, moments: list[tuple[float, float]]) -> None:
    moments += [(0.0, 0.0), (10.0, 10.0)]
    write(tmp_path, "proc/stat", stat())
    watch = ConditionMonitor(CPU, root=tmp_path)
    watch.start()
    write(tmp_path, "proc/stat", stat(user=1005, idle=2995))
    seen = watch.stop()
    assert seen.other_load == pytest.approx(0.005)
    assert list(notes(seen, threads=64)) == []


@pytest.mark.parametrize("version", [1, 2])
def test_a_quota_that_is_used_up(tmp_path: Path, version: int) -> None:
    if version == 2:
        write(tmp_path, "proc/self/cgroup", "0::/jobs/mine\n")
        folder = "sys/fs/cgroup/jobs/mine"
        write(tmp_path, f"{folder}/cpu.max", "150000 100000\n")
    else:
        write(tmp_path, "proc/self/cgroup", "4:cpu,cpuacct:/jobs/mine\n1:name=systemd:/\n")
        folder = "sys/fs/cgroup/cpu,cpuacct/jobs/mine"
        write(tmp_path, f"{folder}/cpu.cfs_quota_us", "150000\n")
        write(tmp_path, f"{folder}/cpu.cfs_period_us", "100000\n")
    write(tmp_path, f"{folder}/cpu.stat", "nr_periods 10\nnr_throttled 3\nthrottled_usec 1\n")
    watch = ConditionMonitor(CPU, root=tmp_path)
    watch.start()
    write(tmp_path, f"{folder}/cpu.stat", "nr_periods 20\nnr_throttled 9\nthrottled_usec 9\n")
    seen = watch.stop()
    assert seen.quota == 1.5
    assert seen.throttled == ("processor quota of the control group",)
    said = [note.text for note in notes(seen, threads=2)]
    assert said == [
        "slowed down meanwhile: processor quota of the control group",
        "2 threads on a quota of 1.5 processors: they stop each other; use --threads 1",
    ]


def test_a_processor_that_grows_hot(tmp_path: Path) -> None:
    name = "sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count"
    write(tmp_path, name, "5\n")
    write(tmp_path, "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "0\n")
    watch = ConditionMonitor(CPU, root=tmp_path)
    watch.start()
    write(tmp_path, name, "8\n")
    assert watch.stop().throttled == ("temperature of the processor",)


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    watch = ConditionMonitor(CPU, root=tmp_path)
    watch.start()
    watch.look()
    assert watch.stop() == Interference()
    assert available_bytes(CPU, root=tmp_path) is None
    assert list(notes(Interference(), threads=2)) == []
    write(tmp_path, "proc/stat", "cpu  1 2 x\n")
    watch.start()
    assert watch.stop() == Interference()


def test_memory_is_what_the_system_and_the_group_leave(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", "MemTotal:  8000 kB\nMemAvailable:    4000 kB\n")
    assert available_bytes(CPU, root=tmp_path) == 4000 * 1024
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/memory.max", "2000000\n")
    write(tmp_path, "sys/fs/cgroup/memory.current", "1500000\n")
    assert available_bytes(CPU, root=tmp_path) == 500_000
    write(tmp_path, "sys/fs/cgroup/memory.max", "9000000\n")
    assert available_bytes(CPU, root=tmp_path) == 4000 * 1024


def test_memory_of_a_gpu_counts_what_the_allocator_keeps_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (1000, 8000))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda _: 700)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda _: 300)
    assert available_bytes(CUDA) == 1400
    assert available_bytes(torch.device("mps")) is None


class Nvml:
    """NVML of a GPU that slows down at the third look.

    Args:
        broken: the driver is not there.
        strange: it does not know this GPU.
        silent: it tells neither clock nor reasons.
    """

    NVML_CLOCK_SM = 1

    def __init__(self, *, broken: bool = False, strange: bool = False, silent: bool = False) -> None:
        self.broken, self.strange, self.silent = broken, strange, silent
        self.looks = 0
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        if self.broken:
            raise RuntimeError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        assert uuid == "GPU-1234"
        if self.strange:
            raise RuntimeError("Not Found")
        return "handle"

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        assert (handle, kind) == ("handle", 1)
        self.looks += 1
        if self.silent:
            raise RuntimeError("Not Supported")
        return 1980 if self.looks < 3 else 1200

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        assert handle == "handle"
        if self.silent:
            raise RuntimeError("Not Supported")
        return 0x01 if self.looks < 3 else 0x04 | 0x40  # idle is no reason


class NewerNvml(Nvml):
    """With the newer name of the same question."""

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:  # noqa: N802
        return super().nvmlDeviceGetCurrentClocksThrottleReasons(handle)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        raise NotImplementedError


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A GPU, and how far the clock goes on at each look."""
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: SimpleNamespace(uuid="1234"))
    step, now = [1.0], [0.0]

    def tick() -> float:
        now[0] += step[0]
        return now[0]

    monkeypatch.setattr("resnet_cli.measure.system.nvml.time.perf_counter", tick)
    return step


@pytest.mark.usefixtures("seconds")
@pytest.mark.parametrize("kind", [Nvml, NewerNvml])
def test_clocks_and_throttling_of_a_gpu(tmp_path: Path, kind: type[Nvml]) -> None:
    nvml = kind()
    watch = ConditionMonitor(CUDA, root=tmp_path, nvml=nvml)
    watch.start()
    for _ in range(3):
        watch.look()
    seen = watch.stop()
    assert seen.clock_hz == 1.98e9
    assert seen.throttled == ("power cap", "thermal, hardware")
    assert seen.missing is None
    assert nvml.open == 0


def test_looks_are_cheap(tmp_path: Path, seconds: list[float]) -> None:
    nvml = Nvml()
    watch = ConditionMonitor(CUDA, root=tmp_path, nvml=nvml)
    seconds[0] = 0.01
    for _ in range(100):
        watch.look()
    assert nvml.looks == pytest.approx(1.0 / 0.2, abs=1)
    watch.stop()
    watch.look()  # after the end: nothing happens
    assert nvml.open == 0


@pytest.mark.usefixtures("seconds")
def test_a_gpu_that_tells_nothing(tmp_path: Path) -> None:
    nvml = Nvml(silent=True)
    watch = ConditionMonitor(CUDA, root=tmp_path, nvml=nvml)
    watch.look()
    seen = watch.stop()
    assert nvml.looks == 1
    assert (seen.clock_hz, seen.throttled, nvml.open) == (None, (), 0)


@pytest.mark.usefixtures("seconds")
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("not installed", "nvidia-ml-py"),
        ("broken", "Driver Not Loaded"),
        ("strange", "Not Found"),
        ("another maker", "NVIDIA"),
    ],
)
def test_a_gpu_without_nvml_is_a_note(kind: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml: Nvml | None = Nvml(broken=kind == "broken", strange=kind == "strange")
    if kind == "not installed":
        nvml = None
        monkeypatch.setitem(sys.modules, "pynvml", None)
    if kind == "another maker":
        monkeypatch.setattr(torch.version, "hip", "7.2")
    watch = ConditionMonitor(CUDA, root=tmp_path, nvml=nvml)
    watch.start()
    watch.look()
    seen = watch.stop()
    assert seen.clock_hz is None
    (note,) = notes(seen, threads=1)
    assert note.level == "note"
    assert says in note.text
    assert nvml is None or nvml.open == 0


@pytest.mark.parametrize(
    ("convolutions", "products", "capability", "says"),
    [
        ("tf32", "none", (9, 0), "float32, convolutions in TF32"),
        ("tf32", "tf32", (8, 0), "float32, all in TF32"),
        ("ieee", "tf32", (8, 6), "float32, matrix products in TF32"),
        ("ieee", "ieee", (9, 0), "float32"),
        ("tf32", "tf32", (7, 5), "float32"),  # before Ampere there is none
    ],
)
def test_float32_on_a_gpu_says_what_it_is(
    convolutions: str, products: str, capability: tuple[int, int], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "conv", SimpleNamespace(fp32_precision=convolutions))
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(fp32_precision=products))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
    assert conditions.precision(torch.float32, CUDA) == says
    assert conditions.precision(torch.bfloat16, CUDA) == "bfloat16"
    assert conditions.precision(torch.float32, CPU) == "float32"


def test_the_libraries_of_this_torch_are_named() -> None:
    shown = torch.__config__.show()
    found = dict(name.split() for name in conditions.libraries())
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        assert f"v{found['oneDNN']} " in shown
    assert ("MKL" in found) == torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    assert conditions.instructions() == torch.backends.cpu.get_cpu_capability()


@pytest.mark.parametrize(("number", "name"), [(8902, "8.9.2"), (90000, "9.0.0"), (90100, "9.1.0"), (92600, "9.26.0")])
def test_the_version_of_cudnn_as_people_write_it(number: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.backends.cudnn.version", lambda: number)
    assert f"cuDNN {name}" in conditions.libraries()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu() -> None:
    assert (available_bytes(CUDA) or 0) > 10**8
    watch = ConditionMonitor(CUDA)
    watch.start()
    watch.look()
    seen = watch.stop()
    assert (seen.clock_hz is None) == (seen.missing is not None)
    assert "TF32" in conditions.precision(torch.float32, CUDA) or torch.cuda.get_device_capability(CUDA) < (8, 0)
