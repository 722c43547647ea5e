"""Two processes of torchrun: what they measure together, and that none is left however a run ends."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.distributed.launcher import launch
from resnet_cli.measure.distributed.replicas import ReplicaConfig
from resnet_cli.measure.models.inputs.model_inputs import given, images
from resnet_cli.network.architectures import resolve
from resnet_cli.results.bench import Replicas

HELPERS = Path(__file__).parents[2] / "helpers"
TINY = resolve(repeat="1,1,1,1", num_classes=10)
CONFIG = ReplicaConfig(
    inputs=images((3, 32, 32)), batch_sizes=(2,), spec=TINY, limits=Limits(max_time_s=0.2, min_time_s=0.0)
)


def silent(text: str) -> None: ...


def unwanted(row: Replicas) -> None:
    pytest.fail("a row of a run that failed")


@pytest.fixture(autouse=True)
def nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """No process, no temporary file, no output."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert psutil.Process().children(recursive=True) == []
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def users(network: str, **options: Any) -> ReplicaConfig:
    return replace(CONFIG, spec=None, model=f"{HELPERS / 'distributed_models.py'}:{network}", **options)


def test_two_processes_together_until_one_fails() -> None:
    progress: list[str] = []
    rows: list[Replicas] = []
    values = given(torch.rand(1, 3, 110, 110), "images.npy")  # more than a command line can hold
    config = users("Raising", inputs=values, batch_sizes=(1, 5), threads=1)
    with pytest.raises(ResnetCliError) as caught:
        launch(2, config, progress.append, rows.append)
    assert caught.value.message == "process 1 of 2 at batch 5: failed: the weather is bad"
    assert [row.batch_size for row in rows] == [1]
    for row in rows:
        assert (row.backend, row.wrapper, row.threads) == ("gloo", "replicas", 1)
        assert [(rank.rank, rank.device) for rank in row.ranks] == [(0, "cpu"), (1, "cpu")]
        assert row.images_per_s == pytest.approx(sum(rank.images_per_s for rank in row.ranks))
        assert row.efficiency == pytest.approx(row.images_per_s / (2 * row.single_process_images_per_s))
        for rank in row.ranks:  # the rate includes the time between two calls
            assert 0 < rank.images_per_s <= row.batch_size / rank.time.mean_s
        assert row.ranks[0].time.samples_s != row.ranks[1].time.samples_s
    assert any(text.startswith("batch 1, 2 processes together: ") for text in progress)


def test_a_process_that_dies_ends_the_run_with_one_error() -> None:
    with pytest.raises(ResnetCliError) as caught:
        launch(2, users("Mortal"), silent, unwanted)
    assert caught.value.message == "process 1 of 2 ended with exit code 7"


def test_ctrl_c_in_training_keeps_rows_and_ends_all_processes() -> None:
    rows: list[Replicas] = []

    def interrupt(text: str) -> None:
        if text.startswith("batch 5"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        launch(2, replace(CONFIG, batch_sizes=(2, 5), mode="train"), interrupt, rows.append)
    (row,) = rows
    assert (row.batch_size, row.backend, row.wrapper) == (2, "gloo", "DistributedDataParallel")
    first, second = row.ranks
    assert len(first.time.samples_s) == len(second.time.samples_s)  # each step waits for the other process


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", ["inference", "train"])
def test_a_process_per_gpu(mode: str) -> None:
    processes = torch.cuda.device_count()
    rows: list[Replicas] = []
    launch(processes, replace(CONFIG, device="cuda", mode=mode), silent, rows.append)
    assert [row.backend for row in rows] == ["nccl"]
    assert [rank.device for rank in rows[0].ranks] == [f"cuda:{index}" for index in range(processes)]
