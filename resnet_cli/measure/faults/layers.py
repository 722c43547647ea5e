"""Faults in single layers: strides, paddings, kernels, batch norms and their options."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from resnet_cli.measure.faults.op_capture import FunctionCall, NotApplicableError
from resnet_cli.measure.faults.op_patching import drop, rewire, set_options
from resnet_cli.measure.faults.residual_structure import (
    Block,
    ResidualStructure,
    by_distance_from_middle,
    conv_of,
    first,
    norms_of_blocks,
)


class BiasedBatchNorm2d(nn.Module):
    """Batch norm by hand whose running variance takes the biased variance of the batch."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.eps = norm.eps
        self.momentum = 0.1 if norm.momentum is None else norm.momentum
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean: Tensor
        self.running_var: Tensor
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)
        self.training = norm.training

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each channel."""
        mean, variance = self.running_mean, self.running_var
        if self.training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_(variance.to(self.running_var.dtype), self.momentum)
                if "num_batches_tracked" in self._buffers:
                    self.get_buffer("num_batches_tracked").add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return x * scale.view(1, -1, 1, 1) + (self.bias - mean * scale).view(1, -1, 1, 1)


def _replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    # A module may be registered under several names; all of them mean the fault.
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child is old:
                parent._modules[name] = new


def _noise(like: Tensor, shape: Sequence[int], scale: float) -> Tensor:
    values = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0)) * scale
    return values.to(like.device, like.dtype)


# Convolution and pooling -------------------------------------------------------------------------------------------


def _bottlenecks(structure: ResidualStructure) -> list[Block]:
    kernels = [1, 3, 1]
    return [block for block in structure.blocks if [op.kernel for op in block.convs()] == kernels and block.strided()]


def stride_in_1x1(network: nn.Module) -> nn.Module:
    """ResNet v1: the stride in the first 1×1 of every bottleneck."""
    blocks = [block for block in _bottlenecks(ResidualStructure(network)) if max(block.convs()[1].pair("stride")) > 1]
    if not blocks:
        raise NotApplicableError("no bottleneck strides in its 3×3 convolution")
    for block in blocks:
        conv1x1, conv3x3, _ = block.convs()
        set_options(network, conv1x1, stride=conv3x3.pair("stride"))
        set_options(network, conv3x3, stride=conv1x1.pair("stride"))
    return network


def stride_moved(network: nn.Module) -> nn.Module:
    """The stride in the second convolution of every basic block."""
    blocks = ResidualStructure(network).blocks
    basic = [block.convs() for block in blocks if [op.kernel for op in block.convs()] == [3, 3]]
    strided = [convs for convs in basic if max(convs[0].pair("stride")) > 1]
    if not strided:
        raise NotApplicableError("no basic block strides in its first convolution")
    for conv1, conv2 in strided:
        set_options(network, conv1, stride=conv2.pair("stride"))
        set_options(network, conv2, stride=conv1.pair("stride"))
    return network


def stem_padding(network: nn.Module) -> nn.Module:
    """One pixel less padding in the stem's convolution."""
    stem = ResidualStructure(network).stem
    padding = stem.pair("padding")
    if min(padding) < 1:
        raise NotApplicableError("the stem's convolution has no padding to lose")
    set_options(network, stem, padding=(padding[0] - 1, padding[1] - 1))
    return network


def _pool(network: nn.Module) -> FunctionCall:
    return first(ResidualStructure(network).of("pool"), "max pool")


def pool_padding(network: nn.Module) -> nn.Module:
    """The max pool with ceil_mode in place of padding, as in Caffe."""
    pool = _pool(network)
    if pool.pair("padding") == (0, 0):
        raise NotApplicableError("the max pool has no padding to lose")
    set_options(network, pool, padding=0, ceil_mode=True)
    return network


def ceil_mode(network: nn.Module) -> nn.Module:
    """The max pool's other ceil_mode."""
    pool = _pool(network)
    set_options(network, pool, ceil_mode=not pool.options["ceil_mode"])
    return network


def conv_padding(network: nn.Module) -> nn.Module:
    """A 3×3 without padding, and the next convolution with one pixel more: the shapes stay."""
    for block in by_distance_from_middle(ResidualStructure(network).identity_blocks()):
        for conv, following in pairwise(block.convs()):
            padding, following_padding = conv.pair("padding"), following.pair("padding")
            if conv.kernel == 3 and min(padding) > 0:
                set_options(network, conv, padding=(padding[0] - 1, padding[1] - 1))
                set_options(network, following, padding=(following_padding[0] + 1, following_padding[1] + 1))
                return network
    raise NotApplicableError("no block that keeps its shape has a padded 3×3 before another convolution")


def _plain_3x3(network: nn.Module) -> FunctionCall:
    convs = [op for op in ResidualStructure(network).middle_convs(3) if op.pair("padding") == (1, 1)]
    return first(convs, "3×3 convolution with a padding of 1 in a block")


def reflect(network: nn.Module) -> nn.Module:
    """A 3×3 padded by reflection."""
    conv_of(network, _plain_3x3(network)).padding_mode = "reflect"
    return network


def kernel(network: nn.Module) -> nn.Module:
    """A 5×5 in place of a 3×3."""
    conv = conv_of(network, _plain_3x3(network))
    # A border of zeros would be the same convolution.
    wider = _noise(conv.weight, (*conv.weight.shape[:2], 5, 5), 0.01)
    wider[:, :, 1:4, 1:4] = conv.weight.detach()
    conv.weight = nn.Parameter(wider)
    conv.kernel_size, conv.padding = (5, 5), (2, 2)
    return network


def dilation(network: nn.Module) -> nn.Module:
    """A 3×3 with a dilation of 2."""
    set_options(network, _plain_3x3(network), dilation=(2, 2), padding=(2, 2))
    return network


def groups(network: nn.Module) -> nn.Module:
    """A 3×3 with other groups."""
    conv = conv_of(network, _plain_3x3(network))
    weight = conv.weight.detach()
    if conv.groups > 1:
        factor = next(factor for factor in range(2, conv.groups + 1) if conv.groups % factor == 0)
        conv.groups //= factor
        conv.weight = nn.Parameter(weight.repeat(1, factor, 1, 1))
    elif conv.in_channels % 2 == 0 and conv.out_channels % 2 == 0:
        conv.groups = 2
        conv.weight = nn.Parameter(weight[:, : conv.in_channels // 2].clone())
    else:
        raise NotApplicableError("the channels of the convolution cannot be halved")
    return network


# Batch norm --------------------------------------------------------------------------------------------------------


def _without_norm(network: nn.Module, op: FunctionCall) -> nn.Module:
    owner = network.get_submodule(op.owner)
    if isinstance(owner, nn.BatchNorm2d):
        _replace(network, owner, nn.Identity())
        return network
    return rewire(network, {op.key: drop})


def missing_bn(network: nn.Module) -> nn.Module:
    """A block without one of its batch norms."""
    blocks = by_distance_from_middle(ResidualStructure(network).blocks)
    norms = [norm for block in blocks for norm in block.norms()]
    return _without_norm(network, first(norms, "batch norm by torch's batch_norm in a block"))


def missing_projection_bn(network: nn.Module) -> nn.Module:
    """A projection without its batch norm."""
    blocks = by_distance_from_middle(ResidualStructure(network).blocks)
    norms = [op for block in blocks for op in block.shortcut if op.kind == "norm"]
    return _without_norm(network, first(norms, "batch norm by torch's batch_norm in a shortcut"))


def every_norm(option: str, value: float, network: nn.Module) -> nn.Module:
    """An option of every batch norm."""
    for op in _without_value(ResidualStructure(network).of("norm"), option, value):
        set_options(network, op, **{option: value})
    return network


def one_norm(option: str, value: float, network: nn.Module) -> nn.Module:
    """An option of one batch norm."""
    norms = [norm for block in by_distance_from_middle(ResidualStructure(network).blocks) for norm in block.norms()]
    set_options(network, _without_value(norms, option, value)[0], **{option: value})
    return network


def _without_value(norms: Sequence[FunctionCall], option: str, value: float) -> list[FunctionCall]:
    first(norms, "batch norm by torch's batch_norm")
    others = [op for op in norms if op.options[option] != value]
    if not others:
        raise NotApplicableError(f"every batch norm has {option}={value} already")
    return others


def affine_off(network: nn.Module) -> nn.Module:
    """A batch norm without weight and bias."""
    norm = next((norm for norm in norms_of_blocks(network) if norm.affine), None)
    if norm is None:
        raise NotApplicableError("no batch norm of a block has a weight and a bias")
    norm.affine = False
    norm.register_parameter("weight", None)
    norm.register_parameter("bias", None)
    return network


def _norm_with_statistics(network: nn.Module) -> nn.BatchNorm2d:
    norm = next((norm for norm in norms_of_blocks(network) if norm.running_mean is not None), None)
    if norm is None:
        raise NotApplicableError("no batch norm of a block has running statistics")
    return norm


def no_running_statistics(network: nn.Module) -> nn.Module:
    """A batch norm without running statistics."""
    norm = _norm_with_statistics(network)
    norm.track_running_stats = False
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        norm.register_buffer(name, None)
    return network


def biased_running_variance(network: nn.Module) -> nn.Module:
    """A batch norm by hand whose running variance is biased."""
    norm = _norm_with_statistics(network)
    if not norm.affine:
        raise NotApplicableError("the batch norm has no weight and no bias")
    _replace(network, norm, BiasedBatchNorm2d(norm))
    return network


def conv_bias(network: nn.Module) -> nn.Module:
    """A convolution with a bias."""
    for op in ResidualStructure(network).middle_convs():
        conv = conv_of(network, op)
        if conv.bias is None:
            conv.bias = nn.Parameter(_noise(conv.weight, (conv.out_channels,), 0.1))
            return network
    raise NotApplicableError("every convolution of a block has a bias already")


def no_head_bias(network: nn.Module) -> nn.Module:
    """The linear layer without its bias."""
    linear = network.get_submodule(ResidualStructure(network).head.owner)
    if not isinstance(linear, nn.Linear) or linear.bias is None:
        raise NotApplicableError("the head is not an nn.Linear with a bias")
    linear.register_parameter("bias", None)
    return network
