"""Faults in the tensors of a network that is otherwise right."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn

from resnet_cli.measure.faults.op_capture import NotApplicableError
from resnet_cli.measure.faults.residual_structure import ResidualStructure, by_distance_from_middle, norms_of_blocks


def _largest(tensor: Tensor) -> float:
    # On meta there are no values; there the size of the change means nothing either.
    return 1.0 if tensor.is_meta else float(tensor.detach().abs().max()) or 1.0


def _perturb(tensor: Tensor, value: float | None = None) -> None:
    """Set the middle element, or move it by a thousandth of the largest."""
    with torch.no_grad():
        element = tensor.view(-1)[tensor.numel() // 2]
        element.copy_(element + 1e-3 * _largest(tensor) if value is None else torch.full_like(element, value))


def _middle_weight(network: nn.Module) -> nn.Parameter:
    weights = [op.weight for op in ResidualStructure(network).middle_convs() if op.weight is not None]
    if not weights:
        raise NotApplicableError("no convolution of a block reads a parameter of the network")
    return network.get_parameter(weights[0])


def one_weight(network: nn.Module) -> nn.Module:
    """One weight off by a thousandth of the largest."""
    _perturb(_middle_weight(network))
    return network


def nan(network: nn.Module) -> nn.Module:
    """One weight that is NaN."""
    _perturb(_middle_weight(network), float("nan"))
    return network


def one_buffer(network: nn.Module) -> nn.Module:
    """One running mean off by a thousandth of the largest."""
    means = [buffer for _, buffer in network.named_buffers() if buffer.dim() == 1 and buffer.is_floating_point()]
    try:
        means = [norm.running_mean for norm in norms_of_blocks(network) if norm.running_mean is not None] or means
    except NotApplicableError:
        if not means:
            raise
        means = by_distance_from_middle(means)
    if not means:
        raise NotApplicableError("no batch norm has running statistics")
    _perturb(means[0])
    return network


def swapped_convs(network: nn.Module) -> nn.Module:
    """The weights of two convolutions of one shape exchanged."""
    names = dict.fromkeys(op.weight for op in ResidualStructure(network).middle_convs() if op.weight is not None)
    weights = [network.get_parameter(name) for name in names]
    for first, second in combinations(weights, 2):
        if first.shape == second.shape and (first.is_meta or not torch.equal(first, second)):
            with torch.no_grad():
                values = first.clone()
                first.copy_(second)
                second.copy_(values)
            return network
    raise NotApplicableError("no two convolutions of blocks have the same shape")


def frozen_parameter(network: nn.Module) -> nn.Module:
    """A parameter that is not trained."""
    weight = _middle_weight(network)
    if not weight.requires_grad:
        raise NotApplicableError("the convolution in the middle is frozen already")
    weight.requires_grad_(False)
    return network
