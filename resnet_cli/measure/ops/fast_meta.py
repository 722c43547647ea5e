"""Fast kernels for the meta device: output shapes of the operators of convolutional networks.

The first convolution on torch's meta device imports sympy and the reference kernels, which takes most of a second.
`FastMetaKernels` computes the shapes of common operators itself and leaves all others, and every unusual or invalid
call, to torch's kernels, so that results and error messages are torch's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_HALF = (torch.float16, torch.bfloat16)


def window_size(length: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool = False) -> int:
    """Output length of a convolution or pooling along one axis.

    The formula is that of `torch.nn.Conv2d` and `torch.nn.MaxPool2d`; with `ceil_mode` a last
    window that would start in the right padding is dropped.
    """
    span = length + 2 * padding - dilation * (kernel - 1) - 1
    size = (-(-span // stride) if ceil_mode else span // stride) + 1
    if ceil_mode and (size - 1) * stride >= length + padding:
        size -= 1
    return size


def _like(tensor: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    return torch.empty(shape, dtype=dtype or tensor.dtype, device="meta")


def _in_its_format(x: Tensor) -> Tensor:
    """As large, with the channels last if they are so, otherwise contiguous: what most kernels return."""
    for axes, layout in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if x.dim() == axes and not x.is_contiguous() and x.is_contiguous(memory_format=layout):
            return torch.empty_like(x, memory_format=layout)
    return _like(x, x.shape)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    if transposed or x.dim() != 4 or len(stride) != 2 or len(padding) != 2 or len(dilation) != 2:
        return NotImplemented
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups or x.dtype != weight.dtype:
        return NotImplemented
    if min(*stride, *dilation) < 1 or min(padding) < 0 or not x.is_floating_point():
        return NotImplemented
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != weight.dtype):
        return NotImplemented
    size = [
        window_size(x.shape[axis + 2], weight.shape[axis + 2], stride[axis], padding[axis], dilation[axis])
        for axis in range(2)
    ]
    return _like(x, (x.shape[0], weight.shape[0], *size)) if min(size) > 0 else NotImplemented


def _batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *_: Any, accumulates: bool = False
) -> Any:
    """Batch norm, whose statistics have the dtype of its vectors; those that a GPU accumulates, single precision."""
    if not x.is_meta or x.dim() < 2 or not x.is_floating_point() or x.numel() == 0 or (mean is None and not training):
        return NotImplemented
    vectors = [each for each in (weight, bias, mean, var) if each is not None]
    dtype = vectors[0].dtype if vectors else x.dtype
    if any(each.shape != x.shape[1:2] or each.dtype != dtype for each in vectors):
        return NotImplemented
    half = x.dtype in _HALF
    if dtype != x.dtype and not (half and dtype == torch.float32):  # mixed precision keeps the vectors in single
        return NotImplemented
    statistics = torch.float32 if half and accumulates else dtype
    kept = (x.shape[1],) if training else (0,)
    return _in_its_format(x), _like(x, kept, statistics), _like(x, kept, statistics)


def _layer_norm(x: Tensor, shape: Sequence[int], weight: Any, bias: Any, *_: Any) -> Any:
    """Layer norm of a CPU, whose statistics have the dtype of its input; `meta` keeps single precision, as a GPU."""
    axes = len(shape)
    if not x.is_meta or x.dtype not in _HALF or not 0 < axes <= x.dim() or list(x.shape[-axes:]) != list(shape):
        return NotImplemented
    if any(each is not None and (each.dtype != x.dtype or list(each.shape) != list(shape)) for each in (weight, bias)):
        return NotImplemented
    kept = (*x.shape[:-axes], *[1] * axes)
    return _like(x, x.shape), _like(x, kept), _like(x, kept)


def _batch_norm_backward(grad: Tensor, x: Tensor, weight: Tensor | None, *rest: Any) -> Any:
    wanted = rest[-1]
    if not x.is_meta or (weight is None and (wanted[1] or wanted[2])):
        return NotImplemented
    # Torch's own kernel makes the first of them even where it is not wanted.
    return (
        _in_its_format(x) if wanted[0] else None,
        None if weight is None or not wanted[1] else _like(weight, weight.shape),
        None if weight is None or not wanted[2] else _like(weight, weight.shape),
    )


def _max_pool(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Any:
    if x.dim() != 4:
        return NotImplemented
    pair = [(tuple(value) * 2)[:2] for value in (kernel, stride or kernel, padding, dilation)]
    if any(pair[2][axis] > pair[0][axis] // 2 for axis in range(2)) or not x.is_floating_point():
        return NotImplemented
    if min(*pair[0], *pair[1], *pair[3]) < 1 or min(pair[2]) < 0:
        return NotImplemented
    size = [
        window_size(x.shape[axis + 2], pair[0][axis], pair[1][axis], pair[2][axis], pair[3][axis], ceil_mode)
        for axis in range(2)
    ]
    if min(size) < 1:
        return NotImplemented
    shape = (*x.shape[:2], *size)
    return _like(x, shape), _like(x, shape, torch.int64)


def _mean(x: Tensor, dims: Sequence[int] | None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    if not dims or not x.is_floating_point() or dtype is not None:
        return NotImplemented
    if not all(-x.dim() <= dim < x.dim() for dim in dims):
        return NotImplemented
    dropped = {dim % x.dim() for dim in dims}
    if len(dropped) < len(dims):
        return NotImplemented
    if keepdim:
        return _like(x, [1 if axis in dropped else length for axis, length in enumerate(x.shape)])
    return _like(x, [length for axis, length in enumerate(x.shape) if axis not in dropped])


def _total(x: Tensor, *, dtype: torch.dtype | None = None) -> Any:
    return _like(x, ()) if x.is_floating_point() and dtype is None else NotImplemented


def _addmm(bias: Tensor, a: Tensor, b: Tensor, *_: Any, **__: Any) -> Any:
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[0] or bias.shape != b.shape[1:] or a.dtype != b.dtype:
        return NotImplemented
    if bias.dtype != a.dtype or not a.is_floating_point():
        return NotImplemented
    return _like(a, (a.shape[0], b.shape[1]))


def _mm(a: Tensor, b: Tensor) -> Any:
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[0] or a.dtype != b.dtype:
        return NotImplemented
    return _like(a, (a.shape[0], b.shape[1]))


def _add(a: Tensor, b: Any, *_: Any, **__: Any) -> Any:
    if not isinstance(b, Tensor) or a.shape != b.shape or a.dtype != b.dtype:
        return NotImplemented
    return _like(a, a.shape)


def _add_in_place(a: Tensor, b: Any, *_: Any, **__: Any) -> Any:
    if isinstance(b, Tensor):
        return a if a.shape == b.shape and a.dtype == b.dtype and a.dtype != torch.bool else NotImplemented
    counts = a.dtype == torch.int64 and type(b) is int  # num_batches_tracked
    return a if counts or a.is_floating_point() else NotImplemented


def _div(x: Tensor, divisor: Any) -> Any:
    return _like(x, x.shape) if x.is_meta and x.is_floating_point() else NotImplemented


def _first(x: Tensor, *_: Any, **__: Any) -> Any:
    return x


def _same(x: Tensor, *_: Any, **options: Any) -> Any:
    accepts = (None, False, x.dtype, x.layout, x.device, torch.preserve_format)
    if not x.is_floating_point() or not all(any(value is known for known in accepts) for value in options.values()):
        return NotImplemented
    return _like(x, x.shape)


def _shape_of_input(grad: Tensor, x: Tensor, *_: Any, **__: Any) -> Any:
    return _like(x, x.shape)


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, bias_sizes: Any, *rest: Any) -> Any:
    wanted = rest[-1]
    if wanted[2] and not bias_sizes:
        return NotImplemented
    return (
        _like(x, x.shape) if wanted[0] else None,
        _like(weight, weight.shape) if wanted[1] else None,
        _like(weight, bias_sizes) if wanted[2] else None,
    )


def _sum(x: Tensor, dims: Sequence[int] | None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    return _mean(x, dims, keepdim, dtype=dtype)


_aten = torch.ops.aten
_RULES: Mapping[Any, Callable[..., Any]] = {
    _aten.convolution.default: _convolution,
    _aten.convolution_backward.default: _convolution_backward,
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_layer_norm.default: _layer_norm,
    _aten.native_batch_norm_backward.default: _batch_norm_backward,
    _aten.max_pool2d_with_indices.default: _max_pool,
    _aten.max_pool2d_with_indices_backward.default: _shape_of_input,
    _aten.threshold_backward.default: _shape_of_input,
    _aten.mean.dim: _mean,
    _aten.sum.dim_IntList: _sum,
    _aten.sum.default: _total,
    _aten.ones_like.default: _same,
    _aten.addmm.default: _addmm,
    _aten.mm.default: _mm,
    _aten.add.Tensor: _add,
    _aten.add_.Tensor: _add_in_place,
    _aten.relu.default: _same,
    _aten.relu_.default: _first,
    _aten.div.Scalar: _div,
    # Initialisation: nothing to fill on meta.
    _aten.uniform_.default: _first,
    _aten.normal_.default: _first,
    _aten.fill_.Scalar: _first,
    _aten.zero_.default: _first,
}


def _is_plain_meta(value: Any) -> bool:
    """A dense tensor on meta, or no tensor at all."""
    if not isinstance(value, Tensor):
        return True
    step, strides = 1, []
    for length in reversed(value.shape):
        strides.append(step)
        step *= length
    return value.is_meta and value.stride() == tuple(reversed(strides))


def _is_meta_matrix(value: Any) -> bool:
    """The same where a matrix may be transposed, or be the expanded gradient of a sum."""
    return _is_plain_meta(value) or (value.is_meta and value.dim() == 2)


# A GPU's norms differ.
_RULES_OF_A_GPU: Mapping[Any, Callable[..., Any]] = {
    **{func: rule for func, rule in _RULES.items() if rule is not _layer_norm},
    _aten.native_batch_norm.default: functools.partial(_batch_norm, accumulates=True),
}

_ANY_MATRIX = (_mm, _addmm, _sum)
# The gradient of a mean is an expanded tensor, and is divided at once.
_ANY_LAYOUT = (_div, _batch_norm, _batch_norm_backward, _layer_norm)


class FastMetaKernels(TorchDispatchMode):
    """Answers the common operators on `meta` from their shape formulas, and asks torch for all others.

    Args:
        device_type: whose operators they are, where those of a CPU and of a GPU differ.
    """

    supports_higher_order_operators = True

    def __init__(self, device_type: str = "cpu") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rules = _RULES if device_type == "cpu" else _RULES_OF_A_GPU

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Torch would import torch.compile (0.8 s) to keep it away from this mode; nothing is compiled here.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """One operator: by rule where there is one and nothing is unusual."""
        kwargs = kwargs or {}
        rule = self._rules.get(func)
        accepts = _is_meta_matrix if rule in _ANY_MATRIX else _is_plain_meta
        if rule is not None and (rule in _ANY_LAYOUT or all(map(accepts, args))):
            answer = rule(*args, **kwargs)
            if answer is not NotImplemented:
                return answer
        return func(*args, **kwargs)
