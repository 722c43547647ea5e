"""Arithmetic and memory of a call at any batch size, computed on the meta device."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import dimensions
from resnet_cli.measure.bench.workload import TRAIN
from resnet_cli.measure.cost.flops_tables import total_macs
from resnet_cli.measure.cost.layer_tree import layer_tree
from resnet_cli.measure.models.inputs.errors import larger_input
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.runner import ForwardRunner
from resnet_cli.measure.tracing.storages import bytes_of, storage_bytes
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


def workload_cost(subject: ModelUnderTest, inputs: ModelInputs, dtype: torch.dtype, mode: str) -> WorkloadCost:
    """Cost of a call of this network.

    Args:
        subject: the network; it is not run.
        inputs: of its forward, at any batch size.
        dtype: of weights, and of inputs that have none of their own.
        mode: "inference" or "train".

    Raises:
        ResnetCliError: such an input does not get through, or the network cannot be trained on it.
    """
    if inputs.batch_size is None:
        macs, size = _at(subject, inputs, dtype, mode)
        return WorkloadCost(0, macs, 0, size)
    few, more = (2, 4) if mode == TRAIN else (1, 2)  # a batch norm cannot be trained on one pixel of one image
    low, high = (_at(subject, inputs.at_batch(batch_size), dtype, mode) for batch_size in (few, more))
    macs_per_image, bytes_per_image = ((after - before) / (more - few) for before, after in zip(low, high, strict=True))
    return WorkloadCost(macs_per_image, low[0] - few * macs_per_image, bytes_per_image, low[1] - few * bytes_per_image)


def _at(subject: ModelUnderTest, inputs: ModelInputs, dtype: torch.dtype, mode: str) -> tuple[int, int]:
    """MACs and bytes at a batch size."""
    passes = ForwardRunner(subject, inputs, dtype)
    weights = storage_bytes((*passes.copy.parameters(), *passes.copy.buffers()))
    described = passes.inputs.describe(dtype)
    if mode != TRAIN:
        trace = passes.inference()
        return total_macs(trace.operators), weights + described.bytes + trace.peak
    passes.inference()  # its error for an input that does not fit is clearer than that of training
    step = passes.training()
    if isinstance(step, str):
        raise ResnetCliError(
            f"`mode=train`: this network cannot be trained on {dimensions(described.shape)}: {step}",
            larger_input(step),
        )
    momentum = sum(bytes_of(parameter) for parameter in passes.copy.parameters() if parameter.requires_grad)
    return total_macs(step.operators), weights + described.bytes + step.peak + momentum


def layers(subject: ModelUnderTest, inputs: ModelInputs, dtype: torch.dtype) -> Layer:
    """The layer tree of an inference with these inputs."""
    return layer_tree(ForwardRunner(subject, inputs, dtype).inference(), None, subject.name)
