"""How far two tensors are apart, in one figure that holds for any of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from resnet_cli.results.compare import BITWISE, DIFFERENT, ROUNDING


def relative_error(ours: Tensor, theirs: Tensor, scale: float | None = None) -> float:
    """The largest |difference| over the largest |reference|; 0.0 for equal tensors, inf where one has a NaN.

    Element by element a harmless difference near zero would count for thousands of units in the last place.

    Args:
        ours: any tensor.
        theirs: the reference, with as many values.
        scale: the least that the reference counts for, where it may be zero but for rounding.
    """
    if ours.numel() != theirs.numel():
        return math.inf
    if ours.shape != theirs.shape:
        ours = ours.reshape(theirs.shape)
    if torch.equal(ours, theirs):
        return 0.0
    a, b = ours.detach(), theirs.detach()
    if a.dtype != b.dtype or not a.is_floating_point():
        a, b = a.double(), b.double()
    gone = torch.isnan(a) | torch.isnan(b)
    if bool(gone.any()):
        same = torch.isnan(a) == torch.isnan(b)
        if not bool(same.all()):
            return math.inf
        a, b = a[~gone], b[~gone]
        if not a.numel() or torch.equal(a, b):
            return 0.0
    largest = max(float(b.abs().max()), scale or 0.0)
    apart = float((a - b).abs().max())
    if not math.isfinite(apart):
        return math.inf
    return apart / largest if largest else math.inf


def error_verdict(error: float, limit: float) -> str:
    """What an error means."""
    if error == 0:
        return BITWISE
    return ROUNDING if error <= limit else DIFFERENT


def finite(error: float) -> float | None:
    """An error as a result holds it: None where a NaN or an infinity made it."""
    return error if math.isfinite(error) else None
