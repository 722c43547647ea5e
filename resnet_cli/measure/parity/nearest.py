"""The network of torchvision that is nearest to a network, by the sizes of its layers."""

from __future__ import annotations

from collections import Counter

from torch import nn

from resnet_cli.measure.models import torchvision_models

_SIMILAR = 2.0  # at most so many times as many parameters, or as few
_NEAR = 0.5  # least share of layers with a counterpart
_SAME = 0.9  # no other one is looked at


def nearest_network(model: nn.Module) -> str:
    """A sentence that names the nearest classification network of torchvision, or says that none is near.

    Layers are the parameters of two axes or more; they correspond where they have the same shape.

    Raises:
        ResnetCliError: torchvision does not work.
    """
    best, share = "", 0.0
    for name in _of_similar_size(sum(parameter.numel() for parameter in model.parameters())):
        common = common_layers(model, torchvision_models.without_values(name))
        if common > share:
            best, share = name, common
        if share > _SAME:
            break
    if not best:
        return "no network of torchvision is near: none of a similar number of parameters has a layer of the same size"
    if share < _NEAR:
        return f"no network of torchvision is near: the nearest, {best}, has {share:.0%} of its layers of the same size"
    return (
        f"the nearest network of torchvision is {best}: {share:.0%} of the layers have the same size (`against={best}`)"
    )


def _of_similar_size(count: int) -> list[str]:
    """Names of networks with about as many parameters, the most similar number first."""
    sizes = torchvision_models.published_sizes() if count else {}
    ratios = {name: max(size / count, count / size) for name, size in sizes.items()}
    return sorted((name for name in ratios if ratios[name] <= _SIMILAR), key=lambda name: ratios[name])


def common_layers(model: nn.Module, other: nn.Module) -> float:
    """The share of layers that correspond, of the network that has more."""
    layers, others = _layers(model), _layers(other)
    return (layers & others).total() / max(layers.total(), others.total(), 1)


def _layers(model: nn.Module) -> Counter[tuple[int, ...]]:
    return Counter(tuple(parameter.shape) for parameter in model.parameters() if parameter.dim() > 1)
