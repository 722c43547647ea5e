"""The machine, its tools and its terminal, laid out in folders of the test's own."""

from __future__ import annotations

import os
import sysconfig
from io import StringIO
from pathlib import Path

import pytest

from resnet_cli.measure.doctor import host as surroundings
from resnet_cli.measure.doctor import toolchain
from resnet_cli.measure.doctor.toolchain import Tool
from resnet_cli.measure.system import cpu


def lay(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_the_machine_is_the_one_under_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "proc/cpuinfo", "model name\t: Some CPU\nflags\t\t: fpu avx2\n")
    lay(tmp_path / "proc/self/cgroup", "0::/\n")
    lay(tmp_path / "sys/fs/cgroup/cpu.max", "250000 100000\n")
    lay(tmp_path / "sys/fs/cgroup/memory.max", f"{3 * 2**30}\n")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 2, 3} if process else {1}, raising=False)
    monkeypatch.setattr(cpu, "memory_bytes", lambda: 8 * 2**30)
    monkeypatch.setattr(cpu, "physical_cores", lambda: 1)
    host = surroundings.host(tmp_path)
    assert (host.processor, host.features, host.physical_cores) == ("Some CPU", ("avx2",), 1)
    assert (host.logical_cores, host.usable_cores, host.quota) == (2, 1, 2.5)
    assert (host.memory_bytes, host.memory_limit_bytes) == (8 * 2**30, 3 * 2**30)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert surroundings.host(tmp_path).usable_cores is None


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\nGCC version: 12.2\n",
            "535.183.01",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.95.05  Release\n", "580.95.05"),
        ("NVRM version: X 535.183.01\n", "535.183.01"),
        ("NVRM version: 64 bits\nGCC version:  gcc version 12.2.0\n", None),
        ("", None),
    ],
)
def test_the_driver_is_the_number_with_points_in_the_first_line(text: str, version: str | None, tmp_path: Path) -> None:
    lay(tmp_path / "proc/driver/nvidia/version", text)
    assert surroundings.driver(tmp_path) == version


def test_empty_variables_are_listed_and_secrets_are_not() -> None:
    variables = surroundings.variables({"CUDA_VISIBLE_DEVICES": "", "HF_TOKEN": "x", "OMP_NUM_THREADS": "4"})
    assert {(variable.name, variable.value) for variable in variables} == {
        ("CUDA_VISIBLE_DEVICES", ""),
        ("OMP_NUM_THREADS", "4"),
    }


@pytest.mark.parametrize(
    ("free_threaded", "ends"), [(0, ("CPython", "PyPy")), (None, ("CPython", "PyPy")), (1, (" without the GIL",))]
)
def test_a_python_without_the_lock_says_so(
    free_threaded: int | None, ends: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": free_threaded}.get)
    assert surroundings.interpreter().implementation.endswith(ends)


class Screen(StringIO):
    """A terminal that is asked for its size."""

    encoding = "UTF-8"

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 7


@pytest.mark.parametrize(("variable", "columns"), [(None, 123), ("0", 123), ("wide", 123), ("1", 1), ("200", 200)])
def test_the_width_is_what_the_user_says_else_the_terminals_own(
    variable: str | None, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda number: os.terminal_size((123 if number == 7 else 80, 24)))
    environment = {} if variable is None else {"COLUMNS": variable}
    assert surroundings.terminal(Screen(), environment).columns == columns


def test_a_stream_without_an_encoding_or_a_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Screen, "encoding", None)
    monkeypatch.delattr(Screen, "fileno")  # that of its base raises
    terminal = surroundings.terminal(Screen(), {"NO_COLOR": ""})
    assert (terminal.encoding, terminal.columns, terminal.colour) == ("unknown", None, True)
    file = surroundings.terminal(StringIO(), {})
    assert (file.is_terminal, file.colour) == (False, False)


def program(folder: Path, name: str, text: str) -> None:
    lay(folder / name, f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_a_compiler_that_says_little_or_much_of_itself(tmp_path: Path) -> None:
    program(tmp_path, "silent", "exit 0")
    program(tmp_path, "talkative", f"echo '{'x' * 500}'; echo second")
    there = {"PATH": str(tmp_path)}
    assert toolchain.compiler({**there, "CXX": "silent"}, "linux") == Tool("silent", "silent")
    assert toolchain.compiler({**there, "CXX": "talkative"}, "linux").version == "x" * 80
    assert toolchain.compiler({**there, "CXX": ""}, "linux") == Tool("g++", None)
    assert toolchain.compiler({**there, "CXX": f"{tmp_path}/silent -m64"}, "darwin") == Tool(
        f"{tmp_path}/silent -m64", "silent"
    )


def test_the_header_of_this_python_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", {"include": str(tmp_path)}.get)
    assert toolchain.python_header() is None
    (tmp_path / "Python.h").mkdir()
    assert toolchain.python_header() is None
    (tmp_path / "Python.h").rmdir()
    (tmp_path / "Python.h").touch()
    assert toolchain.python_header() == tmp_path / "Python.h"
