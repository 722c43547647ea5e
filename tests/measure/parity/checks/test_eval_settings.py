"""Dropout and batch norms that stay in train mode: found in eval mode, and named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_cli.measure.parity.config import ParityConfig
from resnet_cli.measure.parity.setup import prepare
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


@pytest.mark.parametrize(
    ("changed", "key", "clause"),
    [
        (lambda: {"flat": nn.Sequential(nn.Flatten(), Dropout())}, "dropout", "active in eval mode too"),
        (lambda: {"norm": Stuck(4)}, "batch-norm-in-eval", "statistics of the batch in eval mode: norm"),
    ],
)
def test_what_stays_in_train_mode_is_one_row(
    changed: Callable[[], dict[str, nn.Module]], key: str, clause: str
) -> None:
    config = ParityConfig(shape=(2, 3, 8, 8))
    run = prepare(network(**changed()), network(), config, names=("net", "torchvision net"))
    make(run, "settings", "eval")
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
