"""Where a figure comes from."""

from __future__ import annotations

import platform

import torch

import resnet_cli
from resnet_cli.measure.system import devices
from resnet_cli.results.common import Environment


def environment(device: torch.device) -> Environment:
    """Versions and machine; nothing that changes between two equal runs."""
    return Environment(
        resnet_cli=resnet_cli.__version__,
        python=platform.python_version(),
        torch=str(torch.__version__),
        platform=f"{platform.system()} {platform.machine()}",
        device=str(device),
        device_name=devices.device_name(device),
        device_memory_bytes=devices.memory_bytes(device),
        threads=torch.get_num_threads(),
    )
