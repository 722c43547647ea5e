"""Versions and machine that a result was measured with."""

from __future__ import annotations

import platform

import torch

import resnet_cli
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.results.common import Environment


def environment(device: torch.device) -> Environment:
    """Versions and machine; nothing that changes between two equal runs."""
    backend = device_backend(device)
    return Environment(
        resnet_cli=resnet_cli.__version__,
        python=platform.python_version(),
        torch=str(torch.__version__),
        platform=f"{platform.system()} {platform.machine()}",
        device=str(device),
        device_name=backend.name(),
        device_memory_bytes=backend.total_memory(),
        threads=torch.get_num_threads(),
    )
