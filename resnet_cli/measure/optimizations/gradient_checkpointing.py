"""Gradient checkpointing: blocks keep only their input, and their backward pass runs their forward again.

It trades time for memory (Chen et al. 2016, "Training deep nets with sublinear memory cost").
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend

_LISTS = (nn.Sequential, nn.ModuleList)


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """The network with its blocks checkpointed.

    Raises:
        UnavailableError: it has no blocks.
    """
    blocks = checkpointed_blocks(model)
    if len(blocks) < 2:  # a single one would only be computed twice
        raise UnavailableError("there is no sequence of blocks: modules with layers of their own")
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    has_statistics = any(isinstance(each, nn.modules.batchnorm._NormBase) for b in blocks for each in b.modules())
    remark = "running statistics of batch norm move twice in a step" if has_statistics else None
    return Variant(model, inputs, remark)


def checkpointed_blocks(model: nn.Module) -> list[nn.Module]:
    """The outermost modules with layers of their own that stand in a sequence, each once."""
    blocks: list[nn.Module] = []

    def look(module: nn.Module, *, in_sequence: bool) -> None:
        is_list = isinstance(module, _LISTS)
        if in_sequence and not is_list and next(module.children(), None) is not None:
            if module not in blocks:
                blocks.append(module)
            return
        for child in module.children():
            look(child, in_sequence=is_list)

    look(model, in_sequence=False)
    return blocks
