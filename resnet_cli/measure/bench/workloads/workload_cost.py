"""Arithmetic and memory of a call at any batch size, computed on the meta device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from resnet_cli.errors import ResnetCliError, attempt
from resnet_cli.formatting import dimensions
from resnet_cli.measure.bench.workloads import mixed_precision
from resnet_cli.measure.bench.workloads.mixed_precision import TRAIN
from resnet_cli.measure.bench.workloads.optimizers import SGD, Optimizer
from resnet_cli.measure.cost.flops_tables import total_macs
from resnet_cli.measure.cost.layer_tree import layer_tree
from resnet_cli.measure.cost.uncounted import uncounted_macs
from resnet_cli.measure.models.inputs.errors import larger_input
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.runner import ForwardRunner
from resnet_cli.measure.tracing.storages import bytes_of, storage_bytes
from resnet_cli.measure.tracing.trace import Trace
from resnet_cli.results.summary import Layer


@dataclass(frozen=True, slots=True)
class WorkloadCost:
    """FLOPs and bytes of a call, linear in the batch size: so much for each image, and a constant.

    The bytes are those of each moment of the call: with few images the peak may be where all gradients are alive, and
    with many where all activations are.

    Args:
        macs_per_image: of a call …
        macs: … and those that no image adds.
        moments: bytes for each image, and bytes that no image adds, while the call runs.
        uncounted: operators that may multiply matrices and that no rule counts.
        only_batch: the only batch size that it holds for; None: any.
    """

    macs_per_image: float
    macs: float
    moments: tuple[tuple[float, float], ...]
    uncounted: tuple[str, ...] = ()
    only_batch: int | None = None

    def flops_at(self, batch_size: int) -> int | None:
        """FLOPs of a call (2 x MACs), None where not all are counted; of a training step forward and backward."""
        if self.uncounted or self.only_batch not in (None, batch_size):
            return None
        return round(2 * (self.macs + self.macs_per_image * batch_size))

    def bytes_at(self, batch_size: int) -> int:
        """Bytes alive at once in a call: weights, input, activations; in training gradients and the optimizer's values.

        Not in it: workspaces of the convolution libraries and what the allocator keeps.
        """
        return round(max(fixed + each * batch_size for each, fixed in self.moments))

    def largest_batch(self, capacity: int) -> int | None:
        """The largest batch whose bytes are no more than these, perhaps 0; None: any batch is as good."""
        sizes = [int((capacity - fixed) // each) for each, fixed in self.moments if each > 0]
        return max(0, min(sizes)) if sizes else None


def workload_cost(
    subject: ModelUnderTest, inputs: ModelInputs, dtype: torch.dtype | None, mode: str, optimizer: Optimizer = SGD
) -> WorkloadCost:
    """Cost of a call of this network.

    Args:
        subject: the network; it is not run.
        inputs: of its forward, at any batch size.
        dtype: of floating-point weights, and of inputs that have none of their own; None: the network's own. In train
            mode, half precision is that of autocast.
        mode: "inference" or "train".
        optimizer: of a training step.

    Raises:
        ResnetCliError: such an input does not get through, or the network cannot be trained on it.
    """
    measured = partial(_at, subject, dtype=dtype, mode=mode, optimizer=optimizer)
    if inputs.batch_size is None:
        return _as_it_is(*measured(inputs), None)
    few, more = (2, 4) if mode == TRAIN else (1, 2)  # a batch norm cannot be trained on one pixel of one image
    try:
        (low, low_sizes), (high, high_sizes) = (measured(inputs.at_batch(batch_size)) for batch_size in (few, more))
    except ResnetCliError:
        with attempt("a call with the inputs as they are"):  # an exported network takes one batch size
            return _as_it_is(*measured(inputs), inputs.batch_size)
        raise
    macs_per_image = (total_macs(high.operators) - total_macs(low.operators)) / (more - few)
    return WorkloadCost(
        macs_per_image,
        total_macs(low.operators) - few * macs_per_image,
        _lines(few, low_sizes, more, high_sizes),
        uncounted_macs(low.operators),
    )


def _as_it_is(call: Trace, sizes: list[int], batch_size: int | None) -> WorkloadCost:
    """The cost of a call that is not known at other batch sizes."""
    macs, uncounted = total_macs(call.operators), uncounted_macs(call.operators)
    return WorkloadCost(0, macs, ((0.0, max(sizes)),), uncounted, batch_size)


def _lines(few: int, low: list[int], more: int, high: list[int]) -> tuple[tuple[float, float], ...]:
    """Growth and constant of each moment, from the bytes at two batch sizes; of the peaks where moments differ."""
    if len(low) != len(high):
        low, high = [max(low)], [max(high)]
    slopes = [(after - before) / (more - few) for before, after in zip(low, high, strict=True)]
    return tuple({(slope, before - few * slope) for slope, before in zip(slopes, low, strict=True)})


def _at(
    subject: ModelUnderTest, inputs: ModelInputs, dtype: torch.dtype | None, mode: str, optimizer: Optimizer
) -> tuple[Trace, list[int]]:
    """A call at a batch size, and the bytes that are alive in each of its moments."""
    with ForwardRunner(subject, inputs, dtype) as passes:
        return _call(passes, mode, optimizer, is_mixed=mixed_precision.is_mixed(mode, dtype))


def _call(passes: ForwardRunner, mode: str, optimizer: Optimizer, *, is_mixed: bool) -> tuple[Trace, list[int]]:
    described = passes.inputs.describe(passes.dtype)
    trace = passes.inference()  # its error for an input that does not fit is clearer than that of training
    weights = storage_bytes((*passes.model.parameters(), *passes.model.buffers()))  # lazy ones have their shapes now
    if mode != TRAIN:
        return trace, [weights + described.bytes + alive for alive in trace.alive or [trace.peak]]
    trained = [parameter for parameter in passes.model.parameters() if parameter.requires_grad]
    if not trained:
        raise ResnetCliError("`mode=train`: the network has no trainable parameters")
    step = passes.training()
    if isinstance(step, str):
        raise ResnetCliError(
            f"`mode=train`: this network cannot be trained on {dimensions(described.shape)}: {step}",
            larger_input(step),
        )
    size = weights + described.bytes + optimizer.states * sum(map(bytes_of, trained))
    if is_mixed:
        size += mixed_precision.extra_bytes(sum(parameter.numel() for parameter in trained), optimizer.states)
    return step, [size + alive for alive in step.alive or [step.peak]]


def layers(subject: ModelUnderTest, inputs: ModelInputs, dtype: torch.dtype | None = None) -> Layer:
    """The layer tree of an inference with these inputs."""
    with ForwardRunner(subject, inputs, dtype) as passes:
        return layer_tree(passes.inference(), None, subject.name)
