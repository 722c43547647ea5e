"""`bench`, as a user types it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_cli.cli import main
from resnet_cli.measure.bench.timing import sampling
from resnet_cli.measure.bench.timing.device_timer import Sample
from resnet_cli.results.bench import BenchResult
from resnet_cli.results.load import read_result
from resnet_cli.results.serialization import to_json
from tests.helpers.results_bench import CEILING

TINY = ["--repeat", "1,1,1,1", "--image-size", "32", "--num-classes", "10"]
QUICK = ["bench", *TINY, "--max-time", "0.1", "--no-ceiling", "--threads", "1"]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files that a test names are its own."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def measured(*arguments: str) -> dict[str, Any]:
    """The JSON of a run."""
    assert main([*QUICK, *arguments, "-o", "result.json"]) == 0
    result: dict[str, Any] = json.loads(Path("result.json").read_text(encoding="utf-8"))
    return result


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> BenchResult:
    """A run of one image."""
    path = tmp_path_factory.mktemp("saved") / "before.json"
    threads = torch.get_num_threads()
    assert main([*QUICK, "--save", str(path), "-o", str(path.with_name("before.txt"))]) == 0
    torch.set_num_threads(threads)
    result = read_result("--baseline", str(path))
    assert isinstance(result, BenchResult)
    return result


def write_baseline(result: BenchResult) -> list[str]:
    """The option that names it."""
    Path("before.json").write_text(to_json(result), encoding="utf-8")
    return ["--baseline", "before.json"]


def test_a_row_for_each_batch_size_and_threads_as_before() -> None:
    torch.set_num_threads(2)
    result = measured("--batch-size", "1,4")
    assert result["schema"] == "resnet-cli/bench/2"
    assert [row["batch_size"] for row in result["timings"]] == [1, 4]
    for row in result["timings"]:
        wall = row["wall"]
        assert row["status"] == "measured"
        assert wall["min_s"] <= wall["ci_low_s"] <= wall["median_s"] <= wall["ci_high_s"] <= wall["max_s"]
        assert len(wall["samples_s"]) >= 1
        assert row["stopped"] in ("converged", "time")
        rate = row["batch_size"] * len(wall["samples_s"]) / sum(wall["samples_s"])
        assert row["images_per_s"] == pytest.approx(rate)
        assert row["flops_per_s"] == pytest.approx(row["flops"] * rate / row["batch_size"])
        assert row["warm_up"]["calls"] >= 3
    assert result["timings"][1]["flops"] == 4 * result["timings"][0]["flops"]
    assert sum(row["knee"] for row in result["timings"]) == 1
    assert result["conditions"]["threads"] == 1
    assert (result["conditions"]["mode"], result["conditions"]["precision"]) == ("inference", "float32")
    assert (result["seed"], result["max_time_s"], result["ceiling"]) == (0, 0.1, None)
    assert torch.get_num_threads() == 2


def test_training(saved: BenchResult) -> None:
    (training,) = measured("--batch-size", "4", "--mode", "train")["timings"]
    flops = saved.timings[0].flops
    assert flops is not None
    assert training["flops"] > 2.5 * 4 * flops
    assert training["status"] == "measured"


def test_a_training_step_by_phase_and_the_largest_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    # Weights, gradients and AdamW's values of this network have 80 MB; the rest is for activations.
    monkeypatch.setattr("resnet_cli.measure.system.devices.cpu.CpuBackend.free_memory", lambda self: 90_000_000)
    result = measured("--mode", "train", "--optimizer", "adamw", "--batch-size", "2", "--find-batch-size")
    phases = result["timings"][0]["phases"]
    assert [phase["name"] for phase in phases] == ["forward", "backward", "optimizer"]
    assert sum(phase["share"] for phase in phases) == pytest.approx(1)
    assert result["conditions"]["optimizer"] == "adamw"
    limit = result["batch_limit"]
    assert limit["batch_size"] == pytest.approx(limit["predicted"], rel=0.1)
    assert limit["peak_bytes"] <= limit["capacity_bytes"]


def test_a_batch_that_does_not_fit_is_a_row() -> None:
    rows = measured("--batch-size", "1,1000000000")["timings"]
    assert [row["status"] for row in rows] == ["measured", "out of memory"]
    assert "are free" in rows[1]["reason"]
    assert rows[1]["wall"] is None


def test_a_batch_that_cannot_be_trained_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--mode", "train", "--batch-size", "1", "--image-size", "32"]) == 2
    assert "failed: Expected more than 1 value per channel" in capsys.readouterr().err


def test_the_ceiling_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # Seconds of kernels, which tests of the ceiling measure.
    monkeypatch.setattr("resnet_cli.measure.bench.benchmark.measure_ceiling", lambda *_, **__: CEILING)
    assert main(["bench", *TINY, "--max-time", "0.3", "--format", "json"]) == 0
    result = json.loads(capsys.readouterr().out)
    ceiling = result["ceiling"]
    assert ceiling["flops_per_s"] == max(kernel["rate"] for kernel in ceiling["compute"])
    assert ceiling["bytes_per_s"] == max(kernel["rate"] for kernel in ceiling["bandwidth"])
    row = result["timings"][0]
    assert row["ceiling_share"] == pytest.approx(row["flops_per_s"] / ceiling["flops_per_s"])


def test_against_torchvision_both_are_measured_in_turn() -> None:
    result = measured("--against", "torchvision")
    (compared,) = result["versus"]
    assert (compared["method"], compared["reference"]) == ("interleaved", "torchvision resnet18 with repeat 1,1,1,1")
    model_samples, reference_samples = compared["model_time"]["samples_s"], compared["reference_time"]["samples_s"]
    assert len(model_samples) == len(reference_samples)
    assert result["timings"][0]["wall"]["samples_s"] == model_samples
    assert compared["ci_low"] <= compared["ratio"] <= compared["ci_high"]


@pytest.mark.parametrize("name", ["self", "resnet18"])
def test_against_others(name: str) -> None:
    (compared,) = measured("--against", name)["versus"]
    assert (
        compared["reference"]
        == {"self": "resnet18 with repeat 1,1,1,1 again", "resnet18": "torchvision resnet18"}[name]
    )


def scaled(saved: BenchResult, factor: float) -> BenchResult:
    """The run with each sample's time multiplied."""
    (row,) = saved.timings
    assert row.wall is not None
    samples = tuple(factor * sample for sample in row.wall.samples_s)
    return replace(saved, timings=(replace(row, wall=replace(row.wall, samples_s=samples)),))


@pytest.mark.parametrize(("factor", "code", "verdict"), [(0.01, 1, "SLOWER"), (100.0, 0, "FASTER")])
def test_a_significant_slowdown_fails(factor: float, code: int, verdict: str, saved: BenchResult) -> None:
    baseline = write_baseline(scaled(saved, factor))
    assert main([*QUICK, *baseline, "--fail-above", "5%", "-o", "second.json"]) == code
    result = json.loads(Path("second.json").read_text(encoding="utf-8"))
    assert result["failed"] is (code == 1)
    assert [comparison["verdict"] for comparison in result["versus"]] == [verdict]
    assert result["fail_above"] == 0.05


def test_runs_in_fresh_processes_are_one_result_and_a_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    result = measured("--runs", "2", "--against", "self", "--save", "runs.json")
    assert [(run["batch_size"], run["process"]) for run in result["runs"]] == [(1, 1), (1, 2)]
    assert [spread["quantity"] for spread in result["spreads"]] == ["time", "ratio"]
    for row, compared in zip(result["timings"], result["versus"], strict=True):
        runs = [run for run in result["runs"] if run["batch_size"] == row["batch_size"]]
        assert sum(run["samples"] for run in runs) == len(row["wall"]["samples_s"])
        assert compared["ratio"] == pytest.approx((runs[0]["ratio"] * runs[1]["ratio"]) ** 0.5)
        assert row["wall"]["ci_low_s"] <= row["wall"]["median_s"] <= row["wall"]["ci_high_s"]
    # A single process against them; with two runs an interval is so wide that nothing fails.
    assert main([*QUICK, "--baseline", "runs.json", "--fail-above", "5%", "-o", "now.json"]) == 0
    capsys.readouterr()
    assert main([*QUICK, "--show", "runs", "-f", "csv"]) == 2
    assert "no runs to write as CSV" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "3", "--nproc", "2"], "--runs cannot be combined with --nproc"),
        (["--runs", "3", "--layers"], "--runs cannot be combined with --layers"),
        (["--runs", "1"], "--runs"),
        (["--plan", "2%", "--runs", "3"], "--plan cannot be combined with --runs"),
        (["--plan", "0%"], "--plan '0%' is not a valid percentage"),
        (["--fail-above", "5%"], "--fail-above requires --baseline"),
        (["--optimizer", "adamw"], "--optimizer requires --mode train"),
        (["--mode", "train", "--optimizations", "compile"], "--optimizations compile is not for --mode train"),
        (["--optimizations", "gradient-checkpointing"], "gradient-checkpointing is not for --mode inference"),
        (["--find-batch-size", "--runs", "3"], "--runs cannot be combined with --find-batch-size"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_error_in_a_fresh_process_is_that_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.py").write_text(NETWORKS, encoding="utf-8")
    assert main([*MODEL, "--model", "net.py:Broken", "--runs", "2"]) == 2
    assert "net.py:18: ValueError: not today" in capsys.readouterr().err


EXAMPLES = """
import torch
from torch import nn

class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b

class Net(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)

    def forward(self, pair):
        return super().forward(pair.a + pair.b)

def example_inputs():
    return (Pair(torch.ones(3, 4), torch.ones(3, 4)),)
"""


def test_objects_of_example_inputs_stay_in_their_process() -> None:
    Path("net.py").write_text(EXAMPLES, encoding="utf-8")
    arguments = ["--model", "net.py:Net", "--max-time", "0.1", "--no-ceiling", "--runs", "2"]
    assert main(["bench", *arguments, "-o", "result.json"]) == 0
    result = json.loads(Path("result.json").read_text(encoding="utf-8"))
    assert [run["process"] for run in result["runs"]] == [1, 2]


def test_a_baseline_of_another_machine_is_noted(saved: BenchResult) -> None:
    other = replace(saved, environment=replace(saved.environment, device_name="Abacus 3000"))
    result = measured(*write_baseline(other))
    assert any("Abacus 3000" in note["text"] for note in result["notes"])


def test_a_baseline_of_something_else_is_an_error(saved: BenchResult, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--mode", "train", *write_baseline(saved)]) == 2
    assert "another mode: inference" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", '{"schema": "resnet-cli/bench/1"}'])
def test_a_damaged_baseline_is_an_error(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("before.json").write_text(content, encoding="utf-8")
    assert main([*QUICK, "--baseline", "before.json"]) == 2
    assert "--baseline before.json" in capsys.readouterr().err


def test_a_result_of_another_command_is_no_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", *TINY, "-o", "summary.json"]) == 0
    assert main([*QUICK, "--baseline", "summary.json"]) == 2
    assert "another command" in capsys.readouterr().err


def test_layers() -> None:
    result = measured("--layers", "--max-time", "0.3")
    layers = result["layers"]
    leaves = [layer for layer in layers["layers"] if layer["is_leaf"]]
    total = sum(layer["share"] for layer in leaves) + layers["other_s"] / layers["instrumented_s"]
    assert total == pytest.approx(1, abs=0.05)
    assert sum(layer["macs"] for layer in leaves) * 2 == result["timings"][0]["flops"]


def test_layers_of_a_training_step() -> None:
    result = measured("--mode", "train", "--batch-size", "2", "--layers", "--max-time", "0.1")
    assert result["layers"]["method"] == "operators"
    convolutions = [layer for layer in result["layers"]["layers"] if layer["layer_type"] == "Conv2d"]
    assert all(0 < layer["backward_s"] < layer["time_s"] for layer in convolutions)


def test_optimizations() -> None:
    result = measured("--device", "cpu", "--optimizations", "channels-last,folded,tf32")
    rows = result["optimizations"]["rows"]
    assert [row["status"] for row in rows][:3] == ["measured"] * 3
    assert rows[0]["speedup"] == 1
    assert rows[2]["logit_difference"] < 1e-4
    assert rows[3]["status"] == "unavailable"
    assert rows[3]["reason"] == "needs a GPU"
    assert result["optimizations"]["recommendation"]


def test_optimizations_of_a_training_step() -> None:
    result = measured("--mode", "train", "--batch-size", "2", "--optimizations", "gradient-checkpointing")
    eager, checkpointed = result["optimizations"]["rows"]
    assert (eager["status"], checkpointed["status"]) == ("measured", "measured")
    assert checkpointed["logit_difference"] == 0
    assert checkpointed["peak_memory_bytes"] <= eager["peak_memory_bytes"]


def test_ctrl_c_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    width = sampling._width

    def interrupted(taken: Sequence[Sequence[Sample]]) -> float:
        if len(taken[0]) > 20:
            os.kill(os.getpid(), signal.SIGINT)
        return width(taken)

    monkeypatch.setattr(sampling, "_width", interrupted)
    arguments = [*QUICK, "--max-time", "60", "--ci-width", "0.0001%", "--batch-size", "1,2"]
    assert main([*arguments, "--format", "json"]) == 130
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["interrupted"] is True
    assert [row["batch_size"] for row in result["timings"]] == [1]
    assert result["timings"][0]["stopped"] == "interrupted"
    assert len(result["timings"][0]["wall"]["samples_s"]) > 20
    assert "Traceback" not in err


def test_processes_of_torchrun_are_one_result_on_rank_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    (row,) = measured()["replicas"]
    assert (row["wrapper"], len(row["ranks"])) == ("replicas", 1)
    # Another rank gets no rows.
    monkeypatch.setattr("resnet_cli.measure.distributed.run.measure_replicas", lambda *_: None)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    capsys.readouterr()
    assert main([*QUICK, "--format", "json"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("arguments", [[], ["--mode", "train"], ["--dtype", "float16"], ["--layers"]])
def test_on_a_gpu(arguments: list[str]) -> None:
    options = ["--device", "cuda", "--batch-size", "2,8", *arguments]
    assert main(["bench", *TINY, "--max-time", "2", *options, "-o", "result.json"]) == 0
    result = json.loads(Path("result.json").read_text(encoding="utf-8"))
    for row in result["timings"]:
        assert row["device"]["median_s"] <= row["wall"]["median_s"]
        assert row["memory_kind"] == "allocated"
        assert row["launch_overhead"] > 0
    assert result["environment"]["device"] == "cuda:0"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_optimizations_on_a_gpu() -> None:
    assert (
        main(["bench", *TINY, "--device", "cuda", "--optimizations", "all", "--max-time", "10", "-o", "result.json"])
        == 0
    )
    rows = {
        row["key"]: row for row in json.loads(Path("result.json").read_text(encoding="utf-8"))["optimizations"]["rows"]
    }
    for name in ("channels-last", "folded", "float16", "bfloat16", "cuda-graph"):
        assert rows[name]["status"] == "measured", rows[name]["reason"]
    # TF32 alone, in which eager convolves too, makes some thousandths.
    assert rows["cuda-graph"]["logit_difference"] <= max(1e-3, 3 * rows["eager"]["logit_difference"])


NETWORKS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes=7, width=8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x))).mean((2, 3))
        return {"out": self.head(x)}

class Broken(Net):
    def forward(self, x):
        raise ValueError("not today")
"""
MODEL = ["bench", "--image-size", "16", "--max-time", "0.1", "--no-ceiling", "--threads", "1"]


def test_a_network_of_the_user() -> None:
    Path("net.py").write_text(NETWORKS, encoding="utf-8")
    arguments = ["--model", "net.py:Net", "--model-args", '{"width": 16}', "--num-classes", "3", "--batch-size", "2"]
    assert main([*MODEL, *arguments, "--layers", "--against", "self", "-o", "result.json"]) == 0
    result = json.loads(Path("result.json").read_text(encoding="utf-8"))
    assert result["network"]["name"] == "Net"
    assert result["timings"][0]["flops"] == 2 * 2 * (14 * 14 * 16 * 27 + 16 * 3)
    assert {layer["path"] for layer in result["layers"]["layers"]} >= {"conv", "bn", "head"}
    assert result["versus"][0]["reference"] == "Net again"
    assert main([*MODEL, *arguments, "--mode", "train", "-o", "result.json"]) == 0


def test_an_error_of_a_users_network_names_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.py").write_text(NETWORKS, encoding="utf-8")
    assert main([*MODEL, "--model", "net.py:Broken"]) == 2
    assert "net.py:18: ValueError: not today" in capsys.readouterr().err
