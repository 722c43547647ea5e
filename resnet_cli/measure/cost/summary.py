"""The layer tree of a network, its totals and its memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from resnet_cli.measure.cost import other_counters
from resnet_cli.measure.cost.layer_tree import layer_tree
from resnet_cli.measure.cost.memory import memory
from resnet_cli.measure.cost.memory_notes import kernel_notes, unlike_meta
from resnet_cli.measure.cost.uncounted import uncounted_macs, uncounted_notes, uncounted_ops
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.runner import ForwardRunner
from resnet_cli.measure.system.environment import environment
from resnet_cli.results.common import Note
from resnet_cli.results.summary import TRAINING_MEMORY, CrossCheck, Layer, SummaryResult


def summarize(
    subject: ModelUnderTest, *, inputs: ModelInputs, dtype: torch.dtype | None = None, device: torch.device
) -> SummaryResult:
    """Measure a network from its shapes. Nothing is allocated, and the network stays unchanged.

    Args:
        subject: the network.
        inputs: of its forward.
        dtype: of floating-point weights, and of inputs that have none of their own; None: the network's own.
        device: whose memory the largest batch has to fit.

    Raises:
        ResnetCliError: the input does not get through the network.
    """
    with ForwardRunner(subject, inputs, dtype, device_type=device.type) as passes:
        return _summary(passes, device)


def _summary(passes: ForwardRunner, device: torch.device) -> SummaryResult:
    subject = passes.subject
    batch_size = passes.inputs.batch_size
    inference, training = passes.infer_and_train()
    reason = unlike_meta([inference, *([] if isinstance(training, str) else [training])])
    if reason is not None and passes.run_on_cpu_if_cheap(reason):
        inference, training = passes.infer_and_train()
    twice = None if batch_size is None or isinstance(training, str) else passes.alive_in_training(2 * batch_size)
    notes = []
    if isinstance(training, str):
        notes.append(Note("note", f"no training figures: {training}", "no-training", unknown=TRAINING_MEMORY))
    trained = None if isinstance(training, str) else training
    root = layer_tree(inference, trained, subject.name)
    uncounted, products = uncounted_ops(inference.operators), uncounted_macs(inference.operators)
    backward = () if trained is None else uncounted_macs(op for op in trained.operators if op.backward)
    where = environment(device)
    return SummaryResult(
        network=subject.description,
        input=passes.inputs.describe(passes.dtype),
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
            passes.inputs.describe(passes.dtype),
            batch_size,
            inference,
            trained,
            twice,
            where.device_memory_bytes,
        ),
        cross_checks=_torchinfo(passes, root),
        assertions=(),
        environment=where,
        uncounted=uncounted,
        uncounted_macs=products,
        backward_uncounted_macs=backward,
        notes=(
            *passes.notes,
            *notes,
            *passes.path_notes(inference, trained),
            *kernel_notes(inference, trained, device, is_real=passes.is_real, is_compiled=subject.is_compiled),
            *uncounted_notes(uncounted, products, backward),
        ),
    )


def _torchinfo(passes: ForwardRunner, root: Layer) -> tuple[CrossCheck, ...]:
    """torchinfo's parameters and leaf layers, compared with those of the layer tree."""
    report = other_counters.torchinfo(passes.model, passes.arguments())

    def cross_check(quantity: str, value: int, tool_value: int | None, note: str | None = None) -> CrossCheck:
        agrees = None if tool_value is None else value == tool_value
        return CrossCheck("torchinfo", report.version, quantity, value, tool_value, agrees, note or report.failure)

    leaves = [(row.layer_type, row.output_shape) for row in _leaf_modules(root)]
    same = sum(value == tool_value for value, tool_value in zip(leaves, report.leaves, strict=False))
    first = next((row for row, tool_value in zip(leaves, report.leaves, strict=False) if row != tool_value), None)
    return (
        cross_check("parameters", root.parameters, report.parameters),
        cross_check(
            "layers with their output shapes",
            len(leaves),
            None if report.failure else same,
            f"first difference at {first[0]}" if first and not report.failure else None,
        ),
    )


def _leaf_modules(layer: Layer) -> Iterator[Layer]:
    inner = [child for child in layer.children if not child.is_operator]
    if inner:
        for child in inner:
            yield from _leaf_modules(child)
    elif not layer.is_operator and layer.call > 0:
        yield layer
