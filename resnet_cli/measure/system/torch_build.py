"""What torch was built with: instruction set of its kernels, and the libraries that do the arithmetic."""

from __future__ import annotations

import re

import torch


def instructions() -> str | None:
    """The widest vector instructions that torch's own kernels use: "AVX512", "AVX2"."""
    capability = str(torch.backends.cpu.get_cpu_capability())
    return None if capability in ("", "DEFAULT", "NO AVX") else capability


def libraries() -> tuple[str, ...]:
    """Libraries and versions: "oneDNN 3.11", "cuDNN 9.10"."""
    shown = torch.__config__.show()
    versions = [
        f"{name} {match[1]}"
        for name, pattern in (
            ("MKL", r"Math Kernel Library Version (\d{4}(?:\.\d+)*)"),
            ("oneDNN", r"(?:MKL-DNN|oneDNN) v(\d+(?:\.\d+)*)"),
        )
        if (match := re.search(pattern, shown))
    ]
    if torch.cuda.is_available() and (version := torch.backends.cudnn.version()):  # type: ignore[no-untyped-call]
        major, rest = divmod(version, 10_000 if version >= 90_000 else 1000)
        versions.append(f"cuDNN {major}.{rest // 100}.{rest % 100}")
    return tuple(versions)
