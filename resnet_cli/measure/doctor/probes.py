"""Probes of torch and its companions, which run in a process of their own.

A probe may raise: its exception is the reason that the user reads.
"""

# A probe imports what it examines; the parent process imports none of it.
# ruff: noqa: PLC0415

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from resnet_cli.errors import attempt
from resnet_cli.measure.doctor.probe_process import Probe, reason
from resnet_cli.measure.system.silence import silenced

Facts = Mapping[str, Any]

_IMPORT_S = 120.0  # from a cold disk, or over a network
_COMPILE_S = 300.0


def _torch() -> Facts:
    import torch

    if float(torch.ones(2, 2).matmul(torch.ones(2, 2)).sum()) != 8.0:
        raise ArithmeticError("torch computes a wrong matrix product")
    return {
        "version": str(torch.__version__),
        "git_version": _or_none(lambda: torch.version.git_version),
        "cuda": _or_none(lambda: torch.version.cuda),
        "hip": _or_none(lambda: torch.version.hip),
        "threads": _or_none(torch.get_num_threads),
        "interop_threads": _or_none(torch.get_num_interop_threads),
        "weights_folder": _or_none(torch.hub.get_dir),
    }


def _arithmetic() -> Facts:
    from resnet_cli.measure.system import torch_build

    return {"kernels": _or_none(torch_build.instructions), "libraries": _or_none(torch_build.libraries) or ()}


def _or_none(ask: Callable[[], Any]) -> Any:
    """The value, or None if this torch does not provide it."""
    with attempt(f"asking torch for {ask.__name__}"):
        return ask()
    return None


def _cuda() -> Facts:
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()  # torch reports the reason as a warning
        messages = [" ".join(str(one.message).split()) for one in caught]
    gpus = []
    for index in range(torch.cuda.device_count() if available else 0):
        properties = torch.cuda.get_device_properties(index)
        gpus.append(
            {
                "name": str(properties.name),
                "memory_bytes": int(properties.total_memory),
                "capability": [int(properties.major), int(properties.minor)],
                "failure": _failure_of(partial(_convolve, f"cuda:{index}", torch.float32)),
            }
        )
    return {"available": available, "warnings": messages, "gpus": gpus}


def _gpu_dtypes() -> Facts:
    import torch

    if not torch.cuda.is_available():
        return {}
    return {
        "bfloat16": _failure_of(lambda: _convolve("cuda", torch.bfloat16)),
        "float16": _failure_of(lambda: _convolve("cuda", torch.float16)),
    }


def _cudnn() -> Facts:
    import torch

    available = torch.cuda.is_available() and torch.backends.cudnn.is_available()  # type: ignore[no-untyped-call]
    version = torch.backends.cudnn.version() if available else None  # type: ignore[no-untyped-call]
    return {"available": available, "enabled": bool(torch.backends.cudnn.enabled), "version": version}


def _cpu_dtypes() -> Facts:
    import torch

    from resnet_cli.measure.system.devices.registry import device_backend

    return {
        "bfloat16": _failure_of(lambda: _convolve("cpu", torch.bfloat16)),
        "float16": _failure_of(lambda: _convolve("cpu", torch.float16)),
        "emulates_bfloat16": device_backend(torch.device("cpu")).emulates_bfloat16(),
    }


def _convolve(device: str, dtype: Any) -> None:
    """Run a convolution with a known result.

    Raises:
        ArithmeticError: the result is wrong.
    """
    import torch

    ones = torch.ones(1, 8, 5, 5, device=device, dtype=dtype)
    weight = torch.ones(8, 8, 3, 3, device=device, dtype=dtype)
    value = float(torch.nn.functional.conv2d(ones, weight)[0, 0, 0, 0])
    if value != 72.0:
        raise ArithmeticError(f"a convolution gives {value:g} instead of 72")


def _failure_of(what: Callable[[], object]) -> str | None:
    """Why a call fails, or None."""
    with attempt("a capability") as attempted:
        what()
    return None if attempted.error is None else reason(attempted.error)


def _distributed() -> Facts:
    import torch
    import torch.distributed as dist

    if not dist.is_available():
        return {"gloo": False, "nccl": False, "nccl_version": None}
    nccl = bool(dist.is_nccl_available())
    version = _or_none(torch.cuda.nccl.version) if nccl else None
    return {"gloo": bool(dist.is_gloo_available()), "nccl": nccl, "nccl_version": version}


def _accelerators() -> Facts:
    import torch

    xpu = getattr(torch, "xpu", None)
    has_mps = torch.backends.mps.is_available()
    return {
        "mps_built": bool(torch.backends.mps.is_built()),
        "mps_available": bool(has_mps),
        "mps_failure": _failure_of(lambda: _convolve("mps", torch.float32))
        if torch.backends.mps.is_available()
        else None,
        "xpu_available": bool(xpu.is_available()) if xpu is not None else False,
    }


def _import_probe(*names: str) -> Callable[[], Facts]:
    """A probe that imports modules and reports the version of the first."""

    def run() -> Facts:
        with silenced():
            modules = [importlib.import_module(name) for name in names]
        version = getattr(modules[0], "__version__", None)
        return {"version": None if version is None else str(version)}

    return run


def _nvml() -> Facts:
    with silenced():
        nvml: Any = importlib.import_module("pynvml")
    nvml.nvmlInit()
    driver = nvml.nvmlSystemGetDriverVersion()
    return {
        "driver": driver.decode() if isinstance(driver, bytes) else str(driver),
        "count": int(nvml.nvmlDeviceGetCount()),
    }


def _compile_probe(device: str) -> Callable[[], Facts]:
    """A probe that compiles a small network the way `bench` does and compares its output with eager."""

    def run() -> Facts:
        import torch
        from torch import nn

        from resnet_cli.measure.models.inputs.model_inputs import Arguments
        from resnet_cli.measure.optimizations.compiled.torch_compile import compile_for

        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval().to(device)
        image = torch.ones(1, 3, 8, 8, device=device)
        with torch.inference_mode():
            compiled: Any = compile_for(model, Arguments((image,), {}), on_host=device == "cpu").run
            if not torch.allclose(compiled(image), model(image), atol=1e-3):
                raise ArithmeticError("the compiled network gives another result than eager")
        return {}

    return run


PROBES: Mapping[str, Probe] = {
    "torch": Probe(_torch, "importing torch", limit_s=_IMPORT_S),
    "arithmetic": Probe(_arithmetic, "asking torch", needs="torch"),
    "cpu dtypes": Probe(_cpu_dtypes, "trying the processor", needs="torch"),
    "accelerators": Probe(_accelerators, "looking for accelerators", needs="torch"),
    "distributed": Probe(_distributed, "asking torch.distributed", needs="torch"),
    "cuda": Probe(_cuda, "trying CUDA", needs="torch", limit_s=_IMPORT_S),
    "cudnn": Probe(_cudnn, "trying CUDA", needs="cuda"),
    "gpu dtypes": Probe(_gpu_dtypes, "trying CUDA", needs="cuda"),
    "torchinfo": Probe(_import_probe("torchinfo"), "importing torchinfo", needs="torch"),
    "fvcore": Probe(_import_probe("fvcore", "fvcore.nn"), "importing fvcore", needs="torch", limit_s=_IMPORT_S),
    "safetensors": Probe(_import_probe("safetensors"), "importing safetensors"),
    "nvml": Probe(_nvml, "asking NVML"),
    # Last: a torchvision that does not match its torch leaves a broken process behind.
    "torchvision": Probe(
        _import_probe("torchvision", "torchvision.models"), "importing torchvision", needs="torch", limit_s=_IMPORT_S
    ),
    "compile cpu": Probe(_compile_probe("cpu"), "compiling for the CPU", needs="torch", limit_s=_COMPILE_S),
    "compile cuda": Probe(_compile_probe("cuda"), "compiling for the GPU", needs="torch", limit_s=_COMPILE_S),
}
COMPILING = ("compile cpu", "compile cuda")
LOOKING = tuple(name for name in PROBES if name not in COMPILING)
