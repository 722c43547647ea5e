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
        code: two lines that do the same to a network `model` in eval mode and a batch `image`. They make `logits`, or
            another `model` whose call gives them.
        modes: "inference", "train": what it is for. In training, `build` is given a network in train mode, and the
            variant's `run` is a module.
    """

    key: str
    title: str
    module: str
    keeps_precision: bool = True
    dtype: str = "float32"
    needs: str | None = None
    has_own_threads: bool = False
    code: tuple[str, ...] = ()
    modes: tuple[str, ...] = ("inference",)

    def load(self) -> Build:
        """Its `build`; imports torch."""
        build: Build = import_module(f"{__package__}.{self.module}").build
        return build


EAGER = Optimization("eager", "plain eager", "eager")  # what the others are compared with

_FUSE = "from torch.fx.experimental.optimization import fuse"
_CHANNELS_LAST = "memory_format=torch.channels_last"
_COMPILE = f"model, image = model.to({_CHANNELS_LAST}), image.to({_CHANNELS_LAST})"
_HALF = "logits = fuse(model).to(torch.{0}, memory_format=torch.channels_last)(image.to(torch.{0}))"
_EXPORT = 'torch.onnx.export(model, (image,), "model.onnx", input_names=["x"], dynamo=True)'
_ROWS = (
    Optimization(
        "channels-last",
        "channels_last",
        "channels_last",
        code=(f"model = model.to({_CHANNELS_LAST})", f"logits = model(image.to({_CHANNELS_LAST}))"),
        modes=("inference", "train"),
    ),
    Optimization("folded", "conv-bn folded", "conv_bn_fusion", code=(_FUSE, "logits = fuse(model)(image)")),
    Optimization(
        "channels-last-folded",
        "channels_last + conv-bn folded",
        "folded_channels_last",
        code=(_FUSE, f"logits = fuse(model).to({_CHANNELS_LAST})(image.to({_CHANNELS_LAST}))"),
    ),
    Optimization(
        "compile",
        "torch.compile",
        "compiled.torch_compile",
        code=(_COMPILE, 'model = torch.compile(model, dynamic=False, options={"freezing": image.is_cpu})'),
    ),
    Optimization(
        "compile-reduce-overhead",
        "torch.compile, reduce-overhead",
        "compiled.reduce_overhead",
        needs="gpu",
        code=(_COMPILE, 'model = torch.compile(model, dynamic=False, mode="reduce-overhead")'),
    ),
    Optimization(
        "compile-max-autotune",
        "torch.compile, max-autotune",
        "compiled.max_autotune",
        code=(_COMPILE, 'model = torch.compile(model, dynamic=False, mode="max-autotune")'),
    ),
    Optimization(
        "aot-inductor",
        "torch.export + AOTInductor",
        "compiled.aot_inductor",
        code=(
            "package = torch._inductor.aoti_compile_and_package(torch.export.export(model, (image,)))",
            "model = torch._inductor.aoti_load_package(package)",
        ),
    ),
    Optimization(
        "onnxruntime",
        "ONNX Runtime",
        "runtimes.onnx_runtime",
        needs="cpu",
        has_own_threads=True,
        code=(_EXPORT, 'logits = onnxruntime.InferenceSession("model.onnx").run(None, {"x": image.numpy()})[0]'),
    ),
    Optimization(
        "openvino",
        "OpenVINO",
        "runtimes.openvino",
        needs="cpu",
        has_own_threads=True,
        code=(
            _EXPORT,
            'logits = openvino.compile_model("model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0]',
        ),
    ),
    Optimization(
        "tensorrt",
        "TensorRT",
        "runtimes.tensorrt",
        needs="gpu",
        code=("import torch_tensorrt", 'model = torch_tensorrt.compile(model, ir="dynamo", inputs=[image])'),
    ),
    Optimization(
        "onnxruntime-int8",
        "int8, ONNX Runtime, calibrated on random images",
        "runtimes.onnx_runtime_int8",
        False,
        "int8",
        needs="cpu",
        has_own_threads=True,
        code=(
            _EXPORT,
            'onnxruntime.quantization.quantize_static("model.onnx", "int8.onnx", calibration_reader, per_channel=True)',
        ),
    ),
    Optimization(
        "autocast",
        "autocast to bfloat16",
        "precision.autocast",
        False,
        "bfloat16",
        code=("context = torch.autocast(image.device.type, torch.bfloat16)", "with context: logits = model(image)"),
    ),
    Optimization(
        "bfloat16",
        "bfloat16 + channels_last + conv-bn folded",
        "precision.bfloat16",
        False,
        "bfloat16",
        code=(_FUSE, _HALF.format("bfloat16")),
    ),
    Optimization(
        "float16",
        "float16 + channels_last + conv-bn folded",
        "precision.float16",
        False,
        "float16",
        needs="gpu",
        code=(_FUSE, _HALF.format("float16")),
    ),
    Optimization(
        "tf32",
        "TF32 in all arithmetic",
        "precision.tf32",
        False,
        needs="gpu",
        code=('torch.backends.fp32_precision = "tf32"', "logits = model(image)"),
    ),
    Optimization(
        "cuda-graph",
        "CUDA graph + channels_last + conv-bn folded",
        "compiled.cuda_graph",
        needs="gpu",
        code=(_FUSE, "model = torch.cuda.make_graphed_callables(fuse(model), (image,))"),
    ),
    Optimization(
        "gradient-checkpointing",
        "gradient checkpointing of blocks",
        "gradient_checkpointing",
        modes=("train",),
        code=(
            "from functools import partial; from torch.utils.checkpoint import checkpoint",
            "for block in blocks: block.forward = partial(checkpoint, block.forward, use_reentrant=False)",
        ),
    ),
)
OPTIMIZATIONS = {row.key: row for row in _ROWS}
