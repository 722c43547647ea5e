"""Memory that depends on the kernels of a device is measured there, or named as not known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from resnet_cli.measure.cost.device_kernels import kernel_notes, unlike_meta
from resnet_cli.measure.tracing import tracer
from tests.helpers.models import on_meta

LAYERS: dict[str, tuple[Callable[[], nn.Module], list[str | None], list[str | None]]] = {
    "recurrent": (lambda: nn.GRU(6, 4), ["memory-unlike-meta"], ["memory-unlike-meta", "memory-of-a-cpu"]),
    "dropout": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Dropout()), [], ["memory-of-a-cpu"]),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(6, 2, 4, dropout=0.0, batch_first=True),
        ["fused-in-eval-mode"],
        ["fused-in-eval-mode"],
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
