"""Data types of the CPU, and whether torch.compile finds its build tools."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_cli.measure.doctor.checks.accelerators import capability, gpu_works, gpus
from resnet_cli.measure.doctor.evidence import WITHOUT_CUDA, WITHOUT_TORCH, Evidence, no, not_tried, yes
from resnet_cli.results.doctor import Capability

_TRITON_SINCE = (7, 0)  # compute capability
_UNTESTED = "not tested; doctor --compile does"


def check_cpu_and_compile(evidence: Evidence) -> Iterator[Capability]:
    """Half precision on the CPU, and torch.compile."""
    yield _bfloat16(evidence)
    yield _float16(evidence)
    yield _compile_cpu(evidence)
    yield _compile_gpu(evidence)


def _bfloat16(evidence: Evidence) -> Capability:
    row = ("cpu-bfloat16", "bfloat16 on the CPU")
    failure = _cpu_dtype_failure(evidence, row, "bfloat16")
    if failure is not None:
        return failure
    features = evidence.host.features
    native = [name for name in features or () if name in ("avx512_bf16", "amx_bf16", "bf16", "svebf16")]
    if evidence.fact("cpu dtypes", "emulates_bfloat16"):
        return yes(*row, "emulated and slow: this CPU has neither AVX512_BF16 nor AMX")
    if native:
        return yes(*row, f"native ({', '.join(native)})")
    if features is not None and "asimd" in features:
        return yes(*row, "emulated and slow: this CPU has no BF16 instructions")
    return yes(*row, "convolution tested; native or emulated is not known")


def _float16(evidence: Evidence) -> Capability:
    row = ("cpu-float16", "float16 on the CPU")
    failure = _cpu_dtype_failure(evidence, row, "float16")
    if failure is not None:
        return failure
    features = evidence.host.features
    native = [name for name in features or () if name in ("avx512_fp16", "amx_fp16", "asimdhp")]
    if native:
        return yes(*row, f"native ({', '.join(native)})")
    if features is None:
        return yes(*row, "convolution tested; native or emulated is not known")
    return yes(*row, "emulated and slow: this CPU has no half-precision arithmetic")


def _cpu_dtype_failure(evidence: Evidence, row: tuple[str, str], dtype: str) -> Capability | None:
    """The row if this data type does not work or was not probed, else None."""
    if "cpu dtypes" not in evidence.answers:
        return not_tried(*row, WITHOUT_TORCH)
    failure = evidence.failure("cpu dtypes") or evidence.fact("cpu dtypes", dtype)
    return None if failure is None else no(*row, str(failure))


def _compile_cpu(evidence: Evidence) -> Capability:
    row = ("compile-cpu", "torch.compile on the CPU")
    done = _compile_result(evidence, "compile cpu", row)
    if done is not None and evidence.failure("compile cpu") is None:
        return done
    missing = _missing_build_tool(evidence)
    if missing is not None:
        return no(*row, *missing)
    if done is not None:
        return done
    if not evidence.imports_torch:
        return not_tried(*row, WITHOUT_TORCH)
    return not_tried(*row, f"{evidence.compiler.version} and Python.h found; {_UNTESTED}")


def _missing_build_tool(evidence: Evidence) -> tuple[str, str] | None:
    """The build tool that compiling C++ lacks, and how to install it."""
    if evidence.compiler.version is None:
        fix = {
            "darwin": "xcode-select --install",
            "win32": "install the Visual Studio build tools and use their command prompt",
        }.get(evidence.system, "install one (apt install g++), or set CXX")
        return f"C++ compiler {evidence.compiler.name} not found", fix
    if evidence.header is None:
        return "Python.h not found", "install the Python headers (apt install python3-dev)"
    return None


def _compile_gpu(evidence: Evidence) -> Capability:
    row = ("compile-gpu", "torch.compile on the GPU")
    done = _compile_result(evidence, "compile cuda", row)
    if done is not None:
        return done
    if not gpu_works(evidence):
        if not evidence.imports_torch:
            return not_tried(*row, WITHOUT_TORCH)
        return no(*row, WITHOUT_CUDA)
    version = capability(gpus(evidence)[0])
    if version < _TRITON_SINCE and not evidence.fact("torch", "hip"):
        return no(*row, f"Triton needs compute capability 7.0, and this GPU has {version[0]}.{version[1]}")
    triton = evidence.versions.get("triton")
    if triton is None:
        return no(*row, "Triton is not installed", "pip install triton")
    return not_tried(*row, f"Triton {triton} found; {_UNTESTED}")


def _compile_result(evidence: Evidence, probe: str, row: tuple[str, str]) -> Capability | None:
    """The row after compiling a small network; None if that was not asked for."""
    if probe not in evidence.answers:
        return None
    failure = evidence.failure(probe)
    if failure is None:
        return yes(*row, "compiled a small network; outputs equal eager")
    return no(*row, failure.removeprefix("UnavailableError: "), "everything else works without it")
