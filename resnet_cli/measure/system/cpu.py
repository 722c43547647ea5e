"""Processor and memory of this machine; needs no torch."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import psutil

_ROOT = Path("/")

# Instructions that the kernels of a network use, as Linux calls them: of x86-64, then of 64-bit Arm.
_FEATURES = (
    "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "svebf16", "sme",
)  # fmt: skip


def name(root: Path = _ROOT) -> str:
    """Model name of the processor."""
    match = re.search(r"^model name\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.MULTILINE)
    if match:
        return match[1].strip()
    return _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def features(root: Path = _ROOT) -> tuple[str, ...] | None:
    """Vector instructions that kernels of a network use; None where the system does not list them."""
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", _read(root / "proc/cpuinfo"), re.MULTILINE)
    if match is None:
        return None
    flags = set(match[1].split())
    return tuple(each for each in _FEATURES if each in flags)


def physical_cores() -> int | None:
    """Cores of the machine, each counted once however many threads it runs; None where the system does not tell."""
    cores: int | None = psutil.cpu_count(logical=False)
    return cores


def memory_bytes() -> int:
    """Memory of the machine, used or not, whatever the control group grants of it."""
    return int(psutil.virtual_memory().total)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _sysctl(key: str) -> str:
    """A value of macOS's sysctl; empty elsewhere."""
    if platform.system() != "Darwin":
        return ""
    try:
        process = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout.strip()
