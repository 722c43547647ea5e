"""Shapes by formula are torch's own; a on_meta copy leaves its model alone."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from resnet_cli.measure.models.copies import build_on_meta
from resnet_cli.measure.ops.fast_meta import _RULES, FastMetaKernels
from resnet_cli.measure.tracing.tensors import tensors_in
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.network.resnet import build
from tests.helpers.models import on_meta

aten = torch.ops.aten
FLOATS = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16])
SMALL = st.integers(1, 9)
Arguments = st.SearchStrategy[tuple[Any, ...]]


def answer(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Shape, dtype, strides and place of all that comes out, or what torch has against it."""
    try:
        out = call(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    results = out if isinstance(out, (tuple, list)) else (out,)
    return [
        None if tensor is None else (tuple(tensor.shape), tensor.dtype, tensor.stride(), tensor.device.type)
        for tensor in results
    ]


def assert_same(call: Callable[..., Any], *args: Any) -> None:
    with FastMetaKernels():
        quick = answer(call, *args)
    assert quick == answer(call, *args)


def assert_same_as_on_the_cpu(call: Callable[..., Any], *args: Any) -> None:
    """For norms, whose meta kernels return statistics that those of a CPU leave out, or keep in half precision."""
    with FastMetaKernels():
        quick = answer(call, *args)
    real = answer(call, *(torch.ones_like(arg, device="cpu") if isinstance(arg, Tensor) else arg for arg in args))
    assert quick == [None if facts is None else (*facts[:-1], "meta") for facts in real]


def pairs(low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=2, max_size=2)


def tensors(sizes: st.SearchStrategy[list[int]], dtypes: st.SearchStrategy[torch.dtype] = FLOATS) -> Any:
    return st.builds(lambda shape, dtype: on_meta(*shape, dtype=dtype), sizes, dtypes)


def any_shape(least: int = 1, most: int = 4) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, 6), min_size=least, max_size=most)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Any, ...]:
    """Some with the wrong channels, the wrong dtype, or a kernel larger than the image."""
    dtype, groups = draw(FLOATS), draw(st.integers(1, 3))
    inside, outside = draw(SMALL), draw(SMALL) * groups
    channels = inside * groups if draw(st.integers(0, 5)) else draw(SMALL)
    x = on_meta(draw(st.integers(0, 3)), channels, *draw(pairs(1, 12)), dtype=dtype)
    if draw(st.integers(0, 5)) == 0:
        x = x.to(memory_format=torch.channels_last)
    weight = on_meta(outside, inside, *draw(pairs(1, 5)), dtype=draw(FLOATS) if draw(st.integers(0, 9)) == 0 else dtype)
    bias = on_meta(outside, dtype=weight.dtype) if draw(st.booleans()) else None
    return (x, weight, bias, draw(pairs(1, 3)), draw(pairs(0, 3)), draw(pairs(1, 3)), False, [0, 0], groups)


@st.composite
def convolutions_backward(draw: st.DrawFn) -> tuple[Any, ...]:
    """One to three axes, and the transposed ones of decoders, whose weight has the input's channels first."""
    dtype, groups, transposed, axes = (
        draw(FLOATS),
        draw(st.integers(1, 3)),
        draw(st.booleans()),
        draw(st.integers(1, 3)),
    )

    def each_axis(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes))

    inside, outside = draw(st.integers(1, 3)) * groups, draw(st.integers(1, 3)) * groups
    channels = (inside, outside // groups) if transposed else (outside, inside // groups)
    x = on_meta(draw(st.integers(1, 3)), inside, *each_axis(5, 7), dtype=dtype)
    weight = on_meta(*channels, *each_axis(1, 3), dtype=dtype)
    settings = (each_axis(2, 3), each_axis(0, 2), each_axis(1, 2), transposed, each_axis(0, int(transposed)), groups)
    grad = aten.convolution(x, weight, None, *settings)
    return (grad, x, weight, [outside], *settings, draw(st.lists(st.booleans(), min_size=3, max_size=3)))


@st.composite
def batch_norms(draw: st.DrawFn) -> tuple[Any, ...]:
    x = draw(tensors(any_shape(2, 5)))
    channels = x.shape[1]
    # Half-precision inputs with single-precision weights are what mixed precision makes.
    half = x.dtype in (torch.float16, torch.bfloat16)
    dtype = torch.float32 if half and draw(st.booleans()) else x.dtype
    vectors = [on_meta(channels, dtype=dtype) for _ in range(4)]
    weight, bias = vectors[:2] if draw(st.booleans()) else (None, None)
    training = draw(st.booleans())
    mean, var = vectors[2:] if not training or draw(st.booleans()) else (None, None)
    return (x, weight, bias, mean, var, training, 0.1, 1e-5)


@st.composite
def layer_norms(draw: st.DrawFn) -> tuple[Any, ...]:
    """Over the last axes, with or without weights."""
    x = draw(tensors(any_shape(1, 4)))
    shape = list(x.shape[-draw(st.integers(1, x.dim())) :])
    weight, bias = (on_meta(*shape, dtype=x.dtype) if draw(st.booleans()) else None for _ in range(2))
    return (x, shape, weight, bias, 1e-5)


@st.composite
def batch_norms_backward(draw: st.DrawFn) -> tuple[Any, ...]:
    x = draw(tensors(any_shape(2, 5)))
    vectors = [on_meta(x.shape[1], dtype=x.dtype) for _ in range(3)]
    training = draw(st.booleans())
    kept = [on_meta(x.shape[1] if training else 0, dtype=x.dtype) for _ in range(2)]
    mask = draw(st.lists(st.booleans(), min_size=3, max_size=3))
    return (torch.empty_like(x), x, *vectors, *kept, training, 1e-5, mask)


@st.composite
def max_pools(draw: st.DrawFn) -> tuple[Any, ...]:
    """Some with too much padding, or a kernel larger than the image."""
    sizes = st.lists(st.integers(1, 5), min_size=1, max_size=2)
    x = draw(tensors(st.lists(st.integers(1, 14), min_size=3, max_size=4)))
    stride = draw(st.one_of(st.just([]), st.lists(st.integers(1, 4), min_size=1, max_size=2)))
    padding = draw(st.lists(st.integers(0, 3), min_size=1, max_size=2))
    dilation = draw(st.lists(st.integers(1, 3), min_size=1, max_size=2))
    return (x, draw(sizes), stride, padding, dilation, draw(st.booleans()))


@st.composite
def max_pools_backward(draw: st.DrawFn) -> tuple[Any, ...]:
    x = draw(tensors(st.lists(st.integers(6, 14), min_size=4, max_size=4)))
    settings = (draw(pairs(2, 4)), draw(pairs(1, 4)), draw(pairs(0, 1)), draw(pairs(1, 1)), draw(st.booleans()))
    out, indices = aten.max_pool2d_with_indices(x, *settings)
    return (torch.empty_like(out), x, *settings, indices)


@st.composite
def reductions(draw: st.DrawFn) -> tuple[Any, ...]:
    """Dimensions from either end; some given twice, or that are not there."""
    x = draw(tensors(any_shape(0), st.one_of(FLOATS, st.just(torch.int64))))
    dims = draw(st.lists(st.integers(-4, 3), max_size=3))
    return (x, dims, draw(st.booleans()))


@st.composite
def products(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Some do not fit; the right one may be a transposed weight."""
    dtype, (rows, inner, columns) = draw(FLOATS), draw(st.tuples(SMALL, SMALL, SMALL))
    other = inner if draw(st.integers(0, 3)) else draw(SMALL)
    right = on_meta(columns, other, dtype=dtype).t() if draw(st.booleans()) else on_meta(other, columns, dtype=dtype)
    return on_meta(rows, inner, dtype=draw(FLOATS) if draw(st.integers(0, 9)) == 0 else dtype), right


@st.composite
def products_with_bias(draw: st.DrawFn) -> tuple[Any, ...]:
    left, right = draw(products())
    width = right.shape[1] if draw(st.integers(0, 3)) else draw(SMALL)
    return (on_meta(width, dtype=draw(FLOATS) if draw(st.integers(0, 9)) == 0 else left.dtype), left, right)


@st.composite
def additions(draw: st.DrawFn) -> tuple[Any, ...]:
    """Same shapes, broadcast ones, ones that do not fit, and numbers."""
    dtypes = st.one_of(FLOATS, st.sampled_from([torch.int64, torch.bool]))
    first = draw(tensors(any_shape(0), dtypes))
    other = draw(
        st.one_of(
            st.just(torch.empty_like(first)),
            tensors(any_shape(0), dtypes),
            st.sampled_from([1, 2.5]),
        )
    )
    return (first, other)


def single(dtypes: st.SearchStrategy[torch.dtype] = FLOATS) -> Arguments:
    transposed = tensors(any_shape(2, 4)).map(lambda x: x.transpose(0, 1))
    return st.tuples(st.one_of(tensors(any_shape(0), dtypes), transposed))


ANY_DTYPE = st.one_of(FLOATS, st.sampled_from([torch.int64, torch.bool]))
ARGUMENTS: dict[Any, Arguments] = {
    aten.convolution.default: convolutions(),
    aten.convolution_backward.default: convolutions_backward(),
    aten.native_batch_norm.default: batch_norms(),
    aten.native_layer_norm.default: layer_norms(),
    aten.native_batch_norm_backward.default: batch_norms_backward(),
    aten.max_pool2d_with_indices.default: max_pools(),
    aten.max_pool2d_with_indices_backward.default: max_pools_backward(),
    aten.threshold_backward.default: tensors(any_shape()).map(lambda x: (torch.empty_like(x), x, 0)),
    aten.mean.dim: reductions(),
    aten.sum.dim_IntList: reductions(),
    aten.sum.default: single(ANY_DTYPE),
    aten.ones_like.default: single(ANY_DTYPE),
    aten.addmm.default: products_with_bias(),
    aten.mm.default: products(),
    aten.add.Tensor: additions(),
    aten.add_.Tensor: additions(),
    aten.relu.default: single(ANY_DTYPE),
    aten.relu_.default: single(ANY_DTYPE),
    aten.div.Scalar: st.tuples(tensors(any_shape(0), ANY_DTYPE), st.sampled_from([2, 2.5])),
    aten.uniform_.default: single(),
    aten.normal_.default: single(),
    aten.fill_.Scalar: single(ANY_DTYPE).map(lambda args: (*args, 1)),
    aten.zero_.default: single(ANY_DTYPE),
}


def test_every_rule_is_held_against_torch() -> None:
    assert set(ARGUMENTS) == set(_RULES)


@pytest.mark.parametrize("operator", ARGUMENTS, ids=str)
@settings(max_examples=40)
@given(data=st.data())
def test_a_rule_answers_and_refuses_as_torch_does(operator: Any, data: st.DataObject) -> None:
    same = assert_same_as_on_the_cpu if "_norm" in str(operator) else assert_same
    same(operator, *data.draw(ARGUMENTS[operator]))


@settings(max_examples=100)
@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 9),
    stride=st.integers(1, 5),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 4),
    ceil_mode=st.booleans(),
)
@example(size=4, kernel=3, stride=3, padding=1, dilation=1, ceil_mode=True)  # a window that starts in the padding
def test_windows_are_torchs(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> None:
    x = on_meta(1, 2, size, size + 1)
    assert_same(F.conv2d, x, on_meta(3, 2, kernel, kernel), None, stride, padding, dilation)
    assert_same(F.max_pool2d, x, kernel, stride, padding, dilation, ceil_mode)


IMAGES = on_meta(2, 3, 8, 8)
REFUSED: dict[str, Callable[[], Any]] = {
    "wrong channels": lambda: F.conv2d(IMAGES, on_meta(4, 5, 3, 3)),
    "kernel too large": lambda: F.conv2d(IMAGES, on_meta(4, 3, 9, 9)),
    "convolution with stride 0": lambda: F.conv2d(IMAGES, on_meta(4, 3, 3, 3), stride=0),
    "bias of another dtype": lambda: F.conv2d(IMAGES, on_meta(4, 3, 3, 3), on_meta(4, dtype=torch.float64)),
    "pool too large": lambda: F.max_pool2d(IMAGES, 9),
    "pool with stride 0": lambda: F.max_pool2d(IMAGES, 3, stride=(0, 0)),
    "pool with too much padding": lambda: F.max_pool2d(IMAGES, 2, padding=2),
    "pool with negative padding": lambda: F.max_pool2d(IMAGES, 2, padding=-1),
    "mean over a dimension twice": lambda: IMAGES.mean((1, 1)),
    "mean over a dimension that is not there": lambda: IMAGES.mean((7,)),
    "mean over a dimension of a number": lambda: on_meta().mean((1,)),
    "matrices that do not fit": lambda: F.linear(on_meta(2, 3), on_meta(5, 4), on_meta(5)),
    "whole numbers plus a fraction, in place": lambda: on_meta(3, dtype=torch.int64).add_(1.5),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_torch_refuses_is_refused_in_its_words(case: str) -> None:
    refused = answer(REFUSED[case])
    assert isinstance(refused, str)
    with FastMetaKernels():
        assert answer(REFUSED[case]) == refused


def test_a_network_built_on_meta_is_the_network() -> None:
    def facts(model: nn.Module) -> list[tuple[str, Sequence[int], torch.dtype]]:
        return [(key, value.shape, value.dtype) for key, value in model.state_dict().items()]

    spec = ModelSpec("small", "bottleneck", (1, 1, 1, 1), width_per_group=16)
    built = build_on_meta(lambda: build(spec))
    assert facts(built) == facts(build(spec))
    assert {tensor.device.type for tensor in tensors_in(dict(built.state_dict()))} == {"meta"}
    assert facts(copy.deepcopy(built)) == facts(built)


def test_measuring_is_light_and_silent() -> None:
    """In a fresh interpreter: the dear imports stay away from `summary`, and no library says a word."""
    program = """
import sys, torch
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.measure.cost import flops, summary
from resnet_cli.measure.models import model
from resnet_cli.measure.models.inputs.model_inputs import images
subject = model.model_from_spec(ARCHITECTURES["resnet18"])
how = {"inputs": images((1, 3, 64, 64)), "dtype": torch.float32, "device": torch.device("cpu")}
summary.summarize(subject, **how)
print(sorted({"sympy", "torch._dynamo", "torchvision", "fvcore"} & set(sys.modules)))
print(flops.count_flops(subject, backward=True, **how).root.fvcore is None)
"""
    done = subprocess.run([sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nFalse\n"
    assert done.stderr == ""
