"""Data types that a network runs in, by name."""

from __future__ import annotations

import torch

from resnet_cli.errors import ResnetCliError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


def dtype(name: str) -> torch.dtype:
    """The data type of a name.

    Raises:
        ResnetCliError: not one of `DTYPES`.
    """
    if name not in DTYPES:
        raise ResnetCliError(f"`dtype={name}` is not supported", f"use {', '.join(DTYPES)}")
    return DTYPES[name]
