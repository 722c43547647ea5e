"""Operators as a device runs them, on tensors without values too."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_ATTENTION: Any = nn.functional.scaled_dot_product_attention
_DROPOUT: Any = nn.functional.dropout
_AUTOCAST = ("cpu", "cuda")
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_FUSED_DROPOUT = ("cuda", "xpu")  # `is_fused_kernel_acceptable` in torch's Dropout.cpp
_NAMED: Mapping[Any, str] = {
    nn.functional.rms_norm: "RMS norms",
    torch.rms_norm: "RMS norms",
    torch.quantile: "quantiles",
    torch.nanquantile: "quantiles",
    Tensor.quantile: "quantiles",
    Tensor.nanquantile: "quantiles",
    torch.ctc_loss: "CTC",
    nn.functional.ctc_loss: "CTC",
}
OTHERWISE_WHEN_TRACED = frozenset(("quantiles", "CTC"))  # torch runs other operators where a dispatch mode is on


@dataclass(slots=True)
class KernelUse:
    """What a pass runs whose memory is another where it is not traced, or on another device.

    Attributes:
        autocast: types of devices whose autocast was on in it; on `meta` autocast casts nothing.
        functions: what it calls that is computed in several ways, in words: "attention".
        compiled: something under `torch.compile`, which ran as it was written.
    """

    autocast: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    compiled: bool = False


def computes_dropout(device_type: str) -> bool:
    """Whether dropout runs on `meta` as this type of device runs it."""
    return device_type in ("cpu", *_FUSED_DROPOUT)


def _lifts() -> bool:
    """Whether this torch takes three axes as four, the first of them 1: newer releases do."""
    with torch.enable_grad():
        tensor = torch.ones(1, 1, 1, requires_grad=True)  # on `meta` torch would import sympy for it
        made_by: str = _ATTENTION(tensor, tensor, tensor).grad_fn.name()
    return "Squeeze" in made_by


_LIFTS = _lifts()


@contextlib.contextmanager
def as_on_devices(
    use: KernelUse, device_type: str = "cpu", made: Callable[[Tensor], None] = lambda _: None
) -> Iterator[None]:
    """On `meta` too, attention is the one fused operator that runs on the CPU and on GPUs, wherever that can be.

    Left alone, `meta` takes the plain formula, which keeps the whole matrix of scores: no device needs that memory.
    And the shortcut of torch's own transformer layers in eval mode, one operator in which nobody sees, is not taken.

    Args:
        use: receives what the devices compute in different ways.
        device_type: whose dropout runs: on a GPU it is one operator, which keeps a byte for each element.
        made: receives tensors that are made of numbers in Python, which no operator allocates.
    """

    def named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            use.functions.add(name)
            return function(*args, **kwargs)

        return call

    def making(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args: Any, **kwargs: Any) -> Tensor:
            tensor = function(*args, **kwargs)
            made(tensor)
            return tensor

        return call

    attention = named(_attention, "attention")
    replacements: dict[Any, Callable[..., Any]] = {_ATTENTION: attention}
    replacements.update({function: named(function, name) for function, name in _NAMED.items()})
    replacements.update({function: making(function) for function in (torch.tensor, Tensor.new_tensor)})
    if device_type in _FUSED_DROPOUT:
        replacements.update({_DROPOUT: _dropout, torch.dropout: _dropout})
    shortcut = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    # Torch's modules reach them by their module, where the mode no longer sees them.
    nn.functional.scaled_dot_product_attention = attention
    nn.functional.dropout = replacements.get(_DROPOUT, _DROPOUT)
    try:
        with _Replacing(replacements, use.autocast):
            yield
    finally:
        nn.functional.scaled_dot_product_attention = _ATTENTION
        nn.functional.dropout = _DROPOUT
        torch.backends.mha.set_fastpath_enabled(shortcut)


class _Replacing(TorchFunctionMode):
    """Replaces functions under whatever name the user's code has imported them, and sees where autocast is on."""

    def __init__(self, replacements: Mapping[Any, Callable[..., Any]], autocast: set[str]) -> None:
        super().__init__()
        self._replacements, self._autocast = replacements, autocast

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """One function of torch. Below it, in the dispatcher, autocast is off."""
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                self._autocast.add(kind)
        return self._replacements.get(func, func)(*args, **(kwargs or {}))


def _dropout(*args: Any, **kwargs: Any) -> Tensor:
    """`nn.functional.dropout`, or `torch.dropout`, which calls its third argument otherwise."""
    names = ("input", "p", "training", "inplace")
    given = {"p": 0.5, "training": True, "inplace": False, **dict(zip(names, args, strict=False)), **kwargs}
    given["training"] = given.pop("train", given["training"])
    tensor, p = given.get("input"), given["p"]
    is_plain = isinstance(tensor, Tensor) and tensor.is_meta and tensor.numel() > 0 and not given["inplace"]
    result: Tensor
    if is_plain and given["training"] and 0 < p < 1:
        result, _ = torch.native_dropout(tensor, p, train=True)  # type: ignore[arg-type]
    else:
        result = _DROPOUT(**given)
    return result


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    if query.is_meta and _LIFTS and query.dim() == key.dim() == value.dim() == 3:
        query, key, value = (tensor.unsqueeze(0) for tensor in (query, key, value))
        mask = attn_mask.unsqueeze(0) if attn_mask is not None and attn_mask.dim() == 3 else attn_mask
        return _attention(query, key, value, mask, dropout_p, is_causal, scale, enable_gqa).squeeze(0)
    fits = (
        query.is_meta
        and not dropout_p
        and query.dim() == key.dim() == value.dim() == 4
        and query.shape[0] == key.shape[0] == value.shape[0]
        and query.shape[3] == key.shape[3] == value.shape[3]
        and key.shape[1:3] == value.shape[1:3]
        and min(*query.shape, *key.shape) > 0
        and (query.shape[1] % key.shape[1] == 0 if enable_gqa else query.shape[1] == key.shape[1])
        and query.stride(3) == key.stride(3) == value.stride(3) == 1
        and query.dtype in _DTYPES
        and query.dtype == key.dtype == value.dtype
        and (attn_mask is None or not (attn_mask.requires_grad or is_causal or attn_mask.dim() not in (2, 4)))
    )
    if not fits:
        rest = (attn_mask, dropout_p, is_causal)
        plain: Tensor = _ATTENTION(query, key, value, *rest, scale=scale, enable_gqa=enable_gqa)
        return plain
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype)
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    result: Tensor = fused(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]
    return result
