"""What a network is called with: the arguments of its forward, as descriptions of tensors or as given values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.inputs.specs import TensorSpec
from resnet_cli.measure.tracing.tensors import map_leaves, parts, tensors_in
from resnet_cli.results.common import Input, InputTensor, Note, Shape

IMAGE, EXAMPLE = "image", "example_inputs"
FEWEST_INDICES = 2  # of integers without a limit


class Arguments(NamedTuple):
    """Arguments of a forward, with tensors on one device."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def call(self, model: Callable[..., Any]) -> Any:
        """The output of a network for them."""
        return model(*self.args, **self.kwargs)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Arguments:
        """The same with another tensor for each tensor."""

        def replaced(leaf: Any) -> Any:
            return function(leaf) if isinstance(leaf, Tensor) else leaf

        return Arguments(map_leaves(self.args, replaced), map_leaves(dict(self.kwargs), replaced))

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in tensors_in(self))


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """The arguments of a forward.

    Args:
        args: positional arguments: a `TensorSpec` or a tensor each, lists, dictionaries and objects of them, and plain
            values.
        kwargs: keyword arguments, the same.
        source: where they come from: "image" (the default, one image), "inputs" (described by the user), the name of a
            file, or "example_inputs" (of the user's module).
        names: of the positional arguments, as far as they are known.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    source: str = "inputs"
    names: tuple[str, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether this is one image of the default kind."""
        return self.source == IMAGE

    @property
    def tensors(self) -> dict[str, TensorSpec | Tensor]:
        """The tensors by name: that of the argument, or its position, and with dots what is inside it."""
        names = (*self.names, *map(str, range(len(self.names), len(self.args))))
        named = {**dict(zip(names, self.args, strict=False)), **self.kwargs}
        return {name: leaf for argument, value in named.items() for name, leaf in _leaves(argument, value)}

    @property
    def image_shape(self) -> Shape | None:
        """Shape (N, C, H, W), if the input is one floating-point tensor of four axes and nothing else."""
        leaves = list(self.tensors.values())
        is_image = len(leaves) == 1 and len(leaves[0].shape) == 4 and _is_floating(leaves[0])
        return tuple(leaves[0].shape) if is_image else None

    @property
    def values(self) -> int:
        """Number of values in all tensors."""
        return sum(prod(tensor.shape) for tensor in self.tensors.values())

    @property
    def batch_size(self) -> int | None:
        """Length of the first axis, if all tensors with two axes or more have the same there; None: not known.

        Packed sequences have none: their first axis is that of all steps.
        """
        if any(isinstance(value, PackedSequence) for value in (*self.args, *self.kwargs.values())):
            return None
        first = {int(tensor.shape[0]) for tensor in self.tensors.values() if len(tensor.shape) > 1}
        return first.pop() if len(first) == 1 else None

    def at_batch(self, batch_size: int) -> ModelInputs:
        """The same for another batch size; given values are repeated. Without a batch axis nothing changes."""
        current = self.batch_size
        if current is None or current == batch_size:
            return self

        def resized(leaf: Any) -> Any:
            if not isinstance(leaf, (TensorSpec, Tensor)) or len(leaf.shape) == 0 or leaf.shape[0] != current:
                return leaf
            if isinstance(leaf, TensorSpec):
                return replace(leaf, shape=(batch_size, *leaf.shape[1:]))
            return _rows(leaf, torch.arange(batch_size, device=leaf.device) % current)

        return self.mapped(resized)

    def on_meta(self, dtype: torch.dtype) -> Arguments:
        """Arguments without values.

        Args:
            dtype: of floating-point tensors that have no dtype of their own.
        """

        def empty(leaf: TensorSpec | Tensor) -> Tensor:
            if isinstance(leaf, Tensor) and (leaf.is_meta or leaf.layout != torch.strided):
                return leaf  # `meta` has no sparse tensors: the forward fails, and is run with real ones
            return torch.empty(leaf.shape, dtype=_dtype(leaf, dtype), device="meta")

        return self._built(empty)

    def zeros(self, dtype: torch.dtype) -> Arguments:
        """Arguments with zeros on the CPU, which are valid indices too; floating-point tensors take the dtype."""

        def zero(leaf: TensorSpec | Tensor) -> Tensor:
            kind = dtype if _is_floating(leaf) else _dtype(leaf, dtype)
            return torch.zeros(leaf.shape, dtype=kind, device="cpu")

        return self._built(zero)

    def random(self, seed: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> Arguments:
        """Arguments with values: given ones, or random ones that are the same on every device and for every dtype.

        Floating-point values have the standard normal distribution, integers and booleans are uniform.

        Args:
            seed: of the generator.
            dtype: of floating-point tensors that have no dtype of their own.
            device: that the tensors are moved to.
        """
        generator = torch.Generator().manual_seed(seed)

        def drawn(leaf: TensorSpec | Tensor) -> Tensor:
            if isinstance(leaf, Tensor):
                return leaf.to(device)
            kind = _dtype(leaf, dtype)
            if kind == torch.bool or leaf.is_integer:
                limit = 2 if kind == torch.bool else leaf.below or FEWEST_INDICES
                return torch.randint(limit, leaf.shape, generator=generator, device="cpu").to(device, kind)
            if kind.is_complex:
                return torch.randn(leaf.shape, generator=generator, dtype=kind, device="cpu").to(device)
            return torch.randn(leaf.shape, generator=generator, device="cpu").to(kind).to(device)

        return self._built(drawn)

    def image_only(self) -> ModelInputs:
        """Only the image among them, for a network that takes nothing else.

        Raises:
            ResnetCliError: none of the tensors is a floating-point one of four axes, or several are.
        """
        images = [leaf for leaf in self.tensors.values() if len(leaf.shape) == 4 and _is_floating(leaf)]
        if len(images) != 1:
            raise ResnetCliError(
                f"torchvision's networks take one floating-point image N×C×H×W; {len(images) or 'none'} of the inputs "
                f"{'are' if images else 'is'} one",
                "describe one image and other inputs beside it with `inputs`",
            )
        return ModelInputs((images[0],), source=self.source)

    def with_image(self, image: Tensor) -> ModelInputs:
        """The same with these values for the image, and for as many images; see `image_only`."""
        inputs = self.at_batch(len(image))
        place = inputs.image_only().args[0]
        return inputs.mapped(lambda leaf: image if leaf is place else leaf)

    def describe(self, dtype: torch.dtype) -> Input:
        """What a result says about them.

        Args:
            dtype: of floating-point tensors that have no dtype of their own.
        """
        rows = []
        for name, leaf in self.tensors.items():
            kind = _dtype(leaf, dtype)
            limit = leaf.below if isinstance(leaf, TensorSpec) else None
            size = prod(leaf.shape) * kind.itemsize
            rows.append(InputTensor(name, tuple(leaf.shape), str(kind).removeprefix("torch."), size, limit))
        first = rows[0] if rows else InputTensor("", (), "", 0)
        return Input(first.shape, first.dtype, sum(row.bytes for row in rows), self.source, tuple(rows))

    @property
    def notes(self) -> tuple[Note, ...]:
        """Where the inputs come from, if no option says so."""
        if self.source != EXAMPLE:
            return ()
        return (Note("note", "the inputs are those of example_inputs() beside the network", "example-inputs"),)

    def mapped(self, function: Callable[[Any], Any]) -> ModelInputs:
        """The same with another value for each leaf: tensors, their descriptions, and plain values."""
        args = map_leaves(self.args, function, TensorSpec)
        return replace(self, args=args, kwargs=map_leaves(dict(self.kwargs), function, TensorSpec))

    def _built(self, make: Callable[[Any], Tensor]) -> Arguments:
        built = self.mapped(lambda leaf: make(leaf) if isinstance(leaf, (TensorSpec, Tensor)) else leaf)
        return Arguments(built.args, built.kwargs)


def images(shape: Shape) -> ModelInputs:
    """The default input: one float image in the dtype of the weights.

    Args:
        shape: (N, C, H, W), or (C, H, W) for a batch of one.
    """
    return ModelInputs((TensorSpec(shape if len(shape) > 3 else (1, *shape)),), source=IMAGE)


def given(value: Any, source: str) -> ModelInputs:
    """Inputs from a value: a tuple is one positional argument each, anything else is the only argument.

    A dictionary whose keys are names of the forward's arguments is unpacked later, see `fitting.fitted`.

    A tensor on `meta` is a description.

    Raises:
        ResnetCliError: there is no tensor in it, a nested one, or an empty batch.
    """
    inputs = ModelInputs(tuple(value) if type(value) is tuple else (value,), source=source)
    inputs = inputs.mapped(lambda leaf: _detached(leaf, source) if isinstance(leaf, Tensor) else leaf)
    if inputs.batch_size == 0:
        raise ResnetCliError(f"the batch in {source} is empty", "give a batch of one input or more")
    if not inputs.tensors:
        hint = "give a tensor, a tuple of arguments or a dictionary of them"
        raise ResnetCliError(f"there is no tensor in {source}", hint)
    return inputs


def _rows(tensor: Tensor, indices: Tensor) -> Tensor:
    if tensor.layout == torch.strided:
        return tensor[indices]
    return tensor.to_dense()[indices].to_sparse(layout=tensor.layout)


def _detached(tensor: Tensor, source: str) -> Tensor | TensorSpec:
    if tensor.is_nested:
        raise ResnetCliError(f"there is a nested tensor in {source}: its parts differ in size", "pad them to one size")
    if tensor.is_meta:
        return TensorSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
    return tensor.detach()


def _leaves(name: str, value: Any, around: tuple[int, ...] = ()) -> Iterator[tuple[str, TensorSpec | Tensor]]:
    if isinstance(value, (TensorSpec, Tensor)):
        yield name, value
    elif id(value) not in around:  # objects may refer to each other
        for key, part in (parts(value) or {}).items():
            yield from _leaves(f"{name}.{key}", part, (*around, id(value)))


def _dtype(leaf: TensorSpec | Tensor, own: torch.dtype) -> torch.dtype:
    if isinstance(leaf, Tensor):
        return leaf.dtype
    kind: torch.dtype = own if leaf.dtype is None else getattr(torch, leaf.dtype)
    return kind


def _is_floating(leaf: TensorSpec | Tensor) -> bool:
    return _dtype(leaf, torch.float32).is_floating_point
