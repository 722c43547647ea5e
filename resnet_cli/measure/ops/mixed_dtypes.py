"""Products of tensors of several dtypes, which `meta` computes and no device does."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

_PRODUCTS = frozenset(f"aten::{name}" for name in ("convolution", "mm", "addmm", "bmm", "baddbmm"))


def check_dtypes(operator: str, tensors: Sequence[Tensor]) -> None:
    """Check that an operator on `meta` has tensors of one dtype, if it is a product.

    Args:
        operator: qualified, "aten::mm".
        tensors: that it reads.

    Raises:
        RuntimeError: they have several, as a device says too.
    """
    if operator not in _PRODUCTS or not any(tensor.is_meta for tensor in tensors):
        return
    dtypes = list(dict.fromkeys(str(tensor.dtype).removeprefix("torch.") for tensor in tensors))
    if len(dtypes) > 1:
        raise RuntimeError(f"{operator.removeprefix('aten::')} of tensors of another dtype each: {', '.join(dtypes)}")
