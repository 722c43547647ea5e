"""What `report` asks of each measurement, and what it keeps when one of them fails or is interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.report import Asked, Named, measure
from resnet_cli.network.architectures import FAMILY
from resnet_cli.results.bench import OPTIMIZATIONS
from resnet_cli.results.common import Note
from resnet_cli.results.compare import CHECKS
from tests.helpers import results_bench, results_summary_flops
from tests.helpers.models import CPU
from tests.render.pages import test_compare as parity_samples

OURS = Named(FAMILY["resnet18"])
THEIRS = Named(FAMILY["resnet50"], "mine.py:Net", {"width": 3})


def asked(*measurements: str, **others: Any) -> Asked:
    usual: dict[str, Any] = {
        "image": (3, 32, 48),
        "batch_sizes": (1, 8),
        "device": CPU,
        "dtype": torch.bfloat16,
        "max_time_s": 5.0,
        "seed": 7,
    }
    return Asked(measurements, **(usual | others))


class Calls:
    """What was called, with which arguments, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        results = {
            "summarize": results_summary_flops.summary_result(),
            "count_flops": results_summary_flops.flops_result(),
            "subject": "ours",
            "load_subject": "the user's",
            "model_pair.model_pair": type("Pair", (), {"ours": "a", "theirs": "b", "notes": (Note("note", "first"),)}),
            "compare.compare": replace(parity_samples.stride(), notes=(Note("note", "second"),)),
            "config.build": "built",
            "config.users_own": "the user's own",
            "benchmark.bench": results_bench.everything(),
            "environment": results_summary_flops.summary_result().environment,
        }
        for name, result in results.items():
            monkeypatch.setattr(f"resnet_cli.measure.report.{name}", self.recording(name, result))

    def recording(self, name: str, result: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.seen.append((name, args, kwargs))
            if isinstance(result, BaseException):
                raise result
            return result

        return call

    def named(self, name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        ((_, args, kwargs),) = [call for call in self.seen if call[0] == name]
        return args, kwargs


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def told(*_: Any, **__: Any) -> None:
    """Progress that nobody reads."""


def test_counts_are_of_the_first_batch_size(calls: Calls) -> None:
    result = measure([OURS], asked("summary", "flops"), told)
    expected = {"shape": (1, 3, 32, 48), "dtype": torch.bfloat16, "device": CPU}
    assert calls.named("summarize") == calls.named("count_flops") == (("ours",), expected)
    assert (len(result.summaries), len(result.flops), result.comparisons, result.benchmarks) == (1, 1, (), ())
    assert (result.interrupted, result.notes) == (False, ())


def test_a_network_of_the_users_is_loaded_with_its_arguments(calls: Calls) -> None:
    measure([THEIRS], asked("summary", "bench", "parity"), told)
    assert calls.named("load_subject") == (("mine.py:Net",), {"given": {"width": 3}})
    assert calls.named("summarize")[0] == ("the user's",)
    assert calls.named("config.users_own")[0] == ("mine.py:Net", {"width": 3}, 7)
    assert calls.named("benchmark.bench")[0][0] == "the user's own"
    args, options = calls.named("model_pair.model_pair")
    assert args == (FAMILY["resnet50"], "mine.py:Net", None)
    assert options == {"is_default": True, "arguments": {"width": 3}, "seed": 7}


@pytest.mark.parametrize(("batch", "compared"), [(1, 2), (2, 2), (5, 5)])
def test_a_comparison_is_of_all_checks_and_two_images_at_least(calls: Calls, batch: int, compared: int) -> None:
    device = torch.device("cuda:1")
    result = measure([OURS], asked("parity", batch_sizes=(batch, 9), device=device), told)
    args, options = calls.named("model_pair.model_pair")
    assert (args, options) == ((OURS.spec, None, None), {"is_default": False, "arguments": {}, "seed": 7})
    (ours, theirs, question), options = calls.named("compare.compare")
    assert options == {"progress": told}
    assert (ours, theirs) == ("a", "b")
    assert (question.shape, question.seed, question.device) == ((compared, 3, 32, 48), 7, device)
    assert question.checks == CHECKS
    assert question.keep is False
    assert [note.text for note in result.comparisons[0].notes] == ["first", "second"]


@pytest.mark.parametrize("changed", [{"stem": "cifar"}, {"in_channels": 1}])
def test_of_changed_networks_there_is_no_comparison(calls: Calls, changed: dict[str, Any]) -> None:
    network = Named(replace(FAMILY["resnet18"], **changed))
    result = measure([network], asked("summary", "parity"), told)
    assert [note.text for note in result.notes] == [
        "resnet18 has no parity: torchvision's networks have the imagenet stem and 3 channels"
    ]
    theirs = replace(THEIRS, spec=network.spec)
    assert len(measure([theirs], asked("parity"), told).comparisons) == 1


@pytest.mark.parametrize(("most", "least"), [(5.0, 2.0), (0.5, 0.5), (2.0, 2.0)])
def test_a_benchmark_is_asked_for_what_the_user_wants(calls: Calls, most: float, least: float) -> None:
    measure([OURS], asked("bench", max_time_s=most), told)
    assert calls.named("config.build")[0] == (OURS.spec, 7)
    (ours, question), options = calls.named("benchmark.bench")
    assert (ours, options) == ("built", {"progress": told})
    assert (question.image, question.batch_sizes, question.device) == ((3, 32, 48), (1, 8), CPU)
    assert (question.dtype, question.seed) == (torch.bfloat16, 7)
    assert (question.limits.max_time_s, question.limits.min_time_s) == (most, least)
    assert (question.layers, question.levers) == (False, None)


def test_layers_and_ladder_belong_to_the_benchmark(calls: Calls) -> None:
    measure([OURS], asked("bench", "layers", "ladder"), told)
    (_, question), _ = calls.named("benchmark.bench")
    assert (question.layers, question.levers) == (True, OPTIMIZATIONS)


def test_networks_are_measured_one_after_the_other_in_the_order_of_the_page(calls: Calls) -> None:
    said: list[str] = []
    result = measure([OURS, THEIRS], asked("bench", "parity", "flops", "summary"), lambda text, *_: said.append(text))
    kinds = ("summary", "flops", "parity", "bench")
    assert said == [f"{name}: {kind}" for name in ("resnet18", "mine.py:Net") for kind in kinds]
    lists = (result.summaries, result.flops, result.comparisons, result.benchmarks)
    assert [len(found) for found in lists] == [2, 2, 2, 2]


def failing(calls: Calls, monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException) -> None:
    monkeypatch.setattr(f"resnet_cli.measure.report.{name}", calls.recording(name, error))


def test_what_fails_is_left_out_and_the_rest_is_kept(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(calls, monkeypatch, "summarize", ResnetCliError("too small"))
    result = measure([OURS], asked("summary", "flops"), told)
    assert (result.summaries, len(result.flops)) == ((), 1)
    assert result.notes == (Note("warning", "resnet18 has no summary: too small"),)
    failing(calls, monkeypatch, "count_flops", ResnetCliError("too large"))
    with pytest.raises(ResnetCliError, match="too small"):
        measure([OURS], asked("summary", "flops"), told)


def interrupting(after: int) -> Callable[..., None]:
    """Progress in which Ctrl-C comes at the so many-th word."""
    said: list[str] = []

    def told(text: str, *_: Any) -> None:
        said.append(text)
        if len(said) == after:
            raise KeyboardInterrupt

    return told


def test_an_interruption_keeps_what_there_is(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bool] = []
    monkeypatch.setattr(signals, "acknowledge", lambda: heard.append(True))
    failing(calls, monkeypatch, "count_flops", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        measure([OURS], asked("flops"), told)
    assert not heard
    result = measure([OURS, THEIRS], asked("summary", "flops", "bench"), told)
    assert (len(result.summaries), result.flops, result.benchmarks, result.interrupted) == (1, (), (), True)
    assert heard == [True]
    result = measure([OURS, THEIRS], asked("bench"), interrupting(2))
    assert (len(result.benchmarks), result.interrupted) == (1, True)


@pytest.mark.parametrize(("kind", "name"), [("parity", "compare.compare"), ("bench", "benchmark.bench")])
def test_after_a_measurement_that_was_interrupted_there_is_no_other(
    kind: str, name: str, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = parity_samples.stride() if kind == "parity" else results_bench.everything()
    monkeypatch.setattr(f"resnet_cli.measure.report.{name}", calls.recording(name, replace(whole, interrupted=True)))
    result = measure([OURS, THEIRS], asked("parity", "bench") if kind == "parity" else asked("bench"), told)
    assert result.interrupted
    assert len(result.comparisons) + len(result.benchmarks) == 1
