"""Recognises decomposed operators, such as a norm written by hand or a dropout, and replaces them by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from resnet_cli.measure.graph.nodes import Node
from resnet_cli.measure.ops.settings import Settings

# A norm divides by a standard deviation: one of these is in it.
_SPREAD = frozenset("var var_mean std std_mean rsqrt sqrt pow var_mean_correction".split())
_REDUCTIONS = frozenset("mean var std var_mean std_mean sum".split())
_WORDS = {
    "weight": ("weight", "gamma", "scale", "gain"),
    "bias": ("bias", "beta", "shift", "offset"),
    "running_var": ("var", "std", "sigma"),
    "running_mean": ("mean", "mu", "avg"),
}


@dataclass(frozen=True, slots=True)
class CompositeOp:
    """One operator that stands for all operators of a module."""

    operator: str
    settings: Settings
    leaves: dict[str, tuple[str, Tensor]]  # role -> name in the module, tensor


def could_be_composite(module: nn.Module) -> bool:
    """Whether the operators of a module may be one composite operator, judged by the module alone."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return True
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.padding_mode != "zeros"
    if type(module).__module__.startswith("torch.nn.") or next(module.children(), None) is not None:
        return False
    return next(_vectors(module), None) is not None


def _vectors(module: nn.Module) -> Any:
    owned = (*module.named_parameters(), *module.named_buffers())
    return ((name, tensor) for name, tensor in owned if tensor.dim())


def recognize_composites(
    module: nn.Module, inside: Sequence[Node], input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> CompositeOp | None:
    """The composite operator that a module computes; None if its operators stay as they are.

    Args:
        module: that has just run.
        inside: its operators.
        input_shape: of the module.
        output_shape: of the module.
    """
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return CompositeOp("dropout", {"p": _probability(module.p)}, {})
    if isinstance(module, nn.Conv2d):
        return _conv(module)
    return _norm(module, inside, input_shape, output_shape)


def _conv(module: nn.Conv2d) -> CompositeOp:
    padding = module.padding if isinstance(module.padding, tuple) else (module.padding,) * 2
    settings: Settings = {
        "channels": (module.in_channels, module.out_channels),
        "kernel": module.kernel_size,
        "stride": module.stride,
        "padding": padding,
        "dilation": module.dilation,
        "groups": module.groups,
        "bias": module.bias is not None,
        "padding_mode": module.padding_mode,
    }
    leaves = {"weight": ("weight", module.weight)}
    return CompositeOp("conv", settings, leaves | ({} if module.bias is None else {"bias": ("bias", module.bias)}))


def _norm(
    module: nn.Module, inside: Sequence[Node], input_shape: tuple[int, ...], output_shape: tuple[int, ...]
) -> CompositeOp | None:
    """A norm written by hand: per-channel vectors, a division by a spread, and the shape stays."""
    if input_shape != output_shape or len(input_shape) < 2:
        return None
    operators = {node.operator for node in inside}
    computed = {kind for node in inside for leaf in node.leaves.values() for kind in leaf.computed}
    by_running = not _SPREAD & operators and bool(_SPREAD & computed)  # in eval mode
    if not by_running and not _SPREAD & operators:
        return None
    vectors = list(_vectors(module))
    if any(tensor.numel() != input_shape[1] for _, tensor in vectors):
        return None
    operator = _kind_of_norm([node.shape for node in inside if node.operator in _REDUCTIONS], input_shape)
    if operator is None:
        return None
    leaves: dict[str, tuple[str, Tensor]] = {}
    for kinds, roles in (
        (module.named_parameters(), ("weight", "bias")),
        (module.named_buffers(), ("running_mean", "running_var", "weight", "bias")),
    ):
        owned = [(name, tensor) for name, tensor in kinds if tensor.dim()]
        _by_word(owned, roles, leaves)
        for role, item in zip([role for role in roles if role not in leaves], owned, strict=False):
            leaves[role] = item
    if by_running and "running_var" not in leaves:
        return None
    if operator != "batch_norm":
        return CompositeOp(operator, {"channels": input_shape[1]}, leaves)
    settings: Settings = {
        "channels": input_shape[1],
        "affine": "weight" in leaves,
        "track_running_stats": "running_mean" in leaves,
    }
    attributes = [value for value in vars(module).values() if isinstance(value, Tensor)]
    if "running_mean" not in leaves and any(tensor.numel() == input_shape[1] for tensor in attributes):
        settings |= {"track_running_stats": True, "statistics": "plain attributes"}
    for name, words in (("eps", ("eps", "epsilon")), ("momentum", ("momentum",))):
        for word in words:
            value = getattr(module, word, None)
            if isinstance(value, float):
                settings[name] = value
    return CompositeOp("batch_norm", settings, leaves)


def _kind_of_norm(statistics: Sequence[tuple[int, ...]], shape: tuple[int, ...]) -> str | None:
    """The norm that takes such statistics of an activation; None for no norm that is known.

    Args:
        statistics: shapes of means and variances; none where a batch norm reads its running statistics.
        shape: of the activation.
    """

    def long(*sizes: int) -> tuple[int, ...]:
        return tuple(size for size in sizes if size > 1)

    batch, channels, *places = shape
    lengths = [long(*each) for each in statistics]
    if not lengths or long(channels) in lengths:
        return "batch_norm"
    if long(batch, channels) in lengths:
        return "instance_norm"
    if long(batch) in lengths or long(batch, *places) in lengths:
        return "layer_norm"
    is_grouped = any(len(each) == 2 and each[0] == batch and channels % each[1] == 0 for each in lengths)
    return "group_norm" if is_grouped else None


def _by_word(owned: list[tuple[str, Tensor]], roles: Sequence[str], leaves: dict[str, tuple[str, Tensor]]) -> None:
    """Give vectors the role that their name tells, and take them off the list."""
    for role in roles:
        for item in owned:
            if role not in leaves and any(word in item[0].lower() for word in _WORDS[role]):
                leaves[role] = item
                owned.remove(item)
                break


def composite_functions(nodes: dict[int, Node]) -> dict[int, Node]:
    """Dropout, global pooling and instance norm as functions: one operator each, however they are written."""
    composed = dict(nodes)
    pooled: set[int] = set()
    for number in sorted(composed):
        node = composed[number]
        sources = [composed[i] for i in node.inputs if i in composed]
        if node.operator == "mul" and (settings := _dropped(node, composed)) is not None:
            kept = tuple(i for i in node.inputs if _mask(i, composed) is None)
            composed[number] = node = replace(node, operator="dropout", settings=settings, inputs=kept)
        elif node.operator == "batch_norm" and (norm := _instance_norm(node, sources)) is not None:
            composed[number] = node = norm
        elif node.operator == "conv" and node.settings["kernel"] == (1, 1) and set(node.inputs) <= pooled:
            settings = {"channels": node.settings["channels"], "bias": node.settings["bias"]}
            composed[number] = node = replace(node, operator="linear", settings=settings)
        if node.settings.get("dims") == "spatial" or (node.inputs and set(node.inputs) <= pooled):
            pooled.add(number)
    return composed


def _instance_norm(node: Node, sources: Sequence[Node]) -> Node | None:
    """An instance norm, which torch computes as a batch norm of one image with the channels of all images."""
    if len(sources) != 1 or not 2 < len(node.shape) == len(sources[0].shape):
        return None
    batch, channels = sources[0].shape[:2]
    if batch < 2 or node.shape[:2] != (1, batch * channels):
        return None
    leaves = {
        role: replace(leaf, shape=(channels,), computed=leaf.computed[:-1])  # without the repetition for each image
        for role, leaf in node.leaves.items()
    }
    settings = node.settings | {"channels": channels}
    return replace(node, operator="instance_norm", settings=settings, leaves=leaves, shape=sources[0].shape)


def _mask(number: int, nodes: dict[int, Node]) -> Node | None:
    """Who draws a mask of zeros and ones, through the divisions that scale it; None for anything else."""
    while number in nodes:
        node = nodes[number]
        if node.operator == "bernoulli":
            return node
        if node.operator not in ("div", "mul") or len(node.inputs) != 1:
            return None
        number = node.inputs[0]
    return None


def _dropped(node: Node, nodes: dict[int, Node]) -> Settings | None:
    masks = [mask for number in node.inputs if (mask := _mask(number, nodes)) is not None]
    if len(masks) != 1 or len(node.inputs) != 2:
        return None
    kept = masks[0].settings.get("p")  # not there where a tensor says it, for every element by itself
    return {} if kept is None else {"p": _probability(1 - kept)}


def _probability(value: float) -> float:
    """Without the last digits, in which 1 - (1 - 0.2) is not 0.2."""
    return round(value, 12)
