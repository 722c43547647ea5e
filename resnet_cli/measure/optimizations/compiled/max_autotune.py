"""A network compiled by torch.compile with mode="max-autotune": kernels are chosen by timing several of each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.compiled.torch_compile import compiled_variant
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """Compile it from its fastest eager variant."""
    with _without_report():
        return compiled_variant(
            model, inputs, backend, lambda module: torch.compile(module, dynamic=False, mode="max-autotune")
        )


@contextlib.contextmanager
def _without_report() -> Iterator[None]:
    """Torch prints the kernels that it tries."""
    from torch._inductor import select_algorithm  # noqa: PLC0415  # half a second, which only this needs

    printed = select_algorithm.PRINT_AUTOTUNE
    select_algorithm.PRINT_AUTOTUNE = False
    try:
        yield
    finally:
        select_algorithm.PRINT_AUTOTUNE = printed
