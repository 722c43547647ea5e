"""The processor and the memory of this machine, as its system tells them; nothing of this needs torch."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

_ROOT = Path("/")

# Instructions that the kernels of a network use, as Linux calls them: of x86-64, then of 64-bit Arm.
_FEATURES = (
    "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "amx_fp16",
    "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "svebf16", "sme",
)  # fmt: skip


def name(root: Path = _ROOT) -> str:
    """The maker's name of the processor."""
    match = re.search(r"^model name\s*:\s*(.+)$", _told(root / "proc/cpuinfo"), re.MULTILINE)
    if match:
        return match[1].strip()
    return _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def features(root: Path = _ROOT) -> tuple[str, ...] | None:
    """Instructions that matter for a network; None where the system does not tell."""
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", _told(root / "proc/cpuinfo"), re.MULTILINE)
    if match is None:
        return None
    there = set(match[1].split())
    return tuple(each for each in _FEATURES if each in there)


def physical_cores(root: Path = _ROOT) -> int | None:
    """Cores of the machine, each counted once however many threads it has."""
    lists = root.glob("sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list")
    siblings = {told for path in lists if (told := _told(path).strip())}
    if siblings:
        return len(siblings)
    told = _sysctl("hw.physicalcpu")
    return int(told) if told.isdecimal() else None


def memory_bytes() -> int | None:
    """All memory of the machine, not what happens to be free; None where it cannot be told."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _told(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _sysctl(key: str) -> str:
    """What macOS says of itself; nothing elsewhere."""
    if platform.system() != "Darwin":
        return ""
    try:
        done = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
