"""What torch and its companions are asked, where they answer otherwise than here."""

from __future__ import annotations

import sys
import types
import warnings
from typing import Any

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
        "said": ["CUDA initialization: the driver is too old"],
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


def test_a_torch_without_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_available", lambda: False)
    assert PROBES["distributed"].run() == {"gloo": False, "nccl": False, "nccl_version": None}


def test_nccl_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.is_nccl_available", lambda: True)
    monkeypatch.setattr("torch.cuda.nccl.version", lambda: (2, 28, 3))
    assert PROBES["distributed"].run()["nccl_version"] == (2, 28, 3)


def test_what_a_torch_does_not_tell_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.version, "git_version")
    assert PROBES["torch"].run()["git_version"] is None


@pytest.mark.parametrize("told", [b"580.95", "580.95"])
def test_the_driver_as_old_and_new_libraries_tell_it(told: object, monkeypatch: pytest.MonkeyPatch) -> None:
    library: Any = types.ModuleType("pynvml")
    library.nvmlInit = lambda: None
    library.nvmlSystemGetDriverVersion = lambda: told
    library.nvmlDeviceGetCount = lambda: 3
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert PROBES["nvml"].run() == {"driver": "580.95", "count": 3}


@pytest.mark.parametrize("name", ["torchinfo", "fvcore", "safetensors", "torchvision"])
def test_companions_tell_their_version_or_none(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert set(PROBES[name].run()) == {"version"}


def test_what_is_compiled_is_held_against_plain_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_cli.measure.latency.compiled.compile_for", lambda model, image: model)
    assert PROBES["compile cpu"].run() == {}
    monkeypatch.setattr("resnet_cli.measure.latency.compiled.compile_for", lambda model, image: lambda x: model(x) + 1)
    with pytest.raises(ArithmeticError, match="another result than plain eager"):
        PROBES["compile cpu"].run()
