"""What stands around the figures, on a machine of our own."""

from __future__ import annotations

from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from resnet_cli.measure.bench import conditions, run_context
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.run_context import RunContext
from resnet_cli.measure.bench.sampling import Limits
from resnet_cli.measure.models.model import model_from_spec
from resnet_cli.network.architectures import resolve

SMALL = resolve(repeat="1,1,1,1", num_classes=10)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file system of a machine; each look at its clock is 4 seconds after the one before."""
    (tmp_path / "proc").mkdir()
    ticks(tmp_path, 0, 0)
    monkeypatch.setattr(conditions, "ConditionMonitor", partial(conditions.ConditionMonitor, root=tmp_path))
    seconds = map(float, count(1000, 4))
    monkeypatch.setattr(run_context, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    return tmp_path


def ticks(root: Path, idle: int, stolen: int) -> None:
    (root / "proc/stat").write_text(f"cpu  0 0 0 {idle} 0 0 0 {stolen} 0 0\n", encoding="ascii")


def test_a_frame_says_what_was_asked_and_what_went_on_meanwhile(root: Path) -> None:
    question = BenchmarkConfig(
        image=(3, 40, 30),
        batch_sizes=(2, 9),
        device=torch.device("cpu"),
        dtype=torch.float16,
        mode="train",
        limits=Limits(ci_width=0.02, max_time_s=7.0, confidence=0.9),
        seed=5,
    )
    frame = RunContext(model_from_spec(SMALL), question)
    ticks(root, 70, 30)
    found = frame.close()
    assert found.conditions.steal_time_share == pytest.approx(0.3)
    assert any("30 % of the time to other guests" in note.text for note in found.notes)
    assert found.conditions.duration_s == 4.0
    assert (found.conditions.mode, found.conditions.precision) == ("train", "float16")
    assert (found.conditions.threads, found.conditions.interop_threads) == (
        torch.get_num_threads(),
        torch.get_num_interop_threads(),
    )
    assert (found.confidence, found.ci_width, found.max_time_s, found.seed) == (0.9, 0.02, 7.0, 5)
    assert found.input.shape == (2, 3, 40, 30)
    assert found.input.bytes == 2 * 3 * 40 * 30 * 2
    assert found.network.repeat == (1, 1, 1, 1)
    assert not found.failed
    assert not found.interrupted
