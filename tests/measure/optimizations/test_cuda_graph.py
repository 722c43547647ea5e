"""Capturing on queues of our own, which say when something is read that has not been written yet."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.optimizations.cuda_graph import WARM_UPS, build
from tests.helpers.fake_clock import SimulatedBackend

GPU = torch.device("cuda", 1)


@dataclass
class Recorder:
    """A GPU's graphs on the CPU: what is recorded runs again on the same memory."""

    fails: bool = False
    reads_input: bool = True
    log: list[str] = field(default_factory=list)

    def warm_up(self, call: Callable[[], object], times: int) -> None:
        for _ in range(times):
            call()
            self.log.append("warm")

    def record(self, call: Callable[[], object]) -> tuple[Callable[[], None], object]:
        assert not gc.isenabled()
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        output = call()
        assert isinstance(output, Tensor)
        self.log.append("record")

        def replay() -> None:
            self.log.append("replay")
            if self.reads_input:
                output.copy_(call())  # type: ignore[arg-type]

        return replay, output


def test_a_graph_is_warmed_up_recorded_and_replayed_on_new_input() -> None:
    model, recorder = nn.Conv2d(3, 4, 3), Recorder()
    with torch.inference_mode():
        variant = build(model, torch.ones(2, 3, 5, 5), SimulatedBackend(graph_capture=recorder))
        assert recorder.log == ["warm"] * WARM_UPS + ["record"]
        assert gc.isenabled()
        other = torch.randn_like(variant.image)
        torch.testing.assert_close(variant.run(other), model(other))
    assert recorder.log[-1] == "replay"


def test_what_cannot_be_captured_raises_and_the_collector_goes_on() -> None:
    backend = SimulatedBackend(graph_capture=Recorder(fails=True))
    with pytest.raises(RuntimeError, match="capturing"):
        build(nn.Conv2d(3, 4, 3), torch.ones(2, 3, 5, 5), backend)
    assert gc.isenabled()
