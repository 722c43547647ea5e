"""Rules for operators that multiply and accumulate: convolutions, matrix products, attention, recurrent layers.

Each takes the positional arguments of a call, as the dispatcher gives them, and what it returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from resnet_cli.measure.ops.op_cost import OpCost, Rule, first_tensor, product, rule_of


def _conv(macs: int, additions: int = 0) -> OpCost:
    return OpCost(macs, 2 * macs + additions, "C", {"C": macs, "k": additions} if additions else {"C": macs})


def _convolution(args: Sequence[Any], out: Any) -> OpCost:
    x, weight, bias, transposed = args[0], args[1], args[2], args[6]
    # Every output element sums over the receptive window; transposed, every input element spreads over it.
    positions = x.shape[0] * prod((x if transposed else first_tensor(out)).shape[2:])
    return _conv(positions * weight.numel(), first_tensor(out).numel() if bias is not None else 0)


def _convolution_backward(args: Sequence[Any], out: Any) -> OpCost:
    grad, x, weight, transposed, output_mask = args[0], args[1], args[2], args[7], args[-1]
    forward_macs = x.shape[0] * prod((x if transposed else grad).shape[2:]) * weight.numel()
    macs = forward_macs * (bool(output_mask[0]) + bool(output_mask[1]))  # gradients of the input and of the weight
    return OpCost(macs, 2 * macs + (grad.numel() if output_mask[2] else 0), "C", {"C": macs})


def _kernel_of_a_library(args: Sequence[Any], out: Any) -> OpCost:
    """A convolution of one library: not transposed, the weight with the output's channels first."""
    weight = args[1]
    return _conv(first_tensor(out).numel() // weight.shape[0] * weight.numel())


def _sequence_convolution(args: Sequence[Any], out: Any) -> OpCost:
    """`conv_tbc`: time and batch first, the weight (kernel, inputs, outputs)."""
    return _conv(prod(out.shape[:2]) * args[1].numel(), out.numel())


def _deformable_convolution(args: Sequence[Any], out: Any) -> OpCost:
    """`torchvision.ops.deform_conv2d`: a convolution over sampled pixels."""
    weight = args[1]
    return _conv(out.shape[0] * prod(out.shape[2:]) * weight.numel(), out.numel())


def _elements(tensor: Tensor) -> int:
    """Elements of a matrix that are stored: all but the zeros of a sparse one."""
    packed = 2 if tensor.dtype == torch.float4_e2m1fn_x2 else 1
    return tensor.numel() * packed if tensor.layout == torch.strided else tensor._nnz()


def _times(position: int, *, has_bias: bool = False) -> Rule:
    """A product in which every element of argument `position` meets every column of the output."""

    def rule(args: Sequence[Any], out: Any) -> OpCost:
        result = first_tensor(out)
        return product(_elements(args[position]) * result.shape[-1], result.numel() if has_bias else 0)

    return rule


def _grouped_product(args: Sequence[Any], out: Any) -> OpCost:
    """`_grouped_mm`: a product for each group; offsets divide rows, columns or what is summed over among the groups."""
    left = args[0]
    return product(_elements(left) * out.shape[-1] if left.dim() == 2 else out.numel() * left.shape[-1])


def _semi_structured(args: Sequence[Any], out: Any) -> OpCost:
    """`_sparse_semi_structured_linear`: of the weight the two values in four that are stored."""
    return product(prod(args[0].shape[:-1]) * args[1].numel())


def _sampled_product(args: Sequence[Any], out: Any) -> OpCost:
    """`sparse_sampled_addmm`: a product at the places where a sparse matrix has values."""
    return product(_elements(args[0]) * args[1].shape[-1], _elements(args[0]))


def _times_vector(position: int, *, has_bias: bool = False) -> Rule:
    """A product in which every element of argument `position` is used once: `mv`, `dot`."""

    def rule(args: Sequence[Any], out: Any) -> OpCost:
        return product(_elements(args[position]), first_tensor(out).numel() if has_bias else 0)

    return rule


def _outer(args: Sequence[Any], out: Any) -> OpCost:
    """`addr`: a product of a column and a row is added."""
    return product(out.numel())


def _trilinear(args: Sequence[Any], out: Any) -> OpCost:
    """`nn.Bilinear`: torch multiplies the first two arguments, then the result and the third."""
    expanded, summed = [set(axes) for axes in args[3:6]], set(args[6])
    shapes = [list(tensor.shape) for tensor in args[:3]]
    for shape, axes in zip(shapes, expanded, strict=True):
        for axis in sorted(axes):
            shape.insert(axis, 1)
    sizes = [max(lengths) for lengths in zip(*shapes, strict=True)]
    first = [max(left, right) for left, right in zip(shapes[0], shapes[1], strict=True)]
    gone = summed & expanded[2]  # axes that the first product sums over already
    second = [1 if axis in gone else length for axis, length in enumerate(sizes)]
    return product(prod(first) + prod(second))


def _euclidean_distance(args: Sequence[Any], out: Any) -> OpCost:
    """Distances of all pairs as |a|² + |b|² - 2ab; the square root and the sums are one operation for each pair."""
    a, b = args[0], args[1]
    macs = out.numel() * a.shape[-1]
    operations = 2 * (a.numel() + b.numel()) + 3 * out.numel()
    return OpCost(macs, 2 * macs + operations, "L", {"L": macs, "E": operations})


def _attention(args: Sequence[Any], out: Any) -> OpCost:
    query, key, value = args[0], args[1], args[2]
    scores = prod(query.shape[:-1]) * key.shape[-2]
    return product(scores * query.shape[-1] + scores * value.shape[-1])


def _attention_backward(args: Sequence[Any], out: Any) -> OpCost:
    # The scores are recomputed; then the gradients of the scores, the values, the queries and the keys.
    query, key, value = args[1], args[2], args[3]
    scores = prod(query.shape[:-1]) * key.shape[-2]
    return product(scores * (3 * query.shape[-1] + 2 * value.shape[-1]))


def _affine_grid(args: Sequence[Any], out: Any) -> OpCost:
    """Every coordinate of the grid is a product of a row of the matrix and a point."""
    return product(out.numel() * args[0].shape[-1])


def _recurrent(weights: slice, *, passes: int = 1) -> Rule:
    """A whole recurrent layer: every element of its matrices, once at every step of every sequence."""

    def rule(args: Sequence[Any], out: Any) -> OpCost:
        tensors = [tensor for held in args[weights] for tensor in (held if isinstance(held, list) else [held])]
        matrices = [tensor for tensor in tensors if tensor.dim() == 2]
        return product(passes * prod(args[0].shape[:-1]) * sum(matrix.numel() for matrix in matrices))

    return rule


def _packed_weight(args: Sequence[Any]) -> Tensor:
    """The weight of a quantized layer, whose packed parameters are one of the arguments."""
    packed: Any = next(argument for argument in args if isinstance(argument, torch.ScriptObject))
    weight: Tensor = packed.unpack()[0]
    return weight


def _quantized_convolution(args: Sequence[Any], out: Any) -> OpCost:
    weight = _packed_weight(args)
    return _conv(first_tensor(out).numel() // weight.shape[0] * weight.numel())


def _quantized_transposed(args: Sequence[Any], out: Any) -> OpCost:
    return _conv(args[0].shape[0] * prod(args[0].shape[2:]) * _packed_weight(args).numel())


def _quantized_linear(args: Sequence[Any], out: Any) -> OpCost:
    return product(prod(args[0].shape[:-1]) * _packed_weight(args).numel())


PRODUCTS: Mapping[str, Rule] = {
    **rule_of("convolution _convolution convolution_overrideable", _convolution),
    **rule_of("convolution_backward", _convolution_backward),
    **rule_of(
        "cudnn_convolution mkldnn_convolution _slow_conv2d_forward slow_conv_dilated2d slow_conv_dilated3d "
        "slow_conv3d_forward _conv_depthwise2d conv_depthwise3d",
        _kernel_of_a_library,
    ),
    **rule_of("conv_tbc", _sequence_convolution),
    **rule_of(
        "mm bmm _int_mm _scaled_mm _scaled_mm_v2 _weight_int8pack_mm _weight_int4pack_mm _weight_int4pack_mm_for_cpu "
        "_weight_int4pack_mm_with_scales_and_zeros _dyn_quant_matmul_4bit _mixed_dtypes_linear mkldnn_linear hspmm "
        "_sparse_mm_reduce_impl _sparse_semi_structured_mm",
        _times(0),
    ),
    **rule_of(
        "addmm baddbmm addbmm _addmm_activation _sparse_addmm sspaddmm _sparse_semi_structured_addmm",
        _times(1, has_bias=True),
    ),
    **rule_of("_grouped_mm _scaled_grouped_mm _scaled_grouped_mm_v2", _grouped_product),
    **rule_of("_sparse_semi_structured_linear", _semi_structured),
    **rule_of("sparse_sampled_addmm", _sampled_product),
    **rule_of("affine_grid_generator", _affine_grid),
    **rule_of("mv dot vdot", _times_vector(0)),
    **rule_of("addmv", _times_vector(1, has_bias=True)),
    **rule_of("addr", _outer),
    **rule_of("_trilinear", _trilinear),
    **rule_of("_euclidean_dist", _euclidean_distance),
    **rule_of(
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
        "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
        "_scaled_dot_product_attention_math _scaled_dot_product_fused_attention_overrideable",
        _attention,
    ),
    **rule_of(
        "_scaled_dot_product_flash_attention_for_cpu_backward _scaled_dot_product_flash_attention_backward "
        "_scaled_dot_product_efficient_attention_backward _scaled_dot_product_cudnn_attention_backward",
        _attention_backward,
    ),
    **rule_of("flex_attention", _attention, "higher_order"),
    **rule_of("mkldnn_rnn_layer", _recurrent(slice(1, 3))),
    **rule_of("mkldnn_rnn_layer_backward", _recurrent(slice(1, 3), passes=2)),
    **rule_of("_cudnn_rnn miopen_rnn", _recurrent(slice(1, 2))),
    **rule_of("deform_conv2d", _deformable_convolution, "torchvision"),
    **rule_of(
        "conv1d conv1d_relu conv1d_dynamic conv2d conv2d_relu conv2d_dynamic conv2d_add conv2d_add_relu conv3d "
        "conv3d_relu conv3d_dynamic",
        _quantized_convolution,
        "quantized",
    ),
    **rule_of(
        "conv_transpose1d conv_transpose1d_dynamic conv_transpose2d conv_transpose2d_dynamic conv_transpose3d "
        "conv_transpose3d_dynamic",
        _quantized_transposed,
        "quantized",
    ),
    **rule_of(
        "linear linear_relu linear_leaky_relu linear_tanh linear_dynamic linear_relu_dynamic linear_dynamic_fp16 "
        "linear_relu_dynamic_fp16",
        _quantized_linear,
        "quantized",
    ),
}
