"""Clock rate of a GPU and the reasons that lower it, from a fake NVML."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from resnet_cli.measure.system.nvml import Gpu

GPU = torch.device("cuda", 0)


class Nvml:
    """NVML of a GPU that slows down at the third query.

    Args:
        broken: the driver is not loaded.
        strange: it does not know this GPU.
        silent: it supports no query.
        reasons: of the lower clock, in bits.
    """

    NVML_CLOCK_SM = 1

    def __init__(
        self, *, broken: bool = False, strange: bool = False, silent: bool = False, reasons: int = 0x44
    ) -> None:
        self.broken, self.strange, self.silent = broken, strange, silent
        self.reasons = reasons
        self.queries = 0
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        if self.broken:
            raise RuntimeError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if self.strange or uuid != "GPU-1234":
            raise RuntimeError("Not Found")
        return "handle"

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        assert (handle, kind) == ("handle", 1)
        self.queries += 1
        if self.silent:
            raise RuntimeError("Not Supported")
        return 1980 if self.queries < 3 else 1200

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        assert handle == "handle"
        if self.silent:
            raise RuntimeError("Not Supported")
        return 0x01 if self.queries < 3 else self.reasons


class NewerNvml(Nvml):
    """With the newer name of the same query."""

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:  # noqa: N802
        return super().nvmlDeviceGetCurrentClocksThrottleReasons(handle)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        raise NotImplementedError


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A GPU, and the step of the clock at each reading."""
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: SimpleNamespace(uuid="1234"))
    step, now = [1.0], [0.0]

    def tick() -> float:
        now[0] += step[0]
        return now[0]

    monkeypatch.setattr("resnet_cli.measure.system.nvml.time.perf_counter", tick)
    return step


@pytest.mark.usefixtures("seconds")
@pytest.mark.parametrize("kind", [Nvml, NewerNvml])
def test_clock_rate_and_throttling(kind: type[Nvml]) -> None:
    nvml = kind()
    gpu = Gpu(GPU, nvml)
    for _ in range(3):
        gpu.sample()
    gpu.close()
    assert (gpu.clocks, gpu.reasons, gpu.missing) == ([1.98e9, 1.98e9, 1.2e9], {"power cap", "thermal, hardware"}, None)
    assert nvml.open == 0


def test_queries_are_rare(seconds: list[float]) -> None:
    nvml = Nvml()
    gpu = Gpu(GPU, nvml)
    seconds[0] = 0.01
    for _ in range(100):
        gpu.sample()
    assert nvml.queries == pytest.approx(1.0 / 0.2, abs=1)
    gpu.close()
    gpu.sample()
    assert nvml.open == 0


@pytest.mark.usefixtures("seconds")
def test_a_gpu_that_supports_no_query() -> None:
    gpu = Gpu(GPU, Nvml(silent=True))
    gpu.sample()
    assert (gpu.clocks, gpu.reasons, gpu.missing) == ([], set(), "NVML: Not Supported")


class PartedNvml(Nvml):
    """NVML of a GPU in parts (MIG); its clock is that of the whole.

    Args:
        names: of the part.
        closed: the whole is not to be asked, as in a container that was given the part alone.
    """

    def __init__(self, names: set[str], *, closed: bool = False) -> None:
        super().__init__()
        self.names, self.closed = names, closed

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid not in self.names:
            raise RuntimeError("Not Found")
        return "part"

    def nvmlDeviceIsMigDeviceHandle(self, handle: str) -> bool:  # noqa: N802
        return handle == "part"

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: str) -> str:  # noqa: N802
        if self.closed:
            raise RuntimeError("Insufficient Permissions")
        return "handle"


@pytest.mark.usefixtures("seconds")
@pytest.mark.parametrize("name", ["MIG-1234", "MIG-GPU-77/3/0"])
def test_a_part_of_a_gpu_has_the_clock_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-77/3/0")
    gpu = Gpu(GPU, PartedNvml({name}))
    gpu.sample()
    assert (gpu.clocks, gpu.missing) == ([1.98e9], None)
    unknown = Gpu(GPU, PartedNvml({name}, closed=True))
    unknown.sample()
    assert (unknown.clocks, unknown.missing) == ([], "NVML: Insufficient Permissions")


@pytest.mark.usefixtures("seconds")
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("not installed", "nvidia-ml-py"),
        ("broken", "Driver Not Loaded"),
        ("strange", "Not Found"),
        ("another maker", "NVIDIA"),
    ],
)
def test_why_nothing_is_known(kind: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml: Nvml | None = Nvml(broken=kind == "broken", strange=kind == "strange")
    if kind == "not installed":
        nvml = None
        monkeypatch.setitem(sys.modules, "pynvml", None)
    if kind == "another maker":
        monkeypatch.setattr(torch.version, "hip", "7.2")
    gpu = Gpu(GPU, nvml)
    gpu.sample()
    assert reason in (gpu.missing or "")
    assert nvml is None or nvml.open == 0


@pytest.mark.parametrize(
    ("bit", "reasons"),
    [
        (0x0, set()),
        (0x1, set()),  # idle
        (0x2, set()),  # as its owner has set it
        (0x4, {"power cap"}),
        (0x8, {"hardware slowdown"}),
        (0x10, set()),  # as another GPU's
        (0x20, {"thermal, software"}),
        (0x40, {"thermal, hardware"}),
        (0x80, {"power brake"}),
        (0x100, set()),  # as the display needs it
        (0x84, {"power cap", "power brake"}),
    ],
)
def test_reasons_of_a_lower_clock_are_those_of_nvml_h(
    bit: int, reasons: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    nvml = Nvml(reasons=bit)
    nvml.queries = 5
    gpu = Gpu(GPU, nvml)
    gpu.sample()
    assert gpu.reasons == reasons


def test_an_old_package_that_says_so_is_used_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (
        'import warnings\nwarnings.warn("deprecated", FutureWarning)\ndef nvmlInit():\n    raise OSError("no driver")\n'
    )
    (tmp_path / "pynvml.py").write_text(text, encoding="ascii")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    assert Gpu(GPU).missing == "NVML: no driver"
    monkeypatch.delitem(sys.modules, "pynvml")
