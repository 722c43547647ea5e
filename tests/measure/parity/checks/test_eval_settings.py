"""Dropout and batch norms that stay in train mode: found in eval mode, and named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.setup import prepare
from resnet_cli.results.compare import BITWISE, DIFFERENT
from tests.helpers.models import diagnoses, make, network


class Dropout(nn.Module):
    """Forgets to say in which mode it is."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.2)


class Stuck(nn.BatchNorm2d):
    """Always normalizes by the batch."""

    def forward(self, x: Tensor) -> Tensor:
        mean, var, weight, bias = self.running_mean, self.running_var, self.weight, self.bias
        return functional.batch_norm(x, mean, var, weight, bias, True, 0.1, self.eps)


class BatchOnly(nn.BatchNorm2d):
    """Normalizes by the batch, and hands over no running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.batch_norm(x, None, None, self.weight, self.bias, True, 0.1, self.eps)


class BackInTrainMode(nn.Module):
    """Puts its norm into train mode in each forward."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.inner.train()(x)
        return normed


@pytest.mark.parametrize(
    ("changed", "key", "clause"),
    [
        (lambda: {"norm": BatchOnly(4)}, "batch-norm-in-eval", "statistics of the batch in eval mode: norm"),
        (lambda: {"norm": BackInTrainMode()}, "batch-norm-in-eval", "in eval mode: norm.inner"),
        (lambda: {"flat": nn.Sequential(nn.Flatten(), Dropout())}, "dropout", "active in eval mode too"),
        (lambda: {"norm": Stuck(4)}, "batch-norm-in-eval", "statistics of the batch in eval mode: norm"),
    ],
)
def test_what_stays_in_train_mode_is_one_row(
    changed: Callable[[], dict[str, nn.Module]], key: str, clause: str
) -> None:
    config = ParityConfig(shape=(2, 3, 8, 8))
    run = prepare(network(**changed()), network(), config, names=("net", "torchvision net"))
    make(run, "settings", "eval", "train", "statistics", "gradients", "step", "shapes")
    (diagnosis,) = diagnoses(run)
    assert (diagnosis.key, len(diagnosis.differences)) == (key, len(run.findings))
    assert clause in diagnosis.text


def test_what_runs_in_train_mode_alone_is_no_difference_in_eval_mode() -> None:
    torch.manual_seed(0)
    parts = {"flat": nn.Sequential(nn.Flatten(), nn.Dropout())}
    run = prepare(network(**parts), network(), ParityConfig(shape=(2, 3, 8, 8)), names=("net", "torchvision net"))
    make(run, "settings", "eval")
    assert "eval mode" not in {finding.category for finding in run.findings}
    (diagnosis,) = diagnoses(run)
    assert "eval" not in diagnosis.text


class Autocast(nn.Module):
    """Layers in bfloat16, and float32 behind them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            x = self.layers(x)
        return x.float()


def test_operators_in_another_dtype_are_one_row_although_float64_does_not_show_them() -> None:
    run = prepare(
        network(conv=Autocast(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)), norm=nn.Identity()),
        network(conv=nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)), norm=nn.Identity()),
        ParityConfig(shape=(2, 3, 8, 8)),
        names=("net", "torchvision net"),
    )
    make(run, "settings", "eval", "train", "shapes")
    assert [check.verdict for check in run.checks] == [BITWISE, DIFFERENT, BITWISE, DIFFERENT]
    (diagnosis,) = diagnoses(run)
    assert (diagnosis.key, len(diagnosis.differences)) == ("other-dtype", len(run.findings))
    assert diagnosis.text.startswith("2 operators run in bfloat16")
    assert "from conv.layers.0 on; in torchvision in float32" in diagnosis.text
