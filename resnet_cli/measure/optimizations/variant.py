"""A variant of a network: the same function, made ready to run faster for one shape of input."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from torch import nn

from resnet_cli.measure.models.copies import independent_copy
from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.registry import Optimization
from resnet_cli.measure.system.devices.backend import DeviceBackend

_PATH = re.compile(r"(?<![\w/])(?:[A-Za-z]:[\\/]|~?/)[^\s'\",;:()]*[^\s'\",;:().]")
_MAX_LENGTH = 160  # characters: a row of a table has to hold it


class UnavailableError(Exception):
    """A variant that cannot be made here; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A network, made ready for one shape of input.

    Args:
        run: called as the network is, with inputs like `inputs`; its output may be overwritten by the next call.
        inputs: what it is timed with, in their dtype and memory format already.
        remark: limitation that a reader of its times should know.
        context: surrounds calls, such as a setting of torch that they need; entered and left outside of what is timed.
        failed_s: seconds of its building in which something was tried that failed; no part of its set-up.
    """

    run: Callable[..., object]
    inputs: Arguments
    remark: str | None = None
    context: Callable[[], AbstractContextManager[object]] = nullcontext
    failed_s: float = 0.0

    def call(self) -> object:
        """One request, within the context."""
        return self.inputs.call(self.run)


@dataclass(frozen=True, slots=True)
class BuiltVariant:
    """A variant, and the time to its first result."""

    variant: Variant
    setup_s: float


def build_variant(
    optimization: Optimization,
    model: nn.Module,
    inputs: Arguments,
    backend: DeviceBackend,
    duplicate: Callable[[nn.Module], nn.Module] = independent_copy,
) -> BuiltVariant:
    """Apply an optimization to a copy of a network, and call it once. Use it inside `torch.inference_mode`.

    Args:
        optimization: of the registry.
        model: calibrated, in eval mode and float32, on its device; copying it is not timed.
        inputs: of a call, on the same device, in float32.
        backend: of that device.
        duplicate: makes the copy.

    Raises:
        UnavailableError: it cannot be made here.
        Exception: whatever torch raises.
    """
    if optimization.needs not in (None, "gpu" if backend.is_accelerator else "cpu"):
        raise UnavailableError(f"needs a {str(optimization.needs).upper()}")
    model = duplicate(model)
    backend.synchronize()
    begin = backend.now()
    variant = optimization.load()(model, inputs, backend)
    with variant.context():
        variant.call()
        backend.synchronize()
    return BuiltVariant(variant, backend.now() - begin - variant.failed_s)


def in_one_line(error: BaseException) -> str:
    """The first line of an error's message, without the paths of this machine."""
    for line in str(error).splitlines():
        text = _PATH.sub("…", " ".join(line.split())).rstrip(" :")
        if text:
            return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"
    return type(error).__name__
