"""The same networks give the same result in every run, whatever their forwards keep, replace or draw at random."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.parity.compare import compare
from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.graphs import graph_of
from resnet_cli.results import serialization
from resnet_cli.results.compare import CompareResult


class Norm(nn.Module):
    """A batch norm written by hand; `keep` stores a new value of a running statistic."""

    def __init__(self, channels: int, keep: Callable[[nn.Module, str, Tensor], None]) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.mean: Tensor = nn.Buffer(torch.zeros(channels))
        self.var: Tensor = nn.Buffer(torch.ones(channels))
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.mean, self.var
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
            n = x.numel() / x.shape[1]
            self.keep(self, "mean", 0.9 * self.mean + 0.1 * mean.detach())
            self.keep(self, "var", 0.9 * self.var + 0.1 * var.detach() * n / (n - 1))
        scale = self.weight / (var + 1e-5).sqrt()
        return x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]


def replaced(module: nn.Module, name: str, value: Tensor) -> None:
    setattr(module, name, value)


def other_data(module: nn.Module, name: str, value: Tensor) -> None:
    getattr(module, name).data = value


def in_place(module: nn.Module, name: str, value: Tensor) -> None:
    getattr(module, name).copy_(value)


class Residual(nn.Module):
    """A stem and three blocks of one convolution; each block but the first may be skipped in train mode."""

    def __init__(self, norm: Callable[[int], nn.Module], skips: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 4, 4, 3, padding=1, bias=False) for i in range(4))
        self.norms = nn.ModuleList(norm(4) for _ in range(4))
        self.fc, self.skips = nn.Linear(4, 5), skips

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](self.convs[0](x)).relu()
        for conv, norm in zip(self.convs[1:], self.norms[1:], strict=True):
            if not (self.training and self.skips()):
                x = (x + norm(conv(x))).relu()
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


FORWARDS = "parameters", "settings", "eval", "shapes"


def compared(model: nn.Module, *checks: str) -> CompareResult:
    config = ParityConfig(shape=(2, 3, 8, 8))
    subjects = ModelUnderTest(model, "net"), ModelUnderTest(Residual(nn.BatchNorm2d), "torchvision net")
    result = compare(*subjects, replace(config, checks=checks or config.checks))
    return replace(result, environment=replace(result.environment, device_memory_bytes=None))


@pytest.mark.parametrize("keep", [replaced, other_data, in_place])
def test_a_norm_by_hand_is_the_same_norm_fifty_times(keep: Callable[[nn.Module, str, Tensor], None]) -> None:
    results = {
        serialization.to_json(replace(compared(Residual(lambda n: Norm(n, keep)), "parameters", "settings"), notes=()))
        for _ in range(17)
    }
    assert len(results) == 1
    whole = compared(Residual(lambda n: Norm(n, keep)))
    assert whole.same
    assert not whole.differences


def test_fresh_processes_give_the_same_bytes() -> None:
    script = (
        "from tests.measure.parity.test_reproducibility import *; import torch; torch.manual_seed(0);"
        "print(serialization.to_json(compared(Residual(nn.BatchNorm2d, lambda: random.random() < 0.5), *FORWARDS)))"
    )
    root = Path(__file__).parents[3]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=root,
            env={"PYTHONPATH": str(root), "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
        )
        for seed in "12"
    ]
    first, second = (process.communicate()[0] for process in processes)
    assert b'"random path"' not in first  # the step was not asked for
    assert b'"verdict": "bitwise"' in first
    assert first == second


DRAWS: dict[str, Callable[[], bool]] = {
    "torch": lambda: bool(torch.rand(()).item() < 0.5),
    "python": lambda: random.random() < 0.5,
    "numpy": lambda: bool(np.random.rand() < 0.5),  # as users do
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_path_drawn_at_random_in_training_is_told_and_nothing_else(draw: Callable[[], bool]) -> None:
    results = [compared(Residual(nn.BatchNorm2d, draw)) for _ in range(3)]
    verdicts = {check.key: check.verdict for check in results[0].checks}
    assert (verdicts["settings"], verdicts["eval"], verdicts["shapes"]) == ("bitwise", "bitwise", "bitwise")
    assert [verdicts[key] for key in ("train", "statistics", "gradients", "step")] == ["different", *3 * ["skipped"]]
    for result in results:
        assert [difference.subject for difference in result.differences] == ["random path"]
        assert [diagnosis.key for diagnosis in result.diagnoses] == ["random-path"]
        assert result.checks == results[0].checks
        assert not result.same


def test_random_numbers_that_choose_no_path_are_no_random_path() -> None:
    def noisy() -> bool:
        random.random()
        return False

    assert compared(Residual(nn.BatchNorm2d, noisy)).same


def test_seeding_tells_whether_numbers_were_drawn_and_restores_every_generator() -> None:
    with random_init.seeded(3) as has_drawn:
        assert not has_drawn()
    for draw in DRAWS.values():
        with random_init.seeded(4):
            expected = [draw() for _ in range(20)]
        with random_init.seeded(4):
            values = [draw() for _ in range(10)]
            with random_init.seeded(3) as has_drawn:
                draw()
                assert has_drawn()
            assert values + [draw() for _ in range(10)] == expected


def test_a_graph_is_recorded_with_one_seed() -> None:
    graphs = [graph_of(Residual(nn.BatchNorm2d, draw), (2, 3, 8, 8), training=True, name="net")
              for draw in DRAWS.values() for _ in range(3)]  # fmt: skip
    for number in range(0, 9, 3):
        assert len({graph.calls for graph in graphs[number : number + 3]}) == 1
