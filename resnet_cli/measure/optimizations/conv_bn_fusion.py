"""Batch norm folded into the convolution before it, in any network whose data flow can be traced.

In eval mode a batch norm is a multiplication and an addition per channel, so a convolution with other weights and a
bias does the work of both (the arithmetic is that of `torch.nn.utils.fusion`).
"""

from __future__ import annotations

from collections import Counter

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant, in_one_line
from resnet_cli.measure.system.devices.backend import DeviceBackend

# Exactly these: a subclass or a parametrised one may compute something else.
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """The network with its batch norms folded."""
    fuse_conv_bn(model)
    return Variant(model, inputs)


def fuse_conv_bn(model: nn.Module) -> int:
    """Fold every batch norm that can be folded; an identity takes its place.

    A pair is folded where the trace of the forward shows that the norm is the only consumer of the convolution's
    output and that both run once; everything else is left as it is.

    Args:
        model: in eval mode; changed in place.

    Returns:
        The number of folded norms, 1 or more.

    Raises:
        UnavailableError: the data flow cannot be traced, or there is nothing to fold.
    """
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:
        raise UnavailableError(f"the data flow of this network cannot be traced: {in_one_line(error)}") from error
    swaps: dict[nn.Module, nn.Module] = {}
    for conv, norm in _pairs(model, graph):
        swaps[conv] = fuse_conv_bn_eval(conv, norm)
        swaps[norm] = nn.Identity().eval()
    if not swaps:
        raise UnavailableError("no convolution's output goes to a batch norm alone")
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child in swaps:  # under each of its names
                parent._modules[name] = swaps[child]
    return len(swaps) // 2


def _pairs(model: nn.Module, graph: fx.Graph) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions and the norms that can be folded into them; of any number of dimensions."""
    modules = dict(model.named_modules())
    runs = Counter(modules[str(node.target)] for node in graph.nodes if node.op == "call_module")
    # Tensors that the forward reads itself, beside calling a module that owns them.
    names = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    read = {tensor for name, tensor in (*model.named_parameters(), *model.named_buffers()) if name in names}
    alone = {module for module, times in runs.items() if times == 1}
    alone -= {module for module in alone if not read.isdisjoint((*module.parameters(), *module.buffers()))}
    pairs = []
    for node in graph.nodes:
        source = node.args[0] if node.op == "call_module" and len(node.args) == 1 else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        conv, norm = modules[str(source.target)], modules[str(node.target)]
        if {conv, norm} <= alone and _foldable(conv, norm):
            pairs.append((conv, norm))
    return pairs


def _foldable(conv: nn.Module, norm: nn.Module) -> bool:
    return (
        type(conv) in _CONVOLUTIONS
        and type(norm) in _NORMS
        and not norm.training
        and not conv.training
        and norm.running_mean is not None  # without them it takes the statistics of each batch
        and not any(
            hooks
            for module in (conv, norm)
            for hooks in (module._forward_hooks, module._forward_pre_hooks)  # they would see other tensors
        )
    )
