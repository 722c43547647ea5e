"""Optimizations of a network whose input is one tensor, but no image."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.sampling import Limits
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.models.inputs.specs import parse_arguments
from resnet_cli.measure.optimizations.comparison import compare_optimizations
from resnet_cli.measure.system.devices.cpu import CpuBackend
from resnet_cli.results.bench import OptimizationsResult

LIMITS = Limits(max_time_s=0.01, min_time_s=0.0)


def compared(model: nn.Module, *texts: str) -> OptimizationsResult:
    backend = CpuBackend(torch.device("cpu"))
    inputs = ModelInputs(*parse_arguments(texts))
    chosen = ("channels-last", "bfloat16")
    return compare_optimizations(
        model, inputs=inputs, batch_size=2, backend=backend, seed=0, limits=LIMITS, chosen=chosen
    )


def test_tokens_stay_integers_and_have_no_channels_last() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    rows = {row.key: row.status for row in compared(model, "int64[1,5]").rows}
    assert rows == {"eager": "measured", "channels-last": "unavailable", "bfloat16": "measured"}


@pytest.mark.parametrize(
    "texts", [("float32[4]",), ("float32[1,4]", "x=float32[1,4]"), ("float32[1,4]", "float32[1,4]")]
)
def test_other_inputs_are_refused_in_one_sentence(texts: tuple[str, ...]) -> None:
    with pytest.raises(ResnetCliError, match="one positional tensor with a batch axis"):
        compared(nn.Linear(4, 2), *texts)
