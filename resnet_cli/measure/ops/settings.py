"""Torch's operators by the names that people know, with the settings that make two of them the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from resnet_cli.measure.ops.names import kind, qualified

Settings = dict[str, Any]

# They return the values of their first argument, perhaps in another shape or another place in memory.
IDENTITY_OPS = frozenset(
    """detach alias clone contiguous _to_copy lift_fresh lift view _unsafe_view reshape _reshape_alias flatten squeeze
    unsqueeze empty_like zeros_like ones_like t expand resolve_conj""".split()
)

TRANSPOSE_OPS = frozenset({"t", "transpose", "permute", "numpy_T"})
FACTORY_OPS = frozenset("new_empty new_zeros new_ones new_full rand_like randn_like".split())

CUMULATIVE_AVERAGE = "cumulative average"  # in place of a momentum: running statistics are the mean of all batches

# Interchangeable operators: one in place of another is a replacement, not one missing and one extra operator.
CUMULATIVE_AVERAGE = (
    "cumulative average"  # in place of a momentum, where running statistics are the mean of all batches
)
ACTIVATIONS = frozenset(
    "relu relu6 gelu silu leaky_relu elu selu sigmoid tanh hardtanh hardswish mish softplus celu prelu".split()
)
POOLS = frozenset("max_pool avg_pool adaptive_avg_pool adaptive_max_pool2d mean".split())
NORMS = frozenset("batch_norm group_norm instance_norm layer_norm".split())

# Nothing that anybody sets: how torch runs the operator, not what it computes.
_INTERNAL = frozenset(
    """training cudnn_enabled inplace dtype layout device pin_memory memory_format non_blocking keepdim beta
    output_padding generator output_mask implicit""".split()
)


def arguments(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by the schema's names, defaults filled in."""
    values: dict[str, Any] = {}
    for place, argument in enumerate(func._schema.arguments):
        if place < len(args):
            values[argument.name] = args[place]
        elif argument.name in kwargs:
            values[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            values[argument.name] = argument.default_value
    return values


def describe(func: Any, values: Mapping[str, Any]) -> tuple[str, Settings]:
    """Name and settings of one call.

    Args:
        func: the overload that ran.
        values: as `arguments` gives them.
    """
    raw = qualified(func)
    name = kind(raw)
    if _is_relu(raw, values):
        return "relu", {}
    if raw == "aten::hardtanh" and (values["min_val"], values["max_val"]) == (0, 6):
        return "relu6", {}
    if name in _SETTINGS:
        return name, _SETTINGS[name](values)
    return name, {
        key: _plain(value) for key, value in values.items() if key not in _INTERNAL and not _holds_tensor(value)
    }


def _is_relu(raw: str, values: Mapping[str, Any]) -> bool:
    if raw in ("aten::clamp", "aten::clamp_min"):
        return bool(values.get("min") == 0 and values.get("max") is None)
    return bool(raw == "aten::threshold" and values["threshold"] == 0 and values["value"] == 0)


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


def _conv(values: Mapping[str, Any]) -> Settings:
    weight, transposed = values["weight"], values["transposed"]
    first, second = weight.shape[0], weight.shape[1] * values["groups"]
    settings: Settings = {
        "channels": (first, second) if transposed else (second, first),
        "kernel": tuple(weight.shape[2:]),
        "stride": _pair(values["stride"]),
        "padding": _pair(values["padding"]),
        "dilation": _pair(values["dilation"]),
        "groups": values["groups"],
        "bias": values.get("bias") is not None,
        "padding_mode": "zeros",
    }
    return settings | {"transposed": True} if transposed else settings


def _batch_norm(values: Mapping[str, Any]) -> Settings:
    # The overloads name the same thing differently: training or train, running_mean or input.
    return {
        "channels": values["input"].shape[1],
        "eps": values.get("eps", values.get("epsilon")),
        "momentum": values.get("momentum", values.get("exponential_average_factor")),
        "affine": values.get("weight") is not None,
        "track_running_stats": values.get("running_mean") is not None,
        "batch_statistics": bool(values.get("training", values.get("train", False))),
    }


def _max_pool(values: Mapping[str, Any]) -> Settings:
    kernel = _pair(values["kernel_size"])
    return {
        "kernel": kernel,
        "stride": _pair(values["stride"]) if values["stride"] else kernel,
        "padding": _pair(values["padding"]),
        "dilation": _pair(values["dilation"]),
        "ceil_mode": bool(values["ceil_mode"]),
    }


def _avg_pool(values: Mapping[str, Any]) -> Settings:
    kernel = _pair(values["kernel_size"])
    return {
        "kernel": kernel,
        "stride": _pair(values["stride"]) if values["stride"] else kernel,
        "padding": _pair(values["padding"]),
        "ceil_mode": bool(values["ceil_mode"]),
        "count_include_pad": bool(values["count_include_pad"]),
        "divisor_override": values["divisor_override"],
    }


def _linear(values: Mapping[str, Any]) -> Settings:
    weight = values["mat2"]  # (in, out): torch transposes it first
    return {"channels": (weight.shape[0], weight.shape[1]), "bias": "mat1" in values}


def _mean(values: Mapping[str, Any]) -> Settings:
    x = values["self"]
    dims = values.get("dim")
    over = tuple(sorted(dim % x.dim() for dim in dims)) if dims else tuple(range(x.dim()))
    return {"dims": "spatial" if x.dim() > 2 and over == tuple(range(2, x.dim())) else over}


def _add(values: Mapping[str, Any]) -> Settings:
    settings: Settings = {}
    if values.get("alpha", 1) != 1:
        settings["alpha"] = values["alpha"]
    if not isinstance(values.get("other"), Tensor):
        settings["other"] = values.get("other")
    return settings


_SETTINGS = {
    "conv": _conv,
    "batch_norm": _batch_norm,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "linear": _linear,
    "mean": _mean,
    "add": _add,
}
