"""Counts of other tools for the same network: torchinfo, fvcore, torch's FlopCounterMode.

torchinfo and fvcore have had no release for years, so they only serve to cross-check. Whatever they do (fail to import,
raise, warn, print), the result is a count or the reason why there is none.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.jit import ScriptModule

from resnet_cli.errors import attempt
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.inputs.model_inputs import Arguments, ModelInputs
from resnet_cli.measure.models.model import own_dtype
from resnet_cli.measure.models.substitutes import with_zeros
from resnet_cli.measure.models.user_errors import prints_to_stderr
from resnet_cli.measure.ops.fast_meta import FastMetaKernels
from resnet_cli.measure.system.silence import silenced
from resnet_cli.measure.tracing.tracer import FlopFormula

# fvcore traces a real forward on the CPU; beyond this it would take seconds and gigabytes.
_FVCORE_MACS = 150e9
_FVCORE_BYTES = 4e9
# torchinfo's time doubles with each level of nesting; about a second for this sum of 2**level over the modules.
_TORCHINFO_NESTING = 2_000_000
_SCRIPTED = "not run: it cannot see what a TorchScript module does"


@dataclass(frozen=True, slots=True)
class TorchinfoReport:
    """Counts by torchinfo, or why there are none."""

    version: str | None
    parameters: int | None = None
    multiply_adds: int | None = None
    leaves: tuple[tuple[str, tuple[int, ...]], ...] = ()  # class and output shape, in order
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class FvcoreReport:
    """Counts by fvcore for the whole batch (it runs at batch size 1), or why there are none."""

    version: str | None
    total: int | None = None
    by_operator: Mapping[str, int] | None = None
    by_module: Mapping[str, int] | None = None
    failure: str | None = None


def version(package: str) -> str | None:
    """Installed version of a package, None where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()).partition(" Tensor: (1,")[0]  # torch prints a tensor's values
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__


def torchinfo(model: nn.Module, inputs: Arguments) -> TorchinfoReport:
    """Count with torchinfo.

    Args:
        model: on `meta`; torchinfo may change it.
        inputs: on `meta`.
    """
    release = version("torchinfo")
    if any(isinstance(module, ScriptModule) for module in model.modules()):
        return TorchinfoReport(release, failure=_SCRIPTED)
    levels = (path.count(".") + 1 for path, _ in model.named_modules())
    if sum(2**level for level in levels) > _TORCHINFO_NESTING:
        return TorchinfoReport(release, failure="not run: its time doubles with each level of nested modules")
    silence = silenced("torchinfo", output=True)
    with attempt("torchinfo") as running, prints_to_stderr(), silence, FastMetaKernels(), random_init.seeded(0):
        from torchinfo import summary

        # It takes positional arguments as a list, or keyword arguments as a dictionary.
        data = dict(inputs.kwargs) if not inputs.args else list(_positional(model, inputs))
        report = summary(model, input_data=data, verbose=0, depth=10_000, mode="eval")
        leaves = tuple(
            (str(layer.class_name), tuple(layer.output_size))
            for layer in report.summary_list
            if layer.is_leaf_layer and layer.executed
        )
        return TorchinfoReport(release, int(report.total_params), int(report.total_mult_adds), leaves)
    assert running.error is not None
    return TorchinfoReport(release, failure=_reason(running.error))


def _positional(model: nn.Module, inputs: Arguments) -> tuple[Any, ...]:
    """All arguments as positional ones.

    Raises:
        TypeError: the forward takes one of them by name only.
    """
    if not inputs.kwargs:
        return inputs.args
    bound = inspect.signature(model.forward).bind(*inputs.args, **inputs.kwargs)
    bound.apply_defaults()  # an argument between two that are given
    if bound.kwargs:
        raise TypeError(f"it takes positional arguments alone, not {', '.join(bound.kwargs)}")
    return bound.args


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """For a short forward, which takes ten times as long where its threads wait for cores that others use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fvcore(
    model: nn.Module, inputs: ModelInputs, *, macs: int, bytes_alive: int, output: object = None
) -> FvcoreReport:
    """Count with fvcore.

    fvcore cannot trace on `meta`, so the network runs once with zeros as weights on the CPU, at batch 1: its counts
    are sums over the images, so the count of the batch is that of one image times the batch size.

    Args:
        model: on `meta`.
        inputs: of its forward.
        macs: of the whole batch; above a limit fvcore is not run.
        bytes_alive: peak of activations of the whole batch, for the same.
        output: of the forward; torch's tracing ends the process where it contains itself.
    """
    release = version("fvcore")
    if any(isinstance(module, ScriptModule) for module in model.modules()):
        return FvcoreReport(release, failure=_SCRIPTED)
    if _contains_itself(output):
        return FvcoreReport(release, failure="not run: the output of the network contains itself")
    batch = inputs.batch_size or 1
    if macs / batch > _FVCORE_MACS or bytes_alive / batch > _FVCORE_BYTES:
        return FvcoreReport(release, failure="not run: it needs a real forward, too large at this image size")
    silence = silenced("fvcore.nn.jit_analysis", "fvcore", "fvcore.nn", output=True)
    with attempt("fvcore") as running, prints_to_stderr(), silence:
        from fvcore.nn import FlopCountAnalysis

        # Half precision is slow on CPUs; but a network that mixes dtypes casts between its own.
        dtypes = {tensor.dtype for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()}
        dtype = torch.float32 if len(dtypes) < 2 else None
        zeros = _positional(model, inputs.at_batch(1).zeros(dtype or own_dtype(model)))
        with torch.no_grad(), random_init.seeded(0), with_zeros(model, dtype), _one_thread():
            model.eval()
            analysis = FlopCountAnalysis(model, zeros)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            total = round(analysis.total())
            operators = {name: round(value) * batch for name, value in analysis.by_operator().items()}
            modules = {name: round(value) * batch for name, value in analysis.by_module().items()}
        return FvcoreReport(release, total * batch, operators, modules)
    assert running.error is not None
    return FvcoreReport(release, failure=_reason(running.error))


def _contains_itself(value: object, around: tuple[object, ...] = ()) -> bool:
    if not isinstance(value, dict | list | tuple):
        return False
    if any(value is outer for outer in around):
        return True
    items = value.values() if isinstance(value, dict) else value
    return any(_contains_itself(item, (*around, value)) for item in items)


@contextlib.contextmanager
def _without_triton() -> Iterator[None]:
    """Torch's counter imports triton (0.15 s) to take formulas of its kernels, if the network has not used it."""
    if "triton" in sys.modules:
        yield
        return
    sys.modules["triton"] = None  # type: ignore[assignment]  # how the import system marks what cannot be imported
    try:
        with silenced("torch.utils.flop_counter"):  # it warns that triton is missing
            yield
    finally:
        sys.modules.pop("triton", None)


def count_with_torch() -> tuple[FlopFormula | None, str | None]:
    """The formulas of torch's FlopCounterMode, one call at a time, or the reason why there are none.

    The mode itself would import torch.compile (0.8 s) to keep it away; its formulas are the same by themselves.
    """
    try:
        with _without_triton():
            from torch.utils.flop_counter import flop_registry  # noqa: PLC0415
    except ImportError as error:
        return None, _reason(error)

    aten = torch.ops.aten
    registry: Mapping[Any, Callable[..., int]] = {
        # Up to torch 2.14 the same attention has formulas on GPUs alone.
        aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
        aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
            aten._scaled_dot_product_flash_attention_backward
        ],
        **flop_registry,
    }

    def tally(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
        formula = registry.get(func.overloadpacket)
        return 0 if formula is None else int(formula(*args, **kwargs, out_val=out))

    return tally, None
