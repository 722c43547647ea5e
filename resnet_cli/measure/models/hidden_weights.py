"""Weights that a network has beside its parameters and buffers, where nothing can count them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.jit import ScriptModule

from resnet_cli.results.common import Note

# Figures that depend on them, and those that lack them.
_BATCHES = ("largest_batch_inference", "largest_batch_training")
_WEIGHTS = ("parameters", "parameter_bytes", "inference_bytes", "training_bytes")


def hidden_weights(model: nn.Module) -> Iterator[Note]:
    """A warning where weights are packed, as quantized layers have them, or constants of TorchScript."""
    modules = list(model.modules())
    packed = sum(_is_packed(module) for module in modules)
    if packed:
        text = f"the weights of {packed} quantized layers are packed: parameters and bytes do not include them"
        yield Note("warning", text, "packed-weights", unknown=_BATCHES, lower_bounds=_WEIGHTS)
    if any(isinstance(module, ScriptModule) and _has_constants(module) for module in modules):
        text = "parameters and bytes do not include weights that are constants of frozen TorchScript"
        yield Note("warning", text, "constant-weights", unknown=_BATCHES, lower_bounds=_WEIGHTS)


def _is_packed(module: nn.Module) -> bool:
    objects = [value for value in vars(module).values() if isinstance(value, torch.ScriptObject)]
    return bool(objects) and not isinstance(module, ScriptModule)


def _has_constants(module: ScriptModule) -> bool:
    """Whether the compiled forward of a module without parameters has tensors of its own."""
    if next(module.parameters(), None) is not None or not hasattr(module, "graph"):
        return False
    return any(
        node.kind() == "prim::Constant" and node.hasAttribute("value") and node.kindOf("value") == "t"
        for node in module.graph.nodes()
    )
