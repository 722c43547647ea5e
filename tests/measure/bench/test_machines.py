"""What the levers find of a machine, and what they make of one that has more than this one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.bench.conditions import ConditionMonitor
from resnet_cli.measure.optimizations.cuda_graph import CudaCapture
from resnet_cli.measure.optimizations.registry import BY_KEY, Machine, machine
from resnet_cli.measure.optimizations.variant import UnavailableError
from resnet_cli.measure.system.nvml import Gpu

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()


IMAGE = torch.ones(2, 3, 5, 5)


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
    assert machine(CPU).emulates_bfloat16 == emulates
    assert not machine(torch.device("mps")).emulates_bfloat16
    assert (machine(CPU).capability, machine(CPU).capture) == (None, None)


@pytest.mark.parametrize(("capability", "emulates"), [((7, 5), True), ((8, 0), False), ((9, 0), False)])
def test_gpus_have_bfloat16_since_ampere(
    capability: tuple[int, int], emulates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    found = machine(GPU)
    assert (found.device, found.capability, found.emulates_bfloat16) == (GPU, capability, emulates)
    assert isinstance(found.capture, CudaCapture)
    assert found.capture.device == GPU
    remark = BY_KEY["bfloat16"].make(net(), IMAGE, found).remark
    assert remark == ("emulated: this GPU has no bfloat16 arithmetic" if emulates else None)


def test_what_is_compiled_is_folded_and_in_channels_last() -> None:
    given: list[tuple[Any, Tensor]] = []

    def compiler(model: nn.Module) -> Any:
        def run(images: Tensor) -> Any:
            given.append((model, images))
            return model(images)

        return run

    model = net()
    truth = model(IMAGE)
    form = BY_KEY["compile"].make(model, IMAGE, Machine(CPU, compiler=compiler))
    torch.testing.assert_close(form.call(), truth)
    compiled, images = given[-1]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in compiled.modules())
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert form.image is images


def test_float16_is_folded_and_in_channels_last() -> None:
    form = BY_KEY["float16"].make(net(), IMAGE, Machine(GPU, (9, 0)))
    assert form.image.is_contiguous(memory_format=torch.channels_last)
    assert isinstance(form.run, nn.Module)
    tensors = [form.image, *form.run.parameters()]
    assert {tensor.dtype for tensor in tensors} == {torch.float16}
    assert len(tensors) == 3  # of the norm there is none


def test_networks_without_images_have_no_channels_to_lay_out() -> None:
    with pytest.raises(UnavailableError, match="a format of images"):
        BY_KEY["channels-last"].make(nn.Linear(3, 2), torch.ones(2, 3), Machine(CPU))


def test_ampere_has_tf32() -> None:
    parts: Any = tuple(SimpleNamespace(fp32_precision=kind) for kind in ("ieee", "ieee"))
    form = BY_KEY["tf32"].make(net(), IMAGE, Machine(GPU, (8, 0), precisions=parts))
    assert form.remark is None


class Nvml:
    """It knows this GPU, or it does not.

    Args:
        reasons: why it is slow, in bits.
    """

    NVML_CLOCK_SM = 1

    def __init__(self, reasons: int | None = None) -> None:
        self.reasons = reasons
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> object:  # noqa: N802
        if self.reasons is None:
            raise RuntimeError("Not Found")
        return self

    def nvmlDeviceGetClockInfo(self, handle: object, kind: int) -> int:  # noqa: N802
        return 1500

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object) -> int | None:  # noqa: N802
        return self.reasons


@pytest.mark.parametrize(
    ("bit", "said"),
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
    bit: int, said: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    gpu = Gpu(GPU, Nvml(bit))
    gpu.look()
    assert (gpu.reasons, gpu.clocks) == (said, [1.5e9])


def test_all_reasons_are_told_in_the_order_of_the_alphabet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    watch = ConditionMonitor(GPU, root=tmp_path, nvml=Nvml(0x1FF))
    watch.look()
    assert watch.stop().throttled == (
        "hardware slowdown",
        "power brake",
        "power cap",
        "thermal, hardware",
        "thermal, software",
    )


def test_a_library_that_is_of_no_use_is_given_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    nvml = Nvml()
    assert Gpu(GPU, nvml).missing == "NVML says: Not Found"
    assert nvml.open == 0


def test_an_old_package_that_says_so_is_used_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (
        'import warnings\nwarnings.warn("deprecated", FutureWarning)\ndef nvmlInit():\n    raise OSError("no driver")\n'
    )
    (tmp_path / "pynvml.py").write_text(text, encoding="ascii")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    assert Gpu(GPU).missing == "NVML says: no driver"
    monkeypatch.delitem(sys.modules, "pynvml")
