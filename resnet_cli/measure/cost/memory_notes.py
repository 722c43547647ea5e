"""Memory figures that a pass does not show, because a device runs other operators than `meta`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from resnet_cli.measure.ops.device_kernels import OTHERWISE_WHEN_TRACED, computes_dropout
from resnet_cli.measure.tracing.trace import Trace
from resnet_cli.results.common import Note
from resnet_cli.results.summary import INFERENCE_MEMORY, TRAINING_MEMORY

_EMBEDDING_BAG = "aten::_embedding_bag"
_UNLIKE_META = {
    _EMBEDDING_BAG: "embedding bags return other tensors on the meta device",
    "aten::mish": "the backward pass of Mish runs other operators on the meta device",
    **{
        f"aten::{name}": "losses hold less memory on the meta device"
        for name in ("mse_loss", "smooth_l1_loss", "binary_cross_entropy", "soft_margin_loss")
    },
}
_ONE_OPERATOR_IN_EVAL_MODE = (nn.MultiheadAttention, nn.TransformerEncoderLayer)


def _has(trace: Trace | None, *kinds: type[nn.Module]) -> bool:
    return trace is not None and any(isinstance(call.module, kinds) for call in trace.root.modules())


def _trains_bias_alone(module: nn.Module) -> bool:
    if not isinstance(module, nn.modules.conv._ConvNd) or module.bias is None:
        return False
    return module.bias.requires_grad and not module.weight.requires_grad


def unlike_meta(traces: Sequence[Trace]) -> str | None:
    """Why a CPU needs other memory than passes on `meta` show; None where it does not."""
    if any("cpu" in trace.use.autocast for trace in traces):
        return "autocast has no effect on the meta device"
    if any(_has(trace, nn.RNNBase) for trace in traces):
        return "recurrent layers run other operators on the meta device"
    if any(_trains_bias_alone(call.module) for trace in traces for call in trace.root.modules()):
        return "a convolution of which the bias alone is trained makes more gradients than on the meta device"
    ops = {op.op for trace in traces for op in trace.operators}
    return next((reason for op, reason in _UNLIKE_META.items() if op in ops), None)


def kernel_notes(
    inference: Trace, training: Trace | None, device: torch.device, *, is_real: bool, is_compiled: bool = False
) -> Iterator[Note]:
    """A note for each memory figure that is not known for the device.

    Args:
        inference: a pass in eval mode.
        training: a training step.
        device: that the figures are for.
        is_real: whether the passes ran on a CPU.
        is_compiled: whether the whole network is under torch.compile; the passes tell of parts of it.
    """
    both = (*INFERENCE_MEMORY, *TRAINING_MEMORY)
    traces = [inference] if training is None else [inference, training]
    if not is_real and (reason := unlike_meta(traces)):
        yield Note("note", f"memory on a CPU is not known: {reason}", "memory-unlike-meta", unknown=both)
    if is_compiled or any(trace.use.compiled for trace in traces):
        text = "memory is that of the network without torch.compile; compiled, it may save other tensors for backward"
        yield Note("note", text, "memory-without-compile", unknown=both)
    if _has(inference, *_ONE_OPERATOR_IN_EVAL_MODE):
        text = (
            "torch may run nn.MultiheadAttention and nn.TransformerEncoderLayer as one operator in eval mode, whose "
            "own memory is not known; the inference peak is that of its parts"
        )
        yield Note("note", text, "fused-in-eval-mode", unknown=INFERENCE_MEMORY)
    if any(op.op == "aten::to_mkldnn" for trace in traces for op in trace.operators):
        text = "memory of tensors in oneDNN's own layout is not known, and not included"
        yield Note("note", text, "memory-of-onednn", unknown=both)
    functions = set().union(*(trace.use.functions for trace in traces))
    if names := ", ".join(sorted(functions & OTHERWISE_WHEN_TRACED)):
        text = f"memory of {names} is not known: torch runs other operators while a network is traced"
        yield Note("note", text, "memory-when-traced", unknown=both)
    if device.type == "cpu":
        return
    of_inference, of_training = (_of_a_cpu(trace, device, is_real) for trace in (inference, training))
    names = ", ".join(dict.fromkeys((*of_inference, *of_training)))
    if names:
        text = f"memory of {names} on {device.type} is not known; the figures are those of a CPU"
        unknown = (*(INFERENCE_MEMORY if of_inference else ()), *(TRAINING_MEMORY if of_training else ()))
        yield Note("note", text, "memory-of-a-cpu", unknown=unknown)


def _of_a_cpu(trace: Trace | None, device: torch.device, is_real: bool) -> list[str]:
    """What a pass runs whose memory on a device is another than that of the CPU's operators, and is not known."""
    if trace is None:
        return []
    ops = {op.op for op in trace.operators}
    is_there = {
        "autocast": bool(trace.use.autocast),
        "recurrent layers": _has(trace, nn.RNNBase, nn.LSTMCell, nn.GRUCell),
        "dropout": "aten::bernoulli" in ops and (is_real or not computes_dropout(device.type)),
        "embedding bags": _EMBEDDING_BAG in ops,
        "logsigmoid": "aten::log_sigmoid_forward" in ops,
    }
    functions = trace.use.functions - OTHERWISE_WHEN_TRACED
    return [*(name for name, value in is_there.items() if value), *sorted(functions)]
