"""Calls that only look like the usual ones: each of them one setting away from what a formula answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from resnet_cli.measure.ops.fast_meta import FastMetaKernels, window_size
from tests.helpers.models import on_meta
from tests.measure.ops.test_fast_meta import answer, assert_same

aten = torch.ops.aten
IMAGES, WEIGHT = on_meta(2, 3, 8, 8), on_meta(4, 3, 3, 3)
WHOLE = torch.int64


def convolved(
    x: Tensor = IMAGES,
    weight: Tensor = WEIGHT,
    bias: Tensor | None = None,
    stride: tuple[int, ...] = (1, 1),
    padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, ...] = (1, 1),
    groups: int = 1,
) -> Any:
    return aten.convolution(x, weight, bias, stride, padding, dilation, False, (0, 0), groups)


def normed(*sizes: int, dtype: torch.dtype = torch.float32, last: torch.dtype | None = None) -> Any:
    vectors = [on_meta(size, dtype=dtype) for size in sizes]
    vectors[-1] = vectors[-1].to(last or dtype)
    return aten.native_batch_norm(IMAGES, *vectors, True, 0.1, 1e-5)


def norm_backward(weight: Tensor | None) -> Any:
    kept = [on_meta(3) for _ in range(4)]
    return aten.native_batch_norm_backward(IMAGES, IMAGES, weight, *kept, True, 1e-5, [True, False, False])


ANSWERED: dict[str, Callable[[], Any]] = {
    "one stride for both axes": lambda: convolved(stride=(2,)),
    "one padding for both axes": lambda: convolved(padding=(1,)),
    "one dilation for both axes": lambda: convolved(dilation=(2,)),
    "a batch norm's backward without a weight": lambda: norm_backward(None),
    "a pool of one image": lambda: F.max_pool2d(IMAGES[0], 2),
    "a sum of a turned image": lambda: IMAGES[:, :, :5].permute(3, 2, 1, 0).sum((0,)),
    "a sum of a turned matrix": lambda: on_meta(3, 4).t().sum((0,), keepdim=True),
    "a product of turned matrices": lambda: on_meta(3, 4).t() @ on_meta(5, 3).t(),
    "a mean of a turned matrix": lambda: on_meta(3, 4).t().mean((0,)),
    "a mean of nothing": lambda: aten.mean.dim(IMAGES, []),
    "an addition of a turned image": lambda: IMAGES.transpose(2, 3) + IMAGES,
    "an addition of a multiple": lambda: torch.add(IMAGES, IMAGES, alpha=2),
    "a sum of whole numbers": lambda: on_meta(3, 4, dtype=WHOLE).sum(),
    "a sum in another dtype": lambda: IMAGES.sum(dtype=torch.float64),
    "whole numbers plus one, in place": lambda: on_meta(dtype=WHOLE).add_(1),
    "a division of whole numbers": lambda: aten.div.Scalar(on_meta(3, dtype=WHOLE), 2),
    "an empty batch through batch norm": lambda: F.batch_norm(on_meta(0, 3, 8, 8), on_meta(3), on_meta(3)),
    # Torch looks at these only where there are values.
    "a negative padding": lambda: convolved(padding=(-1, 0)),
    "a dilation of nothing": lambda: convolved(dilation=(1, 0)),
    "a bias of another length": lambda: convolved(bias=on_meta(3)),
    "weights of another dtype": lambda: convolved(weight=WEIGHT.double()),
    "a norm in double precision": lambda: normed(3, 3, 3, 3, dtype=torch.float64),
    "a norm in half precision": lambda: normed(3, 3, 3, 3, dtype=torch.float16),
    "matrices of two dtypes": lambda: on_meta(3, 4) @ on_meta(4, 5, dtype=torch.float64),
}


@pytest.mark.parametrize("case", ANSWERED)
def test_unusual_calls_give_the_result_of_torch(case: str) -> None:
    assert not isinstance(answer(ANSWERED[case]), str)
    assert_same(ANSWERED[case])


class DispatchedOps(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operators that are left for torch to answer."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func._schema.name.removeprefix("aten::"))
        return func(*args, **(kwargs or {}))


USUAL: dict[str, Callable[[], Any]] = {
    "convolution": convolved,
    "convolution with a bias": lambda: convolved(bias=on_meta(4), stride=(2, 1), padding=(1, 1), dilation=(1, 2)),
    "grouped convolution": lambda: convolved(on_meta(1, 6, 4, 4), on_meta(4, 3, 3, 3), groups=2),
    "batch norm": lambda: normed(3, 3, 3, 3),
    "batch norm backward": lambda: norm_backward(on_meta(3)),
    "pool": lambda: F.max_pool2d(IMAGES, 3, 2, 1),
    "global pool": lambda: F.adaptive_avg_pool2d(IMAGES, 1),
    "addition": lambda: IMAGES + IMAGES,
    "linear": lambda: F.linear(on_meta(2, 3), on_meta(5, 3), on_meta(5)),
    "relu": lambda: F.relu(IMAGES),
    "total": lambda: IMAGES.sum(),
}


@pytest.mark.parametrize("case", USUAL)
def test_usual_calls_need_no_kernel_of_torch(case: str) -> None:
    with DispatchedOps() as dispatched, FastMetaKernels():
        USUAL[case]()
    assert set(dispatched.seen) <= {"empty", "t", "view", "as_strided"}


def test_windows_by_hand() -> None:
    assert window_size(224, 7, 2, 3, 1) == 112
    assert window_size(112, 3, 2, 1, 1) == 56
    assert (window_size(6, 3, 2, 0, 1), window_size(6, 3, 2, 0, 1, ceil_mode=True)) == (2, 3)
    assert window_size(4, 3, 3, 1, 1, ceil_mode=True) == 2  # a third one would begin in the padding
    assert window_size(9, 3, 1, 0, 4) == 1


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.LayerNorm([4, 5, 5])])
def test_a_gpu_accumulates_statistics_of_half_precision(norm: nn.Module) -> None:
    """As torch's own kernels for `meta` do, which stand for those of a GPU."""
    norm, x = norm.to("meta", torch.bfloat16), torch.empty(2, 4, 5, 5, dtype=torch.bfloat16, device="meta")
    kept: dict[str, list[torch.dtype]] = {}
    for device in ("cpu", "cuda"):
        with FastMetaKernels(device):
            kept[device] = [saved.dtype for saved in saved_by(norm(x)) if saved.dtype != torch.bfloat16]
    assert kept == {"cpu": [], "cuda": [torch.float32] * 2}


def saved_by(output: Tensor) -> list[Tensor]:
    """What the node of an output has saved."""
    node: Any = output.grad_fn
    names = [name for name in dir(node) if name.startswith("_saved_result")]
    return [getattr(node, name) for name in names]
