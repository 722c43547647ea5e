"""Networks whose drawings are tested, each measured once."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import nn
from torchvision.models import get_model

from resnet_cli.measure.cost.summary import summarize
from resnet_cli.measure.models import model as networks
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.results.bench import LayerTime, LayerTimes
from resnet_cli.results.summary import Layer, SummaryResult
from tests.helpers import results_bench


@cache
def ours(name: str, size: int = 224) -> SummaryResult:
    return _of(networks.model_from_spec(ARCHITECTURES[name]), size)


@cache
def theirs(name: str, size: int = 224) -> SummaryResult:
    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        model = get_model(name, **options)
    return _of(networks.ModelUnderTest(model, name), size)


def summary_of(model: nn.Module, size: int = 16) -> SummaryResult:
    return _of(networks.ModelUnderTest(model, "net"), size)


def _of(subject: networks.ModelUnderTest, size: int) -> SummaryResult:
    return summarize(subject, inputs=images((2, 3, size, size)), dtype=torch.float32, device=torch.device("cpu"))


def times(summary: SummaryResult, each_s: float = 1e-3) -> LayerTimes:
    """A benchmark's layers for a summary, each leaf and each module's own operators of one time."""
    rows: list[LayerTime] = []
    _timed(summary.root, 0, each_s, rows)
    layers = results_bench.layered().layers
    assert layers is not None
    return replace(layers, layers=tuple(rows), instrumented_s=rows[0].time_s)


def _timed(layer: Layer, depth: int, each_s: float, rows: list[LayerTime]) -> float:
    own = [child for child in layer.children if child.is_operator and child.output_shape is not None]
    place = len(rows)
    rows.append(_row(layer.path, layer.name, layer.layer_type, layer.call, depth, [layer], each_s))
    spent = sum(_timed(child, depth + 1, each_s, rows) for child in layer.children if not child.is_operator)
    if own:
        names = ", ".join(dict.fromkeys(child.name for child in own))
        path = own[0].path if len(own) == 1 else f"{layer.path}:own"
        rows.append(_row(path, names, names, layer.call, depth + 1, own, each_s))
        spent += each_s
    if spent:
        rows[place] = replace(rows[place], time_s=spent, is_leaf=False)
    return spent or each_s


def _row(path: str, name: str, kind: str, call: int, depth: int, parts: list[Layer], time_s: float) -> LayerTime:
    moved, operations = sum(part.bytes_moved for part in parts), sum(part.ops for part in parts)
    macs = sum(part.macs for part in parts)
    return LayerTime(
        path=path,
        name=name,
        layer_type=kind,
        depth=depth,
        call=call,
        is_leaf=True,
        time_s=time_s,
        ci_low_s=time_s,
        ci_high_s=time_s,
        share=0.01,
        macs=macs,
        macs_share=0.01,
        flops_per_s=2 * macs / time_s if macs else None,
        bytes_moved=moved,
        bytes_per_s=moved / time_s,
        arithmetic_intensity=operations / moved if moved else None,
        bound=None,
    )
