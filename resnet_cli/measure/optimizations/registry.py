"""Every lever that may make a network faster: what it is called, and how a network is made that has it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from resnet_cli.measure.bench.device_timer import Clock
from resnet_cli.measure.optimizations.conv_bn_fusion import fuse_conv_bn
from resnet_cli.measure.optimizations.cuda_graph import Capture, CudaCapture, capture_cuda_graph
from resnet_cli.measure.optimizations.torch_compile import Compiler, compile_for, inductor
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.precision import TF32, Precision, cuda_precisions, in_precision
from resnet_cli.results.bench import OPTIMIZATIONS

EAGER = "eager"

_TF32_SINCE = _BFLOAT16_SINCE = (8, 0)  # compute capability: Ampere
_NEEDS_CUDA = "needs a CUDA device"


@dataclass(frozen=True, slots=True)
class Machine:
    """What a lever may ask of the machine. A test brings its own.

    Args:
        device: where the network is.
        capability: of the GPU: (8, 0); None where there is none.
        emulates_bfloat16: the device has no arithmetic in it, so that torch takes another one's.
        precisions: of convolutions and of matrix products in float32.
        capture: records CUDA graphs.
        compiler: torch.compile.
    """

    device: torch.device
    capability: tuple[int, int] | None = None
    emulates_bfloat16: bool = False
    precisions: tuple[Precision, Precision] = field(default_factory=cuda_precisions)
    capture: Capture | None = None
    compiler: Compiler = inductor


def machine(device: torch.device) -> Machine:
    """This machine."""
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        return Machine(device, capability, capability < _BFLOAT16_SINCE, capture=CudaCapture(device))
    return Machine(device, emulates_bfloat16=device.type == "cpu" and _emulates_bfloat16())


def _emulates_bfloat16() -> bool:
    """Whether an x86 processor has neither AVX512_BF16 nor AMX; of other ones torch does not tell."""
    if not torch.cpu._is_avx2_supported():
        return False
    return not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


Make = Callable[[nn.Module, Tensor, Machine], Variant]


@dataclass(frozen=True, slots=True)
class Optimization:
    """One of them.

    Args:
        key: of `bench_results.LEVERS`, or "eager".
        title: in words.
        make: the form, from a copy of the network that it may change; raises UnavailableError.
        keeps_precision: arithmetic stays what it is in plain eager.
        dtype: of weights and input.
    """

    key: str
    title: str
    make: Make
    keeps_precision: bool = True
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class BuiltVariant:
    """A form, and what it took."""

    form: Variant
    setup_s: float  # until its first result was there


def build_variant(lever: Optimization, model: nn.Module, image: Tensor, on: Machine, clock: Clock) -> BuiltVariant:
    """Make a network that has a lever, and call it once. Use it inside `torch.inference_mode`.

    Args:
        lever: which one.
        model: calibrated, in eval mode and float32, on its device; it is copied, and the copy is not timed.
        image: a batch, on the same device, in float32.
        on: the machine.
        clock: of the device.

    Raises:
        UnavailableError: it is not to be had here; the message says why.
        Exception: whatever torch raises.
    """
    own = copy.deepcopy(model)
    clock.synchronize()
    begin = clock.now()
    form = lever.make(own, image, on)
    form.call()
    clock.synchronize()
    return BuiltVariant(form, clock.now() - begin)


def _eager(model: nn.Module, image: Tensor, _on: Machine) -> Variant:
    return Variant(model, image)


def _channels_last(model: nn.Module, image: Tensor, _on: Machine) -> Variant:
    return _laid_out(model, image)


def _laid_out(model: nn.Module, image: Tensor, dtype: torch.dtype = torch.float32) -> Variant:
    """Weights and input in channels_last, which a producer of images can give as well as the other format."""
    if image.dim() != 4:
        raise UnavailableError("channels_last is a format of images")
    model.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Variant(model, image.to(dtype=dtype, memory_format=torch.channels_last))


def _folded(model: nn.Module, image: Tensor, _on: Machine) -> Variant:
    fuse_conv_bn(model)
    return Variant(model, image)


def _channels_last_folded(model: nn.Module, image: Tensor, _on: Machine) -> Variant:
    fuse_conv_bn(model)
    return _laid_out(model, image)


def _best_eager(model: nn.Module, image: Tensor, dtype: torch.dtype = torch.float32) -> Variant:
    """What the further levers start from: folded where that can be, in channels_last."""
    with contextlib.suppress(UnavailableError):
        fuse_conv_bn(model)
    return _laid_out(model, image, dtype)


def _compiled(model: nn.Module, image: Tensor, on: Machine) -> Variant:
    form = _best_eager(model, image)
    return Variant(compile_for(model, form.image, compiler=on.compiler), form.image)


def _bfloat16(model: nn.Module, image: Tensor, on: Machine) -> Variant:
    form = _best_eager(model, image, torch.bfloat16)
    which = "GPU" if on.device.type == "cuda" else "processor"
    remark = f"emulated: this {which} has no bfloat16 arithmetic" if on.emulates_bfloat16 else None
    return Variant(form.run, form.image, remark)


def _float16(model: nn.Module, image: Tensor, on: Machine) -> Variant:
    if on.device.type != "cuda":
        raise UnavailableError(f"{_NEEDS_CUDA}: elsewhere bfloat16 is the shorter format")
    return _best_eager(model, image, torch.float16)


def _tf32(model: nn.Module, image: Tensor, on: Machine) -> Variant:
    """Plain eager with TF32 wherever there is float32 arithmetic; torch has it on for convolutions by default."""
    if on.capability is None:
        raise UnavailableError(_NEEDS_CUDA)
    if on.capability < _TF32_SINCE:
        raise UnavailableError(f"needs compute capability 8.0, and this GPU has {'.'.join(map(str, on.capability))}")
    already = [
        name
        for name, part in zip(("convolutions", "matrix products"), on.precisions, strict=True)
        if part.fp32_precision == TF32
    ]
    if len(already) == len(on.precisions):
        raise UnavailableError("already on for convolutions and matrix products")

    def run(images: Tensor) -> object:
        with in_precision(on.precisions, TF32):
            return model(images)

    return Variant(run, image, f"already on for {already[0]} in plain eager" if already else None)


def _cuda_graph(model: nn.Module, image: Tensor, on: Machine) -> Variant:
    if on.capture is None:
        raise UnavailableError(_NEEDS_CUDA)
    form = _best_eager(model, image)
    return Variant(capture_cuda_graph(form.run, form.image, on.capture), form.image)


EAGER_OPTIMIZATION = Optimization(EAGER, "plain eager", _eager)

_ALL = (
    Optimization("channels-last", "channels_last", _channels_last),
    Optimization("folded", "conv-bn folded", _folded),
    Optimization("channels-last-folded", "channels_last + conv-bn folded", _channels_last_folded),
    Optimization("compile", "torch.compile", _compiled),
    Optimization("bfloat16", "bfloat16 + channels_last + conv-bn folded", _bfloat16, False, "bfloat16"),
    Optimization("float16", "float16 + channels_last + conv-bn folded", _float16, False, "float16"),
    Optimization("tf32", "TF32 in all arithmetic", _tf32, False),
    Optimization("cuda-graph", "CUDA graph + channels_last + conv-bn folded", _cuda_graph),
)
BY_KEY: Mapping[str, Optimization] = {lever.key: lever for lever in _ALL}
assert tuple(BY_KEY) == OPTIMIZATIONS
