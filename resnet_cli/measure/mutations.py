"""Faults that people build into a ResNet, each planted in the user's own network to see whether it is found.

Where a fault is one of a block class (a stride in the wrong convolution) or of a constructor's argument (an eps), it
is planted wherever it fits; every other sits in one place, in the middle of the network: the hardest case to see.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from resnet_cli.measure import rewiring
from resnet_cli.measure.anatomy import Anatomy, Block, NoPlaceError, Op, first, from_middle, runs
from resnet_cli.measure.rewiring import drop, rewire, set_options

__all__ = ["MUTATIONS", "Mutation", "NoPlaceError"]

Plant = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One fault.

    `plant` gets a deep copy, changes it and returns the faulty network, which runs on a small image.
    It raises NoPlaceError where the network has no place for the fault.
    """

    key: str  # "stride-in-1x1"
    group: str  # "convolution and pooling"
    title: str
    plant: Plant


class BiasedBatchNorm2d(nn.Module):
    """Batch norm by hand, right but for one thing: the variance that it remembers is the biased one."""

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
        """Normalise each channel."""
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


# What several faults need ------------------------------------------------------------------------------------------


def _conv(network: nn.Module, op: Op) -> nn.Conv2d:
    owner = network.get_submodule(op.owner)
    if not isinstance(owner, nn.Conv2d):
        raise NoPlaceError("the convolution is no nn.Conv2d, so its weight cannot change its shape alone")
    return owner


def _norms(network: nn.Module, ops: Sequence[Op]) -> list[nn.BatchNorm2d]:
    owners = [network.get_submodule(op.owner) for op in ops]
    norms = [owner for owner in owners if isinstance(owner, nn.BatchNorm2d)]
    if not norms:
        raise NoPlaceError("no nn.BatchNorm2d was found")
    return norms


def _inner_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    # First the batch norms behind the first convolution of each block, from the middle outwards.
    blocks = from_middle(Anatomy(network).blocks)
    return _norms(network, [norm for block in blocks for norm in block.norms()])


def _replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    # A module may be registered under several names; all of them mean the fault.
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child is old:
                parent._modules[name] = new


def _noise(like: Tensor, shape: Sequence[int], scale: float) -> Tensor:
    values = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0)) * scale
    return values.to(like.device, like.dtype)


def _largest(tensor: Tensor) -> float:
    # On meta there are no values; there the size of the change means nothing either.
    return 1.0 if tensor.is_meta else float(tensor.detach().abs().max()) or 1.0


def _spoil(tensor: Tensor, value: float | None = None) -> None:
    """Set the middle element, or move it by a thousandth of the largest."""
    with torch.no_grad():
        element = tensor.view(-1)[tensor.numel() // 2]
        element.copy_(element + 1e-3 * _largest(tensor) if value is None else torch.full_like(element, value))


def _middle_weight(network: nn.Module) -> nn.Parameter:
    weights = [op.weight for op in Anatomy(network).middle_convs() if op.weight is not None]
    if not weights:
        raise NoPlaceError("no convolution of a block reads a parameter of the network")
    return network.get_parameter(weights[0])


# Convolution and pooling -------------------------------------------------------------------------------------------


def _bottlenecks(anatomy: Anatomy) -> list[Block]:
    kernels = [1, 3, 1]
    return [block for block in anatomy.blocks if [op.kernel for op in block.convs()] == kernels and block.strided()]


def _stride_in_1x1(network: nn.Module) -> nn.Module:
    blocks = [block for block in _bottlenecks(Anatomy(network)) if max(block.convs()[1].pair("stride")) > 1]
    if not blocks:
        raise NoPlaceError("no bottleneck strides in its 3×3 convolution")
    for block in blocks:
        one, three, _ = block.convs()
        set_options(network, one, stride=three.pair("stride"))
        set_options(network, three, stride=one.pair("stride"))
    return network


def _stride_moved(network: nn.Module) -> nn.Module:
    blocks = Anatomy(network).blocks
    basic = [block.convs() for block in blocks if [op.kernel for op in block.convs()] == [3, 3]]
    strided = [convs for convs in basic if max(convs[0].pair("stride")) > 1]
    if not strided:
        raise NoPlaceError("no basic block strides in its first convolution")
    for one, two in strided:
        set_options(network, one, stride=two.pair("stride"))
        set_options(network, two, stride=one.pair("stride"))
    return network


def _stem_padding(network: nn.Module) -> nn.Module:
    stem = Anatomy(network).stem
    padding = stem.pair("padding")
    if min(padding) < 1:
        raise NoPlaceError("the stem's convolution has no padding to lose")
    set_options(network, stem, padding=(padding[0] - 1, padding[1] - 1))
    return network


def _pool(network: nn.Module) -> Op:
    return first(Anatomy(network).of("pool"), "a max pool")


def _pool_padding(network: nn.Module) -> nn.Module:
    pool = _pool(network)
    if pool.pair("padding") == (0, 0):
        raise NoPlaceError("the max pool has no padding to lose")
    set_options(network, pool, padding=0, ceil_mode=True)
    return network


def _ceil_mode(network: nn.Module) -> nn.Module:
    pool = _pool(network)
    set_options(network, pool, ceil_mode=not pool.options["ceil_mode"])
    return network


def _conv_padding(network: nn.Module) -> nn.Module:
    for block in from_middle(Anatomy(network).keeping()):
        convs = block.convs()
        for one, two in zip(convs, convs[1:], strict=False):
            less, more = one.pair("padding"), two.pair("padding")
            if one.kernel == 3 and min(less) > 0:
                set_options(network, one, padding=(less[0] - 1, less[1] - 1))
                set_options(network, two, padding=(more[0] + 1, more[1] + 1))
                return network
    raise NoPlaceError("no block that keeps its shape has a padded 3×3 before another convolution")


def _plain_3x3(network: nn.Module) -> Op:
    convs = [op for op in Anatomy(network).middle_convs(3) if op.pair("padding") == (1, 1)]
    return first(convs, "a 3×3 convolution with a padding of 1 in a block")


def _reflect(network: nn.Module) -> nn.Module:
    _conv(network, _plain_3x3(network)).padding_mode = "reflect"
    return network


def _kernel(network: nn.Module) -> nn.Module:
    conv = _conv(network, _plain_3x3(network))
    # A border of zeros would be the same convolution.
    wider = _noise(conv.weight, (*conv.weight.shape[:2], 5, 5), 0.01)
    wider[:, :, 1:4, 1:4] = conv.weight.detach()
    conv.weight = nn.Parameter(wider)
    conv.kernel_size, conv.padding = (5, 5), (2, 2)
    return network


def _dilation(network: nn.Module) -> nn.Module:
    set_options(network, _plain_3x3(network), dilation=(2, 2), padding=(2, 2))
    return network


def _groups(network: nn.Module) -> nn.Module:
    conv = _conv(network, _plain_3x3(network))
    weight = conv.weight.detach()
    if conv.groups > 1:
        factor = next(factor for factor in range(2, conv.groups + 1) if conv.groups % factor == 0)
        conv.groups //= factor
        conv.weight = nn.Parameter(weight.repeat(1, factor, 1, 1))
    elif conv.in_channels % 2 == 0 and conv.out_channels % 2 == 0:
        conv.groups = 2
        conv.weight = nn.Parameter(weight[:, : conv.in_channels // 2].clone())
    else:
        raise NoPlaceError("the channels of the convolution cannot be halved")
    return network


# Batch norm --------------------------------------------------------------------------------------------------------


def _without_norm(network: nn.Module, op: Op) -> nn.Module:
    owner = network.get_submodule(op.owner)
    if isinstance(owner, nn.BatchNorm2d):
        _replace(network, owner, nn.Identity())
        return network
    return rewire(network, {op.key: drop})


def _missing_bn(network: nn.Module) -> nn.Module:
    blocks = from_middle(Anatomy(network).blocks)
    norms = [norm for block in blocks for norm in block.norms()]
    return _without_norm(network, first(norms, "a batch norm by torch's batch_norm in a block"))


def _missing_projection_bn(network: nn.Module) -> nn.Module:
    blocks = from_middle(Anatomy(network).blocks)
    norms = [op for block in blocks for op in block.shortcut if op.kind == "norm"]
    return _without_norm(network, first(norms, "a batch norm by torch's batch_norm in a shortcut"))


def _every_norm(option: str, value: float, network: nn.Module) -> nn.Module:
    norms = Anatomy(network).of("norm")
    first(norms, "a batch norm by torch's batch_norm")
    for op in norms:
        set_options(network, op, **{option: value})
    return network


def _one_norm(option: str, value: float, network: nn.Module) -> nn.Module:
    norms = [norm for block in from_middle(Anatomy(network).blocks) for norm in block.norms()]
    set_options(network, first(norms, "a batch norm by torch's batch_norm in a block"), **{option: value})
    return network


def _affine_off(network: nn.Module) -> nn.Module:
    norm = next((norm for norm in _inner_norms(network) if norm.affine), None)
    if norm is None:
        raise NoPlaceError("no batch norm of a block has a weight and a bias")
    norm.affine = False
    norm.register_parameter("weight", None)
    norm.register_parameter("bias", None)
    return network


def _tracking(network: nn.Module) -> nn.BatchNorm2d:
    norm = next((norm for norm in _inner_norms(network) if norm.running_mean is not None), None)
    if norm is None:
        raise NoPlaceError("no batch norm of a block has running statistics")
    return norm


def _no_running_statistics(network: nn.Module) -> nn.Module:
    norm = _tracking(network)
    norm.track_running_stats = False
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        norm.register_buffer(name, None)
    return network


def _biased_running_variance(network: nn.Module) -> nn.Module:
    norm = _tracking(network)
    if not norm.affine:
        raise NoPlaceError("the batch norm has no weight and no bias")
    _replace(network, norm, BiasedBatchNorm2d(norm))
    return network


# Blocks ------------------------------------------------------------------------------------------------------------


def _in_a_row(network: nn.Module) -> tuple[nn.Module, str]:
    """A block that keeps its shape, as (the nn.Sequential or nn.ModuleList that holds it, its name there)."""
    anatomy = Anatomy(network)
    paths = {id(block): _common([op.weight for op in block.convs()]) for block in anatomy.blocks}
    for block in from_middle(anatomy.keeping()):
        path = paths[id(block)]
        while path:
            others = [other for key, other in paths.items() if key != id(block)]
            if any(other == path or other.startswith(path + ".") for other in others):
                break  # it holds more than this block
            parent_path, _, name = path.rpartition(".")
            parent = network.get_submodule(parent_path)
            if isinstance(parent, (nn.Sequential, nn.ModuleList)):
                return parent, name
            path = parent_path
    raise NoPlaceError("no block that keeps its shape is a child of an nn.Sequential or an nn.ModuleList")


def _common(names: Sequence[str | None]) -> str:
    parts = [name.split(".")[:-1] for name in names if name is not None]
    shared = [column[0] for column in zip(*parts, strict=False) if len(set(column)) == 1]
    # Columns behind the first difference may agree again (conv1.0, conv2.0).
    for length in range(len(shared), -1, -1):
        if all(part[:length] == shared[:length] for part in parts):
            return ".".join(shared[:length])
    return ""


def _refill(parent: nn.Module, children: Sequence[tuple[str, nn.Module]]) -> None:
    # As built anew: an nn.Sequential without names of its own counts from 0.
    numbered = all(name.isdigit() for name in parent._modules)
    parent._modules.clear()
    for index, (name, child) in enumerate(children):
        parent.add_module(str(index) if numbered else name, child)


def _block_fewer(network: nn.Module) -> nn.Module:
    parent, name = _in_a_row(network)
    _refill(parent, [(other, child) for other, child in parent.named_children() if other != name])
    return network


def _block_more(network: nn.Module) -> nn.Module:
    parent, name = _in_a_row(network)
    children: list[tuple[str, nn.Module]] = []
    for other, child in parent.named_children():
        children.append((other, child))
        if other == name:
            twin = copy.deepcopy(child)
            children.append((f"{name}_again", twin))
    _refill(parent, children)
    return network


# Weights -----------------------------------------------------------------------------------------------------------


def _conv_bias(network: nn.Module) -> nn.Module:
    for op in Anatomy(network).middle_convs():
        conv = _conv(network, op)
        if conv.bias is None:
            conv.bias = nn.Parameter(_noise(conv.weight, (conv.out_channels,), 0.1))
            return network
    raise NoPlaceError("every convolution of a block has a bias already")


def _no_head_bias(network: nn.Module) -> nn.Module:
    linear = network.get_submodule(Anatomy(network).head.owner)
    if not isinstance(linear, nn.Linear) or linear.bias is None:
        raise NoPlaceError("the head is no nn.Linear with a bias")
    linear.register_parameter("bias", None)
    return network


def _one_weight(network: nn.Module) -> nn.Module:
    _spoil(_middle_weight(network))
    return network


def _nan(network: nn.Module) -> nn.Module:
    _spoil(_middle_weight(network), float("nan"))
    return network


def _one_buffer(network: nn.Module) -> nn.Module:
    means = [buffer for _, buffer in network.named_buffers() if buffer.dim() == 1 and buffer.is_floating_point()]
    try:
        mean = _tracking(network).running_mean
    except NoPlaceError:
        if not means:
            raise
        mean = from_middle(means)[0]
    assert mean is not None
    _spoil(mean)
    return network


def _swapped_convs(network: nn.Module) -> nn.Module:
    names = dict.fromkeys(op.weight for op in Anatomy(network).middle_convs() if op.weight is not None)
    weights = [network.get_parameter(name) for name in names]
    for index, one in enumerate(weights):
        for other in weights[index + 1 :]:
            if one.shape == other.shape and (one.is_meta or not torch.equal(one, other)):
                with torch.no_grad():
                    kept = one.clone()
                    one.copy_(other)
                    other.copy_(kept)
                return network
    raise NoPlaceError("no two convolutions of blocks have one shape")


def _frozen_parameter(network: nn.Module) -> nn.Module:
    _middle_weight(network).requires_grad_(False)
    return network


# The table ---------------------------------------------------------------------------------------------------------


def _running(plant: Plant, network: nn.Module) -> nn.Module:
    faulty = plant(network)
    runs(faulty)
    return faulty


def _group(group: str, *rows: tuple[str, str, Plant]) -> tuple[Mutation, ...]:
    return tuple(Mutation(key, group, title, partial(_running, plant)) for key, title, plant in rows)


MUTATIONS: tuple[Mutation, ...] = (
    *_group(
        "convolution and pooling",
        ("stride-in-1x1", "ResNet v1: the stride in the first 1×1 of every bottleneck", _stride_in_1x1),
        ("stride-moved", "the stride in the second convolution of every basic block", _stride_moved),
        ("stem-padding", "one pixel less padding in the stem's convolution", _stem_padding),
        ("pool-padding", "the max pool with ceil_mode in place of padding, as in Caffe", _pool_padding),
        ("conv-padding", "a 3×3 without padding, the next convolution with one pixel more", _conv_padding),
        ("ceil-mode", "the max pool's other ceil_mode", _ceil_mode),
        ("reflect", "a 3×3 padded by reflection", _reflect),
        ("kernel", "a 5×5 in place of a 3×3", _kernel),
        ("dilation", "a 3×3 with a dilation of 2", _dilation),
        ("groups", "a convolution with other groups", _groups),
        ("average-pool-stem", "an average pool in place of the stem's max pool", rewiring.average_pool_stem),
    ),
    *_group(
        "batch norm",
        ("missing-bn", "a block without one of its batch norms", _missing_bn),
        ("missing-projection-bn", "a projection without its batch norm", _missing_projection_bn),
        ("eps-1e-3", "eps of 1e-3 in every batch norm", partial(_every_norm, "eps", 1e-3)),
        ("eps-1e-6", "eps of 1e-6 in one batch norm", partial(_one_norm, "eps", 1e-6)),
        ("eps-1.001e-5", "eps of 1.001e-5 in every batch norm, as in Keras", partial(_every_norm, "eps", 1.001e-5)),
        ("momentum", "momentum of 0.01 in every batch norm", partial(_every_norm, "momentum", 0.01)),
        ("affine-off", "a batch norm without weight and bias", _affine_off),
        ("no-running-statistics", "a batch norm without running statistics", _no_running_statistics),
        (
            "biased-running-variance",
            "a batch norm by hand that remembers the biased variance",
            _biased_running_variance,
        ),
    ),
    *_group(
        "wiring",
        ("bn-relu-swapped", "ReLU before batch norm, in one block", rewiring.bn_relu_swapped),
        ("relu-before-add", "ReLU before the addition, in one block", rewiring.relu_before_add),
        ("missing-last-relu", "no ReLU behind the addition, in one block", rewiring.missing_last_relu),
        ("missing-stem-relu", "no ReLU in the stem", rewiring.missing_stem_relu),
        ("missing-inner-relu", "no ReLU between two convolutions, in one block", rewiring.missing_inner_relu),
        ("gelu", "GELU for every ReLU", rewiring.gelu),
        ("resnet-d", "ResNet-D: an average pool in every shortcut that strides", rewiring.resnet_d),
        ("squeeze-excite", "squeeze and excitation in one block", rewiring.squeeze_excite),
        ("pre-activation", "ResNet v2: batch norm and ReLU before the convolutions", rewiring.pre_activation),
        ("block-fewer", "one block fewer", _block_fewer),
        ("block-more", "one block more", _block_more),
        ("dropped-identity", "a block without its shortcut", rewiring.dropped_identity),
        ("scaled-identity", "a block with half its shortcut", rewiring.scaled_identity),
        ("dropout", "dropout before the linear layer", rewiring.dropout),
        ("input-normalisation", "the image normalised inside the network", rewiring.input_normalisation),
    ),
    *_group(
        "weights",
        ("conv-bias", "a convolution with a bias", _conv_bias),
        ("no-head-bias", "the linear layer without its bias", _no_head_bias),
        ("one-weight", "one weight off by a thousandth of the largest", _one_weight),
        ("one-buffer", "one running mean off by a thousandth of the largest", _one_buffer),
        ("swapped-convs", "the weights of two convolutions of one shape exchanged", _swapped_convs),
        ("frozen-parameter", "a parameter that is not trained", _frozen_parameter),
        ("nan", "one weight is NaN", _nan),
    ),
)
