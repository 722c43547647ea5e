"""The relative error of one tensor against another, as one number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from resnet_cli.measure.tracing.tensors import dense
from resnet_cli.results.compare import BITWISE, DIFFERENT, ROUNDING


def relative_error(tensor: Tensor, reference: Tensor, scale: float | None = None) -> float:
    """The largest |difference| over the largest |reference|; 0.0 for equal tensors, inf where one has a NaN.

    The denominator is the largest value of the whole tensor: element by element, a harmless difference near zero
    would count for thousands of units in the last place.

    Args:
        tensor: any tensor.
        reference: a tensor with as many values.
        scale: least denominator, for a reference that may be zero except for rounding.
    """
    if tensor.numel() != reference.numel():
        return math.inf
    tensor, reference = dense(tensor), dense(reference)
    if tensor.shape != reference.shape:
        tensor = tensor.reshape(reference.shape)
    if torch.equal(tensor, reference):
        return 0.0
    a, b = tensor.detach(), reference.detach()
    if a.dtype != b.dtype or not a.is_floating_point():
        a, b = a.cpu().double(), b.cpu().double()  # not every device has float64
    nans = torch.isnan(a) | torch.isnan(b)
    if bool(nans.any()):
        same = torch.isnan(a) == torch.isnan(b)
        if not bool(same.all()):
            return math.inf
        a, b = a[~nans], b[~nans]
        if not a.numel() or torch.equal(a, b):
            return 0.0
    largest = max(float(b.abs().max()), scale or 0.0)
    difference = float((a - b).abs().max())
    if not math.isfinite(difference):
        return math.inf
    return difference / largest if largest else math.inf


def error_verdict(error: float, limit: float) -> str:
    """The verdict on a relative error: bitwise, rounding up to the limit, different above."""
    if error == 0:
        return BITWISE
    return ROUNDING if error <= limit else DIFFERENT


def finite(error: float) -> float | None:
    """An error as a result holds it: None where a NaN or an infinity made it."""
    return error if math.isfinite(error) else None
