"""What torch.compile and a browser need from the system: looked for, not tried."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from resnet_cli.formatting import printable

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Tool:
    """A program, as it was looked for.

    Args:
        name: as it is called.
        found: what it says of itself, or its name; None where there is none.
    """

    name: str
    found: str | None


def compiler(environment: Mapping[str, str] = os.environ, system: str = sys.platform) -> Tool:
    """The C++ compiler that torch.compile would take on a processor: the same names, in the same order."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(system, "g++")
    name = environment.get("CXX") or usual
    program, *rest = name.split()  # CXX may hold options or a launcher too
    path = shutil.which(program, path=environment.get("PATH"))
    if path is None:
        return Tool(name, None)
    if system != "linux":
        return Tool(name, Path(program).name)  # asked for its version, macOS may offer to install one
    try:
        done = subprocess.run(
            [path, *rest, "--version"], capture_output=True, text=True, errors="replace", check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return Tool(name, None)
    first = (done.stdout.strip().splitlines() or [""])[0]
    return Tool(name, printable(first)[:80] or Path(program).name)


def python_header() -> Path | None:
    """Python.h, which the code that torch.compile writes includes; None where it is missing."""
    path = Path(sysconfig.get_path("include"), "Python.h")
    return path if path.is_file() else None


def browser(environment: Mapping[str, str] = os.environ) -> str | None:
    """The first Chromium on the path."""
    return next((name for name in BROWSERS if shutil.which(name, path=environment.get("PATH"))), None)
