"""The result around the measurements."""

from __future__ import annotations

import torch

from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.run_context import RunContext
from resnet_cli.measure.bench.sampling import Limits
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.model import model_from_spec
from resnet_cli.network.architectures import resolve

SMALL = resolve(repeat="1,1,1,1", num_classes=10)


def test_a_result_says_what_was_configured_and_measured_under_which_conditions() -> None:
    config = BenchmarkConfig(
        inputs=images((3, 40, 30)),
        batch_sizes=(2, 9),
        device=torch.device("cpu"),
        dtype=torch.float16,
        mode="train",
        limits=Limits(ci_width=0.02, max_time_s=7.0, confidence=0.9),
        seed=5,
    )
    context = RunContext(model_from_spec(SMALL), config)
    result = context.close()
    assert result.conditions.duration_s > 0
    assert result.conditions.background_cpu_load is not None
    assert (result.conditions.mode, result.conditions.precision) == ("train", "float16")
    assert (result.conditions.threads, result.conditions.interop_threads) == (
        torch.get_num_threads(),
        torch.get_num_interop_threads(),
    )
    assert (result.confidence, result.ci_width, result.max_time_s, result.seed) == (0.9, 0.02, 7.0, 5)
    assert result.input.shape == (2, 3, 40, 30)
    assert result.input.bytes == 2 * 3 * 40 * 30 * 2
    assert result.network.repeat == (1, 1, 1, 1)
    assert not result.failed
    assert not result.interrupted
