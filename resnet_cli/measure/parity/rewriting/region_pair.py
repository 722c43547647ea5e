"""Whether two regions of operators compute the same: both are run on the same inputs, and their gradients compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from resnet_cli.measure.graph.nodes import Graph
from resnet_cli.measure.graph.regions import Region
from resnet_cli.measure.graph.replay import Part, ReplayError
from resnet_cli.measure.models import random_init
from resnet_cli.measure.parity.rewriting.layouts import to_model
from resnet_cli.measure.parity.tensor_error import relative_error
from resnet_cli.measure.parity.train_step import FLOAT64_TOLERANCE
from resnet_cli.measure.tracing.tensors import dense

# Factors of the normal distribution that inputs are drawn from: small ones show an eps, large ones a bound. Gradients,
# which take the longest, are compared at the last one.
_SCALES = (1e-3, 1e3, 1.0)
_ZEROS = 8  # at the largest scale, one value of so many is zero
_NEGLIGIBLE = 1e-4  # least scale of a gradient, as a fraction of the largest


@dataclass(slots=True)
class Mapped:
    """Which parameter of the model is which of the reference, and how it is stored.

    Args:
        pairs: name in the model → name in the reference.
        layouts: order of the reference's axes, by the model's name.
    """

    pairs: dict[str, str] = field(default_factory=dict)
    layouts: dict[str, tuple[int, ...]] = field(default_factory=dict)


class RegionPair:
    """Both sides of a region, ready to be run.

    Args:
        region: of the graphs.
        graphs: of model and reference, recorded with real tensors.
        shapes: of the model's parameters and buffers.
        values: of the reference's parameters and buffers, in float64.
        trainable: names of the reference's parameters.

    Raises:
        ReplayError: a side cannot be run by itself.
    """

    def __init__(
        self,
        region: Region,
        graphs: tuple[Graph, Graph],
        shapes: Mapping[str, tuple[int, ...]],
        values: Mapping[str, Tensor],
        trainable: frozenset[str],
    ) -> None:
        self._region, self._shapes, self._values, self._trainable = region, shapes, values, trainable
        self.model, self.reference = (
            Part.between(graph, [pair[side] for pair in region.inputs], [pair[side] for pair in region.outputs])
            for side, graph in enumerate(graphs)
        )

    def agrees(self, mapped: Mapped) -> bool:
        """Whether outputs, gradients and buffers are the same up to rounding.

        Args:
            mapped: with a counterpart for every parameter that the region reads.
        """
        try:
            return all(self._agrees(mapped, scale, with_gradients=scale == _SCALES[-1]) for scale in _SCALES)
        except ReplayError:
            return False

    def _agrees(self, mapped: Mapped, scale: float, *, with_gradients: bool) -> bool:
        inputs, reference_inputs = self._inputs(scale)
        own = {
            name: to_model(self._values[mapped.pairs[name]], mapped.layouts.get(name)).reshape(self._shapes[name])
            for name in self.model.parameters
        }
        trainable = [name for name in own if mapped.pairs[name] in self._trainable]
        parameters = {name: self._values[name] for name in self.reference.parameters}
        with torch.set_grad_enabled(with_gradients):
            sides = (
                _Side(self.model, inputs, own, trainable),
                _Side(self.reference, reference_inputs, parameters, [n for n in parameters if n in self._trainable]),
            )
        pairs = list(zip(sides[0].outputs, sides[1].outputs, strict=True))
        if any(_error(a, b) > FLOAT64_TOLERANCE for a, b in pairs):
            return False
        for name, buffer in sides[0].buffers.items():
            expected = sides[1].buffers[mapped.pairs[name]]
            if _error(buffer, to_model(expected, mapped.layouts.get(name))) > FLOAT64_TOLERANCE:
                return False
        return not with_gradients or self._gradients_agree(sides, mapped)

    def _gradients_agree(self, sides: tuple[_Side, _Side], mapped: Mapped) -> bool:
        gradients, expected = (side.gradients() for side in sides)
        by_name = dict(zip(sides[1].names, expected[1], strict=True))
        pairs = list(zip(gradients[0], expected[0], strict=True))
        for name, gradient in zip(sides[0].names, gradients[1], strict=True):
            pairs.append((gradient, to_model(by_name[mapped.pairs[name]], mapped.layouts.get(name))))
        scale = _NEGLIGIBLE * max((float(b.abs().max()) for _, b in pairs if b.numel()), default=0.0)
        return all(_error(a, b, scale) <= FLOAT64_TOLERANCE for a, b in pairs)

    def _inputs(self, scale: float) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        values: tuple[dict[int, Tensor], dict[int, Tensor]] = ({}, {})
        for place, (number, reference) in enumerate(self._region.inputs):
            shapes = self.model.shape(number), self.reference.shape(reference)
            if math.prod(shapes[0]) != math.prod(shapes[1]):
                raise ReplayError("inputs of different sizes")
            tensor = random_init.image(shapes[0], place, torch.float64) * scale
            if scale == max(_SCALES):
                tensor.view(-1)[::_ZEROS] = 0.0
            values[0][number] = tensor
            values[1][reference] = tensor.reshape(shapes[1])
        return values


class _Side:
    """One side, run."""

    def __init__(
        self, part: Part, inputs: dict[int, Tensor], parameters: dict[str, Tensor], trainable: list[str]
    ) -> None:
        self.names = trainable
        self.buffers = {name: tensor.clone() for name, tensor in parameters.items() if name not in trainable}
        leaves = [tensor.detach() for tensor in (*inputs.values(), *(parameters[name] for name in trainable))]
        self._leaves = [tensor.requires_grad_(torch.is_grad_enabled()) for tensor in leaves]
        given = dict(zip(inputs, self._leaves, strict=False))
        weights = dict(zip(trainable, self._leaves[len(inputs) :], strict=True))
        # Copies of what an operator may change in place; of weights, which are large, only where one does.
        self.outputs = part.run(
            {number: tensor.clone() for number, tensor in given.items()},
            self.buffers | {name: w.clone() if name in part.written else w for name, w in weights.items()},
        )

    def gradients(self) -> tuple[list[Tensor], list[Tensor]]:
        """Of a weighted sum of the outputs with respect to inputs and parameters."""
        weights = [
            random_init.image((output.numel(),), place, torch.float64) for place, output in enumerate(self.outputs)
        ]
        products = (dense(output).flatten() * weight for output, weight in zip(self.outputs, weights, strict=True))
        loss = sum((product.sum() for product in products), torch.zeros(()))
        count = len(self._leaves) - len(self.names)
        if not loss.requires_grad:
            zeros = [torch.zeros_like(leaf) for leaf in self._leaves]
            return zeros[:count], zeros[count:]
        try:
            gradients = torch.autograd.grad(loss, self._leaves, allow_unused=True, materialize_grads=True)
        except (RuntimeError, NotImplementedError) as error:  # an operator without a gradient
            raise ReplayError(str(error)) from error
        return list(gradients[:count]), list(gradients[count:])


def _error(tensor: Tensor, reference: Tensor, scale: float | None = None) -> float:
    return relative_error(tensor, reference, scale)
