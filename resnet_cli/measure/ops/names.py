"""Names of operators: the qualified name that every table is keyed by, and what an operator is called elsewhere.

The key is the name of the schema without the mark of the in-place form: "aten::relu" for `aten::relu_.default`. The
namespace belongs to it: a custom `mylib::mm` is no matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ATEN = "aten::"


@dataclass(frozen=True, slots=True)
class OpName:
    """What an operator is called outside of the dispatcher.

    Attributes:
        kind: shared by all operators that compute the same, in comparisons.
        fvcore: fvcore's names of it.
        title: in layer trees, "" for the kind. A product of two activations is no linear layer.
    """

    kind: str
    fvcore: tuple[str, ...] = ()
    title: str = ""


# An operator that is not listed has its own name as its kind.
NAMES: Mapping[str, OpName] = {
    "aten::convolution": OpName("conv", ("conv",)),
    "aten::_convolution": OpName("conv"),
    "aten::native_batch_norm": OpName("batch_norm", ("batch_norm",)),
    "aten::cudnn_batch_norm": OpName("batch_norm"),
    "aten::miopen_batch_norm": OpName("batch_norm"),
    "aten::_native_batch_norm_legit": OpName("batch_norm"),
    "aten::_native_batch_norm_legit_no_training": OpName("batch_norm"),
    "aten::_batch_norm_with_update": OpName("batch_norm"),
    "aten::_batch_norm_no_update": OpName("batch_norm"),
    "aten::max_pool2d_with_indices": OpName("max_pool"),
    "aten::avg_pool2d": OpName("avg_pool"),
    "aten::_adaptive_avg_pool2d": OpName("adaptive_avg_pool"),
    "aten::mean": OpName("mean", ("adaptive_avg_pool2d",)),
    "aten::addmm": OpName("linear", ("linear", "addmm")),
    "aten::mm": OpName("linear", title="mm"),
    "aten::bmm": OpName("bmm", ("matmul",)),
    "aten::native_group_norm": OpName("group_norm"),
    "aten::native_layer_norm": OpName("layer_norm"),
    "aten::native_dropout": OpName("dropout"),
    "aten::_prelu_kernel": OpName("prelu"),
    "aten::_softmax": OpName("softmax"),
    "aten::reflection_pad2d": OpName("reflection_pad"),
    "aten::replication_pad2d": OpName("replication_pad"),
    "aten::constant_pad_nd": OpName("constant_pad"),
}

_FROM_FVCORE = {name: key.removeprefix(_ATEN) for key, row in NAMES.items() for name in row.fvcore}

# Kinds as a sentence writes them; others are written with spaces for underscores.
_SPOKEN = {
    "conv": "convolution",
    "mean": "global average pool",
    "relu": "ReLU",
    "relu6": "ReLU6",
    "gelu": "GELU",
    "silu": "SiLU",
    "elu": "ELU",
    "leaky_relu": "LeakyReLU",
    "prelu": "PReLU",
}


def qualified(func: Any) -> str:
    """Key of an operator (a `torch._ops.OpOverload`), such as "aten::relu" for `aten::relu_`."""
    name: str = func._schema.name
    return name if name.partition("::")[2].startswith("__") else name.rstrip("_")


def short(key: str) -> str:
    """Name of an operator in tables: "aten::mm" -> "mm"; operators of other namespaces keep theirs."""
    return key.removeprefix(_ATEN)


def kind(key: str) -> str:
    """What an operator computes: "aten::cudnn_batch_norm" -> "batch_norm"."""
    row = NAMES.get(key)
    return short(key) if row is None else row.kind


def title(key: str) -> str:
    """Name of an operator's row in a layer tree: "aten::convolution" -> "conv"."""
    row = NAMES.get(key)
    return (row and row.title) or kind(key)


def spoken(kind_name: str) -> str:
    """A kind of operator in a sentence: "conv" -> "convolution"."""
    return _SPOKEN.get(kind_name, kind_name.replace("_", " ").strip())


def from_fvcore(name: str) -> str:
    """The short name of the operator that fvcore calls so."""
    return _FROM_FVCORE.get(name, name)


def aten(names: str) -> frozenset[str]:
    """Keys of ATen operators from their short names, separated by white space."""
    return frozenset(_ATEN + name for name in names.split())
