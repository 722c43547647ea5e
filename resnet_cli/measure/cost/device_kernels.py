"""Operators that a device runs otherwise than `meta`, so that their memory is another."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from resnet_cli.measure.tracing.trace import Trace
from resnet_cli.results.common import Note

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


def _is_compiled(module: nn.Module) -> bool:
    """Whether torch.compile was given the module, by a call, by `Module.compile()` or by a decorator of its forward."""
    return (
        "_orig_mod" in module._modules
        or module._compiled_call_impl is not None
        or hasattr(module.forward, "_torchdynamo_orig_callable")
    )


def kernel_notes(
    inference: Trace, training: Trace | None, device: torch.device, *, is_real: bool, is_compiled: bool = False
) -> Iterator[Note]:
    """A note for each memory figure that is not known for the device.

    Args:
        inference: a pass in eval mode.
        training: a training step.
        device: that the figures are for.
        is_real: whether the passes ran on a CPU.
        is_compiled: whether the whole network is under torch.compile; parts of it are seen here.
    """
    if not is_real and (reason := unlike_meta(inference)):
        yield Note("note", f"memory on a CPU is not known: {reason}", "memory-unlike-meta")
    if is_compiled or any(_is_compiled(call.module) for call in inference.root.modules()):
        text = "memory is that of the network without torch.compile; compiled, it may save other tensors for backward"
        yield Note("note", text, "memory-without-compile")
    if _has(inference, *_ONE_OPERATOR_IN_EVAL_MODE):
        text = (
            "inference peak: torch may run nn.MultiheadAttention and nn.TransformerEncoderLayer as one operator in "
            "eval mode, whose own memory is not known; the figure is that of its parts"
        )
        yield Note("note", text, "fused-in-eval-mode")
    if device.type == "cpu":
        return
    of_a_cpu = {
        "autocast": bool(inference.autocast),
        "recurrent layers": _has(inference, nn.RNNBase),
        "attention": any("attention" in op.op for op in inference.operators),
        "dropout": training is not None and any(op.op == "aten::bernoulli" for op in training.operators),
    }
    names = ", ".join(name for name, is_there in of_a_cpu.items() if is_there)
    if names:
        text = f"memory of {names} on {device.type} is not known; the figures are those of a CPU"
        yield Note("note", text, "memory-of-a-cpu")
