"""Weights that a network has beside its parameters and buffers, where nothing can count them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.jit import ScriptModule

from resnet_cli.measure.models.holders import contents_of
from resnet_cli.results.common import Note

_ONEDNN: torch.layout = torch._mkldnn  # type: ignore[attr-defined]
# Figures that depend on them, and those that lack them.
_BATCHES = ("largest_batch_inference", "largest_batch_training")
_WEIGHTS = ("parameters", "parameter_bytes", "inference_bytes", "training_bytes")


def hidden_weights(model: nn.Module) -> Iterator[Note]:
    """A warning where weights are packed (by quantized layers, oneDNN), constants of TorchScript, or unregistered."""
    modules = list(model.modules())
    unregistered = sum(any(True for _ in module.parameters(recurse=False)) for module in _unregistered(model, modules))
    if unregistered:
        count = "1 module with weights is" if unregistered == 1 else f"{unregistered} modules with weights are"
        text = (
            f"{count} held in a list, a function or a variable of the file, but not registered: parameters and bytes "
            "do not include them, as optimizers do not"
        )
        yield Note("warning", text, "unregistered-weights", unknown=_BATCHES, lower_bounds=_WEIGHTS[1:])
    packed = sum(_is_packed(module) for module in modules)
    if packed:
        text = f"the weights of {packed} quantized layers are packed: parameters and bytes do not include them"
        yield Note("warning", text, "packed-weights", unknown=_BATCHES, lower_bounds=_WEIGHTS)
    if any(tensor.layout is _ONEDNN for tensor in (*model.parameters(), *model.buffers())):
        text = "the bytes of weights in oneDNN's own layout are not known, and not included"
        figures = ("parameter_bytes", "buffer_bytes", "inference_bytes", "training_bytes")
        yield Note("warning", text, "onednn-weights", unknown=_BATCHES, lower_bounds=figures)
    if any(isinstance(module, ScriptModule) and _has_constants(module) for module in modules):
        text = "parameters and bytes do not include weights that are constants of frozen TorchScript"
        yield Note("warning", text, "constant-weights", unknown=_BATCHES, lower_bounds=_WEIGHTS)


def _unregistered(model: nn.Module, registered: Iterable[nn.Module]) -> list[nn.Module]:
    known = {id(module) for module in registered}
    held = {id(value): value for value in contents_of(model) if isinstance(value, nn.Module)}
    return [module for key, module in held.items() if key not in known and not isinstance(module, ScriptModule)]


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
