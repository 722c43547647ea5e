"""Parameter counts and GFLOPS that torchvision publishes with its weights, read without importing torchvision.

Importing torchvision takes longer than importing torch, and fails if its binary does not match the installed torch.
The values are literals in the source of `torchvision/models/resnet.py`, so they are read from there.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TorchvisionFigures:
    """torchvision's metadata of a network, for an input of 1×3×224×224 and 1000 classes."""

    num_params: int
    giga_macs: float  # `_ops`, which its documentation calls GFLOPS


class UnpublishedError(Exception):
    """There is no published value; the message says why."""


def torchvision_figures(name: str) -> TorchvisionFigures:
    """Published values of a ResNet.

    Raises:
        UnpublishedError: torchvision is not installed, its source has changed, or it has no such network.
    """
    figures = _read()
    if name not in figures:
        raise UnpublishedError(f"torchvision publishes no values for {name}")
    return figures[name]


@cache
def _read() -> dict[str, TorchvisionFigures]:
    spec = importlib.util.find_spec("torchvision")  # does not import it
    if spec is None or not spec.submodule_search_locations:
        raise UnpublishedError("torchvision is not installed")
    source = Path(next(iter(spec.submodule_search_locations)), "models", "resnet.py")
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UnpublishedError(f"torchvision's source cannot be read: {type(error).__name__}") from error
    values = dict(_figures(tree))
    if not values:
        raise UnpublishedError("this torchvision keeps its metadata elsewhere")
    return values


def _figures(tree: ast.Module) -> Iterator[tuple[str, TorchvisionFigures]]:
    """The metadata of each weights class: `ResNet50_Weights` belongs to `resnet50`."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("_Weights"):
            literals: dict[str, object] = {}
            for item in ast.walk(node):
                if isinstance(item, ast.Dict):
                    for key, value in zip(item.keys, item.values, strict=True):
                        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant):
                            literals.setdefault(str(key.value), value.value)
            params, ops = literals.get("num_params"), literals.get("_ops")
            if isinstance(params, int) and isinstance(ops, (int, float)):
                yield _network_name(node.name), TorchvisionFigures(params, float(ops))


def _network_name(weights: str) -> str:
    """`Wide_ResNet50_2_Weights` -> "wide_resnet50_2", `ResNeXt50_32X4D_Weights` -> "resnext50_32x4d"."""
    return weights.removesuffix("_Weights").lower()
