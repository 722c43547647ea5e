"""One operator at a time: against torch's own FLOP counter on real tensors, and by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.measure.ops.cost import TERMS, OpCost, in_place, op_cost
from resnet_cli.measure.ops.names import qualified, short


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts every operator that runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[tuple[str, OpCost]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.seen.append((short(qualified(func)), op_cost(func, args, out)))
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
    "layer norm": (lambda: F.layer_norm(X, X.shape[1:]), 7 * N, {"E": 7 * N}),
    "group norm": (lambda: F.group_norm(X, 2), 7 * N, {"E": 7 * N}),
    "gelu": (lambda: F.gelu(X), N, {"E": N}),
    "silu": (lambda: F.silu(X), N, {"E": N}),
    "sum": (lambda: X.sum((2, 3)), N, {"E": N}),
    "maximum": (lambda: X.amax((2, 3)), N, {"E": N}),
    "relu6": (lambda: F.relu6(X), N, {"E": N}),
    "max-pool": (lambda: F.max_pool2d(X, 3, 2), 8 * POOLED, {"M": N, "m": POOLED}),
    "oblong max-pool": (lambda: F.max_pool2d(X, (3, 1), (2, 2)), 2 * 2 * 4 * 4 * 4, {"M": N, "m": 2 * 4 * 4 * 4}),
    "average pool": (lambda: F.adaptive_avg_pool2d(X, 1), N, {"G": N, "g": 8}),
    "average pool of terms": (lambda: F.adaptive_avg_pool2d(X, 3), N, {"G": N, "g": 72}),
    "average by mean": (lambda: X.mean((2, 3)), N, {"G": N, "g": 8}),
    "batch norm": (lambda: nn.BatchNorm2d(4).eval()(X), 2 * N, {"B": N, "P": 2 * 8}),
    "batch norm, training": (lambda: nn.BatchNorm2d(4)(X), 2 * N, {"B": N, "P": 2 * 8}),
    "batch norm without weights": (lambda: nn.BatchNorm2d(4, affine=False).eval()(X), 2 * N, {"B": N, "P": 0}),
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
    [lambda: torch.fft.fft(X), lambda: X.sort(), lambda: X.cumsum(0), lambda: X.norm()],
    ids=["fft", "sort", "cumsum", "norm"],
)
def test_what_no_rule_knows_says_so(call: Callable[[], Any]) -> None:
    assert any(not cost.counted and cost.operations == 0 for _, cost in counted(call).seen)


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
