"""What can be read without torch: versions, interpreter, machine, environment variables, terminal."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from resnet_cli.measure.doctor.torchvision_match import metadata_version
from resnet_cli.measure.system import cgroups, cpu
from resnet_cli.results.doctor import Host, Interpreter, Package, Terminal, Variable

_ROOT = Path("/")

# First what resnet-cli requires, then what it can use.
_PACKAGES = (
    "torch", "torchvision", "torchinfo", "fvcore", "typer", "rich", "safetensors", "jinja2", "msgspec", "psutil",
    "numpy", "triton", "nvidia-ml-py", "resvg-py",
)  # fmt: skip

# Variables that affect results or imports. None of them holds a secret.
_VARIABLES = (
    "OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "OMP_WAIT_POLICY", "OMP_DYNAMIC", "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY", "KMP_BLOCKTIME", "MKL_NUM_THREADS", "MKL_DYNAMIC", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR",
    "OPENBLAS_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE", "ATEN_CPU_CAPABILITY",
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING",
    "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION", "PYTORCH_ENABLE_MPS_FALLBACK", "PYTORCH_MPS_HIGH_WATERMARK_RATIO",
    "TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE", "TORCHINDUCTOR_CPP_WRAPPER", "TORCHINDUCTOR_FREEZING",
    "TORCHINDUCTOR_MAX_AUTOTUNE", "CXX", "CC", "LD_PRELOAD", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "MALLOC_CONF",
    "PYTHONPATH", "PYTHONMALLOC", "PYTHONOPTIMIZE", "TORCH_HOME", "RESNET_CLI_DEBUG",
)  # fmt: skip


def packages() -> tuple[Package, ...]:
    """Versions according to the metadata of the packages."""
    return tuple(Package(name, metadata_version(name)) for name in _PACKAGES)


def interpreter() -> Interpreter:
    """The Python interpreter."""
    free = " without the GIL" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    if (Path(sys.prefix) / "conda-meta").is_dir():
        kind = "conda environment"
    else:
        kind = "virtual environment" if sys.prefix != sys.base_prefix else "whole system"
    return Interpreter(platform.python_version(), platform.python_implementation() + free, kind)


def host(root: Path = _ROOT) -> Host:
    """The machine, and what affinity and control groups leave of it for this process."""
    return Host(
        system=platform.platform(),
        architecture=platform.machine(),
        processor=cpu.name(root),
        features=cpu.features(root),
        physical_cores=cpu.physical_cores(),
        logical_cores=os.cpu_count(),
        usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        quota=cgroups.cpu_quota(root),
        memory_bytes=cpu.memory_bytes(),
        memory_limit_bytes=cgroups.limit_bytes(root),
    )


def driver(root: Path = _ROOT) -> str | None:
    """Version of NVIDIA's kernel driver on Linux, or None."""
    words = cgroups.text(root / "proc/driver/nvidia/version").partition("\n")[0].split()
    return next((word for word in words if word[0].isdigit() and "." in word), None)


def variables(environment: Mapping[str, str] = os.environ) -> Iterator[Variable]:
    """Variables that are set, empty ones included: an empty CUDA_VISIBLE_DEVICES hides every GPU."""
    return (Variable(name, environment[name]) for name in _VARIABLES if name in environment)


def terminal(stream: TextIO | None, environment: Mapping[str, str] = os.environ) -> Terminal:
    """Standard output, by the rules of the renderer."""
    if stream is None:
        return Terminal("none", False, None, False)
    is_terminal = stream.isatty()
    columns = None
    if is_terminal:
        width = environment.get("COLUMNS", "")
        try:
            columns = (
                int(width) if width.isdecimal() and int(width) > 0 else os.get_terminal_size(stream.fileno()).columns
            )
        except (OSError, ValueError):
            columns = None
    plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    return Terminal(str(stream.encoding or "unknown").lower(), is_terminal, columns, is_terminal and not plain)
