"""GPUs and other accelerators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from resnet_cli.measure.doctor.evidence import WITHOUT_CUDA, WITHOUT_TORCH, Evidence, no, not_tried, yes
from resnet_cli.results.doctor import Capability

_AMPERE = (8, 0)  # compute capability that bfloat16 and TF32 begin with


def check_accelerators(evidence: Evidence) -> Iterator[Capability]:
    """CUDA and what needs it, then MPS and XPU."""
    cuda = _cuda(evidence)
    yield cuda
    yield _cudnn(evidence)
    yield from _communication(evidence)
    yield from _dtypes(evidence)
    yield _mps(evidence)
    yield _xpu(evidence)


def gpus(evidence: Evidence) -> list[dict[str, Any]]:
    """The GPUs that torch sees."""
    gpus = evidence.fact("cuda", "gpus")
    return gpus if isinstance(gpus, list) else []


def gpu_works(evidence: Evidence) -> bool:
    """Whether a convolution runs on the first GPU."""
    return bool(gpus(evidence)) and gpus(evidence)[0].get("failure") is None


def capability(gpu: dict[str, Any]) -> tuple[int, int]:
    """The compute capability of a GPU."""
    major, minor = gpu["capability"]
    return int(major), int(minor)


def _cuda(evidence: Evidence) -> Capability:
    key = "cuda"
    name = "ROCm" if evidence.fact("torch", "hip") else "CUDA"
    if key not in evidence.answers:
        return not_tried(key, name, WITHOUT_TORCH)
    failure = evidence.failure(key)
    if failure is not None:
        fix = "check nvidia-smi; set CUDA_VISIBLE_DEVICES= to hide the GPU from torch"
        return no(key, name, failure, fix)
    if not evidence.fact(key, "available"):
        return no(key, name, *_cuda_missing(evidence))
    broken = [gpu for gpu in gpus(evidence) if gpu.get("failure")]
    if broken:
        fix = "install a torch built for this GPU: https://pytorch.org/get-started/previous-versions"
        return no(key, name, f"torch finds {broken[0]['name']} but cannot compute on it: {broken[0]['failure']}", fix)
    count = len(gpus(evidence))
    version = evidence.fact("torch", "hip") or evidence.fact("torch", "cuda")
    return yes(key, name, f"{version}, {count} GPU{'' if count == 1 else 's'}")


def _cuda_missing(evidence: Evidence) -> tuple[str, str | None]:
    """Why CUDA is not available, and what to do about it."""
    if evidence.system == "darwin":
        return "not available on macOS", None
    if evidence.fact("torch", "cuda") is None and evidence.fact("torch", "hip") is None:
        if evidence.nvidia_driver is None:
            return "torch was built without CUDA, and no NVIDIA driver is loaded", None
        fix = "pip install --force-reinstall torch torchvision"
        return f"torch was built without CUDA, although NVIDIA driver {evidence.nvidia_driver} is loaded", fix
    hidden = evidence.environment.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU", "unset CUDA_VISIBLE_DEVICES"
    messages = evidence.fact("cuda", "warnings")
    from_torch = f"torch: {messages[0][:200]}" if isinstance(messages, list) and messages else ""
    if evidence.nvidia_driver is None:
        return from_torch or "no NVIDIA driver is loaded", "install the NVIDIA driver if there is a GPU"
    fix = f"check nvidia-smi, and whether driver {evidence.nvidia_driver} is recent enough for this torch"
    return from_torch or f"NVIDIA driver {evidence.nvidia_driver} is loaded, but torch finds no GPU", fix


def _cudnn(evidence: Evidence) -> Capability:
    key, name = "cudnn", "cuDNN"
    if not gpu_works(evidence):
        return _without_gpu(evidence, key, name)
    failure = evidence.failure(key)
    if failure is not None or not evidence.fact(key, "available"):
        fix = "pip install --force-reinstall torch torchvision"
        return no(key, name, failure or "torch does not find it", fix)
    version = evidence.fact(key, "version")
    return yes(key, name, _cudnn_version(version) if isinstance(version, int) else "unknown version")


def _cudnn_version(number: int) -> str:
    major, rest = divmod(number, 10_000 if number >= 90_000 else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def _without_gpu(evidence: Evidence, key: str, name: str) -> Capability:
    if "cuda" not in evidence.answers:
        return not_tried(key, name, WITHOUT_TORCH)
    return no(key, name, WITHOUT_CUDA)


def _communication(evidence: Evidence) -> Iterator[Capability]:
    """Communication backends of distributed benchmarks."""
    gloo, nccl = ("gloo", "gloo (several processes)"), ("nccl", "NCCL (several GPUs)")
    failure = evidence.failure("distributed")
    if "distributed" not in evidence.answers:
        yield not_tried(*gloo, WITHOUT_TORCH)
    elif failure is not None:
        yield no(*gloo, failure)
    elif evidence.fact("distributed", "gloo"):
        yield yes(*gloo, "available")
    else:
        yield no(*gloo, "torch was built without gloo: distributed benchmarks do not run on the CPU")
    if not gpu_works(evidence):
        yield _without_gpu(evidence, *nccl)
    elif failure is not None:
        yield no(*nccl, failure)
    elif evidence.fact("distributed", "nccl"):
        version = evidence.fact("distributed", "nccl_version")
        numbers = ".".join(map(str, version)) if isinstance(version, list) else "unknown version"
        yield yes(*nccl, numbers)
    else:
        yield no(*nccl, "torch was built without NCCL")


def _dtypes(evidence: Evidence) -> Iterator[Capability]:
    """Data types of the first GPU besides float32."""
    rows = (("gpu-bfloat16", "bfloat16 on the GPU"), ("gpu-float16", "float16 on the GPU"), ("tf32", "TF32"))
    if not gpu_works(evidence):
        yield from (_without_gpu(evidence, *row) for row in rows)
        return
    version = capability(gpus(evidence)[0])
    text = f"compute capability {version[0]}.{version[1]}"
    for row, dtype in zip(rows[:2], ("bfloat16", "float16"), strict=True):
        failure = evidence.failure("gpu dtypes") or evidence.fact("gpu dtypes", dtype)
        if failure is not None:
            yield no(*row, str(failure))
        elif dtype == "bfloat16" and version < _AMPERE and not evidence.fact("torch", "hip"):
            yield yes(*row, f"emulated and slow ({text}; native from 8.0)")
        else:
            yield yes(*row, f"convolution tested ({text})")
    if evidence.fact("torch", "hip"):
        yield no(*rows[2], "NVIDIA GPUs only")
    elif version < _AMPERE:
        yield no(*rows[2], f"needs compute capability 8.0; this GPU has {version[0]}.{version[1]}")
    else:
        yield yes(*rows[2], text)


def _mps(evidence: Evidence) -> Capability:
    key, name = "mps", "MPS (Apple GPU)"
    if "accelerators" not in evidence.answers:
        return not_tried(key, name, WITHOUT_TORCH)
    failure = evidence.failure("accelerators") or evidence.fact("accelerators", "mps_failure")
    if failure is not None:
        return no(key, name, str(failure))
    if evidence.fact("accelerators", "mps_available"):
        return yes(key, name, "convolution tested")
    if evidence.system != "darwin":
        return no(key, name, "only on Apple silicon")
    if not evidence.fact("accelerators", "mps_built"):
        return no(key, name, "torch was built without MPS", "pip install --force-reinstall torch torchvision")
    return no(key, name, "torch finds no Metal device", "needs macOS 14 or newer on Apple silicon")


def _xpu(evidence: Evidence) -> Capability:
    key, name = "xpu", "XPU (Intel GPU)"
    if "accelerators" not in evidence.answers:
        return not_tried(key, name, WITHOUT_TORCH)
    if evidence.fact("accelerators", "xpu_available"):
        return no(key, name, "torch finds one, but resnet-cli does not support it yet", "use the cpu device")
    return no(key, name, "not supported by resnet-cli, and torch finds none")
