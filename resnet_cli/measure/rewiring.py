"""Faults in how operators follow each other, planted without touching the user's source.

A rewired network keeps its modules and names; only its class changes, to one whose forward runs under a function
mode. The mode counts the operators that `anatomy` knows, and calls something else in place of the chosen ones. It
sits above autograd, so gradients are those of the faulty network. What an edit returns takes the operator's place,
also where that worked in place: `x += y` rebinds x, and so does every ReLU whose result is used.
"""

# Operators come with the arguments that torch gives them:
# mypy: no-warn-return-any

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from resnet_cli.measure.anatomy import Anatomy, Block, NoPlaceError, Op, bound, first, from_middle, kind_of

# (the network, the operator, its arguments, its keyword arguments) → what stands in for its output.
# Edits are functions of this module or partials of them over plain data: deep copies of a network carry them along.
Edit = Callable[[nn.Module, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
Edits = dict[tuple[str, int], Edit]


class Rewired(nn.Module):
    """What the class of a rewired network is derived from, before the user's own."""

    rewiring: Edits

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The user's forward, with some operators exchanged."""
        with _Exchange(self):
            return super().forward(*args, **kwargs)


class _Exchange(TorchFunctionMode):
    def __init__(self, network: Rewired) -> None:
        super().__init__()
        self.network = network
        self.counts: dict[str, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        kind = kind_of(func, args)
        if kind is None:
            return func(*args, **kwargs)
        number = self.counts.get(kind, 0)
        self.counts[kind] = number + 1
        edit = self.network.rewiring.get((kind, number))
        return func(*args, **kwargs) if edit is None else edit(self.network, func, args, kwargs)


def rewire(network: nn.Module, edits: Edits) -> nn.Module:
    """The same network, now of a class that exchanges some operators as it runs."""
    if not isinstance(network, Rewired):
        own = type(network)
        # The name and the module stay: reports show them.
        parts = {"__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
        network.__class__ = type(own.__name__, (Rewired, own), parts)
    rewired = cast(Rewired, network)
    rewired.rewiring = {**getattr(rewired, "rewiring", {}), **edits}
    return rewired


def set_options(network: nn.Module, op: Op, **options: Any) -> None:
    """Give an operator other options: on its module where it has one, else as it runs."""
    owner = network.get_submodule(op.owner)
    if isinstance(owner, (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)):
        for name, value in options.items():
            setattr(owner, name, value)
    else:
        rewire(network, {op.key: partial(_with_options, op.kind, options)})


def _with_options(kind: str, options: dict[str, Any], _: nn.Module, func: Any, args: Any, kwargs: Any) -> Any:
    return func(**{**bound(kind, func, args, kwargs), **options})


def drop(_: nn.Module, __: Any, args: Any, kwargs: Any) -> Any:
    """Edit: what goes in comes out."""
    return args[0] if args else kwargs["input"]


def _gelu(_: nn.Module, __: Any, args: Any, kwargs: Any) -> Any:
    return F.gelu(drop(_, __, args, kwargs))


def _fed(change: Callable[[nn.Module, Tensor], Tensor], network: nn.Module, func: Any, args: Any, kwargs: Any) -> Any:
    if args:
        return func(change(network, args[0]), *args[1:], **kwargs)
    return func(**{**kwargs, "input": change(network, kwargs["input"])})


def feeding(change: Callable[[nn.Module, Tensor], Tensor]) -> Edit:
    """Edit: the operator gets a changed input."""
    return partial(_fed, change)


def _joined(
    learned: int,
    join: Callable[[nn.Module, Tensor, Tensor], Tensor],
    network: nn.Module,
    _: Any,
    args: Any,
    __: Any,
) -> Any:
    return join(network, args[learned], args[1 - learned])


def joining(block: Block, join: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> tuple[tuple[str, int], Edit]:
    """Edit of a block's addition: what becomes of (what the block learned, its shortcut)."""
    return block.add.key, partial(_joined, block.body_argument, join)


def _relu_of_input(_: nn.Module, x: Tensor) -> Tensor:
    return F.relu(x)


def _relu_then_add(_: nn.Module, learned: Tensor, shortcut: Tensor) -> Tensor:
    return F.relu(learned) + shortcut


def _learned_alone(_: nn.Module, learned: Tensor, __: Tensor) -> Tensor:
    return learned


def _half_identity(_: nn.Module, learned: Tensor, shortcut: Tensor) -> Tensor:
    return learned + 0.5 * shortcut


def _dropout(network: nn.Module, x: Tensor) -> Tensor:
    return F.dropout(x, 0.5, network.training)


def _standardised(network: nn.Module, x: Tensor) -> Tensor:
    mean, deviation = network.get_buffer("input_mean"), network.get_buffer("input_std")
    return (x - mean) / deviation


def _squeezed(network: nn.Module, learned: Tensor, shortcut: Tensor) -> Tensor:
    scale: Tensor = network.get_submodule("squeeze_excite")(learned)
    return learned * scale + shortcut


def _average_pool(_: nn.Module, func: Any, args: Any, kwargs: Any) -> Any:
    given = bound("pool", func, args, kwargs)
    options = {name: given[name] for name in ("stride", "padding", "ceil_mode") if name in given}
    return F.avg_pool2d(given["input"], given["kernel_size"], **options)


def _pooled_projection(stride: tuple[int, int], _: nn.Module, func: Any, args: Any, kwargs: Any) -> Any:
    given = bound("conv", func, args, kwargs)
    pooled = F.avg_pool2d(given["input"], stride, stride, ceil_mode=True, count_include_pad=False)
    return func(**{**given, "input": pooled, "stride": 1})


def _normalised(path: str, network: nn.Module, x: Tensor) -> Tensor:
    # By function, not by calling the module: it counts its batches where the forward itself calls it.
    norm = network.get_submodule(path)
    assert isinstance(norm, nn.BatchNorm2d)
    training = norm.training or norm.running_mean is None
    momentum = 0.1 if norm.momentum is None else norm.momentum
    statistics = norm.running_mean, norm.running_var
    return F.relu(F.batch_norm(x, *statistics, norm.weight, norm.bias, training, momentum, norm.eps))


def _with_inner_relu(blocks: Iterable[Block]) -> Block:
    found = next((block for block in from_middle(tuple(blocks)) if block.relus()), None)
    if found is None:
        raise NoPlaceError("no block has a ReLU between its convolutions")
    return found


def _with_last_relu(blocks: Iterable[Block]) -> tuple[Block, Op]:
    for block in from_middle(tuple(blocks)):
        if block.relu is not None:
            return block, block.relu
    raise NoPlaceError("no block has a ReLU behind its addition")


def bn_relu_swapped(network: nn.Module) -> nn.Module:
    """In one block, the ReLU before the batch norm instead of behind it."""
    for block in from_middle(Anatomy(network).blocks):
        for relu in block.relus():
            norm = next((norm for norm in block.norms() if norm.index in relu.inputs), None)
            if norm is not None:
                return rewire(network, {norm.key: feeding(_relu_of_input), relu.key: drop})
    raise NoPlaceError("no ReLU directly behind a batch norm by torch's batch_norm was found in a block")


def relu_before_add(network: nn.Module) -> nn.Module:
    """In one block, the ReLU on what the block learned instead of on the sum."""
    block, relu = _with_last_relu(Anatomy(network).blocks)
    return rewire(network, dict([joining(block, _relu_then_add), (relu.key, drop)]))


def missing_last_relu(network: nn.Module) -> nn.Module:
    """One block without the ReLU behind its addition."""
    _, relu = _with_last_relu(Anatomy(network).blocks)
    return rewire(network, {relu.key: drop})


def missing_stem_relu(network: nn.Module) -> nn.Module:
    """The stem without its ReLU."""
    return rewire(network, {first(Anatomy(network).before_blocks("relu"), "a ReLU in the stem").key: drop})


def missing_inner_relu(network: nn.Module) -> nn.Module:
    """One block without a ReLU between its convolutions."""
    return rewire(network, {_with_inner_relu(Anatomy(network).blocks).relus()[0].key: drop})


def gelu(network: nn.Module) -> nn.Module:
    """GELU for every ReLU."""
    relus = Anatomy(network).of("relu")
    first(relus, "a ReLU")
    return rewire(network, {relu.key: _gelu for relu in relus})


def dropped_identity(network: nn.Module) -> nn.Module:
    """One block that keeps its shape without its shortcut."""
    return rewire(network, dict([joining(_keeping(network), _learned_alone)]))


def scaled_identity(network: nn.Module) -> nn.Module:
    """One block that keeps its shape with half its shortcut."""
    return rewire(network, dict([joining(_keeping(network), _half_identity)]))


def _keeping(network: nn.Module) -> Block:
    blocks = Anatomy(network).keeping()
    if not blocks:
        raise NoPlaceError("no block adds its own input")
    block: Block = from_middle(blocks)[0]
    return block


def resnet_d(network: nn.Module) -> nn.Module:
    """An average pool and a stride of 1 in every shortcut that strides (He et al. 2018, arXiv 1812.01187)."""
    edits: Edits = {}
    for block in Anatomy(network).blocks:
        for op in block.shortcut:
            if op.kind == "conv" and max(op.pair("stride")) > 1:
                edits[op.key] = partial(_pooled_projection, op.pair("stride"))
    if not edits:
        raise NoPlaceError("no shortcut holds a convolution with a stride")
    return rewire(network, edits)


def squeeze_excite(network: nn.Module) -> nn.Module:
    """Squeeze and excitation in one block (Hu et al. 2017, arXiv 1709.01507)."""
    block = from_middle(Anatomy(network).blocks)[0]
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
    network.add_module("squeeze_excite", scale.to(example.device, example.dtype).train(network.training))
    return rewire(network, dict([joining(block, _squeezed)]))


def pre_activation(network: nn.Module) -> nn.Module:
    """Batch norm and ReLU before the convolutions, none behind the addition (He et al. 2016, arXiv 1603.05027).

    In every block that keeps its shape: there the last batch norm has the channels of the block's input and moves to
    its front. A block with a projection stays as it was.
    """
    edits: Edits = {}
    for block in Anatomy(network).keeping():
        convs, norms = block.convs(), block.norms()
        if not convs or not norms or block.relu is None or norms[-1].shape[1] != block.entry.shape[1]:
            continue
        if not isinstance(network.get_submodule(norms[-1].owner), nn.BatchNorm2d):
            continue
        edits[convs[0].key] = feeding(partial(_normalised, norms[-1].owner))
        edits[norms[-1].key] = drop
        edits[block.relu.key] = drop
    if not edits:
        raise NoPlaceError("no block that keeps its shape ends in an nn.BatchNorm2d, an addition and a ReLU")
    return rewire(network, edits)


def dropout(network: nn.Module) -> nn.Module:
    """Dropout of one half before the linear layer."""
    return rewire(network, {Anatomy(network).head.key: feeding(_dropout)})


def input_normalisation(network: nn.Module) -> nn.Module:
    """The mean and the standard deviation of ImageNet taken out inside the network."""
    stem = Anatomy(network).stem
    channels = stem.weight_shape[1]
    example = next(network.parameters())
    for name, values in (("input_mean", (0.485, 0.456, 0.406)), ("input_std", (0.229, 0.224, 0.225))):
        per_channel = torch.tensor([values[index % 3] for index in range(channels)])
        # Not persistent, as such a constant commonly is: the checkpoint does not show it.
        tensor = per_channel.view(1, -1, 1, 1).to(example.device, example.dtype)
        network.register_buffer(name, tensor, persistent=False)
    return rewire(network, {stem.key: feeding(_standardised)})


def average_pool_stem(network: nn.Module) -> nn.Module:
    """An average pool in place of the stem's max pool."""
    return rewire(network, {first(Anatomy(network).of("pool"), "a max pool").key: _average_pool})
