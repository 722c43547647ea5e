"""What works on GPUs and other accelerators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from resnet_cli.measure.doctor.evidence import WITHOUT_CUDA, WITHOUT_TORCH, Findings, no, not_tried, yes
from resnet_cli.results.doctor import Capability

_AMPERE = (8, 0)  # compute capability that bfloat16 and TF32 begin with


def accelerators(found: Findings) -> Iterator[Capability]:
    """CUDA and all that hangs on it, then what other makers have."""
    cuda = _cuda(found)
    yield cuda
    yield _cudnn(found)
    yield from _communication(found)
    yield from _dtypes(found)
    yield _mps(found)
    yield _xpu(found)


def gpus(found: Findings) -> list[dict[str, Any]]:
    """The GPUs that torch sees."""
    them = found.fact("cuda", "gpus")
    return them if isinstance(them, list) else []


def works(found: Findings) -> bool:
    """Whether something can be computed on the first GPU."""
    return bool(gpus(found)) and gpus(found)[0].get("failure") is None


def capability(gpu: dict[str, Any]) -> tuple[int, int]:
    """The compute capability of a GPU."""
    major, minor = gpu["capability"]
    return int(major), int(minor)


def _cuda(found: Findings) -> Capability:
    key = "cuda"
    name = "ROCm" if found.fact("torch", "hip") else "CUDA"
    if key not in found.answers:
        return not_tried(key, name, WITHOUT_TORCH)
    failure = found.failure(key)
    if failure is not None:
        fix = "see whether nvidia-smi answers; CUDA_VISIBLE_DEVICES= before the command keeps torch from the GPU"
        return no(key, name, failure, fix)
    if not found.fact(key, "available"):
        return no(key, name, *_why_no_cuda(found))
    broken = [gpu for gpu in gpus(found) if gpu.get("failure")]
    if broken:
        fix = "install a torch that is built for this GPU: https://pytorch.org/get-started/previous-versions"
        return no(key, name, f"torch finds {broken[0]['name']} but computes nothing on it: {broken[0]['failure']}", fix)
    count = len(gpus(found))
    version = found.fact("torch", "hip") or found.fact("torch", "cuda")
    return yes(key, name, f"{version}, {count} GPU{'' if count == 1 else 's'}")


def _why_no_cuda(found: Findings) -> tuple[str, str | None]:
    """The reason, and what to do about it."""
    if found.system == "darwin":
        return "macOS has none", None
    if found.fact("torch", "cuda") is None and found.fact("torch", "hip") is None:
        if found.nvidia_driver is None:
            return "this torch was built without it, and no NVIDIA driver is loaded", None
        fix = "pip install --force-reinstall torch torchvision takes a build with CUDA"
        return f"this torch was built without it, though NVIDIA's driver {found.nvidia_driver} is loaded", fix
    hidden = found.environment.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU", "unset CUDA_VISIBLE_DEVICES"
    said = found.fact("cuda", "said")
    torch_says = f"torch says: {said[0][:200]}" if isinstance(said, list) and said else ""
    if found.nvidia_driver is None:
        return torch_says or "no NVIDIA driver is loaded", "install NVIDIA's driver where there is a GPU"
    fix = f"see whether nvidia-smi answers, and whether driver {found.nvidia_driver} is new enough for this torch"
    return torch_says or f"NVIDIA's driver {found.nvidia_driver} is loaded, and torch finds no GPU", fix


def _cudnn(found: Findings) -> Capability:
    key, name = "cudnn", "cuDNN"
    if not works(found):
        return _hanging_on_cuda(found, key, name)
    failure = found.failure(key)
    if failure is not None or not found.fact(key, "available"):
        fix = "pip install --force-reinstall torch torchvision"
        return no(key, name, failure or "torch finds none", fix)
    version = found.fact(key, "version")
    return yes(key, name, _cudnn_version(version) if isinstance(version, int) else "of unknown version")


def _cudnn_version(number: int) -> str:
    major, rest = divmod(number, 10_000 if number >= 90_000 else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def _hanging_on_cuda(found: Findings, key: str, name: str) -> Capability:
    if "cuda" not in found.answers:
        return not_tried(key, name, WITHOUT_TORCH)
    return no(key, name, WITHOUT_CUDA)


def _communication(found: Findings) -> Iterator[Capability]:
    """What several processes of `bench --nproc` talk through."""
    gloo, nccl = ("gloo", "gloo (several processes)"), ("nccl", "NCCL (several GPUs)")
    failure = found.failure("distributed")
    if "distributed" not in found.answers:
        yield not_tried(*gloo, WITHOUT_TORCH)
    elif failure is not None:
        yield no(*gloo, failure)
    elif found.fact("distributed", "gloo"):
        yield yes(*gloo, "in this torch")
    else:
        yield no(*gloo, "this torch was built without it: bench --nproc does not work on the CPU")
    if not works(found):
        yield _hanging_on_cuda(found, *nccl)
    elif failure is not None:
        yield no(*nccl, failure)
    elif found.fact("distributed", "nccl"):
        version = found.fact("distributed", "nccl_version")
        numbers = ".".join(map(str, version)) if isinstance(version, list) else "of unknown version"
        yield yes(*nccl, numbers)
    else:
        yield no(*nccl, "this torch was built without it")


def _dtypes(found: Findings) -> Iterator[Capability]:
    """What the first GPU computes in besides float32."""
    rows = (("gpu-bfloat16", "bfloat16 on the GPU"), ("gpu-float16", "float16 on the GPU"), ("tf32", "TF32"))
    if not works(found):
        yield from (_hanging_on_cuda(found, *row) for row in rows)
        return
    has = capability(gpus(found)[0])
    said = f"compute capability {has[0]}.{has[1]}"
    for row, dtype in zip(rows[:2], ("bfloat16", "float16"), strict=True):
        failure = found.failure("gpu dtypes") or found.fact("gpu dtypes", dtype)
        if failure is not None:
            yield no(*row, str(failure))
        elif dtype == "bfloat16" and has < _AMPERE and not found.fact("torch", "hip"):
            yield yes(*row, f"emulated, and slow: {said}, and its own arithmetic begins with 8.0")
        else:
            yield yes(*row, f"tried with a convolution ({said})")
    if found.fact("torch", "hip"):
        yield no(*rows[2], "a format of NVIDIA's GPUs")
    elif has < _AMPERE:
        yield no(*rows[2], f"it needs compute capability 8.0, and this GPU has {has[0]}.{has[1]}")
    else:
        yield yes(*rows[2], said)


def _mps(found: Findings) -> Capability:
    key, name = "mps", "MPS (Apple's GPUs)"
    if "accelerators" not in found.answers:
        return not_tried(key, name, WITHOUT_TORCH)
    failure = found.failure("accelerators") or found.fact("accelerators", "mps_failure")
    if failure is not None:
        return no(key, name, str(failure))
    if found.fact("accelerators", "mps_available"):
        return yes(key, name, "tried with a convolution")
    if found.system != "darwin":
        return no(key, name, "only on Apple's machines")
    if not found.fact("accelerators", "mps_built"):
        return no(key, name, "this torch was built without it", "pip install --force-reinstall torch torchvision")
    return no(key, name, "torch finds no Metal device", "macOS 14 or newer on Apple silicon has one")


def _xpu(found: Findings) -> Capability:
    key, name = "xpu", "XPU (Intel's GPUs)"
    if "accelerators" not in found.answers:
        return not_tried(key, name, WITHOUT_TORCH)
    if found.fact("accelerators", "xpu_available"):
        return no(key, name, "torch finds one, but no command of resnet-cli uses it", "use --device cpu")
    return no(key, name, "no command of resnet-cli uses them, and torch finds none")
