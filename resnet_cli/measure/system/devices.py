"""Devices and dtypes by the names of the command line, and what they hold."""

from __future__ import annotations

import platform
import re

import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.system import cpu
from resnet_cli.measure.system.silence import silenced

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


def device(name: str) -> torch.device:
    """The device of a name: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ResnetCliError: no such device here.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?|mps", name):
        raise ResnetCliError(f"--device {name!r} is no device", "use auto, cpu, cuda, cuda:N or mps")
    with silenced():  # a missing driver is answered below, in words
        has_cuda = name != "cpu" and torch.cuda.is_available()
    if name == "auto":
        if has_cuda:
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name.startswith("cuda"):
        return _cuda(name, has_cuda)
    if name == "mps" and not torch.backends.mps.is_available():
        raise ResnetCliError("--device mps: this machine has no Metal device", "use --device cpu")
    return torch.device(name)


def _cuda(name: str, available: bool) -> torch.device:
    if not available:
        if torch.version.cuda is None:
            reason = f"this torch ({torch.__version__}) was built without CUDA"
            hint = "install a CUDA build of torch, or use --device cpu"
        else:
            reason = "torch finds no CUDA device or driver"
            hint = "check nvidia-smi, or use --device cpu"
        raise ResnetCliError(f"--device {name}: {reason}", hint)
    index = int(name.partition(":")[2] or 0)
    count = torch.cuda.device_count()
    if index >= count:
        raise ResnetCliError(
            f"--device {name}: this machine has {count} CUDA device{'s' if count > 1 else ''}",
            f"use cuda:0 to cuda:{count - 1}" if count > 1 else "use cuda:0",
        )
    return torch.device("cuda", index)


def dtype(name: str) -> torch.dtype:
    """The dtype of a name.

    Raises:
        ResnetCliError: not one that a ResNet runs in.
    """
    if name not in DTYPES:
        raise ResnetCliError(f"--dtype {name!r} is no dtype", f"use one of {', '.join(DTYPES)}")
    return DTYPES[name]


def device_name(device: torch.device) -> str:
    """The maker's name of the device."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type == "cpu":
        return cpu.name()
    return platform.processor() or device.type


def memory_bytes(device: torch.device) -> int | None:
    """All memory of the device (not what happens to be free); None where it cannot be told."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return cpu.memory_bytes()
