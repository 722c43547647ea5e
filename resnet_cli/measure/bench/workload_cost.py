"""Arithmetic and memory of a call at any batch size, computed on the meta device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions
from resnet_cli.measure.bench.workload import TRAIN
from resnet_cli.measure.cost.flops_tables import total_macs
from resnet_cli.measure.cost.layer_tree import layer_tree
from resnet_cli.measure.models.input_errors import larger_input
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.runner import ForwardRunner
from resnet_cli.results.common import Shape
from resnet_cli.results.summary import Layer


@dataclass(frozen=True, slots=True)
class WorkloadCost:
    """FLOPs and bytes of a call, linear in the batch size: so much for each image, and a constant."""

    macs_per_image: float
    macs: float
    bytes_per_image: float
    bytes: float

    def flops_at(self, batch_size: int) -> int:
        """FLOPs of a call (2 x MACs); of a training step forward and backward together."""
        return round(2 * (self.macs + self.macs_per_image * batch_size))

    def bytes_at(self, batch_size: int) -> int:
        """Bytes alive at once in a call: weights, input, activations, and in training gradients and momentum.

        Not in it: workspaces of the convolution libraries and what the allocator keeps.
        """
        return round(self.bytes + self.bytes_per_image * batch_size)


def workload_cost(subject: ModelUnderTest, image: Shape, dtype: torch.dtype, mode: str) -> WorkloadCost:
    """Cost of a call of this network.

    Args:
        subject: the network; it is not run.
        image: (C, H, W).
        dtype: of weights and input.
        mode: "inference" or "train".

    Raises:
        ResnetCliError: such an image does not get through, or the network cannot be trained on it.
    """
    few, more = (2, 4) if mode == TRAIN else (1, 2)  # a batch norm cannot be trained on one pixel of one image
    low, high = (_at(subject, (images, *image), dtype, mode) for images in (few, more))
    macs = (high[0] - low[0]) / (more - few)
    size = (high[1] - low[1]) / (more - few)
    return WorkloadCost(macs, low[0] - few * macs, size, low[1] - few * size)


def _at(subject: ModelUnderTest, shape: Shape, dtype: torch.dtype, mode: str) -> tuple[int, int]:
    """MACs and bytes at a batch size."""
    passes = ForwardRunner(subject, shape, dtype)
    weights = sum(tensor.nbytes for tensor in (*passes.copy.parameters(), *passes.copy.buffers()))
    input_bytes = passes.make_input(shape).nbytes
    if mode != TRAIN:
        trace = passes.inference()
        return total_macs(trace.operators), weights + input_bytes + trace.peak
    passes.inference()  # its error for an image that does not fit is clearer than that of training
    step = passes.training(shape[0])
    if isinstance(step, str):
        raise ResnetCliError(
            f"`mode=train`: this network cannot be trained on {dimensions(shape)}: {step}",
            larger_input(step),
        )
    momentum = sum(parameter.nbytes for parameter in passes.copy.parameters() if parameter.requires_grad)
    return total_macs(step.operators), weights + input_bytes + step.peak + momentum


def layers(subject: ModelUnderTest, shape: Shape, dtype: torch.dtype) -> Layer:
    """The layer tree of an inference at this shape, (N, C, H, W)."""
    return layer_tree(ForwardRunner(subject, shape, dtype).inference(), None, subject.name)
