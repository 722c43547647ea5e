"""Passes that are not always the same: by chance, or the first time."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy
import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.runner import ForwardRunner
from tests.helpers.models import flops_of, rows, subject, summary_of

SHAPE = (2, 3, 6, 6)
DRAWS: dict[str, Callable[[], float]] = {
    "python": random.random,
    "numpy": lambda: float(numpy.random.rand()),
    "torch": lambda: torch.rand(()).item(),
}


class RandomDepth(nn.Module):
    """Leaves out half of its layers by chance, in train mode or always; `step` counts its calls."""

    def __init__(self, draw: Callable[[], float], *, always: bool = False) -> None:
        super().__init__()
        self.draw, self.always, self.step = draw, always, 0
        self.layers = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        self.step += 1
        for layer in self.layers:
            if not (self.always or self.training) or self.draw() < 0.5:
                x = layer(x)
        return x.mean((2, 3))


class Keeping(nn.Module):
    """Makes a layer and a table in its first call, and keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[int, Tensor] = {}
        self.head: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if self.head is None:
            self.head = nn.Linear(x.shape[1], 2).to(x.device)
        if x.shape[1] not in self.tables:
            self.tables[x.shape[1]] = torch.ones(1000, x.shape[1], device=x.device).exp().mean(0)
        out: Tensor = self.head(x * self.tables[x.shape[1]])
        return out


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("source", DRAWS)
def test_one_path_for_all_passes_and_a_note_that_names_it(source: str, always: bool) -> None:
    network = RandomDepth(DRAWS[source], always=always)
    result = summary_of(network, SHAPE)
    assert summary_of(network, SHAPE) == result == summary_of(RandomDepth(DRAWS[source], always=always), SHAPE)
    keys = [note.key for note in result.notes]
    assert keys == (["random-path-eval", "random-path-train"] if always else ["random-path-train"])
    assert "layers." in result.notes[-1].text
    called = [row.path for row in rows(result.root) if row.call > 0 and row.path.startswith("layers.")]
    assert len(called) < 6 if always else len(called) == 6
    assert flops_of(network, SHAPE, backward=True).root.backward_macs == result.root.backward_macs


@pytest.mark.parametrize("network", [nn.Sequential(nn.Conv2d(3, 2, 1), nn.Dropout()), RandomDepth(lambda: 0.2)])
def test_random_values_and_counters_are_no_random_path(network: nn.Module) -> None:
    assert not summary_of(network, SHAPE).notes


def test_figures_are_those_of_a_later_call() -> None:
    network = Keeping()
    result = summary_of(network, SHAPE)
    assert [note.key for note in result.notes] == ["first-call-differs"]
    assert result.macs == 2 * 108 * 2
    assert result.memory.inference_peak_bytes == 4 * (2 * 108 + 2 * 2)  # the product and the output
    assert network.head is None
    assert not network.tables


def test_every_training_step_allocates_the_gradients_of_tensors_that_are_no_parameters() -> None:
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.layers = torch.ones(4, 3, 1, 1, requires_grad=True), [nn.Conv2d(4, 2, 1)]

        def forward(self, x: Tensor) -> Tensor:
            return self.layers[0](nn.functional.conv2d(x, self.weight))  # type: ignore[no-any-return]

    with ForwardRunner(subject(Hidden()), images(SHAPE)) as passes:
        steps = [passes.training(), passes.training()]
    peaks = [step.peak for step in steps if not isinstance(step, str)]
    assert len(peaks) == 2
    assert peaks[0] == peaks[1]
