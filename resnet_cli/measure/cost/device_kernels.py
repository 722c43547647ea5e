"""Operators that a device runs otherwise than `meta`, so that their memory is another."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from resnet_cli.measure.tracing.trace import Trace
from resnet_cli.results.common import Note
from resnet_cli.results.summary import INFERENCE_MEMORY, TRAINING_MEMORY

_ONE_OPERATOR_IN_EVAL_MODE = (nn.MultiheadAttention, nn.TransformerEncoderLayer)


def _has(trace: Trace | None, *kinds: type[nn.Module]) -> bool:
    return trace is not None and any(isinstance(call.module, kinds) for call in trace.root.modules())


def unlike_meta(trace: Trace) -> str | None:
    """Why a CPU needs other memory than a pass on `meta` shows; None where it does not."""
    if "cpu" in trace.autocast:
        return "autocast has no effect on the meta device"
    if _has(trace, nn.RNNBase):
        return "recurrent layers run other operators on the meta device"
    return None


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
    if not is_real and (reason := unlike_meta(inference)):
        yield Note("note", f"memory on a CPU is not known: {reason}", "memory-unlike-meta", unknown=both)
    if is_compiled or inference.has_compiled or (training is not None and training.has_compiled):
        text = "memory is that of the network without torch.compile; compiled, it may save other tensors for backward"
        yield Note("note", text, "memory-without-compile", unknown=both)
    if _has(inference, *_ONE_OPERATOR_IN_EVAL_MODE):
        text = (
            "inference peak: torch may run nn.MultiheadAttention and nn.TransformerEncoderLayer as one operator in "
            "eval mode, whose own memory is not known; the figure is that of its parts"
        )
        yield Note("note", text, "fused-in-eval-mode", unknown=INFERENCE_MEMORY)
    if device.type == "cpu":
        return
    of_inference, of_training = (_of_a_cpu(trace) for trace in (inference, training))
    names = ", ".join(dict.fromkeys((*of_inference, *of_training)))
    if names:
        text = f"memory of {names} on {device.type} is not known; the figures are those of a CPU"
        unknown = (*(INFERENCE_MEMORY if of_inference else ()), *(TRAINING_MEMORY if of_training else ()))
        yield Note("note", text, "memory-of-a-cpu", unknown=unknown)


def _of_a_cpu(trace: Trace | None) -> list[str]:
    """What a pass runs whose memory is another on another device."""
    if trace is None:
        return []
    is_there = {
        "autocast": bool(trace.autocast),
        "recurrent layers": _has(trace, nn.RNNBase),
        "attention": any("attention" in op.op for op in trace.operators),
        "dropout": any(op.op == "aten::bernoulli" for op in trace.operators),
    }
    return [name for name, value in is_there.items() if value]
