"""Command lines out of documents: the files that they name, and a stop before anything is measured."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
import torch
from safetensors.torch import save_file

from resnet_cli.measure import report as _report  # noqa: F401  # before anything is replaced that it imports by name
from resnet_cli.results.serialization import to_json
from tests.helpers import results_bench, results_summary_flops
from tests.helpers import results_compare as parity

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result


MODEL = """
from torchvision.models import resnet18, resnet50

def ResNet18(num_classes=1000):
    return resnet18(num_classes=num_classes)

def paper(num_classes=1000):
    net = resnet50(num_classes=num_classes)
    for stage in (net.layer2, net.layer3, net.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return net
"""
INTENDED = 'expected = ["setting conv.stride layer2.0.conv1 = 2"]\n'
SEAMS = (
    "cost.summary.summarize",
    "cost.flops.count_flops",
    "bench.task.run_task",
    "bench.processes.series.bench_in_processes",
    "bench.processes.plan.plan_gate",
    "distributed.run.bench_multi_process",
    "parity.compare.compare",
    "parity.all_architectures.compare_all_architectures",
    "faults.self_test.self_test",
    "report.measure_all",
    "doctor.run.examine",
)


class Reached(BaseException):
    """All that comes before the measurement went well."""


def stop(*_: object, **__: object) -> NoReturn:
    """In place of a measurement."""
    raise Reached


def let_unexpected_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line reports whatever is raised, as if a network of the user's had; here it goes on to the test."""

    def raised(error: BaseException) -> NoReturn:
        raise error

    monkeypatch.setattr("resnet_cli.cli._as_reported", raised)


def stop_before_measuring(monkeypatch: pytest.MonkeyPatch, seams: tuple[str, ...] = SEAMS) -> None:
    """Neither time, nor a GPU, nor the network is needed to see that a line is right."""
    let_unexpected_pass(monkeypatch)
    for seam in seams:
        monkeypatch.setattr(f"resnet_cli.measure.{seam}", stop)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr(
        "resnet_cli.measure.weights.torchvision_download.resolve_weights", lambda *_, **__: "resnet18.pth"
    )
    monkeypatch.setattr("resnet_cli.measure.parity.model_pair.with_weights", lambda pair, path, question: question)


def make_history(folder: Path) -> None:
    """Two revisions of all files in a folder."""
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for words in (("init",), ("add", "."), *2 * [("commit", "--allow-empty", "-m", "one")]):
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def make_file(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """A file that a line names as its input, by its name."""
    results: dict[str, Result] = {
        "summary.json": results_summary_flops.summary_result(),
        "flops.json": results_summary_flops.flops_result(),
        "compare.json": parity.stride(),
        "bench.json": results_bench.everything(),
        "before.json": results_bench.one_batch(),
    }
    if path.name == "my_resnet.py":
        path.write_text(MODEL, encoding="utf-8")
        make_history(path.parent)
    elif path.name == "intended.toml":
        path.write_text(INTENDED, encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(to_json(results[path.name]), encoding="utf-8")
    elif path.suffix == ".safetensors":
        save_file(weights, path)
    elif path.suffix == ".pth":
        torch.save(weights, path)
