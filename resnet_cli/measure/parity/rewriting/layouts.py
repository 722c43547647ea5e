"""How a tensor of the model holds the values of its counterpart: reshaped, perhaps with its axes in another order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations

from torch import Tensor

# Order of the reference's axes in the model, by the model's name; tensors that are not listed are only reshaped.
Layouts = Mapping[str, tuple[int, ...]]


def to_model(tensor: Tensor, layout: tuple[int, ...] | None) -> Tensor:
    """A tensor of the reference with its axes in the model's order."""
    return tensor if layout is None else tensor.permute(layout)


def to_reference(tensor: Tensor, layout: tuple[int, ...] | None, shape: tuple[int, ...]) -> Tensor:
    """A tensor of the model as the reference holds it, in the reference's shape."""
    if layout is None:
        return tensor.reshape(shape)
    back = sorted(range(len(layout)), key=layout.__getitem__)
    return tensor.reshape([shape[axis] for axis in layout]).permute(back)


def possible_layouts(model: tuple[int, ...], reference: tuple[int, ...]) -> Iterator[tuple[int, ...] | None]:
    """Layouts under which a tensor of one shape may hold the values of one of the other, the likely ones first.

    Axes of one value do not count. If an order of the axes gives the shape of the model, others are left out.
    """
    yield None
    axes = [axis for axis, size in enumerate(reference) if size > 1]
    short = [axis for axis, size in enumerate(reference) if size == 1]
    others = [order for order in permutations(axes) if list(order) != axes]
    sizes = tuple(size for size in model if size > 1)
    fitting = [order for order in others if tuple(reference[axis] for axis in order) == sizes]
    for order in fitting or others:
        yield (*order, *short)
