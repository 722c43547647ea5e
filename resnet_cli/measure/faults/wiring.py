"""Faults in the wiring: operators in another order, operators that should not be there, blocks too few or too many."""

# Operators come with the arguments that torch gives them:
# mypy: no-warn-return-any

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_cli.measure.faults.op_capture import FunctionCall, NotApplicableError, bound
from resnet_cli.measure.faults.op_patching import OpPatches, drop, replace_add, replace_input, rewire
from resnet_cli.measure.faults.residual_structure import Block, ResidualStructure, by_distance_from_middle, first


def _gelu(_: nn.Module, __: Any, args: Any, kwargs: Any) -> Any:
    return functional.gelu(drop(_, __, args, kwargs))


def _relu_of_input(_: nn.Module, x: Tensor) -> Tensor:
    return functional.relu(x)


def _relu_then_add(_: nn.Module, learned: Tensor, shortcut: Tensor) -> Tensor:
    return functional.relu(learned) + shortcut


def _without_shortcut(_: nn.Module, learned: Tensor, __: Tensor) -> Tensor:
    return learned


def _half_identity(_: nn.Module, learned: Tensor, shortcut: Tensor) -> Tensor:
    return learned + 0.5 * shortcut


def _dropout(network: nn.Module, x: Tensor) -> Tensor:
    return functional.dropout(x, 0.5, network.training)


def _standardized(network: nn.Module, x: Tensor) -> Tensor:
    mean, std = network.get_buffer("injected_mean"), network.get_buffer("injected_std")
    return (x - mean) / std


def _squeezed(path: str, network: nn.Module, learned: Tensor, shortcut: Tensor) -> Tensor:
    scale: Tensor = network.get_submodule(path)(learned)
    return learned * scale + shortcut


def _average_pool(_: nn.Module, func: Any, args: Any, kwargs: Any) -> Any:
    arguments = bound("pool", func, args, kwargs)
    options = {name: arguments[name] for name in ("stride", "padding", "ceil_mode") if name in arguments}
    return functional.avg_pool2d(arguments["input"], arguments["kernel_size"], **options)


def _pooled_projection(stride: tuple[int, int], _: nn.Module, func: Any, args: Any, kwargs: Any) -> Any:
    arguments = bound("conv", func, args, kwargs)
    pooled = functional.avg_pool2d(arguments["input"], stride, stride, ceil_mode=True, count_include_pad=False)
    return func(**{**arguments, "input": pooled, "stride": 1})


def _pre_activated(path: str, network: nn.Module, x: Tensor) -> Tensor:
    # By function, not by calling the module: it counts its batches where the forward itself calls it.
    norm = network.get_submodule(path)
    assert isinstance(norm, nn.BatchNorm2d)
    training = norm.training or norm.running_mean is None
    momentum = 0.1 if norm.momentum is None else norm.momentum
    statistics = norm.running_mean, norm.running_var
    return functional.relu(functional.batch_norm(x, *statistics, norm.weight, norm.bias, training, momentum, norm.eps))


def _with_inner_relu(blocks: Iterable[Block]) -> Block:
    for block in by_distance_from_middle(tuple(blocks)):
        if block.relus():
            return block
    raise NotApplicableError("no block has a ReLU between its convolutions")


def _with_last_relu(blocks: Iterable[Block]) -> tuple[Block, FunctionCall]:
    for block in by_distance_from_middle(tuple(blocks)):
        if block.relu is not None:
            return block, block.relu
    raise NotApplicableError("no block has a ReLU behind its addition")


def bn_relu_swapped(network: nn.Module) -> nn.Module:
    """In one block, the ReLU before the batch norm instead of behind it."""
    for block in by_distance_from_middle(ResidualStructure(network).blocks):
        for relu in block.relus():
            norm = next((norm for norm in block.norms() if norm.index in relu.inputs), None)
            if norm is not None:
                return rewire(network, {norm.key: replace_input(_relu_of_input), relu.key: drop})
    raise NotApplicableError("no ReLU directly behind a batch norm by torch's batch_norm was found in a block")


def relu_before_add(network: nn.Module) -> nn.Module:
    """In one block, the ReLU on what the block learned instead of on the sum."""
    block, relu = _with_last_relu(ResidualStructure(network).blocks)
    return rewire(network, dict([replace_add(block, _relu_then_add), (relu.key, drop)]))


def missing_last_relu(network: nn.Module) -> nn.Module:
    """One block without the ReLU behind its addition."""
    _, relu = _with_last_relu(ResidualStructure(network).blocks)
    return rewire(network, {relu.key: drop})


def missing_stem_relu(network: nn.Module) -> nn.Module:
    """The stem without its ReLU."""
    return rewire(network, {first(ResidualStructure(network).before_blocks("relu"), "ReLU in the stem").key: drop})


def missing_inner_relu(network: nn.Module) -> nn.Module:
    """One block without a ReLU between its convolutions."""
    return rewire(network, {_with_inner_relu(ResidualStructure(network).blocks).relus()[0].key: drop})


def gelu(network: nn.Module) -> nn.Module:
    """GELU for every ReLU."""
    relus = ResidualStructure(network).of("relu")
    first(relus, "ReLU")
    return rewire(network, {relu.key: _gelu for relu in relus})


def dropped_identity(network: nn.Module) -> nn.Module:
    """One block that keeps its shape without its shortcut."""
    return rewire(network, dict([replace_add(_identity_block(network), _without_shortcut)]))


def scaled_identity(network: nn.Module) -> nn.Module:
    """One block that keeps its shape with half its shortcut."""
    return rewire(network, dict([replace_add(_identity_block(network), _half_identity)]))


def _identity_block(network: nn.Module) -> Block:
    blocks = ResidualStructure(network).identity_blocks()
    if not blocks:
        raise NotApplicableError("no block adds its own input")
    block: Block = by_distance_from_middle(blocks)[0]
    return block


def resnet_d(network: nn.Module) -> nn.Module:
    """An average pool and a stride of 1 in every shortcut that strides (He et al. 2018, arXiv 1812.01187)."""
    edits: OpPatches = {}
    for block in ResidualStructure(network).blocks:
        for op in block.shortcut:
            if op.kind == "conv" and max(op.pair("stride")) > 1:
                edits[op.key] = partial(_pooled_projection, op.pair("stride"))
    if not edits:
        raise NotApplicableError("no shortcut holds a convolution with a stride")
    return rewire(network, edits)


def squeeze_excite(network: nn.Module) -> nn.Module:
    """Squeeze and excitation in one block (Hu et al. 2017, arXiv 1709.01507)."""
    block = by_distance_from_middle(ResidualStructure(network).blocks)[0]
    channels = block.add.shape[1]
    inner = max(channels // 16, 1)
    example = next(network.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1),
            nn.Sigmoid(),
        )
    # The module that adds has a forward of its own; an nn.Sequential would run what is put into it.
    holder, name = network.get_submodule(block.add.owner), "injected_squeeze_excite"
    holder.add_module(name, scale.to(example.device, example.dtype).train(network.training))
    path = f"{block.add.owner}.{name}".removeprefix(".")
    return rewire(network, dict([replace_add(block, partial(_squeezed, path))]))


def pre_activation(network: nn.Module) -> nn.Module:
    """Batch norm and ReLU before the convolutions, none behind the addition (He et al. 2016, arXiv 1603.05027).

    In every block that keeps its shape: there the last batch norm has the channels of the block's input and moves to
    its front. A block with a projection stays as it was.
    """
    edits: OpPatches = {}
    for block in ResidualStructure(network).identity_blocks():
        convs, norms = block.convs(), block.norms()
        if not convs or not norms or block.relu is None or norms[-1].shape[1] != block.entry.shape[1]:
            continue
        if not isinstance(network.get_submodule(norms[-1].owner), nn.BatchNorm2d):
            continue
        edits[convs[0].key] = replace_input(partial(_pre_activated, norms[-1].owner))
        edits[norms[-1].key] = drop
        edits[block.relu.key] = drop
    if not edits:
        raise NotApplicableError("no block that keeps its shape ends in an nn.BatchNorm2d, an addition and a ReLU")
    return rewire(network, edits)


def dropout(network: nn.Module) -> nn.Module:
    """Dropout of one half before the linear layer."""
    return rewire(network, {ResidualStructure(network).head.key: replace_input(_dropout)})


def input_normalization(network: nn.Module) -> nn.Module:
    """The mean and the standard std of ImageNet taken out inside the network."""
    stem = ResidualStructure(network).stem
    channels = stem.weight_shape[1]
    example = next(network.parameters())
    for name, values in (("injected_mean", (0.485, 0.456, 0.406)), ("injected_std", (0.229, 0.224, 0.225))):
        per_channel = torch.tensor([values[index % 3] for index in range(channels)])
        # Not persistent, as such a constant commonly is: the checkpoint does not show it.
        tensor = per_channel.view(1, -1, 1, 1).to(example.device, example.dtype)
        network.register_buffer(name, tensor, persistent=False)
    return rewire(network, {stem.key: replace_input(_standardized)})


def average_pool_stem(network: nn.Module) -> nn.Module:
    """An average pool in place of the stem's max pool."""
    return rewire(network, {first(ResidualStructure(network).of("pool"), "max pool").key: _average_pool})


def _sequential_block(network: nn.Module) -> tuple[nn.Module, str]:
    """A block that keeps its shape, as (the nn.Sequential or nn.ModuleList that holds it, its name there)."""
    structure = ResidualStructure(network)
    paths = {id(block): _common_path([op.weight for op in block.convs()]) for block in structure.blocks}
    for block in by_distance_from_middle(structure.identity_blocks()):
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
    raise NotApplicableError("no block that keeps its shape is a child of an nn.Sequential or an nn.ModuleList")


def _common_path(names: Sequence[str | None]) -> str:
    parts = [name.split(".")[:-1] for name in names if name is not None]
    shared = [column[0] for column in zip(*parts, strict=False) if len(set(column)) == 1]
    # Columns behind the first difference may agree again (conv1.0, conv2.0).
    lengths = (n for n in range(len(shared), -1, -1) if all(part[:n] == shared[:n] for part in parts))
    return ".".join(shared[: next(lengths)])


def _refill(parent: nn.Module, children: Sequence[tuple[str, nn.Module]]) -> None:
    # As built anew: an nn.Sequential without names of its own counts from 0.
    numbered = all(name.isdigit() for name in parent._modules)
    parent._modules.clear()
    for index, (name, child) in enumerate(children):
        parent.add_module(str(index) if numbered else name, child)


def block_fewer(network: nn.Module) -> nn.Module:
    """One block fewer among those that keep their shape."""
    parent, name = _sequential_block(network)
    _refill(parent, [(other, child) for other, child in parent.named_children() if other != name])
    return network


def block_more(network: nn.Module) -> nn.Module:
    """One block that keeps its shape twice, the second with weights of its own."""
    parent, name = _sequential_block(network)
    children: list[tuple[str, nn.Module]] = []
    for other, child in parent.named_children():
        children.append((other, child))
        if other == name:
            children.append((f"{name}_again", copy.deepcopy(child)))
    _refill(parent, children)
    return network
