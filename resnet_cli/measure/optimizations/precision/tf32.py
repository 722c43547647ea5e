"""TF32 wherever a GPU computes float32; torch has it on for convolutions alone by default."""

from __future__ import annotations

from torch import nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.precision import TF32, in_precision

_SINCE = (8, 0)  # compute capability: Ampere


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """The network with TF32 on around its calls.

    Raises:
        UnavailableError: the device has no TF32, or it is on everywhere already.
    """
    capability, settings = backend.capability(), backend.fp32_settings()
    if not settings:
        raise UnavailableError("this device has no TF32")
    if capability is not None and capability < _SINCE:
        raise UnavailableError(f"needs compute capability 8.0, and this GPU has {'.'.join(map(str, capability))}")
    on = [
        name
        for name, setting in zip(("convolutions", "matrix products"), settings, strict=True)
        if setting.fp32_precision == TF32
    ]
    if len(on) == len(settings):
        raise UnavailableError("already on for convolutions and matrix products")

    remark = f"already on for {on[0]} in plain eager" if on else None
    return Variant(model, inputs, remark, lambda: in_precision(settings, TF32))
