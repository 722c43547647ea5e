"""The measurements of a report, and the results that remain when one of them fails or is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from resnet_cli.measure.parity.checks import CHECKS
from resnet_cli.measure.report import MEASUREMENTS, ModelSource, ReportConfig, measure_all
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.results.common import INCOMPLETE, INTERNAL_ERROR, Shape
from tests.helpers import results_bench, results_summary_flops
from tests.helpers import results_compare as compare_results
from tests.helpers.models import CPU

BUILT_IN = ModelSource(ARCHITECTURES["resnet18"])
OF_USER = ModelSource(ARCHITECTURES["resnet50"], "mine.py:Net", {"width": 3})
RESULTS = {
    "summary": results_summary_flops.summary_result(),
    "flops": results_summary_flops.flops_result(),
    "compare": compare_results.stride(),
    "bench": results_bench.everything(),
}


def config(
    *measurements: str, batch_sizes: tuple[int, ...] = (1, 8), image: Shape = (3, 32, 48), **changes: Any
) -> ReportConfig:
    usual: dict[str, Any] = {
        "inputs_of": lambda model: (images((1, *image)), batch_sizes),
        "device": CPU,
        "dtype": torch.bfloat16,
        "max_time_s": 5.0,
        "seed": 7,
    }
    return ReportConfig(measurements, **(usual | changes))


def silent(*_: Any, **__: Any) -> None:
    """Progress that nobody reads."""


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The result or the error of each measurement, in place of measuring."""
    outcomes: dict[str, Any] = dict(RESULTS)

    def measurement(name: str) -> Callable[..., Any]:
        def run(*_: Any) -> Any:
            if isinstance(outcomes[name], BaseException):
                raise outcomes[name]
            return outcomes[name]

        return run

    for name in MEASUREMENTS:
        monkeypatch.setitem(MEASUREMENTS, name, measurement(name))
    return outcomes


@pytest.mark.usefixtures("outcomes")
def test_networks_are_measured_one_after_another_in_the_order_of_the_report() -> None:
    steps: list[str] = []
    result = measure_all([BUILT_IN, OF_USER], config(*reversed(RESULTS)), lambda text, *_: steps.append(text))
    assert steps == [f"{model}: {name}" for model in ("resnet18", "mine.py:Net") for name in RESULTS]
    lists = (result.summaries, result.flops, result.comparisons, result.benchmarks)
    assert [len(results) for results in lists] == [2, 2, 2, 2]
    assert (result.interrupted, result.notes) == (False, ())


@pytest.mark.parametrize(
    ("error", "key"), [(ResnetCliError("too small"), INCOMPLETE), (ValueError("x"), INTERNAL_ERROR)]
)
def test_an_error_leaves_the_other_results(error: Exception, key: str, outcomes: dict[str, Any]) -> None:
    outcomes["summary"] = error
    result = measure_all([BUILT_IN], config("summary", "flops"), silent)
    assert (result.summaries, len(result.flops)) == ((), 1)
    assert [(note.level, note.key) for note in result.notes] == [("error", key)]
    outcomes["flops"] = ResnetCliError("too large")
    with pytest.raises(type(error), match=str(error)):
        measure_all([BUILT_IN], config("summary", "flops"), silent)


def test_an_interruption_keeps_the_results_so_far(outcomes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    acknowledged: list[bool] = []
    monkeypatch.setattr(signals, "acknowledge", lambda: acknowledged.append(True))
    outcomes["flops"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        measure_all([BUILT_IN], config("flops"), silent)
    assert not acknowledged
    result = measure_all([BUILT_IN, OF_USER], config("summary", "flops", "bench"), silent)
    assert (len(result.summaries), result.flops, result.benchmarks, result.interrupted) == (1, (), (), True)
    assert acknowledged == [True]


@pytest.mark.parametrize("name", ["compare", "bench"])
def test_an_interrupted_measurement_is_the_last(name: str, outcomes: dict[str, Any]) -> None:
    outcomes[name] = replace(outcomes[name], interrupted=True)
    result = measure_all([BUILT_IN, OF_USER], config(name, "bench"), silent)
    assert result.interrupted
    assert len(result.comparisons) + len(result.benchmarks) == 1


@pytest.mark.parametrize("changed", [{"stem": "cifar"}, {"in_channels": 1}])
def test_a_comparison_is_with_the_same_stem_and_channels(changed: dict[str, Any]) -> None:
    source = ModelSource(replace(ARCHITECTURES["resnet18"], num_classes=10, **changed))
    result = measure_all([source], config("compare", image=(source.spec.in_channels, 32, 32)), silent)
    (comparison,) = result.comparisons
    assert (comparison.same, comparison.verdict, result.notes) == (True, "bitwise", ())


@pytest.mark.parametrize("arguments", [{}, {"num_classes": 7}, {"classes": 7}])
def test_a_network_of_the_users_is_compared_with_as_many_classes(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        f"from torch import nn\ndef net({', '.join(arguments)}):\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7))"
    )
    references: list[Any] = []

    def compare(_: Any, reference: Any, *__: Any, **___: Any) -> Any:
        references.append(reference.model)
        return RESULTS["compare"]

    monkeypatch.setattr("resnet_cli.measure.report.compare.compare", compare)
    measure_all([ModelSource(ARCHITECTURES["resnet18"], f"{path}:net", arguments)], config("compare"), silent)
    assert [reference.fc.out_features for reference in references] == [7]


def test_counts_are_of_the_first_batch_size() -> None:
    result = measure_all([BUILT_IN], config("summary", "flops", batch_sizes=(3, 8)), silent)
    assert result.summaries[0].input.shape == result.flops[0].input.shape == (3, 3, 32, 48)
    assert result.summaries[0].input.dtype == "bfloat16"


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configurations with which benchmark and comparison are called."""
    configs: list[Any] = []

    def bench(_: Any, bench_config: Any, **__: Any) -> Any:
        configs.append(bench_config)
        return RESULTS["bench"]

    def compare(_: Any, __: Any, parity_config: Any, **___: Any) -> Any:
        configs.append(parity_config)
        return RESULTS["compare"]

    monkeypatch.setattr("resnet_cli.measure.report.benchmark.bench", bench)
    monkeypatch.setattr("resnet_cli.measure.report.compare.compare", compare)
    return configs


@pytest.mark.parametrize(("batch", "compared"), [(1, 2), (2, 2), (5, 5)])
def test_a_comparison_has_all_checks_and_at_least_two_images(configs: list[Any], batch: int, compared: int) -> None:
    measure_all([BUILT_IN], config("compare", batch_sizes=(batch, 9)), silent)
    (parity_config,) = configs
    assert (parity_config.shape, parity_config.seed, parity_config.checks) == ((compared, 3, 32, 48), 7, CHECKS)


@pytest.mark.parametrize(("max_time_s", "min_time_s"), [(5.0, 2.0), (0.5, 0.5), (2.0, 2.0)])
def test_a_benchmark_has_the_settings_of_the_report(configs: list[Any], max_time_s: float, min_time_s: float) -> None:
    measure_all([BUILT_IN], config("bench", "layers", "optimizations", max_time_s=max_time_s), silent)
    (bench_config,) = configs
    assert (bench_config.inputs, bench_config.batch_sizes, bench_config.dtype) == (
        images((1, 3, 32, 48)),
        (1, 8),
        torch.bfloat16,
    )
    assert (bench_config.limits.max_time_s, bench_config.limits.min_time_s) == (max_time_s, min_time_s)
    assert (bench_config.layers, bench_config.optimizations) == (True, tuple(OPTIMIZATIONS))
