"""`summary`: the layer tree, its totals and its memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from resnet_cli.measure.cost import other_counters
from resnet_cli.measure.cost.layer_tree import layer_tree
from resnet_cli.measure.cost.memory import memory
from resnet_cli.measure.models.model import ModelUnderTest, describe_input
from resnet_cli.measure.models.runner import ForwardRunner, mode_notes
from resnet_cli.measure.system.environment import environment
from resnet_cli.measure.tracing.trace import OperatorCall
from resnet_cli.results.common import Note, Shape
from resnet_cli.results.summary import CrossCheck, Layer, SummaryResult


def summarize(subject: ModelUnderTest, *, shape: Shape, dtype: torch.dtype, device: torch.device) -> SummaryResult:
    """Everything that `summary` shows. Nothing is allocated, and the network stays as it is.

    Args:
        subject: the network.
        shape: of the input, (N, C, H, W).
        dtype: of weights and input.
        device: whose memory the largest batch has to fit.

    Raises:
        ResnetCliError: the input does not get through the network.
    """
    passes = ForwardRunner(subject, shape, dtype)
    inference, training = passes.infer_and_train()
    twice = passes.training(2 * shape[0])
    notes = []
    if isinstance(training, str):
        notes.append(Note("note", f"no training figures: {training}"))
    trained = None if isinstance(training, str) else training
    root = layer_tree(inference, trained, subject.name)
    given = describe_input(shape, dtype)
    where = environment(device)
    return SummaryResult(
        network=subject.description,
        input=given,
        root=root,
        parameters=root.parameters,
        trainable_parameters=root.trainable_parameters,
        frozen_parameters=root.frozen_parameters,
        buffers=root.buffers,
        macs=root.macs,
        flops=root.flops,
        ops=root.ops,
        memory=memory(
            root,
            given,
            inference,
            trained,
            None if isinstance(twice, str) else twice,
            where.device_memory_bytes,
        ),
        cross_checks=_torchinfo(passes, root),
        assertions=(),
        environment=where,
        notes=(*passes.notes, *notes, *mode_notes(inference, trained), *_uncounted(inference.operators)),
    )


def _uncounted(operators: list[OperatorCall]) -> Iterator[Note]:
    names = sorted({op.name for op in operators if not op.counted.counted})
    if names:
        yield Note("warning", f"operators whose arithmetic is not counted: {', '.join(names)}")


def _torchinfo(passes: ForwardRunner, root: Layer) -> tuple[CrossCheck, ...]:
    """torchinfo's parameters and leaf layers, held against ours."""
    report = other_counters.torchinfo(passes.copy, (passes.make_input(passes.shape),))

    def witness(quantity: str, ours: int, theirs: int | None, note: str | None = None) -> CrossCheck:
        agrees = None if theirs is None else ours == theirs
        return CrossCheck("torchinfo", report.version, quantity, ours, theirs, agrees, note or report.failure)

    leaves = [(row.layer_type, row.output_shape) for row in _leaf_modules(root)]
    same = sum(ours == theirs for ours, theirs in zip(leaves, report.leaves, strict=False))
    first = next((row for row, theirs in zip(leaves, report.leaves, strict=False) if row != theirs), None)
    return (
        witness("parameters", root.parameters, report.parameters),
        witness(
            "layers with their output shapes",
            len(leaves),
            None if report.failure else same,
            f"first difference at {first[0]}" if first and not report.failure else None,
        ),
    )


def _leaf_modules(layer: Layer) -> Iterator[Layer]:
    if layer.children:
        for child in layer.children:
            yield from _leaf_modules(child)
    elif not layer.is_operator and layer.call > 0:
        yield layer
