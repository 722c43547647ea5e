"""Torch's operators by the names that people know, with the settings that make two of them the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from resnet_cli.measure.ops.names import kind, qualified

Settings = dict[str, Any]

# They hand on what they are given: the same values, perhaps in another shape or another place in memory.
IDENTITY_OPS = frozenset(
    """detach alias clone contiguous _to_copy lift_fresh lift view _unsafe_view reshape _reshape_alias flatten squeeze
    unsqueeze empty_like zeros_like ones_like t expand resolve_conj""".split()
)

TRANSPOSE_OPS = frozenset({"t", "transpose", "permute", "numpy_T"})
FACTORY_OPS = frozenset("new_empty new_zeros new_ones new_full rand_like randn_like".split())

# Operators that stand for each other, so that one in the other's place is a replacement and not two findings.
ACTIVATIONS = frozenset(
    "relu relu6 gelu silu leaky_relu elu selu sigmoid tanh hardtanh hardswish mish softplus celu prelu".split()
)
POOLS = frozenset("max_pool avg_pool adaptive_avg_pool mean".split())
NORMS = frozenset("batch_norm group_norm layer_norm".split())

# Nothing that anybody sets: how torch runs the operator, not what it computes.
_INTERNAL = frozenset(
    """training cudnn_enabled inplace dtype layout device pin_memory memory_format non_blocking keepdim beta
    output_padding generator output_mask implicit""".split()
)


def arguments(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by the schema's names, defaults filled in."""
    given: dict[str, Any] = {}
    for place, argument in enumerate(func._schema.arguments):
        if place < len(args):
            given[argument.name] = args[place]
        elif argument.name in kwargs:
            given[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            given[argument.name] = argument.default_value
    return given


def describe(func: Any, given: Mapping[str, Any]) -> tuple[str, Settings]:
    """Name and settings of one call.

    Args:
        func: the overload that ran.
        given: as `arguments` gives them.
    """
    raw = qualified(func)
    name = kind(raw)
    if _is_relu(raw, given):
        return "relu", {}
    if raw == "aten::hardtanh" and (given["min_val"], given["max_val"]) == (0, 6):
        return "relu6", {}
    if name in _SETTINGS:
        return name, _SETTINGS[name](given)
    return name, {
        key: _plain(value) for key, value in given.items() if key not in _INTERNAL and not _holds_tensor(value)
    }


def _is_relu(raw: str, given: Mapping[str, Any]) -> bool:
    if raw in ("aten::clamp", "aten::clamp_min"):
        return bool(given.get("min") == 0 and given.get("max") is None)
    return bool(raw == "aten::threshold" and given["threshold"] == 0 and given["value"] == 0)


def _holds_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, (list, tuple)) and any(isinstance(item, Tensor) for item in value)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item) for item in value)
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _pair(value: Any) -> tuple[Any, ...]:
    """3, (3,) and (3, 3) are the same."""
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return values * 2 if len(values) == 1 else values


def _conv(given: Mapping[str, Any]) -> Settings:
    weight, transposed = given["weight"], given["transposed"]
    first, second = weight.shape[0], weight.shape[1] * given["groups"]
    found: Settings = {
        "channels": (first, second) if transposed else (second, first),
        "kernel": tuple(weight.shape[2:]),
        "stride": _pair(given["stride"]),
        "padding": _pair(given["padding"]),
        "dilation": _pair(given["dilation"]),
        "groups": given["groups"],
        "bias": given.get("bias") is not None,
        "padding_mode": "zeros",
    }
    return found | {"transposed": True} if transposed else found


def _batch_norm(given: Mapping[str, Any]) -> Settings:
    # The overloads name the same thing differently: training or train, running_mean or input.
    return {
        "channels": given["input"].shape[1],
        "eps": given.get("eps", given.get("epsilon")),
        "momentum": given.get("momentum", given.get("exponential_average_factor")),
        "affine": given.get("weight") is not None,
        "track_running_stats": given.get("running_mean") is not None,
        "batch_statistics": bool(given.get("training", given.get("train", False))),
    }


def _max_pool(given: Mapping[str, Any]) -> Settings:
    kernel = _pair(given["kernel_size"])
    return {
        "kernel": kernel,
        "stride": _pair(given["stride"]) if given["stride"] else kernel,
        "padding": _pair(given["padding"]),
        "dilation": _pair(given["dilation"]),
        "ceil_mode": bool(given["ceil_mode"]),
    }


def _avg_pool(given: Mapping[str, Any]) -> Settings:
    kernel = _pair(given["kernel_size"])
    return {
        "kernel": kernel,
        "stride": _pair(given["stride"]) if given["stride"] else kernel,
        "padding": _pair(given["padding"]),
        "ceil_mode": bool(given["ceil_mode"]),
        "count_include_pad": bool(given["count_include_pad"]),
        "divisor_override": given["divisor_override"],
    }


def _linear(given: Mapping[str, Any]) -> Settings:
    weight = given["mat2"]  # (in, out): torch transposes it first
    return {"channels": (weight.shape[0], weight.shape[1]), "bias": "mat1" in given}


def _mean(given: Mapping[str, Any]) -> Settings:
    x = given["self"]
    dims = given.get("dim")
    over = tuple(sorted(dim % x.dim() for dim in dims)) if dims else tuple(range(x.dim()))
    return {"dims": "spatial" if x.dim() > 2 and over == tuple(range(2, x.dim())) else over}


def _add(given: Mapping[str, Any]) -> Settings:
    found: Settings = {}
    if given.get("alpha", 1) != 1:
        found["alpha"] = given["alpha"]
    if not isinstance(given.get("other"), Tensor):
        found["other"] = given.get("other")
    return found


_SETTINGS = {
    "conv": _conv,
    "batch_norm": _batch_norm,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "linear": _linear,
    "mean": _mean,
    "add": _add,
}
