"""Several operators that are one: a batch norm written by hand, a dropout, a convolution that pads by mirroring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from resnet_cli.measure.nodes import Node
from resnet_cli.measure.operators import Settings

# A norm divides by a standard deviation: one of these is in it.
_SPREAD = frozenset("var var_mean std std_mean rsqrt sqrt pow var_mean_correction".split())
_WORDS = {
    "weight": ("weight", "gamma", "scale", "gain"),
    "bias": ("bias", "beta", "shift", "offset"),
    "running_var": ("var", "std", "sigma"),
    "running_mean": ("mean", "mu", "avg"),
}


@dataclass(frozen=True, slots=True)
class Folded:
    """What a module's operators are together."""

    operator: str
    settings: Settings
    leaves: dict[str, tuple[str, Tensor]]  # role -> name in the module, tensor


def may_fold(module: nn.Module) -> bool:
    """Whether it is worth a look, by the module alone."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return True
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.padding_mode != "zeros"
    if type(module).__module__.startswith("torch.nn.") or next(module.children(), None) is not None:
        return False
    return next(_vectors(module), None) is not None


def _vectors(module: nn.Module) -> Any:
    owned = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    return ((name, tensor) for name, tensor in owned if tensor.dim())


def fold(module: nn.Module, inside: Sequence[str], given: tuple[int, ...], made: tuple[int, ...]) -> Folded | None:
    """What the module's operators are, taken together; None where they are best left as they are.

    Args:
        module: that has just run.
        inside: its operators.
        given: shape of its input.
        made: shape of its output.
    """
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return Folded("dropout", {"p": module.p}, {})
    if isinstance(module, nn.Conv2d):
        return _conv(module)
    return _norm(module, inside, given, made)


def _conv(module: nn.Conv2d) -> Folded:
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
    return Folded("conv", settings, leaves | ({} if module.bias is None else {"bias": ("bias", module.bias)}))


def _norm(module: nn.Module, inside: Sequence[str], given: tuple[int, ...], made: tuple[int, ...]) -> Folded | None:
    """A batch norm written by hand: per-channel vectors, a division by a spread, and the shape stays."""
    if given != made or len(given) < 2 or not _SPREAD & set(inside):
        return None
    vectors = list(_vectors(module))
    if any(tensor.numel() != given[1] for _, tensor in vectors):
        return None
    leaves: dict[str, tuple[str, Tensor]] = {}
    for kinds, roles in (
        (dict(module.named_parameters(recurse=False)), ("weight", "bias")),
        (dict(module.named_buffers(recurse=False)), ("running_mean", "running_var", "weight", "bias")),
    ):
        owned = [(name, tensor) for name, tensor in kinds.items() if tensor.dim()]
        _by_word(owned, roles, leaves)
        for role, item in zip([role for role in roles if role not in leaves], owned, strict=False):
            leaves[role] = item
    settings: Settings = {
        "channels": given[1],
        "affine": "weight" in leaves,
        "track_running_stats": "running_mean" in leaves,
    }
    for name, words in (("eps", ("eps", "epsilon")), ("momentum", ("momentum",))):
        for word in words:
            value = getattr(module, word, None)
            if isinstance(value, float):
                settings[name] = value
    return Folded("batch_norm", settings, leaves)


def _by_word(owned: list[tuple[str, Tensor]], roles: Sequence[str], leaves: dict[str, tuple[str, Tensor]]) -> None:
    """Give vectors the role that their name tells, and take them off the list."""
    for role in roles:
        for item in owned:
            if role not in leaves and any(word in item[0].lower() for word in _WORDS[role]):
                leaves[role] = item
                owned.remove(item)
                break


def fold_functions(nodes: dict[int, Node]) -> dict[int, Node]:
    """Dropout and global pooling as functions: one operator each, however they are written."""
    found = dict(nodes)
    pooled: set[int] = set()
    for number in sorted(found):
        node = found[number]
        sources = [found[i] for i in node.inputs if i in found]
        if node.operator == "mul" and (p := _dropped(node, found)) is not None:
            kept = tuple(i for i in node.inputs if _noise(i, found) is None)
            found[number] = node = replace(node, operator="dropout", settings={"p": p}, inputs=kept)
        elif node.operator == "mean" and len(node.shape) <= 2 and _is_half(sources):
            found[number] = node = replace(node, settings={"dims": "spatial"}, inputs=sources[0].inputs)
        if node.operator == "mean":
            found[number] = node = replace(node, settings={"dims": _spatial(node)})
        elif node.operator == "adaptive_avg_pool" and node.shape[2:] == (1, 1):
            found[number] = node = replace(node, operator="mean", settings={"dims": "spatial"})
        elif node.operator == "conv" and node.settings["kernel"] == (1, 1) and set(node.inputs) <= pooled:
            settings = {"channels": node.settings["channels"], "bias": node.settings["bias"]}
            found[number] = node = replace(node, operator="linear", settings=settings)
        if node.settings.get("dims") == "spatial" or (node.inputs and set(node.inputs) <= pooled):
            pooled.add(number)
    return found


def _is_half(sources: Sequence[Node]) -> bool:
    """A mean along one side of the image, to be followed by one along the other."""
    return len(sources) == 1 and sources[0].operator == "mean" and _spatial(sources[0]) != "spatial"


def _spatial(node: Node) -> Any:
    """The word spatial for a mean over everything behind the channels."""
    dims = node.settings["dims"]
    if isinstance(dims, str) or not dims:
        return dims
    rank = len(node.shape) if len(node.shape) > len(dims) + 1 else len(node.shape) + len(dims)
    behind = tuple(range(2, rank))
    return "spatial" if dims == behind or (dims == (2,) == behind[:1] and rank == 3) else dims


def _noise(number: int, nodes: dict[int, Node]) -> float | None:
    """The probability of a mask of zeros and ones, through the divisions that scale it; None for anything else."""
    seen = 0
    while number in nodes and seen < 4:
        node = nodes[number]
        if node.operator == "bernoulli":
            return float(node.settings.get("p", 0.5))
        if node.operator not in ("div", "mul") or len(node.inputs) != 1:
            return None
        number, seen = node.inputs[0], seen + 1
    return None


def _dropped(node: Node, nodes: dict[int, Node]) -> float | None:
    kept = [_noise(number, nodes) for number in node.inputs]
    found = [value for value in kept if value is not None]
    return 1 - found[0] if len(found) == 1 and len(kept) == 2 else None
