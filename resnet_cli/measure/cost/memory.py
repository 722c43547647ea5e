"""Memory by phase, from the peak of live storages in a pass on the meta device."""

from __future__ import annotations

from resnet_cli.measure.tracing.storages import bytes_of
from resnet_cli.measure.tracing.trace import Trace
from resnet_cli.results.common import Input
from resnet_cli.results.summary import Layer, Memory


def memory(
    root: Layer,
    network_input: Input,
    batch_size: int | None,
    inference: Trace,
    training: Trace | None,
    alive_at_twice: list[int] | None,
    capacity: int | None,
) -> Memory:
    """Memory of a network at a batch.

    Args:
        root: its layer tree.
        network_input: its input.
        batch_size: of the input; None where it has no batch axis, so that there is no largest batch.
        inference: a pass in eval mode.
        training: a training step at the same batch, None where the network cannot be trained at this batch.
        alive_at_twice: bytes alive after each allocation of a training step at twice the batch, which separates what
            grows with the batch from what does not.
        capacity: bytes of the device, None if unknown.
    """
    weights = root.parameter_bytes + root.buffer_bytes
    # A gradient has its parameter's dtype, and so has the momentum of SGD.
    gradients = sum(bytes_of(tensor) for tensor in inference.root.module.parameters() if tensor.requires_grad)
    fits_inference = fits_training = None
    if capacity is not None and batch_size is not None:
        per_image = (network_input.bytes + inference.peak) / batch_size
        fits_inference = max(0, int((capacity - weights) // per_image))
        if training is not None and alive_at_twice is not None:
            left = capacity - weights - gradients  # the optimizer's
            input_bytes = network_input.bytes / batch_size
            fits_training = _largest_batch(training.alive, alive_at_twice, batch_size, input_bytes, left)
    return Memory(
        parameter_bytes=root.parameter_bytes,
        buffer_bytes=root.buffer_bytes,
        input_bytes=network_input.bytes,
        inference_peak_bytes=inference.peak,
        inference_peak_at=inference.peak_at,
        inference_bytes=weights + network_input.bytes + inference.peak,
        saved_for_backward_bytes=training.saved if training else None,
        training_peak_bytes=training.peak if training else None,
        training_peak_at=training.peak_at if training else None,
        training_bytes=weights + network_input.bytes + training.peak + gradients if training else None,
        gradient_bytes=gradients,
        optimizer_bytes=gradients,
        largest_batch_inference=fits_inference,
        largest_batch_training=fits_training,
    )


def _largest_batch(once: list[int], twice: list[int], images: int, input_bytes: float, left: int) -> int | None:
    """Largest batch at which no moment of a training step needs more than what is left.

    At each moment the need is a x batch + b: activations grow with the batch, gradients of weights do not. Two
    steps at different batches, moment by moment, give a and b.
    """
    if len(once) != len(twice):
        return None  # a forward that does other things at another batch
    fits = None
    for low, high in zip(once, twice, strict=True):
        growth = (high - low) / images + input_bytes
        fixed = low - (high - low)
        most = int((left - fixed) // growth) if growth > 0 else None
        if most is not None:
            fits = most if fits is None else min(fits, most)
    return None if fits is None else max(0, fits)
