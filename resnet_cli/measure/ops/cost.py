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

import functools
import importlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from resnet_cli.measure.ops.arithmetic import ARITHMETIC, elementwise
from resnet_cli.measure.ops.linear_algebra import LINEAR_ALGEBRA
from resnet_cli.measure.ops.names import aten, qualified
from resnet_cli.measure.ops.op_cost import FREE, MAY_MULTIPLY, WITHOUT_RULE, OpCost, product
from resnet_cli.measure.ops.products import PRODUCTS

# A new operator needs one row in one of these.
_RULES: Mapping[str, Callable[[Sequence[Any], Any], OpCost]] = {**PRODUCTS, **LINEAR_ALGEBRA, **ARITHMETIC}
# Moves, views and bookkeeping: no arithmetic.
_FREE = aten(
    """
    view _unsafe_view reshape _reshape_alias t transpose permute expand squeeze unsqueeze slice select split
    unbind split_with_sizes chunk as_strided alias detach clone copy contiguous _to_copy cat stack empty
    empty_like new_empty zeros zeros_like ones ones_like new_zeros full full_like fill zero lift_fresh arange
    index roll constant_pad_nd flatten narrow movedim pixel_shuffle channel_shuffle gather expand_as repeat
    new_full select_backward slice_backward empty_strided
    _local_scalar_dense scalar_tensor linspace eye tril triu unfold im2col index_select masked_fill scatter
    index_put embedding flip repeat_interleave tile pixel_unshuffle native_channel_shuffle
    rand randn randint randperm bernoulli uniform normal lift resize set
    unsafe_split unsafe_split_with_sizes split_with_sizes_copy _pack_padded_sequence
    reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    upsample_nearest1d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d masked_scatter masked_select take put index_fill select_scatter slice_scatter
    diagonal_scatter as_strided_scatter diag_embed rot90 block_diag nonzero nonzero_static new_ones rand_like randn_like
    randint_like empty_permuted new_empty_strided tril_indices triu_indices range hann_window hamming_window
    blackman_window bartlett_window kaiser_window exponential random geometric cauchy log_normal complex
    _unsafe_index _unsafe_masked_index resize_as is_same_size _assert_async _assert_scalar _assert_tensor_metadata
    _functional_assert_async _functional_assert_scalar equal _is_all_true _is_any_true int_repr q_scale q_zero_point
    _coalesced _indices _values _nnz _linalg_check_errors _to_dense _to_sparse
    _to_sparse_csr _to_sparse_csc _to_sparse_bsr _to_sparse_bsc _coalesce _convert_indices_from_coo_to_csr
    _convert_indices_from_csr_to_coo sparse_coo_tensor _sparse_coo_tensor_with_dims_and_tensors
    is_coalesced sparse_dim dense_dim lu_unpack max_unpool2d max_unpool3d multinomial binomial poisson
    to_mkldnn mkldnn_reorder_conv2d_weight mkldnn_reorder_conv3d_weight _mkldnn_reshape _mkldnn_transpose
    to_padded_tensor _jagged_to_padded_dense_forward _padded_dense_to_jagged_forward _nested_tensor_from_mask
    _nested_tensor_from_tensor_list _nested_tensor_size _nested_tensor_strides _nested_tensor_storage_offsets
    _nested_from_padded _nested_from_padded_tensor _nested_get_offsets _nested_get_lengths _nested_get_min_seqlen
    _nested_get_max_seqlen _nested_get_ragged_idx _nested_get_jagged_dummy
    """
)


# Namespaces of bookkeeping and communication.
_FREE_NAMESPACES = frozenset(("prim", "profiler", "c10d", "_c10d_functional"))
# Operators of other libraries without a rule here that are known to multiply no matrices.
_NO_PRODUCTS = frozenset(f"torchvision::{name}" for name in "nms roi_align roi_pool ps_roi_align ps_roi_pool".split())
# Words in the names of ATen's operators that multiply matrices, or solve equations with them.
_MULTIPLIES = re.compile(
    r"^(?!upsample|lu_unpack|linalg_cross|_cudnn_rnn_flatten|mkldnn_reorder)(\w*_)?"
    r"(\w*mm|\w*mv|v?dot|addr|conv|convolution|depthwise|linear|matmul|attention|transformer|c?dist|rnn|lstm|gru|linalg"
    r"|solve|spsolve|cholesky|inverse|qr|geqrf|ormqr|lu|svd|combination)(\d|_(?!cell)|$)"
)


def op_cost(func: Any, args: Sequence[Any], out: Any, kwargs: Mapping[str, Any] | None = None) -> OpCost:
    """The cost of one call of an operator.

    Args:
        func: the operator, a `torch._ops.OpOverload`.
        args: its positional arguments as the dispatcher gives them.
        out: what it returned.
        kwargs: its keyword arguments.

    Returns:
        The cost; `counted` is False for an operator without a rule, whose name has to be reported.
    """
    name = qualified(func)
    rule = _RULES.get(name)
    if rule is not None:
        return rule(args, out)
    flops = _registered_formula(func)
    if flops is not None:
        return product(int(flops(*args, **(kwargs or {}), out_val=out)) // 2)
    if _is_free(func):
        return FREE
    if _is_pointwise(func):
        return elementwise(args, out)
    return MAY_MULTIPLY if _may_multiply(name) else WITHOUT_RULE


@functools.cache
def _is_free(func: Any) -> bool:
    """Whether the operator moves values, or looks at them, and does no arithmetic."""
    name = qualified(func)
    namespace, _, short = name.partition("::")
    copies = namespace == "aten" and short.endswith("_copy")
    return name in _FREE or namespace in _FREE_NAMESPACES or bool(func.is_view) or copies


def has_rule(name: str) -> bool:
    """Whether the arithmetic of an operator, by its qualified name, is counted here."""
    return name in _RULES or name in _FREE


def _registered_formula(func: Any) -> Callable[..., float] | None:
    """The FLOP formula that a user, or a library, has registered with torch for an operator."""
    module = "torch.utils.flop_counter"
    if module not in sys.modules and not _may_multiply(qualified(func)):
        return None  # nothing of a user's is registered, and the import takes most of a second
    formula: Callable[..., float] | None = importlib.import_module(module).flop_registry.get(func.overloadpacket)
    return formula


@functools.cache
def _is_pointwise(func: Any) -> bool:
    """Whether torch marks the operator, or the one that it is the in-place form of, as elementwise."""
    if torch.Tag.pointwise in func.tags:
        return True
    namespace, _, name = qualified(func).partition("::")
    packet = getattr(torch.ops.aten, name, None) if namespace == "aten" else None
    overloads = [] if packet is None else [getattr(packet, overload) for overload in packet.overloads()]
    return any(torch.Tag.pointwise in overload.tags for overload in overloads)


@functools.cache
def _may_multiply(name: str) -> bool:
    """Whether an operator without a rule may multiply matrices: unknown for all that are not ATen's."""
    namespace, _, short = name.partition("::")
    return name not in _NO_PRODUCTS if namespace != "aten" else _MULTIPLIES.match(short) is not None


def in_place(func: Any) -> bool:
    """Whether the operator writes into its first argument."""
    return bool(func._schema.is_mutable) and func._schema.name.endswith("_")
