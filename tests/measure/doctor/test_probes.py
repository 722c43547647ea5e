"""What torch and its companions are asked, where they answer otherwise than here."""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch

from resnet_cli.measure.doctor.probes import PROBES


def test_why_there_is_no_cuda_is_what_torch_warns_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable() -> bool:
        warnings.warn("CUDA initialization: the driver\n is too old", stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", unavailable)
    assert PROBES["cuda"].run() == {
        "available": False,
        "warnings": ["CUDA initialization: the driver is too old"],
        "gpus": [],
    }
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert PROBES["gpu dtypes"].run() == {}


def test_a_gpu_that_torch_finds_and_cannot_compute_on(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = types.SimpleNamespace(name="GTX", total_memory=8 * 10**9, major=6, minor=1)

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch, "ones", refuse)
    failure = "RuntimeError: no kernel image"
    assert PROBES["cuda"].run()["gpus"] == [
        {"name": "GTX", "memory_bytes": 8 * 10**9, "capability": [6, 1], "failure": failure}
    ]
    assert PROBES["gpu dtypes"].run() == {"bfloat16": failure, "float16": failure}


def test_every_gpu_is_tried_on_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[object, object]] = []
    ones = torch.ones

    def on_the_processor(*shape: int, device: str, dtype: torch.dtype) -> torch.Tensor:
        made.append((device, dtype))
        return ones(*shape, dtype=dtype)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    properties = types.SimpleNamespace(name="H100", total_memory=80 * 10**9, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setattr(torch, "ones", on_the_processor)
    assert [gpu["failure"] for gpu in PROBES["cuda"].run()["gpus"]] == [None, None]
    assert made == [(f"cuda:{number}", torch.float32) for number in (0, 0, 1, 1)]
    made.clear()
    assert PROBES["gpu dtypes"].run() == {"bfloat16": None, "float16": None}
    assert made == [("cuda", dtype) for dtype in (torch.bfloat16, torch.bfloat16, torch.float16, torch.float16)]


@pytest.mark.parametrize("available", [True, False])
def test_cudnn_has_a_version_where_a_gpu_can_use_it(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: available)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91300)
    version = 91300 if available else None
    assert PROBES["cudnn"].run() == {"available": available, "enabled": True, "version": version}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert PROBES["cudnn"].run() == {"available": False, "enabled": True, "version": None}


def test_accelerators_of_other_makers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    facts: dict[str, object] = {
        "mps_built": True,
        "mps_available": False,
        "mps_failure": None,
        "xpu_available": True,
    }
    assert PROBES["accelerators"].run() == facts
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", lambda *_, device, **__: 1 / (device != "mps"))
    monkeypatch.delattr(torch, "xpu")  # which an older torch lacks
    facts = {**facts, "mps_available": True, "mps_failure": "ZeroDivisionError: division by zero"}
    assert PROBES["accelerators"].run() == {**facts, "xpu_available": False}


def test_a_torch_without_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_available", lambda: False)
    assert PROBES["distributed"].run() == {"gloo": False, "nccl": False, "nccl_version": None}


def test_nccl_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_nccl_available", lambda: True)
    monkeypatch.setattr("torch.cuda.nccl.version", lambda: (2, 28, 3))
    assert PROBES["distributed"].run()["nccl_version"] == (2, 28, 3)


def test_what_torch_does_not_report_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.version, "git_version")
    assert PROBES["torch"].run()["git_version"] is None


PYNVML = """
import warnings
warnings.warn("pynvml is deprecated", FutureWarning)
started = []
nvmlInit = lambda: started.append(1)
nvmlSystemGetDriverVersion = lambda: {driver} if started else 1 / 0
nvmlDeviceGetCount = lambda: 3
"""


@pytest.mark.parametrize("driver", [b"580.95", "580.95"])
def test_the_driver_as_old_and_new_libraries_report_it(
    driver: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pynvml.py").write_text(PYNVML.format(driver=driver), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "pynvml", sys)  # to be put back afterwards
    monkeypatch.delitem(sys.modules, "pynvml")
    assert PROBES["nvml"].run() == {"driver": "580.95", "count": 3}


def test_packages_have_a_version_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torchinfo", "safetensors", "torchvision"):
        assert PROBES[name].run() == {"version": importlib.import_module(name).__version__}
    assert set(PROBES["fvcore"].run()) == {"version"}
    monkeypatch.delattr("safetensors.__version__")
    assert PROBES["safetensors"].run() == {"version": None}


def test_what_a_package_warns_of_while_it_is_imported_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchinfo.py").write_text("import warnings\nwarnings.warn('old')\n__version__ = 9\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "torchinfo", sys)  # to be put back afterwards
    monkeypatch.delitem(sys.modules, "torchinfo")
    assert PROBES["torchinfo"].run() == {"version": "9"}


def test_where_torch_is_broken_only_what_goes_without_it_is_asked() -> None:
    def first(name: str) -> str:
        needed = PROBES[name].needs
        return name if needed is None else first(needed)

    assert {first(name) for name in PROBES} == {"torch", "safetensors", "nvml"}
    assert {name for name in PROBES if first(name) == name} == {"torch", "safetensors", "nvml"}
    assert {name for name in PROBES if PROBES[name].needs == "cuda"} == {"cudnn", "gpu dtypes"}


def test_what_is_compiled_is_held_against_plain_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, right in ((0.0, True), (1e-4, True), (1e-2, False), (1.0, False), (float("nan"), False)):
        monkeypatch.setattr(
            "resnet_cli.measure.optimizations.compiled.torch_compile.compile_for",
            lambda model, image, error=error, **_: types.SimpleNamespace(run=lambda x: model(x) + error),
        )
        if right:
            assert PROBES["compile cpu"].run() == {}
            continue
        with pytest.raises(ArithmeticError, match="another result than eager"):
            PROBES["compile cpu"].run()
