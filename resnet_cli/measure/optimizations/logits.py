"""Outputs of a network and of its variants on the same inputs, and how far they are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.inputs.model_inputs import Arguments, ModelInputs
from resnet_cli.measure.models.inputs.specs import TensorSpec
from resnet_cli.measure.optimizations.variant import Variant, in_one_line
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.precision import in_precision
from resnet_cli.measure.tracing.tensors import dense, tensors_in

_MIN_IMAGES = 8  # that the logits are compared on


def batches_to_compare(inputs: ModelInputs, batch_size: int, seed: int, device: torch.device) -> list[Arguments]:
    """Inputs to compare the logits on, in batches of the only size that compiled and captured variants take."""
    # Not the timed ones: a CUDA graph that did not read its input would give the right logits for those. Of values
    # that the user gave there are no others.
    is_drawn = any(isinstance(leaf, TensorSpec) for leaf in inputs.tensors.values())
    count = math.ceil(_MIN_IMAGES / batch_size) if is_drawn else 1
    sized = inputs.at_batch(batch_size)
    return [sized.random(seed + 2 + number, torch.float32, device) for number in range(count)]


class Logits(NamedTuple):
    """Outputs on the CPU in float32: a row for each image, or for each batch where there is no batch axis.

    Args:
        values: (rows, values); several outputs are concatenated.
        of_classes: there is one output, a value for each class.
    """

    values: Tensor
    of_classes: bool


def float32_logits(model: nn.Module, batches: Sequence[Arguments], batch_size: int, backend: DeviceBackend) -> Logits:
    """Of plain eager with all 24 bits of float32."""
    try:
        with in_precision(backend.fp32_settings()):
            return logits_of(Variant(model, batches[0]), batches, batch_size)
    except Exception as error:
        raise ResnetCliError(f"plain eager does not run: {in_one_line(error)}", "try a smaller batch size") from error


def logits_of(variant: Variant, batches: Sequence[Arguments], batch_size: int) -> Logits:
    """Of all images."""
    rows, of_classes = [], True
    for batch in batches:
        with variant.context():
            outputs = tensors_in(_as_made_for(variant, batch).call(variant.run))
        if not outputs:
            raise ResnetCliError("the network returns no tensor")
        has_batch_axis = all(tensor.dim() and len(tensor) == batch_size for tensor in outputs)
        count = batch_size if has_batch_axis else 1
        rows.append(torch.cat([_values(tensor).reshape(count, -1) for tensor in outputs], dim=1))
        of_classes &= has_batch_axis and len(outputs) == 1 and outputs[0].shape[1:2] == rows[-1].shape[1:] > (1,)
    return Logits(torch.cat(rows), of_classes)


def _as_made_for(variant: Variant, inputs: Arguments) -> Arguments:
    """The same inputs in the dtypes and strides that a variant was made for."""
    values = iter(tensors_in(inputs))
    return variant.inputs.mapped(lambda tensor: torch.empty_like(tensor).copy_(next(values)))


def _values(tensor: Tensor) -> Tensor:
    """A copy on the CPU in float32, complex numbers as pairs."""
    tensor = dense(tensor)
    real = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return real.to("cpu", torch.float32, copy=True)
