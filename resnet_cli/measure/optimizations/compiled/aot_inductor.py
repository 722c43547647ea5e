"""A network compiled ahead of time: torch.export, then AOTInductor, whose library needs no Python to run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.compiled.torch_compile import compile_with
from resnet_cli.measure.optimizations.folded_channels_last import best_eager
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.system.devices.backend import DeviceBackend


def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
    """Export and compile it from its fastest eager variant.

    Raises:
        UnavailableError: there is no compiler.
        Exception: the network cannot be exported or compiled.
    """
    prepared = best_eager(model, inputs).inputs

    def package(module: nn.Module) -> Callable[..., object]:
        program = torch.export.export(module, prepared.args, dict(prepared.kwargs))
        # The library stays loaded when its file is gone.
        with tempfile.TemporaryDirectory(prefix="resnet-cli-") as folder:
            path = torch._inductor.aoti_compile_and_package(program, package_path=str(Path(folder, "network.pt2")))
            run: Callable[..., object] = torch._inductor.aoti_load_package(path)
        return run

    settings: list[dict[str, object]] = [{}] if backend.is_accelerator else [{"freezing": True}, {}]
    compiled = compile_with(model, prepared, package, settings)
    return Variant(compiled.run, prepared, failed_s=compiled.failed_s)
