"""The one place where measuring is replaced, so that a command line takes milliseconds.

Parsing, checking, reading files, drawing and writing stay as they are. What is replaced builds a network of the
family, runs one, or asks the internet.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import nn

from resnet_cli.measure import report as _report  # noqa: F401  # before anything is replaced that it imports
from resnet_cli.measure.bench.models import OtherModel
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.model import model_from_spec as really_subject
from resnet_cli.measure.models.random_init import seeded
from resnet_cli.measure.parity.compare import compare as really_compare
from resnet_cli.measure.parity.compare import member
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.model_pair import ModelPair
from resnet_cli.network.architectures import FAMILY, ModelSpec
from resnet_cli.results.bench import BenchResult
from resnet_cli.results.compare import CHECKS, CompareAllResult, CompareResult, FaultResult, SelfTestResult
from resnet_cli.results.report import ReportResult
from tests.helpers.results_bench import everything, replicated
from tests.helpers.results_doctor import broken_result
from tests.helpers.results_summary_flops import flops_result, summary_result


def tiny() -> nn.Sequential:
    """The smallest network with a batch norm."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))


@functools.cache
def compared() -> CompareResult:
    """A real comparison of two tiny networks, of which one has another eps."""
    ours, theirs = tiny(), tiny()
    ours[1] = nn.BatchNorm2d(4, eps=1e-3)
    question = ParityConfig(shape=(2, 3, 16, 16), seed=0, device=torch.device("cpu"), checks=CHECKS[:3])
    return really_compare(ModelUnderTest(ours, "ours"), ModelUnderTest(theirs, "theirs"), question)


def family() -> CompareAllResult:
    one = compared()
    members = tuple(member(one, name, 12) for name in FAMILY)
    return CompareAllResult("0.29.2", False, members, one.environment, one.notes)


def self_test() -> SelfTestResult:
    one = compared()
    rows = (
        FaultResult(
            "a", "blocks", "one batch norm missing", True, True, True, ("settings",), "a batch_norm is missing"
        ),
        FaultResult("b", "blocks", "no room", False, False, False, (), "a basic block has no groups"),
        FaultResult("c", "shapes", "max_pool rounds up", True, True, False, ("eval",), ""),
    )
    return SelfTestResult(one.network, one.reference, rows, 2, 2, 1, False, one.environment, ())


def saved_bench() -> BenchResult:
    """A run with every section, of the network that the seam builds."""
    result = everything()
    return replace(result, failed=False)


def reported() -> ReportResult:
    summary = summary_result()
    flops = replace(flops_result(), network=summary.network)
    bench = replace(saved_bench(), network=summary.network)
    return ReportResult((summary,), (flops,), (compared(),), (bench,), False, summary.environment, summary.notes)


def _contenders(spec: ModelSpec, model: str | None, against: str | None, **_: Any) -> ModelPair:
    from resnet_cli.measure.models.user_model import load_model

    ours = ModelUnderTest(tiny(), spec.name) if model is None else ModelUnderTest(*load_model(model))
    return ModelPair(ours, ModelUnderTest(tiny(), "theirs"), "resnet18", (), None if against else spec)


def _compare(ours: ModelUnderTest, theirs: ModelUnderTest, question: ParityConfig, **_: Any) -> CompareResult:
    with seeded(question.seed):
        return compared()


def _build(spec: ModelSpec, seed: int) -> ModelUnderTest:
    with seeded(seed):
        return ModelUnderTest(tiny(), spec.name)


def _refused(*_: Any, **__: Any) -> None:
    raise URLError("there is no network here")


_REPLACED: dict[str, Any] = {
    "models.model.model_from_spec": functools.cache(really_subject),
    "cost.summary.summarize": lambda *_, **__: summary_result(),
    "cost.flops.count_flops": lambda *_, **__: flops_result(),
    "parity.model_pair.model_pair": _contenders,
    "parity.compare.compare": _compare,
    "parity.family.compare_family": lambda *_, **__: family(),
    "faults.self_test.self_test": lambda *_, **__: self_test(),
    "bench.config.build": _build,
    "bench.config.torchvision": lambda *_: OtherModel(tiny(), "theirs"),
    "bench.benchmark.bench": lambda *_, **__: saved_bench(),
    "distributed.run.bench_multi_process": lambda *_, **__: replicated(),
    "report.measure_all": lambda *_, **__: reported(),
    "doctor.run.examine": lambda *_, **__: broken_result(),
}


@contextmanager
def nothing_is_measured() -> Iterator[None]:
    """Within, every measurement answers at once."""
    with pytest.MonkeyPatch.context() as patch:
        for name, replacement in _REPLACED.items():
            patch.setattr(f"resnet_cli.measure.{name}", replacement)
        patch.setattr("torch.hub.download_url_to_file", _refused)
        yield


@contextmanager
def nothing_is_downloaded() -> Iterator[None]:
    """Within, the internet is not there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.hub.download_url_to_file", _refused)
        yield
