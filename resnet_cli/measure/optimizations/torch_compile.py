"""A network compiled by torch.compile, as for the first time on this machine, and without a trace of it afterwards.

A compiled network that is found in a cache is there in a second, so the time that compiling takes is only true with
empty caches; they are put into a directory of their own, which is then removed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from resnet_cli.measure.optimizations.variant import UnavailableError
from resnet_cli.measure.system.silence import silenced

Compiler = Callable[[nn.Module], Callable[[Tensor], object]]

_CACHES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
_LEFT = "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"  # torch passes an address to the code that it loads
# What torch raises where a tool is missing that it generates code for.
_MISSING = {
    "InvalidCxxCompiler": "torch.compile needs a C++ compiler, and there is none",
    "TritonMissing": "torch.compile needs Triton for this device, and it is not installed",
    "GPUTooOldForTriton": "this GPU is too old for Triton, which torch.compile needs",
}


def inductor(model: nn.Module) -> Callable[[Tensor], object]:
    """Torch's own compiler, for one shape of input."""
    return torch.compile(model, dynamic=False)


def compile_for(model: nn.Module, image: Tensor, *, compiler: Compiler = inductor) -> Callable[[Tensor], object]:
    """Compile a network for images like this one; it has been run once then. Use it inside `torch.inference_mode`.

    On the CPU its weights are frozen: they become constants, which oneDNN lays out as it likes best and folds batch
    norm into. There the code around the kernels is C++ too, which saves a small network a twentieth of its time; not
    everything can be written so.

    Args:
        model: in eval mode.
        image: on its device, in its dtype.
        compiler: makes the function that compiles when it is first called.

    Raises:
        UnavailableError: a tool is missing that it needs.
        Exception: whatever else the compiler raises.
    """
    on_cpu = image.device.type == "cpu"
    with silenced(""):
        if on_cpu:
            with contextlib.suppress(Exception):
                return _compiled(model, image, compiler, {"freezing": True, "cpp_wrapper": True})
        try:
            return _compiled(model, image, compiler, {"freezing": on_cpu})
        except Exception as error:
            raise _explained(error) from error


def _compiled(
    model: nn.Module, image: Tensor, compiler: Compiler, settings: dict[str, object]
) -> Callable[[Tensor], object]:
    with _private_caches(), _settings(settings):
        run = compiler(model)
        run(image)
    return run


def _explained(error: Exception) -> Exception:
    """The reason where a tool is missing, else the error that the compiler wrapped."""
    at: BaseException | None = error
    inner: Exception = error
    while at is not None:
        reason = _MISSING.get(type(at).__name__)
        if reason is not None:
            return UnavailableError(reason)
        if isinstance(at, Exception):
            inner = at
        wrapped = getattr(at, "inner_exception", None)
        at = wrapped if isinstance(wrapped, BaseException) else at.__cause__
    return inner


@contextlib.contextmanager
def _settings(chosen: dict[str, object]) -> Iterator[None]:
    """No cache is used, and earlier compilations do not count. Compiler processes end."""
    import torch._dynamo.config  # noqa: PLC0415 (half a second, which only this lever needs)
    import torch._inductor.config  # noqa: PLC0415
    from torch._inductor.async_compile import shutdown_compile_workers  # noqa: PLC0415

    inductor_settings = {
        **chosen,
        "force_disable_caches": True,
        "cpp_cache_precompile_headers": False,  # they would stay, and only the first compilation would pay for them
    }
    # Where networks of one class were compiled before, torch would silently stay with eager from the ninth on.
    dynamo_settings = {"recompile_limit": 1 << 16, "accumulated_recompile_limit": 1 << 20}
    depth = sys.getrecursionlimit()  # which freezing raises
    try:
        with torch._inductor.config.patch(inductor_settings), torch._dynamo.config.patch(dynamo_settings):
            yield
    finally:
        shutdown_compile_workers()
        sys.setrecursionlimit(depth)


@contextlib.contextmanager
def _private_caches() -> Iterator[None]:
    """Empty caches in a directory that is removed, and nothing from earlier compilations in memory."""
    before = {name: os.environ.get(name) for name in (*_CACHES, _LEFT, "TMPDIR")}
    with tempfile.TemporaryDirectory(prefix="resnet-cli-", ignore_cleanup_errors=True) as directory:
        try:
            os.environ |= {name: str(Path(directory, folder)) for name, folder in _CACHES.items()}
            os.environ["TMPDIR"] = directory  # a C++ compiler that is interrupted leaves its files there
            # Not before: the import alone makes a directory for caches.
            from torch._inductor.utils import fresh_cache  # noqa: PLC0415

            with fresh_cache(dir=directory, delete=False):
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
