"""Optional features: GPU clocks, the cache of downloaded weights, Unicode and colour."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from resnet_cli.measure.doctor.evidence import WITHOUT_TORCH, Evidence, no, not_tried, yes
from resnet_cli.results.doctor import Capability

_SHOWN = "├─█×µ"  # a sample of the characters that the output uses


def check_optional(evidence: Evidence) -> Iterator[Capability]:
    """Every command works without these."""
    yield _nvml(evidence)
    yield _weights_folder_writable(evidence)
    yield _unicode(evidence)
    yield _colour(evidence)


def _nvml(evidence: Evidence) -> Capability:
    row = ("nvml", "NVML (GPU clocks)")
    failure = evidence.failure("nvml")
    if "nvml" not in evidence.answers:
        return not_tried(*row, "not probed")
    if failure is None:
        count = evidence.fact("nvml", "count")
        return yes(*row, f"driver {evidence.fact('nvml', 'driver')}, {count} GPU{'' if count == 1 else 's'}")
    if failure.startswith("ModuleNotFoundError"):
        reason = "nvidia-ml-py is not installed"
        if evidence.driver is None:
            return no(*row, f"{reason}, and there is no NVIDIA driver")
        return no(*row, reason, "pip install 'resnet-cli[nvml]'")
    if evidence.driver is None and "Library Not Found" in failure:
        return no(*row, "no NVIDIA driver")
    return no(*row, failure, "check nvidia-smi")


def _weights_folder_writable(evidence: Evidence) -> Capability:
    """Whether downloaded weights can be cached; nothing is written."""
    row = ("weights", "weights cache")
    folder = evidence.weights_folder
    if folder is None:
        return not_tried(*row, WITHOUT_TORCH)
    existing = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not existing.is_dir():
        return no(*row, f"{existing} is not a folder", "remove it, or set TORCH_HOME to a writable folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        return no(*row, f"{existing} is not writable", "set TORCH_HOME to a writable folder")
    return yes(*row, f"{folder}")


def weights_folder(evidence: Evidence) -> Path | None:
    """Where torchvision caches downloaded weights, according to torch."""
    path = evidence.fact("torch", "weights_folder")
    return Path(path).expanduser() / "checkpoints" if isinstance(path, str) else None


def _unicode(evidence: Evidence) -> Capability:
    row = ("unicode", "Unicode output")
    encoding = evidence.terminal.encoding
    try:
        shows = _SHOWN.encode(encoding).decode(encoding) == _SHOWN
    except (LookupError, UnicodeError):
        shows = False
    if shows:
        return yes(*row, encoding)
    return no(*row, f"{encoding} cannot encode it; the output uses ASCII", "set PYTHONUTF8=1 or a UTF-8 locale")


def _colour(evidence: Evidence) -> Capability:
    row = ("colour", "colour")
    if evidence.terminal.colour:
        return yes(*row, f"terminal with {evidence.terminal.columns or 80} columns")
    if not evidence.terminal.is_terminal:
        return no(*row, "standard output is not a terminal")
    reason = "NO_COLOR is set" if evidence.environment.get("NO_COLOR") else "TERM is dumb"
    return no(*row, reason)
