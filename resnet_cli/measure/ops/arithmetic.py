"""Rules for operators whose arithmetic is no product: norms, pools, reductions, interpolation, elementwise ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2, prod
from typing import Any

from torch import Tensor

from resnet_cli.measure.ops.op_cost import OpCost, Rule, first_tensor, other, rule_of


def _numel(value: Any) -> int:
    return value.numel() if isinstance(value, Tensor) else 0


def _batch_norm(args: Sequence[Any], out: Any) -> OpCost:
    elements = args[0].numel()
    return OpCost(0, 2 * elements, "B", {"B": elements, "P": args[0].shape[0] * (_numel(args[1]) + _numel(args[2]))})


def _relu(args: Sequence[Any], out: Any) -> OpCost:
    return OpCost(0, args[0].numel(), "R", {"R": args[0].numel()})


def _add(args: Sequence[Any], out: Any) -> OpCost:
    elements = first_tensor(out).numel()
    # A residual addition has two activations of equal shape, not a constant or a broadcast vector.
    residual = isinstance(args[1], Tensor) and args[1].shape == args[0].shape
    term = "A" if residual else "E"
    return OpCost(0, elements, term, {term: elements})


def _max_pool(axes: int) -> Rule:
    def rule(args: Sequence[Any], out: Any) -> OpCost:
        kernel = args[1]
        window = prod(kernel) if len(kernel) > 1 else kernel[0] ** axes
        inputs, outputs = args[0].numel(), first_tensor(out).numel()
        return OpCost(0, (window - 1) * outputs, "M", {"M": inputs, "m": outputs})

    return rule


def _norm_over_sample(args: Sequence[Any], out: Any) -> OpCost:
    elements, parameters = args[0].numel(), sum(map(_numel, args[1:4]))
    return OpCost(0, 7 * elements, "N", {"N": elements, "P": args[0].shape[0] * parameters})


def _average(args: Sequence[Any], out: Any) -> OpCost:
    inputs, outputs = args[0].numel(), first_tensor(out).numel()
    return OpCost(0, inputs, "V", {"V": inputs, "v": outputs})


def _adaptive_average(args: Sequence[Any], out: Any) -> OpCost:
    inputs, outputs = args[0].numel(), first_tensor(out).numel()
    return OpCost(0, inputs, "G", {"G": inputs, "g": outputs})


def _mean(args: Sequence[Any], out: Any) -> OpCost:
    # Adaptive pooling to one pixel arrives as one of these calls; any other mean is a sum like others.
    if list(args[1:3]) == [[-1, -2], True]:
        return _adaptive_average(args, out)
    return (_average if list(args[1:3]) == [[-1, -2, -3], True] else _for_each_input(1))(args, out)


def _for_each_input(operations: int, position: int = 0) -> Rule:
    def rule(args: Sequence[Any], out: Any) -> OpCost:
        return other(operations * args[position].numel())

    return rule


def _for_each_output(operations: int) -> Rule:
    def rule(args: Sequence[Any], out: Any) -> OpCost:
        return other(operations * first_tensor(out).numel())

    return rule


def _interpolated(values: int) -> Rule:
    """Each output is a weighted sum of so many inputs."""
    return _for_each_output(2 * values - 1)


def _bilinear(args: Sequence[Any], out: Any) -> OpCost:
    """Each output is a weighted sum of four inputs."""
    return OpCost(0, 7 * out.numel(), "U", {"U": out.numel()})


def _nearest(args: Sequence[Any], out: Any) -> OpCost:
    return OpCost(term="u", terms={"u": out.numel()})


_BILINEAR, _NEAREST = 0, 1  # values of `interpolation_mode`; 2 is bicubic


def _grid_sample(args: Sequence[Any], out: Any) -> OpCost:
    axes, mode = args[1].shape[-1], args[2]
    if mode == _NEAREST:
        return other(0)
    if mode == _BILINEAR and axes == 2:
        return _bilinear(args, out)
    return _interpolated((2 if mode == _BILINEAR else 4) ** axes)(args, out)


def _distance(args: Sequence[Any], out: Any) -> OpCost:
    """A difference, its power and a sum for each pair and coordinate, then a root for each pair."""
    return other(out.numel() * (3 * args[0].shape[-1] + 1))


def _distance_backward(args: Sequence[Any], out: Any) -> OpCost:
    """A difference, a product and a sum for each pair and coordinate."""
    return other(3 * args[4].numel() * args[1].shape[-1])


def _fourier(result: int, operations: float) -> Rule:
    """A fast Fourier transform: 5 N log2 N operations for N complex values, half of that for N real ones.

    These are the operations of the algorithm of Cooley and Tukey with radix 2, by which FFTW states its speed
    (fftw.org/speed/method.html).

    Args:
        result: 0 where the values are those of the first argument, 1 where they are those of the output.
        operations: factor of N log2 N.
    """

    def rule(args: Sequence[Any], out: Any) -> OpCost:
        values = (args[0], out)[result]
        size = prod(values.shape[axis] for axis in args[1])
        return other(round(operations * values.numel() * log2(size)) if values.numel() else 0)

    return rule


def _embedding_bag(args: Sequence[Any], out: Any) -> OpCost:
    """The vectors of a bag are added, or compared; with a weight each, they are multiplied before."""
    weighted = len(args) > 6 and args[6] is not None
    return other(args[1].numel() * args[0].shape[-1] * (2 if weighted else 1))


elementwise = _for_each_output(1)


ARITHMETIC: Mapping[str, Rule] = {
    **rule_of("_softmax _safe_softmax _log_softmax", _for_each_input(5)),
    **rule_of("native_layer_norm native_group_norm _fused_rms_norm", _norm_over_sample),
    **rule_of(
        "native_batch_norm cudnn_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
        "_batch_norm_with_update _batch_norm_no_update",
        _batch_norm,
    ),
    **rule_of("relu", _relu),
    **rule_of("add", _add),
    **rule_of("max_pool2d_with_indices quantized_max_pool2d", _max_pool(2)),
    **rule_of("max_pool3d_with_indices", _max_pool(3)),
    **rule_of("avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool3d", _average),
    **rule_of("_adaptive_avg_pool2d", _adaptive_average),
    **rule_of("mean", _mean),
    **rule_of(
        "sum amax amin max min argmax argmin aminmax all any equal "
        "nansum prod trace count_nonzero cumsum cumprod cummax "
        "cummin _cummax_helper _cummin_helper logcumsumexp col2im adaptive_max_pool2d adaptive_max_pool3d",
        _for_each_input(1),
    ),
    **rule_of("scatter_add scatter_reduce", _for_each_input(1, position=2)),
    **rule_of("index_add", _for_each_input(1, position=3)),
    **rule_of("linalg_vector_norm linalg__powsum norm native_norm", _for_each_input(2)),
    **rule_of("dist mse_loss", _for_each_input(3)),
    **rule_of("linalg_cross", _for_each_output(3)),
    **rule_of("_fft_c2c", _fourier(0, 5)),
    **rule_of("_fft_r2c", _fourier(0, 2.5)),
    **rule_of("_fft_c2r", _fourier(1, 2.5)),
    **rule_of("_embedding_bag _embedding_bag_forward_only", _embedding_bag),
    **rule_of("var std var_mean std_mean logsumexp _weight_norm_interface", _for_each_input(4)),
    **rule_of("upsample_linear1d", _interpolated(2)),
    **rule_of("upsample_bilinear2d", _bilinear),
    **rule_of("upsample_nearest2d", _nearest),
    **rule_of("upsample_trilinear3d", _interpolated(8)),
    **rule_of("upsample_bicubic2d", _interpolated(16)),
    **rule_of("grid_sampler_2d grid_sampler_3d", _grid_sample),
    **rule_of("_cdist_forward _pdist_forward", _distance),
    **rule_of("_cdist_backward", _distance_backward),
    **rule_of(
        "hardswish hardsigmoid hardtanh clamp clamp_min dropout native_dropout glu threshold _prelu_kernel "
        "log_sigmoid_forward polar floor_divide rrelu_with_noise fake_quantize_per_tensor_affine_cachemask "
        "fake_quantize_per_channel_affine_cachemask _fake_quantize_per_tensor_affine_cachemask_tensor_qparams "
        "quantize_per_tensor quantize_per_tensor_dynamic quantize_per_channel dequantize",
        elementwise,
    ),
    **rule_of(
        "add add_relu add_scalar add_scalar_relu mul mul_relu mul_scalar mul_scalar_relu relu6 clamp threshold elu "
        "celu hardswish leaky_relu prelu sigmoid batch_norm batch_norm_relu batch_norm1d batch_norm1d_relu "
        "batch_norm2d batch_norm2d_relu batch_norm3d batch_norm3d_relu",
        elementwise,
        "quantized",
    ),
    **rule_of("softmax", _for_each_input(5), "quantized"),
    **rule_of("layer_norm group_norm instance_norm", _norm_over_sample, "quantized"),
}
