"""Figures that torchvision publishes with its weights, read without importing torchvision.

Importing torchvision takes longer than importing torch, and fails where its binary does not fit the installed torch.
The figures are literals in the source of `torchvision/models/resnet.py`, so they are read from there.
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
    """What torchvision says of one of its networks at 1x3x224x224 with 1000 classes."""

    num_params: int
    giga_macs: float  # `_ops`, called GFLOPS there


class UnpublishedError(Exception):
    """There is no figure; the message says why."""


def torchvision_figures(name: str) -> TorchvisionFigures:
    """Figures of a torchvision ResNet.

    Raises:
        UnpublishedError: no torchvision here, or none that reads like it used to, or no such network in it.
    """
    figures = _read()
    if name not in figures:
        raise UnpublishedError(f"torchvision publishes no figure for {name}")
    return figures[name]


@cache
def _read() -> dict[str, TorchvisionFigures]:
    spec = importlib.util.find_spec("torchvision")  # looks, imports nothing
    if spec is None or not spec.submodule_search_locations:
        raise UnpublishedError("torchvision is not installed")
    source = Path(next(iter(spec.submodule_search_locations)), "models", "resnet.py")
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UnpublishedError(f"torchvision's figures cannot be read: {type(error).__name__}") from error
    found = dict(_figures(tree))
    if not found:
        raise UnpublishedError("this torchvision does not keep its figures where they used to be")
    return found


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
