"""One operator at a time: against torch's own FLOP counter on real tensors, and by hand."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.measure.ops.cost import _may_multiply, in_place, op_cost
from resnet_cli.measure.ops.names import qualified, short
from resnet_cli.measure.ops.op_cost import TERMS, OpCost
from tests.helpers.models import torchvision_models


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every operator that runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[str, OpCost]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.seen.append((short(qualified(func)), op_cost(func, args, out, kwargs)))
        return out

    @property
    def macs(self) -> int:
        return sum(counted.macs for _, counted in self.seen)


def counted(call: Callable[[], Any]) -> Counting:
    with Counting() as counting:
        call()
    return counting  # type: ignore[no-any-return]


def torchs(call: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()  # type: ignore[no-any-return]


quantization: Any = torch.ao.quantization  # untyped
X = torch.randn(2, 4, 9, 7)
PRODUCTS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "conv": (lambda: nn.Conv2d(4, 6, 3), X),
    "stride, padding, no bias": (lambda: nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, bias=False), X),
    "dilation": (lambda: nn.Conv2d(4, 6, 3, dilation=2), X),
    "groups": (lambda: nn.Conv2d(4, 8, 3, groups=2), X),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, padding=1), X),
    "1d": (lambda: nn.Conv1d(4, 6, 3), torch.randn(2, 4, 9)),
    "3d": (lambda: nn.Conv3d(4, 6, 2), torch.randn(2, 4, 5, 4, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), X),
    "transposed, 1d": (lambda: nn.ConvTranspose1d(4, 6, 3, padding=1), torch.randn(2, 4, 9)),
    "transposed, 3d, output padding": (
        lambda: nn.ConvTranspose3d(4, 6, 3, stride=2, output_padding=1),
        torch.randn(2, 4, 3, 2, 2),
    ),
    "linear": (lambda: nn.Linear(5, 3), torch.randn(4, 5)),
    "linear without bias": (lambda: nn.Linear(5, 3, bias=False), torch.randn(4, 5)),
    "linear on a sequence": (lambda: nn.Linear(5, 3), torch.randn(4, 6, 5)),
}


@pytest.mark.parametrize("case", PRODUCTS)
def test_macs_of_a_training_step_are_half_of_torchs_flops(case: str) -> None:
    make, x = PRODUCTS[case]
    module, x = make(), x.clone().requires_grad_()

    def forward() -> Any:
        return module(x)

    def step() -> None:
        forward().sum().backward()

    once = torchs(forward)
    assert 2 * counted(forward).macs == once > 0
    # Torch (2.15) forgets the groups in a weight's gradient; it costs what the forward costs, and is held to that.
    groups = getattr(module, "groups", 1)
    assert torchs(step) == (2 + groups) * once
    assert 2 * counted(step).macs == 3 * once


@pytest.mark.parametrize("groups", [2, 4])
def test_grouped_transposed_convolutions_spread_within_their_group(groups: int) -> None:
    module = nn.ConvTranspose2d(4, 8, 3, groups=groups, bias=False)
    # Each of the 2 x 4 x 9 x 7 inputs is spread over 8/groups channels of 3 x 3.
    assert counted(lambda: module(X)).macs == X.numel() * (8 // groups) * 9


def test_matrix_products_are_torchs() -> None:
    a, b, bias = torch.randn(3, 4, 5), torch.randn(3, 5, 6), torch.randn(3, 4, 6)
    calls: list[tuple[Callable[[], Any], int]] = [
        (lambda: torch.mm(a[0], b[0]), 0),
        (lambda: torch.addmm(bias[0], a[0], b[0]), 24),
        (lambda: torch.bmm(a, b), 0),
        (lambda: torch.baddbmm(bias, a, b), 72),
    ]
    for call, additions in calls:
        ((_, cost),) = [(name, cost) for name, cost in counted(call).seen if cost.macs]
        assert 2 * cost.macs == torchs(call)
        assert cost.operations == 2 * cost.macs + additions
        assert cost.terms.get("b", 0) == additions


A, ROW, BATCH = torch.randn(4, 5), torch.randn(5), torch.randn(3, 4, 5)
BATCH_30, BATCH_7 = torch.randn(2, 30, 5), torch.randn(2, 7, 5)
SPARSE = torch.tensor([[0.0, 1, 0, 2], [0, 0, 3, 0]]).to_sparse()
# The product that computes the same is what torch's counter knows.
SAME_AS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "mv": (lambda: A @ ROW, lambda: A @ ROW[:, None]),
    "addmv": (lambda: F.linear(ROW, A, A[:, 0]), lambda: A @ ROW[:, None]),
    "dot": (lambda: ROW @ ROW, lambda: ROW[None] @ ROW[:, None]),
    "vdot": (lambda: torch.vdot(ROW, ROW), lambda: ROW[None] @ ROW[:, None]),
    "addr": (lambda: torch.addr(torch.zeros(4, 5), A[:, 0], ROW), lambda: A[:, :1] @ ROW[None]),
    "addbmm": (lambda: torch.addbmm(torch.zeros(4, 4), BATCH, BATCH.mT), lambda: BATCH @ BATCH.mT),
    "bilinear, with a product of its rows": (
        lambda: F.bilinear(A, torch.randn(4, 3), torch.randn(7, 5, 3)),
        lambda: (A @ torch.randn(5, 7 * 3), torch.randn(4, 7, 3) @ torch.randn(4, 3, 1)),
    ),
    "distances": (lambda: torch.cdist(torch.randn(2, 30, 5), torch.randn(2, 7, 5)), lambda: BATCH_30 @ BATCH_7.mT),
    "whole numbers": (
        lambda: torch._int_mm(torch.ones(32, 8, dtype=torch.int8), torch.ones(8, 16, dtype=torch.int8)),
        lambda: torch.randn(32, 8) @ torch.randn(8, 16),
    ),
    "weights of 8 bits": (
        lambda: torch._weight_int8pack_mm(
            torch.ones(4, 32, dtype=torch.bfloat16),
            torch.ones(16, 32, dtype=torch.int8),
            torch.ones(16, dtype=torch.bfloat16),
        ),
        lambda: torch.randn(4, 32) @ torch.randn(32, 16),
    ),
    "sparse": (lambda: SPARSE @ torch.randn(4, 6), lambda: torch.randn(1, 3) @ torch.randn(3, 6)),
    "sparse by rows": (
        lambda: SPARSE.to_sparse_csr() @ torch.randn(4, 6),
        lambda: torch.randn(1, 3) @ torch.randn(3, 6),
    ),
    "grid of a transformation": (
        lambda: F.affine_grid(torch.randn(2, 2, 3), [2, 1, 4, 5], align_corners=False),
        lambda: torch.randn(2, 20, 3) @ torch.randn(2, 3, 2),
    ),
    "time first": (
        lambda: torch.conv_tbc(torch.randn(9, 2, 4), torch.randn(3, 4, 6), torch.zeros(6)),
        lambda: F.conv1d(torch.randn(2, 4, 9), torch.randn(6, 4, 3)),
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("case", SAME_AS)
def test_products_by_other_names_cost_what_the_product_costs(case: str) -> None:
    call, product = SAME_AS[case]
    with torch.no_grad():
        counting = counted(call)
        assert 2 * counting.macs == torchs(product) > 0
    assert all(cost.counted for _, cost in counting.seen)


def test_a_deformable_convolution_costs_what_a_convolution_of_its_shape_costs() -> None:
    torchvision_models()  # registers its operators
    weight, offset, mask = torch.randn(6, 2, 3, 3), torch.zeros(2, 18, 7, 5), torch.zeros(2, 1)
    settings = (1, 1, 0, 0, 1, 1, 2, 1, False)
    counting = counted(lambda: torch.ops.torchvision.deform_conv2d(X, weight, offset, mask, torch.zeros(6), *settings))
    assert 2 * counting.macs == torchs(lambda: F.conv2d(X, weight, groups=2))


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("grad", [False, True])
def test_recurrent_layers_cost_their_matrices_at_every_step(layer: Any, grad: bool) -> None:
    """An LSTM on a CPU is one operator for each layer and direction, a GRU many products."""
    recurrent = layer(6, 4, num_layers=2, bidirectional=True, batch_first=True)
    with torch.set_grad_enabled(grad):
        counting = counted(lambda: recurrent(torch.randn(3, 5, 6)))
    matrices = sum(parameter.numel() for parameter in recurrent.parameters() if parameter.dim() == 2)
    assert counting.macs == 3 * 5 * matrices
    assert all(cost.counted for _, cost in counting.seen if cost.macs)


def test_the_backward_of_a_recurrent_layer_is_two_of_the_same_size() -> None:
    recurrent, x = nn.LSTM(6, 4, batch_first=True), torch.randn(3, 5, 6, requires_grad=True)
    once = counted(lambda: recurrent(x)).macs
    assert counted(lambda: recurrent(x)[0].sum().backward()).macs == 3 * once


def test_quantized_layers_cost_what_their_weights_cost() -> None:
    x = torch.randn(2, 4, 6, 6)
    network = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(96, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is deprecated
        dynamic = quantization.quantize_dynamic(copy.deepcopy(network), {nn.Linear})
        wrapped = quantization.QuantWrapper(network).eval()
        wrapped.qconfig = quantization.default_qconfig
        prepared = quantization.prepare(wrapped)
        prepared(x)
        static = quantization.convert(prepared)
    for model in (dynamic, static):
        with torch.no_grad():
            counting = counted(functools.partial(model, x))
        assert counting.macs == 2 * (96 * 4 // 2 * 9 + 96 * 5)
        assert all(cost.counted for _, cost in counting.seen)


def test_attention_costs_its_two_products_whatever_kernel_runs() -> None:
    query, key, value = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    with sdpa_kernel(SDPBackend.MATH):  # as plain matrix products, which torch's counter knows
        expected = torchs(lambda: F.scaled_dot_product_attention(query, key, value))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        fused = counted(lambda: F.scaled_dot_product_attention(query, key, value))
    assert "_scaled_dot_product_flash_attention_for_cpu" in {name for name, _ in fused.seen}
    assert 2 * fused.macs == expected == 2 * (2 * 2 * 3 * 5 * 7 * 8)


def test_fused_attention_computes_its_scores_twice_in_a_training_step() -> None:
    query, key, value = (torch.randn(2, 3, length, 8, requires_grad=True) for length in (5, 7, 7))

    def step() -> None:
        F.scaled_dot_product_attention(query, key, value).sum().backward()  # type: ignore[no-untyped-call]

    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        product = 2 * 3 * 5 * 7 * 8
        assert counted(step).macs == (2 + 5) * product


def test_bias_of_a_convolution_is_an_addition_per_output() -> None:
    weight, bias = torch.randn(6, 4, 3, 3), torch.randn(6)
    ((_, cost),) = counted(lambda: F.conv2d(X, weight, bias)).seen
    outputs = 2 * 6 * 7 * 5
    assert cost.macs == outputs * 4 * 9
    assert cost.operations == 2 * cost.macs + outputs
    assert cost.terms == {"C": cost.macs, "k": outputs}


N = X.numel()
GRID = torch.zeros(2, 3, 2, 2)
SIGNALS, TABLE, BAGS = torch.ones(3, 16), torch.ones(4, 5), torch.tensor([[0, 1, 3], [2, 2, 1]])
WEIGHTS = torch.ones(2, 3)
POOLED = 2 * 4 * 4 * 3  # 3 x 3 at stride 2 on 9 x 7
ELEMENTWISE: dict[str, tuple[Callable[[], Any], int, dict[str, int]]] = {
    "relu": (lambda: X.relu(), N, {"R": N}),
    "relu in place": (lambda: X.clone().relu_(), N, {"R": N}),
    "residual": (lambda: X + X, N, {"A": N}),
    "residual in place": (lambda: X.clone().add_(X), N, {"A": N}),
    "a number": (lambda: X + 1, N, {"E": N}),
    "a vector": (lambda: X + torch.ones(7), N, {"E": N}),
    "product": (lambda: X * X, N, {"E": N}),
    "sigmoid": (lambda: X.sigmoid(), N, {"E": N}),
    "hardswish": (lambda: F.hardswish(X), N, {"E": N}),
    "softmax": (lambda: X.softmax(1), 5 * N, {"E": 5 * N}),
    "layer norm": (lambda: F.layer_norm(X, X.shape[1:]), 7 * N, {"N": N, "P": 0}),
    "group norm": (lambda: nn.GroupNorm(2, 4)(X), 7 * N, {"N": N, "P": 2 * 8}),
    "gelu": (lambda: F.gelu(X), N, {"E": N}),
    "silu": (lambda: F.silu(X), N, {"E": N}),
    "sum": (lambda: X.sum((2, 3)), N, {"E": N}),
    "maximum": (lambda: X.amax((2, 3)), N, {"E": N}),
    "relu6": (lambda: F.relu6(X), N, {"E": N}),
    "max-pool": (lambda: F.max_pool2d(X, 3, 2), 8 * POOLED, {"M": N, "m": POOLED}),
    "oblong max-pool": (lambda: F.max_pool2d(X, (3, 1), (2, 2)), 2 * 2 * 4 * 4 * 4, {"M": N, "m": 2 * 4 * 4 * 4}),
    "average pool": (lambda: F.adaptive_avg_pool2d(X, 1), N, {"G": N, "g": 8}),
    "average pool of terms": (lambda: F.adaptive_avg_pool2d(X, 3), N, {"G": N, "g": 72}),
    "average pool to one pixel, 3d": (lambda: F.adaptive_avg_pool3d(X[None], 1), N, {"V": N, "v": 2}),
    "average pool over windows": (lambda: F.avg_pool2d(X, 3, 2), N, {"V": N, "v": POOLED}),
    "average by mean": (lambda: X.mean((2, 3)), N, {"E": N}),
    "max-pool, 3d": (lambda: F.max_pool3d(X[None], 2), 7 * 48, {"M": N, "m": 48}),
    "max-pool, adaptive": (lambda: F.adaptive_max_pool2d(X, 1), N, {"E": N}),
    "gelu in place": (lambda: torch.ops.aten.gelu_(X.clone()), N, {"E": N}),
    "variance": (lambda: X.var(1), 4 * N, {"E": 4 * N}),
    "length": (lambda: X.norm(), 2 * N, {"E": 2 * N}),
    "largest of a row": (lambda: X.argmax(1), N, {"E": N}),
    "running sum": (lambda: X.cumsum(0), N, {"E": N}),
    "bilinear": (lambda: F.interpolate(X, scale_factor=2.0, mode="bilinear"), 28 * N, {"U": 4 * N}),
    "bicubic": (lambda: F.interpolate(X, scale_factor=2.0, mode="bicubic"), 124 * N, {"E": 124 * N}),
    "sampled": (lambda: F.grid_sample(X, GRID, align_corners=False), 7 * 2 * 4 * 6, {"U": 2 * 4 * 6}),
    "quantized": (lambda: torch.quantize_per_tensor(X, 0.1, 0, torch.qint8), N, {"E": N}),
    "folded": (lambda: F.fold(torch.ones(2, 36, 9), (3, 3), 3, padding=1), 648, {"E": 648}),
    "scattered": (lambda: X.scatter_add(0, torch.zeros(1, 4, 9, 7, dtype=torch.int64), X), 252, {"E": 252}),
    "batch norm": (lambda: nn.BatchNorm2d(4).eval()(X), 2 * N, {"B": N, "P": 2 * 8}),
    "batch norm, training": (lambda: nn.BatchNorm2d(4)(X), 2 * N, {"B": N, "P": 2 * 8}),
    "batch norm without weights": (lambda: nn.BatchNorm2d(4, affine=False).eval()(X), 2 * N, {"B": N, "P": 0}),
    "fft": (lambda: torch.fft.fft(SIGNALS.to(torch.complex64)), 960, {"E": 3 * 5 * 16 * 4}),  # 5 N log2 N
    "fft of real values": (lambda: torch.fft.rfft(SIGNALS), 480, {"E": 480}),
    "inverse fft to real values": (lambda: torch.fft.irfft(torch.ones(3, 9, dtype=torch.cfloat)), 480, {"E": 480}),
    "fft of two axes": (lambda: torch.fft.rfft2(SIGNALS.view(3, 4, 4)), 480, {"E": 480}),
    "fft of no power of two": (lambda: torch.fft.rfft(torch.ones(6)), 39, {"E": 39}),  # 15 log2 6 = 38.8
    "sums of bags": (lambda: F.embedding_bag(BAGS, TABLE, mode="sum"), 30, {"E": 6 * 5}),
    "means of bags": (lambda: F.embedding_bag(BAGS, TABLE, mode="mean"), 30, {"E": 30}),
    "weighted bags": (lambda: F.embedding_bag(BAGS, TABLE, mode="sum", per_sample_weights=WEIGHTS), 60, {"E": 60}),
    "cross product": (lambda: torch.linalg.cross(TABLE[:, :3], TABLE[:, 1:4]), 36, {"E": 4 * 3 * 3}),
    "distance": (lambda: torch.dist(X, X), 3 * N, {"E": 3 * N}),
}


@pytest.mark.parametrize("case", ELEMENTWISE)
def test_operations_by_hand(case: str) -> None:
    call, operations, terms = ELEMENTWISE[case]
    with torch.no_grad():
        costs = [cost for _, cost in counted(call).seen if cost.operations]
    (cost,) = [cost for cost in costs if cost.terms.keys() == terms.keys()]
    assert (cost.macs, cost.operations, dict(cost.terms)) == (0, operations, terms)
    assert cost.counted
    assert cost.term in terms
    assert terms.keys() <= TERMS.keys()


@pytest.mark.parametrize(
    "call",
    [
        lambda: X.view(-1).unsqueeze(0).permute(1, 0)[1:],
        lambda: X.clone(),
        lambda: torch.cat([X, X]),
        lambda: F.pad(X, (1, 1)),
        lambda: X.flatten(1).t().contiguous(),
        lambda: X.to(torch.float64),
        lambda: torch.zeros(3).fill_(1),
        lambda: X.roll((1, 1), (2, 3)),
        lambda: X[0, 0, 0, 0].item(),
    ],
    ids=["views", "clone", "cat", "pad", "transpose", "cast", "fill", "roll", "item"],
)
def test_moving_numbers_is_free(call: Callable[[], Any]) -> None:
    seen = counted(call).seen
    assert seen
    assert all(cost.counted and cost.operations == cost.macs == 0 for _, cost in seen)


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.split(X, 2),
        lambda: torch.unsafe_chunk(X, 2),
        lambda: F.pad(X, (1, 1, 1, 1), mode="reflect"),
        lambda: F.interpolate(X, scale_factor=2.0, mode="nearest-exact"),
        lambda: X.masked_select(X > 0).nonzero(),
        lambda: torch.rand_like(X),
        lambda: torch.ops.aten.permute_copy(X, [0, 2, 3, 1]),
        lambda: torch._assert_async(X.new_ones(1)),
        lambda: torch.ops.profiler._record_function_enter_new("name"),
    ],
)
def test_bookkeeping_has_no_arithmetic(call: Callable[[], Any]) -> None:
    assert all(cost.counted and cost.macs == 0 for _, cost in counted(call).seen)


SQUARE = torch.eye(3)


@pytest.mark.parametrize(
    ("call", "may_multiply"),
    [
        (lambda: X.sort(), False),
        (lambda: torch.histc(X, 3), False),
        (lambda: torch.linalg.eigvals(SQUARE), True),
        (lambda: torch.linalg.svdvals(SQUARE), True),
    ],
    ids=["sort", "histogram", "eigenvalues", "singular values"],
)
def test_what_no_rule_knows_says_so_and_whether_it_may_multiply(call: Callable[[], Any], may_multiply: bool) -> None:
    costs = [cost for _, cost in counted(call).seen if not cost.counted]
    assert costs
    assert all(cost.operations == 0 for cost in costs)
    assert any(not cost.macs_counted for cost in costs) is may_multiply


MULTIPLY = """linalg_qr _grouped_mm _scaled_mm_v2 quantized_lstm linear_backward sparse_sampled_addmm _cudnn_rnn_backward
    cudnn_convolution_transpose _native_multi_head_attention triangular_solve linalg_lu_solve""".split()
DO_NOT = """upsample_bilinear2d_backward upsample_linear1d_backward hamming_window embedding_dense_backward lu_unpack
    native_batch_norm_backward max_pool2d_with_indices_backward _thnn_fused_lstm_cell _cummax_helper renorm""".split()


@pytest.mark.parametrize("name", MULTIPLY + DO_NOT)
def test_which_operators_may_multiply_is_told_by_their_names(name: str) -> None:
    assert hasattr(torch.ops.aten, name)
    assert _may_multiply(f"aten::{name}") is (name in MULTIPLY)
    assert _may_multiply(f"mylib::{name}")


@pytest.mark.parametrize(
    ("func", "writes"),
    [
        (torch.ops.aten.relu_.default, True),
        (torch.ops.aten.__ior__.Tensor, True),
        (torch.ops.aten.relu.default, False),
        (torch.ops.aten.__and__.Tensor, False),  # the name ends like that of an in-place operator
        (torch.ops.aten.add.out, False),  # it writes, but into its last argument
        (torch.ops.aten.native_batch_norm.default, False),  # it writes into its running statistics
    ],
)
def test_in_place_is_what_writes_into_its_first_argument(func: Any, writes: bool) -> None:
    assert in_place(func) is writes


def cost(func: Any, *args: Any) -> OpCost:
    return op_cost(func, args, func(*args))


def test_a_convolution_without_bias_is_multiply_accumulates_alone() -> None:
    x, weight = torch.ones(2, 3, 8, 8), torch.ones(4, 3, 3, 3)
    rest = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    macs = 2 * 8 * 8 * 4 * 3 * 9
    plain = cost(torch.ops.aten.convolution.default, x, weight, None, *rest)
    assert (plain.macs, plain.operations, plain.terms) == (macs, 2 * macs, {"C": macs})
    biased = cost(torch.ops.aten.convolution.default, x, weight, torch.ones(4), *rest)
    additions = 2 * 4 * 8 * 8
    assert (biased.macs, biased.operations, biased.terms) == (macs, 2 * macs + additions, {"C": macs, "k": additions})


def test_the_backward_of_a_convolution_is_two_of_the_same_size() -> None:
    x, weight, grad = torch.ones(2, 3, 8, 8), torch.ones(4, 3, 3, 3), torch.ones(2, 4, 8, 8)
    rest = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    both = cost(torch.ops.aten.convolution_backward.default, grad, x, weight, None, *rest, [True, True, False])
    macs = 2 * 2 * 8 * 8 * 4 * 3 * 9
    assert (both.macs, both.operations, both.terms) == (macs, 2 * macs, {"C": macs})
    biased = cost(torch.ops.aten.convolution_backward.default, grad, x, weight, [4], *rest, [True, True, True])
    assert biased.macs == macs
    assert biased.operations > 2 * macs


@pytest.mark.parametrize("kernel", [[3], [3, 3]])
def test_a_window_of_nine_takes_eight_comparisons(kernel: list[int]) -> None:
    x = torch.ones(1, 2, 9, 9)
    pooled = cost(torch.ops.aten.max_pool2d_with_indices.default, x, kernel, [3, 3])
    assert (pooled.macs, pooled.operations) == (0, 8 * 2 * 3 * 3)


GROUPED: dict[str, tuple[tuple[int, ...], tuple[int, ...], Callable[[Tensor, Tensor], Tensor]]] = {
    "rows": ((12, 4), (3, 4, 8), lambda a, b: torch.cat([rows @ b[i] for i, rows in enumerate(a.chunk(3))])),
    "columns": ((3, 4, 8), (8, 12), lambda a, b: torch.cat([a[i] @ part for i, part in enumerate(b.chunk(3, 1))], 1)),
    "what is summed over": (
        (4, 24),
        (24, 8),
        lambda a, b: torch.stack([x @ y for x, y in zip(a.chunk(3, 1), b.chunk(3), strict=True)]),
    ),
    "matrices": ((3, 4, 8), (3, 8, 16), torch.bmm),
}


@pytest.mark.parametrize("case", GROUPED)
def test_grouped_products_cost_what_their_groups_cost(case: str) -> None:
    left_shape, right_shape, separately = GROUPED[case]
    left, right = torch.ones(left_shape), torch.ones(right_shape)
    out = separately(left, right)
    for name in ("_grouped_mm", "_scaled_grouped_mm"):
        func = getattr(torch.ops.aten, name).default
        assert 2 * op_cost(func, (left, right), out).macs == torchs(lambda: separately(left, right))


def test_values_of_four_bits_are_two_in_a_byte() -> None:
    packed = torch.empty(6, 8, dtype=torch.float4_e2m1fn_x2, device="meta")
    out = torch.empty(6, 10, device="meta")
    assert op_cost(torch.ops.aten._scaled_mm.default, (packed, packed), out).macs == 6 * 16 * 10


@pytest.mark.parametrize(
    ("name", "shapes", "macs"),
    [
        ("_int_mm", [(6, 8), (8, 4), (6, 4)], 6 * 8 * 4),
        ("_weight_int8pack_mm", [(6, 8), (4, 8), (6, 4)], 6 * 8 * 4),
        ("_weight_int4pack_mm_with_scales_and_zeros", [(6, 8), (1, 1), (6, 4)], 6 * 8 * 4),
        ("_sparse_semi_structured_linear", [(2, 3, 8), (4, 4), (2, 3, 4)], 6 * 4 * 4),
        ("_sparse_semi_structured_mm", [(6, 4), (1, 1), (6, 5)], 6 * 4 * 5),
    ],
)
def test_packed_products_cost_the_values_that_are_stored(name: str, shapes: list[tuple[int, ...]], macs: int) -> None:
    *tensors, out = (torch.empty(shape, device="meta") for shape in shapes)
    assert op_cost(getattr(torch.ops.aten, name).default, tensors, out).macs == macs


def test_a_product_at_the_places_of_a_sparse_matrix() -> None:
    places = torch.eye(5).to_sparse_csr()
    counting = counted(lambda: torch.sparse.sampled_addmm(places, torch.ones(5, 3), torch.ones(3, 5)))
    assert counting.macs == 5 * 3
