"""Memory that depends on the kernels of a device is measured there, or named as not known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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


@pytest.mark.parametrize(
    "make",
    [lambda: torch.compile(nn.Linear(6, 4)), compiled_in_place, lambda: Decorated(6, 4)],
    ids=["call", "in place", "decorator"],
)
def test_memory_of_a_compiled_network_is_said_to_be_without_it(make: Callable[[], nn.Module]) -> None:
    inference = tracer.run(nn.Sequential(make()).to("meta"), (on_meta(2, 3, 6),))
    assert [note.key for note in kernel_notes(inference, None, torch.device("cpu"), is_real=False)] == [
        "memory-without-compile"
    ]


def test_a_whole_network_under_torch_compile_is_loaded_without_it_and_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("compiled_net.py").write_text("import torch\nnet = torch.compile(torch.nn.Linear(6, 4))\n", encoding="utf-8")
    subject = load_subject("compiled_net.py:net")
    assert (type(subject.model), subject.is_compiled) == (nn.Linear, True)
    summary = summarize(subject, inputs=images((1, 3, 6, 6)), dtype=torch.float32, device=torch.device("cpu"))
    assert "memory-without-compile" in {note.key for note in summary.notes}
