"""What is good to have: clocks of the GPU, a browser for tests, a place for weights, a terminal that shows all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from resnet_cli.measure.doctor.evidence import WITHOUT_TORCH, Findings, no, not_tried, yes
from resnet_cli.measure.doctor.toolchain import BROWSERS
from resnet_cli.results.doctor import Capability

_SHOWN = "├─█×µ"  # stands for all that a page may hold


def extras(found: Findings) -> Iterator[Capability]:
    """Nothing of this keeps a command from working."""
    yield _nvml(found)
    yield _browser(found)
    yield _weights(found)
    yield _unicode(found)
    yield _colour(found)


def _nvml(found: Findings) -> Capability:
    row = ("nvml", "NVML (clocks of GPUs)")
    failure = found.failure("nvml")
    if "nvml" not in found.answers:
        return not_tried(*row, "nothing was asked")
    if failure is None:
        count = found.fact("nvml", "count")
        return yes(*row, f"driver {found.fact('nvml', 'driver')}, {count} GPU{'' if count == 1 else 's'}")
    if failure.startswith("ModuleNotFoundError"):
        said = "the package nvidia-ml-py is not installed"
        if found.driver is None:
            return no(*row, f"{said}, and there is no NVIDIA driver to ask")
        return no(*row, said, "pip install 'resnet-cli[nvml]'")
    if found.driver is None and "Library Not Found" in failure:
        return no(*row, "there is no NVIDIA driver to ask")
    return no(*row, failure, "see whether nvidia-smi answers")


def _browser(found: Findings) -> Capability:
    row = ("browser", "tests in a browser")
    lacking = []
    if "playwright" not in found.versions:
        lacking.append(("the package playwright is not installed", "pip install playwright"))
    if found.browser is None:
        lacking.append((f"none of {', '.join(BROWSERS)} is on the PATH", "install Chromium"))
    if lacking:
        reasons, fixes = zip(*lacking, strict=True)
        return no(*row, ", and ".join(reasons), f"only our own tests need it: {', and '.join(fixes)}")
    return yes(*row, f"playwright {found.versions['playwright']} with {found.browser}")


def _weights(found: Findings) -> Capability:
    """Nothing is written: the folder need not be there until something is downloaded."""
    row = ("weights", "cache of weights")
    folder = found.weights_folder
    if folder is None:
        return not_tried(*row, WITHOUT_TORCH)
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not there.is_dir():
        return no(*row, f"{there} is no folder", "remove it, or set TORCH_HOME to a folder that you may write to")
    if not os.access(there, os.W_OK | os.X_OK):
        return no(*row, f"{there} may not be written to", "set TORCH_HOME to a folder that you may write to")
    return yes(*row, f"{folder}")


def weights_folder(found: Findings) -> Path | None:
    """Where torchvision keeps what it has downloaded, as torch says."""
    told = found.fact("torch", "weights_folder")
    return Path(told).expanduser() / "checkpoints" if isinstance(told, str) else None


def _unicode(found: Findings) -> Capability:
    row = ("unicode", "Unicode output")
    encoding = found.terminal.encoding
    try:
        shows = _SHOWN.encode(encoding).decode(encoding) == _SHOWN
    except (LookupError, UnicodeError):
        shows = False
    if shows:
        return yes(*row, encoding)
    return no(*row, f"{encoding} lacks it, so ASCII stands for lines and signs", "set PYTHONUTF8=1 or a UTF-8 locale")


def _colour(found: Findings) -> Capability:
    row = ("colour", "colour")
    if found.terminal.colour:
        return yes(*row, f"a terminal of {found.terminal.columns or 80} columns")
    if not found.terminal.is_terminal:
        return no(*row, "it is no terminal")
    which = "NO_COLOR is set" if found.environment.get("NO_COLOR") else "TERM is dumb"
    return no(*row, which)
