"""What `summary` says beside its tree: what torchinfo agrees with, and what is not counted."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest
import torch
from torch import nn

from resnet_cli.measure.cost import other_counters
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.measure.system.environment import environment
from resnet_cli.results.summary import CrossCheck, SummaryResult
from tests.helpers.models import CPU, rows, summary_of


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4)), nn.Flatten())


def with_torchinfo(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> SummaryResult:
    usual = other_counters.torchinfo
    monkeypatch.setattr(other_counters, "torchinfo", lambda *args: replace(usual(*args), **changed))
    return summary_of(network())


def test_torchinfo_agrees() -> None:
    release = version("torchinfo")
    assert summary_of(network()).cross_checks == (
        CrossCheck("torchinfo", release, "parameters", 24, 24, True, None),
        CrossCheck("torchinfo", release, "layers with their output shapes", 4, 4, True, None),
    )


def test_where_torchinfo_says_something_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    image = (2, 4, 16, 16)
    leaves = (("Conv2d", image), ("ReLU", image), ("BatchNorm2d", (1,)), ("Flatten", (2, 1024)))
    parameters, layers = with_torchinfo(monkeypatch, parameters=25, leaves=leaves).cross_checks
    assert (parameters.value, parameters.tool_value, parameters.agrees, parameters.note) == (24, 25, False, None)
    assert (layers.value, layers.tool_value, layers.agrees) == (4, 3, False)
    assert layers.note == "first difference at BatchNorm2d"


def test_without_torchinfo_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        other_counters, "torchinfo", lambda *_: other_counters.TorchinfoReport("1.0", failure="it broke")
    )
    result = summary_of(network())
    assert [(one.tool_value, one.agrees, one.note) for one in result.cross_checks] == [(None, None, "it broke")] * 2
    assert result.parameters == 24


def test_heads_of_train_mode_are_none_of_the_layers() -> None:
    class Trained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.aux = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> Any:
            x = self.body(x) * 2
            return (x, self.aux(x)) if self.training else x

    result = summary_of(Trained())
    assert [layer.path for layer in rows(result.root)] == ["", "body", ":mul", "aux"]
    layers = result.cross_checks[1]
    assert (layers.value, layers.tool_value, layers.agrees) == (1, 1, True)


def test_operators_that_are_not_counted_are_named_in_order() -> None:
    class Sorts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.conv(x).sort(1)[0].topk(1)[0].sort(2)[0]
            return out

    result = summary_of(Sorts())
    assert result.uncounted == ("sort", "topk")
    assert [(note.level, note.key) for note in result.notes] == [("warning", "uncounted-operators")]


def test_where_figures_come_from() -> None:
    found = environment(CPU)
    assert (found.device, found.threads, found.torch) == ("cpu", torch.get_num_threads(), torch.__version__)
    assert (found.device_name, found.device_memory_bytes) == (
        device_backend(CPU).name(),
        device_backend(CPU).total_memory(),
    )
    assert summary_of(network()).environment == found
