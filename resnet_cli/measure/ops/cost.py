"""The arithmetic of one operator call, from the shapes that went in and came out.

Conventions, the same in the whole tool:

- a multiply-accumulate (MAC) is one multiplication and one addition of a convolution or matrix product; FLOPs are
  2 x MACs, as torch's own FlopCounterMode counts;
- *operations* are all arithmetic operations: 2 per MAC, 1 per bias addition, 2 per batch-norm element (scale and
  shift, as at inference, where mean and variance are folded into them), 1 per ReLU, per element of any other
  elementwise operator and per input of an average, sum or maximum, k-1 comparisons per output of a max-pool over k
  values; 5 per element of a softmax (largest, difference, exponential, sum, quotient), 7 per element of a norm whose
  statistics come from the sample itself (mean, difference, square, its sum, quotient, scale, shift).

Every call is also split into *terms*, the quantities in which the conventions of other tools are written as formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor

from resnet_cli.measure.ops.names import aten, qualified

TERMS: Mapping[str, str] = {
    "C": "multiply-accumulates of convolutions",
    "L": "multiply-accumulates of linear layers and matrix products",
    "b": "bias additions of linear layers",
    "k": "bias additions of convolutions",
    "B": "elements through batch norm",
    "P": "weights and biases of batch norms, once per image",
    "R": "elements through ReLU",
    "A": "elements of residual additions",
    "M": "elements into max-pooling",
    "m": "elements out of max-pooling",
    "G": "elements into average pooling",
    "g": "elements out of average pooling",
    "E": "other operations: elementwise, sums, softmax, norms over a sample",
}


@dataclass(frozen=True, slots=True)
class OpCost:
    """Cost of one operator call. `term` is the symbol of its main term, None where no term fits."""

    macs: int = 0
    operations: int = 0
    term: str | None = None
    terms: Mapping[str, int] = field(default_factory=dict)
    counted: bool = True


FREE = OpCost()
UNCOUNTED = OpCost(counted=False)


def _numel(value: Any) -> int:
    return value.numel() if isinstance(value, Tensor) else 0


def _first(out: Any) -> Tensor:
    result: Tensor = out[0] if isinstance(out, (tuple, list)) else out
    return result


def _convolution(args: Sequence[Any], out: Any) -> OpCost:
    x, weight, bias, transposed = args[0], args[1], args[2], args[6]
    # Every output element sums over the receptive window; transposed, every input element spreads over it.
    positions = prod(x.shape[2:]) if transposed else prod(_first(out).shape[2:])
    macs = x.shape[0] * positions * weight.numel()
    additions = _first(out).numel() if bias is not None else 0
    terms = {"C": macs, "k": additions} if additions else {"C": macs}
    return OpCost(macs, 2 * macs + additions, "C", terms)


def _convolution_backward(args: Sequence[Any], out: Any) -> OpCost:
    grad, x, weight, transposed, output_mask = args[0], args[1], args[2], args[7], args[-1]
    positions = prod(x.shape[2:]) if transposed else prod(grad.shape[2:])
    forward_macs = x.shape[0] * positions * weight.numel()
    macs = forward_macs * (bool(output_mask[0]) + bool(output_mask[1]))  # gradients of the input and of the weight
    additions = grad.numel() if output_mask[2] else 0
    return OpCost(macs, 2 * macs + additions, "C", {"C": macs})


def _product(macs: int, additions: int = 0) -> OpCost:
    return OpCost(macs, 2 * macs + additions, "L", {"L": macs, "b": additions} if additions else {"L": macs})


def _addmm(args: Sequence[Any], out: Any) -> OpCost:
    return _product(args[1].shape[0] * args[1].shape[1] * args[2].shape[1], _first(out).numel())


def _mm(args: Sequence[Any], out: Any) -> OpCost:
    return _product(args[0].shape[0] * args[0].shape[1] * args[1].shape[1])


def _bmm(args: Sequence[Any], out: Any) -> OpCost:
    return _product(args[0].numel() * args[1].shape[2])


def _baddbmm(args: Sequence[Any], out: Any) -> OpCost:
    return _product(args[1].numel() * args[2].shape[2], _first(out).numel())


def _attention(args: Sequence[Any], out: Any) -> OpCost:
    query, key, value = args[0], args[1], args[2]
    scores = prod(query.shape[:-1]) * key.shape[-2]
    return _product(scores * query.shape[-1] + scores * value.shape[-1])


def _batch_norm(args: Sequence[Any], out: Any) -> OpCost:
    elements = args[0].numel()
    return OpCost(0, 2 * elements, "B", {"B": elements, "P": args[0].shape[0] * (_numel(args[1]) + _numel(args[2]))})


def _relu(args: Sequence[Any], out: Any) -> OpCost:
    return OpCost(0, args[0].numel(), "R", {"R": args[0].numel()})


def _add(args: Sequence[Any], out: Any) -> OpCost:
    elements = _first(out).numel()
    # A residual addition has two activations of equal shape, not a constant or a broadcast vector.
    residual = isinstance(args[1], Tensor) and args[1].shape == args[0].shape
    term = "A" if residual else "E"
    return OpCost(0, elements, term, {term: elements})


def _max_pool(args: Sequence[Any], out: Any) -> OpCost:
    kernel = args[1]
    window = prod(kernel) if len(kernel) > 1 else kernel[0] ** 2
    inputs, outputs = args[0].numel(), _first(out).numel()
    return OpCost(0, (window - 1) * outputs, "M", {"M": inputs, "m": outputs})


def _average(args: Sequence[Any], out: Any) -> OpCost:
    inputs, outputs = args[0].numel(), _first(out).numel()
    return OpCost(0, inputs, "G", {"G": inputs, "g": outputs})


def _softmax(args: Sequence[Any], out: Any) -> OpCost:
    operations = 5 * args[0].numel()
    return OpCost(0, operations, "E", {"E": operations})


def _norm_over_sample(args: Sequence[Any], out: Any) -> OpCost:
    operations = 7 * args[0].numel()
    return OpCost(0, operations, "E", {"E": operations})


def _attention_backward(args: Sequence[Any], out: Any) -> OpCost:
    # The scores are recomputed; then the gradients of the scores, the values, the queries and the keys.
    query, key, value = args[1], args[2], args[3]
    scores = prod(query.shape[:-1]) * key.shape[-2]
    return _product(scores * (3 * query.shape[-1] + 2 * value.shape[-1]))


def _reduction(args: Sequence[Any], out: Any) -> OpCost:
    elements = args[0].numel()
    return OpCost(0, elements, "E", {"E": elements})


def _elementwise(args: Sequence[Any], out: Any) -> OpCost:
    elements = _first(out).numel()
    return OpCost(0, elements, "E", {"E": elements})


# A new operator needs one row here.
_RULES: Mapping[str, Callable[[Sequence[Any], Any], OpCost]] = {
    "aten::convolution": _convolution,
    "aten::convolution_backward": _convolution_backward,
    "aten::addmm": _addmm,
    "aten::mm": _mm,
    "aten::bmm": _bmm,
    "aten::baddbmm": _baddbmm,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_flash_attention": _attention,
    "aten::_scaled_dot_product_efficient_attention": _attention,
    "aten::_scaled_dot_product_cudnn_attention": _attention,
    "aten::_scaled_dot_product_attention_math": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
    "aten::_scaled_dot_product_flash_attention_backward": _attention_backward,
    "aten::_scaled_dot_product_efficient_attention_backward": _attention_backward,
    "aten::_scaled_dot_product_cudnn_attention_backward": _attention_backward,
    "aten::_softmax": _softmax,
    "aten::_safe_softmax": _softmax,
    "aten::_log_softmax": _softmax,
    "aten::native_layer_norm": _norm_over_sample,
    "aten::native_group_norm": _norm_over_sample,
    "aten::_fused_rms_norm": _norm_over_sample,
    "aten::native_batch_norm": _batch_norm,
    "aten::cudnn_batch_norm": _batch_norm,
    "aten::_native_batch_norm_legit": _batch_norm,
    "aten::_native_batch_norm_legit_no_training": _batch_norm,
    "aten::relu": _relu,
    "aten::add": _add,
    "aten::max_pool2d_with_indices": _max_pool,
    "aten::avg_pool2d": _average,
    "aten::_adaptive_avg_pool2d": _average,
    "aten::_adaptive_avg_pool3d": _average,
    "aten::avg_pool1d": _average,
    "aten::avg_pool3d": _average,
    "aten::mean": _average,
    "aten::sum": _reduction,
    "aten::amax": _reduction,
    "aten::amin": _reduction,
    "aten::max": _reduction,
    "aten::min": _reduction,
}
_ELEMENTWISE = aten("hardswish hardsigmoid hardtanh clamp clamp_min dropout native_dropout")
# Moves, views and bookkeeping: no arithmetic.
_FREE = aten(
    """
    view _unsafe_view reshape _reshape_alias t transpose permute expand squeeze unsqueeze slice select split
    unbind split_with_sizes chunk as_strided alias detach clone copy contiguous _to_copy cat stack empty
    empty_like new_empty zeros zeros_like ones ones_like new_zeros full full_like fill zero lift_fresh arange
    index roll constant_pad_nd flatten narrow movedim pixel_shuffle channel_shuffle gather expand_as repeat
    new_full select_backward slice_backward empty_strided
    _local_scalar_dense scalar_tensor linspace eye tril triu unfold im2col index_select masked_fill scatter
    index_put embedding flip repeat_interleave tile pixel_unshuffle upsample_nearest2d native_channel_shuffle
    rand randn randint randperm bernoulli uniform normal lift resize set _reshape_copy view_copy
    """
)


def op_cost(func: Any, args: Sequence[Any], out: Any) -> OpCost:
    """The cost of one call of an operator.

    Args:
        func: the operator, a `torch._ops.OpOverload`.
        args: its positional arguments as the dispatcher gives them.
        out: what it returned.

    Returns:
        The cost; `counted` is False for an operator without a rule, whose name has to be reported.
    """
    name = qualified(func)
    rule = _RULES.get(name)
    if rule is not None:
        return rule(args, out)
    if name in _FREE or func.is_view:
        return FREE
    if torch.Tag.pointwise in func.tags or name in _ELEMENTWISE:
        return _elementwise(args, out)
    return UNCOUNTED


def in_place(func: Any) -> bool:
    """Whether the operator writes into its first argument."""
    return bool(func._schema.is_mutable) and func._schema.name.endswith("_")
