"""Tests of a GPU with whole networks. `tests/tools/gpu_check.py` runs them, and all others that are marked `gpu`.

With RESNET_CLI_GPU_TESTS_ON=cpu they run on the CPU, where most of what they say of a GPU does not hold: to see that
they run at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

DEVICE = os.environ.get("RESNET_CLI_GPU_TESTS_ON", "cuda")
Record = Callable[[str], None]


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """All of this folder need a GPU."""
    missing = DEVICE == "cuda" and not torch.cuda.is_available()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if missing:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def device() -> str:
    """Name of the device for `--device`."""
    return DEVICE


@pytest.fixture
def record(record_property: Callable[[str, Any], None]) -> Record:
    """Takes a figure for the summary of `gpu_check.py`."""
    return lambda text: record_property("figure", text)
