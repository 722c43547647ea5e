"""The optimizations: a row and a module of this package each. Read without torch, so that options are made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from resnet_cli.measure.models.inputs.model_inputs import Arguments
    from resnet_cli.measure.optimizations.variant import Variant
    from resnet_cli.measure.system.devices.backend import DeviceBackend

    Build = Callable[[nn.Module, Arguments, DeviceBackend], Variant]


@dataclass(frozen=True, slots=True)
class Optimization:
    """A way to run the same network faster.

    Args:
        key: on the command line and in results.
        title: in tables.
        module: of this package; its function `build` makes the variant from a copy of the network in eval mode and
            float32, which it may change, and the inputs of a call on the same device. It raises UnavailableError where
            that is not possible.
        keeps_precision: the arithmetic stays that of eager; else it is never recommended without a word on the logits.
        dtype: of weights and input.
        needs: "cpu", or "gpu" for any kind of accelerator; None: any device.
        has_own_threads: another runtime's; they wait for work by spinning, which slows the next call of anything else.
    """

    key: str
    title: str
    module: str
    keeps_precision: bool = True
    dtype: str = "float32"
    needs: str | None = None
    has_own_threads: bool = False

    def load(self) -> Build:
        """Its `build`; imports torch."""
        build: Build = import_module(f"{__package__}.{self.module}").build
        return build


EAGER = Optimization("eager", "plain eager", "eager")  # what the others are compared with

_ROWS = (
    Optimization("channels-last", "channels_last", "channels_last"),
    Optimization("folded", "conv-bn folded", "conv_bn_fusion"),
    Optimization("channels-last-folded", "channels_last + conv-bn folded", "folded_channels_last"),
    Optimization("compile", "torch.compile", "torch_compile"),
    Optimization("onnxruntime", "ONNX Runtime", "runtimes.onnx_runtime", needs="cpu", has_own_threads=True),
    Optimization("openvino", "OpenVINO", "runtimes.openvino", needs="cpu", has_own_threads=True),
    Optimization(
        "onnxruntime-int8",
        "int8, ONNX Runtime, calibrated on random images",
        "runtimes.onnx_runtime_int8",
        False,
        "int8",
        needs="cpu",
        has_own_threads=True,
    ),
    Optimization("bfloat16", "bfloat16 + channels_last + conv-bn folded", "bfloat16", False, "bfloat16"),
    Optimization("float16", "float16 + channels_last + conv-bn folded", "float16", False, "float16", needs="gpu"),
    Optimization("tf32", "TF32 in all arithmetic", "tf32", False, needs="gpu"),
    Optimization("cuda-graph", "CUDA graph + channels_last + conv-bn folded", "cuda_graph", needs="gpu"),
)
OPTIMIZATIONS = {row.key: row for row in _ROWS}
