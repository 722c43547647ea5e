"""A network compiled by torch.compile, with empty caches that are removed afterwards.

With a warm cache compiling takes a second, so only empty caches give the true set-up time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from resnet_cli.errors import attempt
from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.folded_channels_last import best_eager
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.silence import silenced

Compiler = Callable[[nn.Module], Callable[..., object]]

_CACHES = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
_POINTER_VARIABLE = "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"  # torch passes an address to the code that it loads
# What torch raises where a tool is missing that it generates code for.
_MISSING = {
    "InvalidCxxCompiler": "torch.compile needs a C++ compiler, and there is none",
    "TritonMissing": "torch.compile needs Triton for this device, and it is not installed",
    "GPUTooOldForTriton": "this GPU is too old for Triton, which torch.compile needs",
}


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """The network compiled from its fastest eager variant."""
    return compiled_variant(model, inputs, backend, inductor)


def compiled_variant(model: nn.Module, inputs: Arguments, backend: DeviceBackend, compiler: Compiler) -> Variant:
    """The network compiled by a compiler of torch's, such as `inductor`, from its fastest eager variant."""
    inputs = best_eager(model, inputs).inputs
    compiled = compile_for(model, inputs, on_host=not backend.is_accelerator, compiler=compiler)
    return Variant(compiled.run, inputs, failed_s=compiled.failed_s)


class Compiled(NamedTuple):
    """A compiled network.

    Args:
        run: called as the network is.
        failed_s: seconds of a compilation that failed before the one that did not.
    """

    run: Callable[..., object]
    failed_s: float = 0.0


def inductor(model: nn.Module) -> Callable[..., object]:
    """Torch's default compiler, for static shapes."""
    return torch.compile(model, dynamic=False)


def compile_for(model: nn.Module, inputs: Arguments, *, on_host: bool, compiler: Compiler | None = None) -> Compiled:
    """Compile a network for inputs of one shape, and run it once. Use it inside `torch.inference_mode`.

    On the CPU its weights are frozen: they become constants, whose layout oneDNN chooses and into which it folds batch
    norm. There the code around the kernels is C++ too, which saves a small network 5% of its time; where inductor
    cannot generate that, it is compiled without.

    Args:
        model: in eval mode.
        inputs: on its device, in its dtype.
        on_host: the CPU runs it.
        compiler: returns the function that compiles, at the latest when it is first called; None: `inductor`.

    Raises:
        UnavailableError: a tool is missing that it needs.
        Exception: whatever else the compiler raises.
    """
    settings: list[dict[str, object]] = [{"freezing": on_host}]
    if on_host:
        settings.insert(0, {"freezing": True, "cpp_wrapper": True})
    return compile_with(model, inputs, compiler or inductor, settings)


def compile_with(
    model: nn.Module, inputs: Arguments, compiler: Compiler, settings: Sequence[dict[str, object]]
) -> Compiled:
    """Compile a network with the first settings of inductor that work, and run it once.

    Args:
        model: in eval mode.
        inputs: on its device, in its dtype.
        compiler: returns the function that compiles, at the latest when it is first called.
        settings: of inductor, one after the other; the error is that of the last.
    """
    begin = failed = time.perf_counter()
    *first, last = settings
    with silenced(""):
        for chosen in first:
            with attempt(f"compiling with {chosen}"):
                return Compiled(_compiled(model, inputs, compiler, chosen), failed - begin)
            failed = time.perf_counter()
        try:
            return Compiled(_compiled(model, inputs, compiler, last), failed - begin)
        except Exception as error:
            raise _explained(error) from error


def _compiled(
    model: nn.Module, inputs: Arguments, compiler: Compiler, settings: dict[str, object]
) -> Callable[..., object]:
    with _private_caches(), _settings(settings):
        run = compiler(model)
        inputs.call(run)
    return run


def _explained(error: Exception) -> Exception:
    """Unavailable where a tool is missing, else the error that the compiler wrapped."""
    cause: BaseException | None = error
    inner: Exception = error
    while cause is not None:
        reason = _MISSING.get(type(cause).__name__)
        if reason is not None:
            return UnavailableError(reason)
        if isinstance(cause, Exception):
            inner = cause
        wrapped = getattr(cause, "inner_exception", None)
        cause = wrapped if isinstance(wrapped, BaseException) else cause.__cause__
    return inner


@contextlib.contextmanager
def _settings(chosen: dict[str, object]) -> Iterator[None]:
    """No cache is used, and earlier compilations do not count. Compiler processes end."""
    import torch._dynamo.config  # noqa: PLC0415 (takes half a second, which only this optimization needs)
    import torch._inductor.config  # noqa: PLC0415
    from torch._inductor.async_compile import shutdown_compile_workers  # noqa: PLC0415

    inductor_settings = {
        **chosen,
        "force_disable_caches": True,
        "autotune_num_choices_displayed": 0,  # else autotuning prints what it tries
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
    before = {name: os.environ.get(name) for name in (*_CACHES, _POINTER_VARIABLE, "TMPDIR")}
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
