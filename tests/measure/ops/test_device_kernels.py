"""Attention and dropout without values take the operators that they take with values, as torch itself chooses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_cli.measure.ops.device_kernels import KernelUse, as_on_devices

FUNCTION, SHORTCUT = functional.scaled_dot_product_attention, torch.backends.mha.get_fastpath_enabled()
FUSED = "_scaled_dot_product_flash_attention_for_cpu"


class Names(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The operators that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func._schema.name.removeprefix("aten::"))
        return func(*args, **(kwargs or {}))


def tensors(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    return tuple(torch.ones(shape, dtype=dtype) for shape in shapes)


SAME = ((2, 3, 5, 8),) * 3
CASES: dict[str, tuple[tuple[Tensor, ...], dict[str, Any]]] = {
    "plain": (tensors(*SAME), {}),
    "cross": (tensors((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8)), {}),
    "half": (tensors(*SAME, dtype=torch.bfloat16), {}),
    "causal": (tensors(*SAME), {"is_causal": True}),
    "scaled": (tensors(*SAME), {"scale": 0.5}),
    "mask": (tensors(*SAME), {"attn_mask": torch.zeros(5, 5)}),
    "mask of bits": (tensors(*SAME), {"attn_mask": torch.ones(5, 5, dtype=torch.bool)}),
    "mask that is trained": (tensors(*SAME), {"attn_mask": torch.zeros(5, 5, requires_grad=True)}),
    "values of another width": (tensors((2, 3, 5, 8), (2, 3, 5, 8), (2, 3, 5, 4)), {}),
    "dropout": (tensors(*SAME), {"dropout_p": 0.5}),
    "grouped heads": (tensors((2, 6, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8)), {"enable_gqa": True}),
    "grouped heads that need no groups": (tensors(*SAME), {"enable_gqa": True}),
    "keys and values of other groups": (tensors((2, 6, 5, 8), (2, 3, 5, 8), (2, 6, 5, 8)), {"enable_gqa": True}),
    "one image's keys for all": (tensors((2, 3, 5, 8), (1, 3, 5, 8), (1, 3, 5, 8)), {}),
    "mask of every head": (tensors(*SAME), {"attn_mask": torch.zeros(2, 3, 5, 5)}),
    "mask without images": (tensors(*SAME), {"attn_mask": torch.zeros(3, 5, 5)}),
    "keys that lie across": ((torch.ones(2, 3, 5, 8), torch.ones(2, 3, 8, 5).mT, torch.ones(2, 3, 5, 8)), {}),
    "without heads": (tensors(*((3, 5, 8),) * 3), {}),
    "without heads, mask": (tensors(*((3, 5, 8),) * 3), {"attn_mask": torch.zeros(5, 5)}),
    "without heads, mask of every image": (tensors(*((3, 5, 8),) * 3), {"attn_mask": torch.zeros(3, 5, 5)}),
    "without heads, mask of bits": (tensors(*((3, 5, 8),) * 3), {"attn_mask": torch.ones(5, 5, dtype=torch.bool)}),
    "without heads, of another width": (tensors((3, 5, 8), (3, 5, 8), (3, 5, 4)), {}),
    "without images": (tensors(*((5, 8),) * 3), {}),
    "no tokens": (tensors((2, 3, 0, 8), (2, 3, 0, 8), (2, 3, 0, 8)), {}),
    "one token, one head": (tensors(*((1, 1, 1, 1),) * 3), {}),
    "double": (tensors(*SAME, dtype=torch.float64), {}),
}
REFUSED: dict[str, tuple[tuple[Tensor, ...], dict[str, Any]]] = {
    "queries and keys of other widths": (tensors((2, 3, 5, 8), (2, 3, 5, 4), (2, 3, 5, 4)), {}),
    "two dtypes": ((*tensors((2, 3, 5, 8), (2, 3, 5, 8)), torch.ones(2, 3, 5, 8, dtype=torch.float64)), {}),
}


def attend(*given: Any, **options: Any) -> Tensor:
    return functional.scaled_dot_product_attention(*given, **options)


def hollow(one: Any) -> Any:
    return one.detach().to("meta").requires_grad_(one.requires_grad) if isinstance(one, Tensor) else one


@pytest.mark.parametrize("case", CASES)
def test_the_operator_is_the_one_of_a_processor(case: str) -> None:
    given, options = CASES[case]
    with Names() as real:
        expected = attend(*given, **options)
    with as_on_devices(KernelUse()), Names() as found:
        output = attend(*map(hollow, given), **{name: hollow(one) for name, one in options.items()})
    assert (FUSED in found.seen) == (FUSED in real.seen)
    assert (output.shape, output.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("case", REFUSED)
def test_what_torch_refuses_is_refused(case: str) -> None:
    given, options = REFUSED[case]
    with pytest.raises(RuntimeError):
        attend(*given, **options)
    with as_on_devices(KernelUse()), pytest.raises(RuntimeError):
        attend(*map(hollow, given), **{name: hollow(one) for name, one in options.items()})


def test_a_mask_that_is_causal_too_is_refused() -> None:
    """As torch's documentation says; some releases let it pass on a processor."""
    with as_on_devices(KernelUse()), pytest.raises(RuntimeError, match="is_causal"):
        attend(*map(hollow, tensors(*SAME)), attn_mask=torch.zeros(5, 5, device="meta"), is_causal=True)


GROUPS = tensors((2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8)), {"enable_gqa": True}


@pytest.mark.parametrize("case", ["cross", "scaled", "causal", "mask", "values of another width", "heads in groups"])
def test_with_values_it_is_torchs_own(case: str) -> None:
    given, options = {**CASES, "heads in groups": GROUPS}[case]
    given = tuple(torch.randn_like(one) for one in given)
    with as_on_devices(KernelUse()):
        inside = attend(*given, **options)
    assert torch.equal(inside, attend(*given, **options))


def test_torchs_attention_of_several_heads_keeps_no_matrix_of_scores() -> None:
    layer, x = nn.MultiheadAttention(8, 2, batch_first=True).to("meta"), torch.empty(2, 5, 8, device="meta")
    with torch.no_grad(), as_on_devices(KernelUse()), Names() as inside:
        layer(x, x, x, need_weights=False)
    assert FUSED in inside.seen
    assert "_softmax" not in inside.seen


def test_a_layer_of_torchs_runs_operator_by_operator_inside_and_as_before_outside() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    x = torch.ones(2, 5, 8)
    with torch.no_grad(), as_on_devices(KernelUse()), Names() as inside:
        layer(x)
    assert {"addmm", "native_layer_norm", FUSED} <= inside.seen
    assert not any("transformer" in name for name in inside.seen)
    assert (torch.backends.mha.get_fastpath_enabled(), functional.scaled_dot_product_attention) == (SHORTCUT, FUNCTION)
    with pytest.raises(ValueError, match="within"), as_on_devices(KernelUse()):
        raise ValueError("within")
    assert (torch.backends.mha.get_fastpath_enabled(), functional.scaled_dot_product_attention) == (SHORTCUT, FUNCTION)


DROPOUT: dict[str, Callable[[Tensor], Tensor]] = {
    "module": nn.Dropout(0.3),
    "function": lambda x: functional.dropout(x, 0.3),
    "by name": lambda x: functional.dropout(input=x, p=0.3, training=True),
    "torch.dropout": lambda x: torch.dropout(x, 0.3, True),
    "torch.dropout by name": lambda x: torch.dropout(input=x, p=0.3, train=True),
    "in place": lambda x: functional.dropout(x * 1, 0.3, inplace=True),
    "not training": lambda x: functional.dropout(x, 0.3, training=False) + 1,
    "all": lambda x: functional.dropout(x, 1.0),
    "none": lambda x: functional.dropout(x, 0.0) + 1,
    "channels": lambda x: functional.dropout2d(x[None], 0.3),
    "alpha": lambda x: functional.alpha_dropout(x, 0.3),
    "nothing": lambda x: functional.dropout(x[:0], 0.3),
}
BOOKKEEPING = {"device", "detach"}  # prim::device asks a fake tensor where it is


@pytest.mark.parametrize("case", DROPOUT)
def test_dropout_runs_as_on_a_gpu(case: str) -> None:
    """Torch chooses the operators of fake tensors as it does for those of a GPU, without one."""
    with FakeTensorMode(), Names() as on_gpu:
        expected = DROPOUT[case](torch.ones(2, 3, 4, device="cuda"))
    with as_on_devices(KernelUse(), "cuda"), Names() as on_meta:
        output = DROPOUT[case](torch.ones(2, 3, 4, device="meta"))
    assert on_meta.seen - BOOKKEEPING == {name.removeprefix("prim::") for name in on_gpu.seen} - BOOKKEEPING
    assert output.shape == expected.shape
    assert functional.dropout.__module__ == "torch.nn.functional"


def test_dropout_of_torchs_attention_with_weights_runs_as_on_a_gpu() -> None:
    layer, x = nn.MultiheadAttention(8, 2, dropout=0.5).to("meta"), torch.ones(5, 2, 8, device="meta")
    with as_on_devices(KernelUse(), "cuda"), Names() as inside:
        layer(x, x, x)
    assert "native_dropout" in inside.seen
    with as_on_devices(KernelUse()), Names() as on_cpu:
        layer(x, x, x)
    assert "native_dropout" not in on_cpu.seen
