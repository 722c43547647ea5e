"""What the processor computes in, and whether torch.compile finds its tools."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_cli.measure.doctor.checks.accelerators import capability, gpus, works
from resnet_cli.measure.doctor.evidence import WITHOUT_CUDA, WITHOUT_TORCH, Findings, no, not_tried, yes
from resnet_cli.results.doctor import Capability

_TRITON_SINCE = (7, 0)  # compute capability
_TRY = "--compile tries it"


def processing(found: Findings) -> Iterator[Capability]:
    """Short formats on the processor, and the compiler."""
    yield _bfloat16(found)
    yield _float16(found)
    yield _compile_cpu(found)
    yield _compile_gpu(found)


def _bfloat16(found: Findings) -> Capability:
    row = ("cpu-bfloat16", "bfloat16 on the CPU")
    trouble = _trouble(found, row, "bfloat16")
    if trouble is not None:
        return trouble
    features = found.host.features
    own = [name for name in features or () if name in ("avx512_bf16", "amx_bf16", "bf16", "svebf16")]
    if found.fact("cpu dtypes", "emulates_bfloat16"):
        return yes(*row, "emulated, and slow: this processor has neither AVX512_BF16 nor AMX")
    if own:
        return yes(*row, f"native ({', '.join(own)})")
    if features is not None and "asimd" in features:
        return yes(*row, "emulated, and slow: this processor has no BF16 instructions")
    return yes(*row, "tried with a convolution; whether natively, the system does not tell")


def _float16(found: Findings) -> Capability:
    row = ("cpu-float16", "float16 on the CPU")
    trouble = _trouble(found, row, "float16")
    if trouble is not None:
        return trouble
    features = found.host.features
    own = [name for name in features or () if name in ("avx512_fp16", "amx_fp16", "asimdhp")]
    if own:
        return yes(*row, f"native ({', '.join(own)})")
    if features is None:
        return yes(*row, "tried with a convolution; whether natively, the system does not tell")
    return yes(*row, "emulated, and slow: this processor has no half-precision arithmetic")


def _trouble(found: Findings, row: tuple[str, str], dtype: str) -> Capability | None:
    """Where it does not work at all."""
    if "cpu dtypes" not in found.answers:
        return not_tried(*row, WITHOUT_TORCH)
    failure = found.failure("cpu dtypes") or found.fact("cpu dtypes", dtype)
    return None if failure is None else no(*row, str(failure))


def _compile_cpu(found: Findings) -> Capability:
    row = ("compile-cpu", "torch.compile on the CPU")
    done = _compiled(found, "compile cpu", row)
    if done is not None and found.failure("compile cpu") is None:
        return done
    lacks = _lacks(found)
    if lacks is not None:
        return no(*row, *lacks)
    if done is not None:
        return done
    if not found.imports_torch:
        return not_tried(*row, WITHOUT_TORCH)
    return not_tried(*row, f"there are {found.compiler.found} and Python.h; {_TRY}")


def _lacks(found: Findings) -> tuple[str, str] | None:
    """What is missing for code in C++, and where to get it."""
    if found.compiler.found is None:
        fix = {
            "darwin": "xcode-select --install",
            "win32": "install Visual Studio's build tools, and start from their prompt",
        }.get(found.system, "install one, such as apt install g++, or name yours in CXX")
        return f"there is no C++ compiler {found.compiler.name}", fix
    if found.header is None:
        return "Python.h is missing", "install the headers of this Python, such as apt install python3-dev"
    return None


def _compile_gpu(found: Findings) -> Capability:
    row = ("compile-gpu", "torch.compile on the GPU")
    done = _compiled(found, "compile cuda", row)
    if done is not None:
        return done
    if not works(found):
        if not found.imports_torch:
            return not_tried(*row, WITHOUT_TORCH)
        return no(*row, WITHOUT_CUDA)
    has = capability(gpus(found)[0])
    if has < _TRITON_SINCE and not found.fact("torch", "hip"):
        return no(*row, f"Triton needs compute capability 7.0, and this GPU has {has[0]}.{has[1]}")
    triton = found.versions.get("triton")
    if triton is None:
        return no(*row, "Triton is not installed", "pip install triton, in the release that torch names")
    return not_tried(*row, f"there is Triton {triton}; {_TRY}")


def _compiled(found: Findings, question: str, row: tuple[str, str]) -> Capability | None:
    """What came of really compiling; None where nobody asked for that."""
    if question not in found.answers:
        return None
    failure = found.failure(question)
    if failure is None:
        return yes(*row, "compiled a small network, which gives what plain eager gives")
    return no(*row, failure.removeprefix("UnavailableError: "), "bench --ladder leaves it out; all else works without")
