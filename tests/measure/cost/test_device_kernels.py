"""Memory that depends on the kernels of a device is measured there, or named as not known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.cost.device_kernels import kernel_notes, unlike_meta
from resnet_cli.measure.cost.summary import summarize
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.models.user_model import load_subject
from resnet_cli.measure.tracing import tracer
from tests.helpers.models import on_meta

LAYERS: dict[str, tuple[Callable[[], nn.Module], list[str | None], list[str | None]]] = {
    "recurrent": (lambda: nn.GRU(6, 4), ["memory-unlike-meta"], ["memory-unlike-meta", "memory-of-a-cpu"]),
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Dropout()), [], ["memory-of-a-cpu"]),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(6, 2, 4, dropout=0.0, batch_first=True),
        ["fused-in-eval-mode"],
        ["fused-in-eval-mode", "memory-of-a-cpu"],
    ),
    "none of them": (lambda: nn.Linear(6, 4), [], []),
}


@pytest.mark.parametrize("case", LAYERS)
def test_what_is_not_known_is_named_for_each_device(case: str) -> None:
    make, on_a_cpu, on_a_gpu = LAYERS[case]
    layer = make().to("meta")
    inference = tracer.run(layer, (on_meta(2, 3, 6),))
    training = tracer.run(layer, (on_meta(2, 3, 6),), training=True, backward=True)
    for device, keys in (("cpu", on_a_cpu), ("cuda", on_a_gpu)):
        notes = kernel_notes(inference, training, torch.device(device), is_real=False)
        assert [note.key for note in notes] == keys
    assert (unlike_meta(inference) is None) is (case != "recurrent")


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
