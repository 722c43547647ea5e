"""Memory that depends on the kernels of a device is measured there, or named as not known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.cost.memory_notes import kernel_notes, unlike_meta
from resnet_cli.measure.cost.summary import summarize
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.user_model import load_subject
from resnet_cli.measure.tracing import tracer
from resnet_cli.results.summary import TRAINING_MEMORY
from tests.helpers.models import on_meta


class Cell(nn.Module):
    """A recurrent cell, which a GPU computes by an operator of its own."""

    def __init__(self, cell: nn.GRUCell | nn.LSTMCell | nn.RNNCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        out = self.cell(x[0])
        result: Tensor = out[0] if isinstance(out, tuple) else out
        return result


class Attending(nn.Module):
    """Attention whose values are wider than its keys, by the plain formula on a CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.value = nn.Linear(6, 4), nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        key = self.key(x)
        return nn.functional.scaled_dot_product_attention(key, key, self.value(x))


RNN, FUSED, OF_A_CPU = "memory-unlike-meta", "fused-in-eval-mode", "memory-of-a-cpu"
# Notes on a CPU, on an NVIDIA GPU, and on an Apple GPU.
LAYERS: dict[str, tuple[Callable[[], nn.Module], list[str], list[str], list[str]]] = {
    "recurrent": (lambda: nn.GRU(6, 4), [RNN], [RNN, OF_A_CPU], [RNN, OF_A_CPU]),
    "recurrent cell": (lambda: Cell(nn.LSTMCell(6, 4)), [], [OF_A_CPU], [OF_A_CPU]),
    "plain recurrent cell": (lambda: Cell(nn.RNNCell(6, 4)), [], [], []),
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Dropout()), [], [], [OF_A_CPU]),
    "attention": (Attending, [], [OF_A_CPU], [OF_A_CPU]),
    "logsigmoid": (lambda: nn.Sequential(nn.Linear(6, 4), nn.LogSigmoid()), [], [OF_A_CPU], [OF_A_CPU]),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(6, 2, 4, dropout=0.0, batch_first=True),
        [FUSED],
        [FUSED, OF_A_CPU],
        [FUSED, OF_A_CPU],
    ),
    "none of them": (lambda: nn.Linear(6, 4), [], [], []),
}


@pytest.mark.parametrize("case", LAYERS)
def test_what_is_not_known_is_named_for_each_device(case: str) -> None:
    make, *keys = LAYERS[case]
    layer = make().to("meta")
    for device, expected in zip(("cpu", "cuda", "mps"), keys, strict=True):
        inference = tracer.run(layer, (on_meta(2, 3, 6),), device_type=device)
        training = tracer.run(layer, (on_meta(2, 3, 6),), training=True, backward=True, device_type=device)
        notes = kernel_notes(inference, training, torch.device(device), is_real=False)
        assert [note.key for note in notes] == expected
        assert (unlike_meta([inference, training]) is None) is (case != "recurrent")


def test_dropout_keeps_a_byte_for_each_element_on_a_gpu() -> None:
    layers, x = nn.Sequential(nn.Linear(6, 4), nn.Dropout(), nn.Linear(4, 2)).to("meta"), on_meta(3, 6)
    saved = {
        device: tracer.run(layers, (x,), training=True, backward=True, device_type=device).saved
        for device in ("cpu", "cuda")
    }
    dropped = 3 * 4  # elements, which the second layer saves; the mask has as many
    assert saved == {"cpu": 4 * dropped + 4 * dropped, "cuda": 4 * dropped + dropped}


def test_real_tensors_have_the_dropout_of_a_cpu() -> None:
    layers, x = nn.Sequential(nn.Linear(6, 4), nn.Dropout()), torch.ones(3, 6)
    inference, training = tracer.run(layers, (x,)), tracer.run(layers, (x,), training=True, backward=True)
    notes = list(kernel_notes(inference, training, torch.device("cuda"), is_real=True))
    assert [(note.key, note.unknown) for note in notes] == [(OF_A_CPU, TRAINING_MEMORY)]


class Decorated(nn.Linear):
    """Compiled by a decorator of its forward."""

    @torch.compile  # type: ignore[untyped-decorator, unused-ignore]
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def compiled_in_place() -> nn.Module:
    layer = nn.Linear(6, 4)
    layer.compile()
    return layer


@torch.compile
def compiled_product(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight


class Calling(nn.Linear):
    """Calls a function."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(4, 6)
        self.function = function

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.function(x, weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x, self.weight)


def with_a_compiled_method() -> nn.Module:
    layer = Calling(torch.matmul)
    layer.product = torch.compile(layer.product)  # type: ignore[method-assign]
    return layer


COMPILED: dict[str, Callable[[], nn.Module]] = {
    "call": lambda: cast("nn.Module", torch.compile(nn.Linear(6, 4))),
    "in place": compiled_in_place,
    "decorator": lambda: Decorated(6, 4),
    "function": lambda: Calling(compiled_product),
    "function in the forward": lambda: Calling(lambda *both: torch.compile(lambda x, weight: x @ weight)(*both)),
    "function by arguments": lambda: Calling(lambda *both: torch.compile(dynamic=True)(torch.matmul)(*both)),
    "method": with_a_compiled_method,
}
AS_WRITTEN: dict[str, Callable[[], nn.Module]] = {
    "never compiled": lambda: Calling(torch.compiler.disable(lambda x, weight: x @ weight)),  # type: ignore[no-untyped-call]
    "compiled, not called": lambda: Calling(lambda x, weight: (compiled_product, x @ weight)[1]),
    "plain": lambda: Calling(torch.matmul),
}


@pytest.mark.parametrize("case", [*COMPILED, *AS_WRITTEN])
def test_memory_of_what_is_compiled_is_said_to_be_without_it(case: str) -> None:
    make = {**COMPILED, **AS_WRITTEN}[case]
    inference = tracer.run(nn.Sequential(make()).to("meta"), (on_meta(2, 3, 6),))
    keys = [note.key for note in kernel_notes(inference, None, torch.device("cpu"), is_real=False)]
    assert keys == ["memory-without-compile"] * (case in COMPILED)


def test_a_whole_network_under_torch_compile_is_loaded_without_it_and_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("compiled_net.py").write_text("import torch\nnet = torch.compile(torch.nn.Linear(6, 4))\n", encoding="utf-8")
    subject = load_subject("compiled_net.py:net")
    assert (type(subject.model), subject.is_compiled) == (nn.Linear, True)
    summary = summarize(subject, inputs=images((1, 3, 6, 6)), dtype=torch.float32, device=torch.device("cpu"))
    assert "memory-without-compile" in {note.key for note in summary.notes}
