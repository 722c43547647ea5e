"""The machine as its system tells it."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from resnet_cli.measure.system import cpu

X86 = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu avx avx2 fma avx512_bf16 rtm\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd asimdhp bf16 sve\nCPU part\t: 0xd40\n"


def lay(root: Path, text: str) -> Path:
    (root / "proc").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(text, encoding="ascii")
    return root


def test_an_x86_processor(tmp_path: Path) -> None:
    root = lay(tmp_path, X86)
    assert cpu.name(root) == "Some CPU @ 2 GHz"
    assert cpu.features(root) == ("avx", "fma", "avx2", "avx512_bf16")


def test_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    root = lay(tmp_path, "")
    (root / "proc/cpuinfo").write_bytes(b"model name\t: Some\xae CPU\n")
    assert cpu.name(root) == "Some\ufffd CPU"


def test_an_arm_processor_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    root = lay(tmp_path, ARM)
    assert cpu.name(root) == "aarch64"
    assert cpu.features(root) == ("asimd", "asimdhp", "bf16", "sve")


def test_a_system_that_reports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    monkeypatch.setattr(platform, "processor", lambda: "Intel64 Family 6")
    assert cpu.name(tmp_path) == "Intel64 Family 6"
    assert cpu.features(tmp_path) is None


def test_macos_is_asked_by_its_own_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sysctl"
    program.write_text(
        '#!/bin/sh\ncase "$2" in machdep.cpu.brand_string) echo "Apple M9";; esac\n',
        encoding="ascii",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert cpu.name(tmp_path) == "Apple M9"


def test_this_machine() -> None:
    assert cpu.name()
    assert cpu.memory_bytes() > 2**28
    assert (cpu.physical_cores() or 1) >= 1
