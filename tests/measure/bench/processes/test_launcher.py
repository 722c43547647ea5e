"""A process of its own that dies, and Ctrl-C meanwhile; what it measures is tested from the command line."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.processes.launcher import run_in_process
from resnet_cli.measure.bench.task import BenchTask
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.network.architectures import resolve

CONFIG = BenchmarkConfig(
    images((3, 16, 16)),
    (2,),
    torch.device("cpu"),
    limits=Limits(max_time_s=0.05, min_time_s=0.05),
    ceiling=False,
    threads=1,
)
TASK = BenchTask(CONFIG, resolve(18, repeat="1,1,1,1", num_classes=4))

NETWORKS = """
import os, signal
from torch import nn

class Mortal(nn.Linear):
    def __init__(self):
        super().__init__(16, 2)

    def forward(self, x):
        if not x.is_meta:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)"""


def silent(text: str) -> None: ...


def test_a_process_that_dies_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETWORKS, encoding="utf-8")
    with pytest.raises(ResnetCliError, match="run 2 of 5 was ended by SIGKILL") as caught:
        run_in_process(replace(TASK, model=f"{tmp_path / 'nets.py'}:Mortal"), "run 2 of 5", silent)
    assert "memory" in (caught.value.hint or "")


def test_ctrl_c_ends_the_process() -> None:
    def interrupt(text: str) -> None:
        if "starting" in text:
            os.kill(os.getpid(), signal.SIGINT)

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(KeyboardInterrupt):
        run_in_process(TASK, "run 1 of 2", interrupt)
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
