"""Capturing on queues of our own, which say when something is read that has not been written yet."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.compiled.cuda_graph import WARM_UPS, build
from resnet_cli.measure.system.devices.cuda import CudaGraphCapture
from tests.helpers.fake_clock import SimulatedBackend

GPU = torch.device("cuda", 1)


@dataclass
class Queue:
    """Work in order; whoever waits for a stream sees what had been given to it."""

    given: list[str] = field(default_factory=list)
    sees: set[str] = field(default_factory=set)

    def wait_stream(self, other: Queue) -> None:
        self.sees |= {*other.given, *other.sees}


@dataclass
class Cuda:
    """As much of torch.cuda as a capture uses."""

    on: list[object] = field(default_factory=list)  # devices, the current one last
    streams: list[Queue] = field(default_factory=lambda: [Queue(["weights"])])  # the current one last
    awaited: set[str] = field(default_factory=set)
    graph_s: list[str] | None = None

    @contextmanager
    def device(self, device: object) -> Iterator[None]:
        self.on.append(device)
        yield
        self.on.pop()

    def current_stream(self) -> Queue:
        return self.streams[-1]

    def synchronize(self) -> None:
        self.awaited |= {*self.streams[-1].given, *self.streams[-1].sees}

    def CUDAGraph(self) -> Cuda:  # noqa: N802
        return self

    @contextmanager
    def graph(self, graph: Cuda) -> Iterator[None]:
        self.graph_s = []
        yield

    @contextmanager
    def stream(self, stream: Queue) -> Iterator[None]:
        self.streams.append(stream)
        yield
        self.streams.pop()

    def Stream(self) -> object:  # noqa: N802
        return Queue()

    def replay(self) -> None: ...


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    fake = Cuda()
    monkeypatch.setattr(torch, "cuda", fake)
    return fake


def test_a_warm_up_is_beside_the_stream_of_all_others_and_done_when_it_is_over(cuda: Cuda) -> None:
    """As "CUDA semantics" in torch's documentation has it."""
    own: list[Queue] = []

    def call() -> None:
        assert cuda.on == [GPU]
        assert "weights" in cuda.current_stream().sees
        own.append(cuda.current_stream())
        own[-1].given.append(f"call {len(own)}")

    CudaGraphCapture(GPU).warm_up(call, 2)
    assert own[0] is own[1]
    assert cuda.streams == [Queue(["weights"], {"weights", "call 1", "call 2"})]
    assert cuda.awaited == {"weights", "call 1", "call 2"}
    assert cuda.on == []


def test_a_recording_is_of_the_device_and_can_be_replayed(cuda: Cuda) -> None:
    def call() -> str:
        assert cuda.on == [GPU]
        assert cuda.graph_s is not None  # it is being captured
        return "output"

    recorded: tuple[Callable[[], Any], object] = CudaGraphCapture(GPU).record(call)
    assert recorded == (cuda.replay, "output")


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
        variant = build(model, Arguments((torch.ones(2, 3, 5, 5),), {}), SimulatedBackend(graph_capture=recorder))
        assert recorder.log == ["warm"] * WARM_UPS + ["record"]
        assert gc.isenabled()
        other = torch.randn_like(variant.inputs.args[0])
        torch.testing.assert_close(variant.run(other), model(other))
    assert recorder.log[-1] == "replay"


def test_what_cannot_be_captured_raises_and_the_collector_goes_on() -> None:
    backend = SimulatedBackend(graph_capture=Recorder(fails=True))
    with pytest.raises(RuntimeError, match="capturing"):
        build(nn.Conv2d(3, 4, 3), Arguments((torch.ones(2, 3, 5, 5),), {}), backend)
    assert gc.isenabled()
