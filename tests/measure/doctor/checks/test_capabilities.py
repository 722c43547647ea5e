"""What works, and the reason for each no: on machines that were never there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from resnet_cli.measure.doctor import host, probes, toolchain, torchvision_match
from resnet_cli.measure.doctor.checks.optional import weights_folder
from resnet_cli.measure.doctor.evidence import Findings
from resnet_cli.measure.doctor.probe_process import Answer
from resnet_cli.measure.doctor.redaction import Identity, identity
from resnet_cli.measure.doctor.run import look, scrubbed, verdict
from resnet_cli.measure.doctor.toolchain import Tool
from resnet_cli.measure.doctor.torchvision_match import Installed, mismatch
from resnet_cli.results.doctor import NO, NOT_TRIED, YES, Terminal
from tests.helpers.results_doctor import (
    FACTS,
    GOOD,
    H100,
    HOST,
    NO_TORCH,
    TORCH,
    TORCHVISION,
    broken_result,
    row,
    with_answers,
    with_facts,
    with_failure,
    without,
    without_cuda,
)

CRASHED = "the process that tried it crashed (SIGSEGV)"
OLD_GPU = with_facts("cuda", gpus=[{**H100, "capability": [6, 1]}])
CPU_BUILD = without_cuda(with_facts("torch", cuda=None))
CPU_BUILD_WITHOUT_DRIVER = replace(with_failure("nvml", "NVMLError: x", CPU_BUILD), driver=None)
NO_DRIVER = replace(with_failure("nvml", "NVMLError: x"), driver=None)
MAC = replace(without_cuda(NO_DRIVER), system="darwin")
ROCM = with_facts("torch", cuda=None, hip="6.4")


def test_a_machine_where_everything_works() -> None:
    result = verdict(GOOD, ())
    assert result.ok
    assert {one.key: one.status for one in result.capabilities if one.status != YES} == {
        "mps": NO,
        "xpu": NO,
        "compile-cpu": NOT_TRIED,
        "compile-gpu": NOT_TRIED,
    }
    assert [gpu.driver for gpu in result.gpus] == ["580.95.05"] * 2
    assert (result.gpus[0].capability, result.gpus[0].memory_bytes) == ("9.0", 80 * 10**9)
    assert [one.name for one in result.variables] == ["OMP_NUM_THREADS"]  # and no secret
    assert len({one.key for one in result.capabilities}) == len(result.capabilities)


# Each no: where, and what its reason and its fix say.
NOES: list[tuple[str, Findings, str, str | None]] = [
    ("torch", replace(with_failure("torch", "x"), torch=Installed()), "not installed", "pip install torch"),
    ("torch", with_failure("torch", "OSError: no libc10.so"), "no libc10.so", "--force-reinstall torch torchvision"),
    (
        "torch",
        replace(
            with_failure("torch", "AttributeError: x"), torch=replace(TORCH, folder=Path("/here/torch.py"), shadow=True)
        ),
        "found as /here/torch.py",
        "rename or remove it",
    ),
    ("torch", with_facts("torch", version="2.9.1+cu128"), "2.9.1+cu128 is older than 2.10", "--upgrade torch"),
    ("torchvision", replace(with_failure("torchvision", "x"), torchvision=Installed()), "not installed", "pip install"),
    ("torchvision", with_failure("torchvision", CRASHED), "SIGSEGV", "pair from one place"),
    (
        "torchvision",
        replace(with_failure("torchvision", "RuntimeError: nms"), torch=replace(TORCH, cuda=None)),
        "was built for CUDA 13.0, and torch 2.14.1+cu130 without CUDA: RuntimeError: nms",
        "--index-url https://download.pytorch.org/whl/cpu",
    ),
    (
        "torchvision",
        replace(
            with_failure("torchvision", "x"),
            torchvision=replace(TORCHVISION, folder=Path("/here/torchvision"), shadow=True),
        ),
        "found as /here/torchvision",
        "rename or remove it",
    ),
    ("torchvision", replace(NO_TORCH, torch=replace(TORCH, cuda=None)), "without CUDA", "pair from one place"),
    ("safetensors", with_failure("safetensors", "ImportError: y"), "--weights need it: ImportError: y", "pip install"),
    ("torchinfo", with_failure("torchinfo", "ImportError: y"), "flops goes without it: ImportError: y", "torchinfo"),
    ("fvcore", with_failure("fvcore", "ImportError: y"), "ImportError: y", "pip install --force-reinstall fvcore"),
    ("cuda", MAC, "macOS has none", None),
    ("cuda", CPU_BUILD_WITHOUT_DRIVER, "built without it, and no NVIDIA driver", None),
    ("cuda", CPU_BUILD, "though NVIDIA's driver 580.95.05 is loaded", "takes a build with CUDA"),
    (
        "cuda",
        replace(without_cuda(), environment={"CUDA_VISIBLE_DEVICES": ""}),
        "hides every GPU",
        "unset CUDA_VISIBLE",
    ),
    ("cuda", replace(without_cuda(), environment={"CUDA_VISIBLE_DEVICES": "-1"}), "hides every GPU", "unset"),
    ("cuda", without_cuda(NO_DRIVER), "no NVIDIA driver is loaded", "install NVIDIA's driver"),
    ("cuda", without_cuda(), "driver 580.95.05 is loaded, and torch finds no GPU", "nvidia-smi"),
    ("cuda", with_facts("cuda", without_cuda(), said=["driver too old"]), "torch says: driver too old", "new enough"),
    ("cuda", with_failure("cuda", "no answer within 120 s"), "no answer within 120 s", "CUDA_VISIBLE_DEVICES="),
    (
        "cuda",
        with_facts("cuda", gpus=[{**H100, "failure": "AcceleratorError: no kernel image"}]),
        "computes nothing on it: AcceleratorError: no kernel image",
        "install a torch that is built for this GPU",
    ),
    ("cudnn", without_cuda(), "needs CUDA", None),
    ("cudnn", with_facts("cudnn", available=False), "torch finds none", "--force-reinstall"),
    ("cudnn", with_failure("cudnn", CRASHED), "SIGSEGV", "--force-reinstall"),
    ("gloo", with_facts("distributed", gloo=False), "built without it", None),
    ("gloo", with_failure("distributed", CRASHED), "SIGSEGV", None),
    ("nccl", without_cuda(), "needs CUDA", None),
    ("nccl", with_facts("distributed", nccl=False), "built without it", None),
    ("nccl", with_failure("distributed", CRASHED), "SIGSEGV", None),
    ("gpu-bfloat16", without_cuda(), "needs CUDA", None),
    ("gpu-bfloat16", with_facts("gpu dtypes", bfloat16="RuntimeError: z"), "RuntimeError: z", None),
    ("gpu-float16", with_failure("gpu dtypes", CRASHED), "SIGSEGV", None),
    ("tf32", OLD_GPU, "it needs compute capability 8.0, and this GPU has 6.1", None),
    ("tf32", ROCM, "a format of NVIDIA's GPUs", None),
    ("mps", GOOD, "only on Apple's machines", None),
    ("mps", MAC, "built without it", "--force-reinstall torch"),
    ("mps", with_facts("accelerators", MAC, mps_built=True), "no Metal device", "macOS 14"),
    ("mps", with_facts("accelerators", MAC, mps_available=True, mps_failure="E: y"), "E: y", None),
    ("mps", with_failure("accelerators", CRASHED), "SIGSEGV", None),
    ("xpu", GOOD, "torch finds none", None),
    ("xpu", with_facts("accelerators", xpu_available=True), "no command of resnet-cli uses it", "--device cpu"),
    ("cpu-bfloat16", with_facts("cpu dtypes", bfloat16="RuntimeError: z"), "RuntimeError: z", None),
    ("cpu-float16", with_failure("cpu dtypes", CRASHED), "SIGSEGV", None),
    ("compile-cpu", replace(GOOD, compiler=Tool("g++", None)), "no C++ compiler g++", "apt install g++"),
    ("compile-cpu", replace(MAC, compiler=Tool("clang++", None)), "no C++ compiler clang++", "xcode-select"),
    ("compile-cpu", replace(GOOD, header=None), "Python.h is missing", "python3-dev"),
    ("compile-cpu", with_answers({"compile cpu": Answer(failure="X: cc1plus died")}), "cc1plus died", "--ladder"),
    (
        "compile-cpu",  # the reason that helps, not the one that follows from it
        replace(with_answers({"compile cpu": Answer(failure="X: y")}), compiler=Tool("g++", None)),
        "no C++ compiler g++",
        "name yours in CXX",
    ),
    ("compile-gpu", without_cuda(), "needs CUDA", None),
    ("compile-gpu", OLD_GPU, "Triton needs compute capability 7.0, and this GPU has 6.1", None),
    ("compile-gpu", replace(GOOD, versions={}), "Triton is not installed", "pip install triton"),
    ("compile-gpu", with_answers({"compile cuda": Answer(failure="UnavailableError: no gcc")}), "no gcc", "all else"),
    ("nvml", with_failure("nvml", "ModuleNotFoundError: No module named 'pynvml'"), "nvidia-ml-py", "resnet-cli[nvml]"),
    ("nvml", replace(with_failure("nvml", "ModuleNotFoundError: x"), driver=None), "no NVIDIA driver to ask", None),
    ("nvml", replace(with_failure("nvml", "E: NVML Shared Library Not Found"), driver=None), "no NVIDIA driver", None),
    ("nvml", with_failure("nvml", "NVMLError: Driver/library version mismatch"), "mismatch", "nvidia-smi"),
    ("browser", replace(GOOD, versions={}), "playwright is not installed", "pip install playwright"),
    ("browser", replace(GOOD, browser=None), "none of chromium, chromium-browser, google-chrome", "install Chromium"),
    ("weights", replace(GOOD, weights_folder=Path(__file__, "checkpoints")), "is no folder", "TORCH_HOME"),
    ("unicode", replace(GOOD, terminal=Terminal("ascii", True, 80, True)), "ascii lacks it", "PYTHONUTF8=1"),
    ("unicode", replace(GOOD, terminal=Terminal("cp1252", True, 80, True)), "cp1252 lacks it", "UTF-8"),
    ("unicode", replace(GOOD, terminal=Terminal("no-such", True, 80, True)), "no-such lacks it", "UTF-8"),
    ("colour", replace(GOOD, terminal=Terminal("utf-8", False, None, False)), "no terminal", None),
    ("colour", replace(GOOD, terminal=Terminal("utf-8", True, 80, False)), "TERM is dumb", None),
    (
        "colour",
        replace(GOOD, terminal=Terminal("utf-8", True, 80, False), environment={"NO_COLOR": "1"}),
        "NO_COLOR is set",
        None,
    ),
]


@pytest.mark.parametrize(
    ("key", "found", "why", "fix"), NOES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_each_no_has_its_reason_and_what_to_do(key: str, found: Findings, why: str, fix: str | None) -> None:
    said = row(found, key)
    assert said.status == NO
    assert why in said.reason
    assert (fix is None and said.fix is None) or (fix is not None and fix in (said.fix or ""))


def test_every_line_can_say_no() -> None:
    assert {key for key, *_ in NOES} == {one.key for one in verdict(GOOD, ()).capabilities}


NEEDED = ("torch", "torchvision", "safetensors")


@pytest.mark.parametrize(("key", "found"), [(key, found) for key, found, *_ in NOES])
def test_only_what_a_command_needs_makes_the_whole_broken(key: str, found: Findings) -> None:
    result = verdict(found, ())
    broken = {one.key for one in result.capabilities if one.status == NO}
    assert result.ok is (not broken & set(NEEDED))
    assert {one.key for one in result.capabilities if one.required} == set(NEEDED)


def test_without_torch_nothing_is_claimed_of_what_hangs_on_it() -> None:
    result = verdict(replace(NO_TORCH, weights_folder=weights_folder(NO_TORCH)), ())
    assert result.torch is None
    assert not result.ok
    told = {one.key: one for one in result.capabilities}
    untold = {key for key, one in told.items() if one.status == NOT_TRIED}
    assert untold == set(told) - {"torch", "safetensors", "nvml", "browser", "unicode", "colour"}
    assert {told[key].reason for key in untold} == {"needs torch"}


def test_nothing_is_claimed_of_what_nobody_asked() -> None:
    result = verdict(replace(GOOD, answers={}), ())
    assert {one.key for one in result.capabilities if one.status == YES} == {"browser", "weights", "unicode", "colour"}


@pytest.mark.parametrize(
    ("key", "found", "said"),
    [
        ("torch", ROCM, "built for ROCm 6.4"),
        ("torch", with_facts("torch", cuda=None), "built without CUDA"),
        ("torch", replace(GOOD, oldest_torch=None), "built for CUDA 13.0"),
        ("cuda", GOOD, "13.0, 2 GPUs"),
        ("cuda", with_facts("cuda", ROCM, gpus=[H100]), "6.4, 1 GPU"),
        ("cudnn", GOOD, "9.13.0"),
        ("cudnn", with_facts("cudnn", version=8902), "8.9.2"),
        ("cudnn", with_facts("cudnn", version=None), "of unknown version"),
        ("nccl", GOOD, "2.28.3"),
        ("nccl", with_facts("distributed", nccl_version=None), "of unknown version"),
        ("gpu-bfloat16", OLD_GPU, "emulated, and slow: compute capability 6.1"),
        ("gpu-bfloat16", GOOD, "compute capability 9.0"),
        ("mps", with_facts("accelerators", MAC, mps_available=True), "tried with a convolution"),
        ("cpu-bfloat16", GOOD, "native (avx512_bf16, amx_bf16)"),
        ("cpu-bfloat16", with_facts("cpu dtypes", emulates_bfloat16=True), "neither AVX512_BF16 nor AMX"),
        ("cpu-bfloat16", replace(GOOD, host=replace(HOST, features=("asimd",))), "no BF16 instructions"),
        ("cpu-bfloat16", replace(GOOD, host=replace(HOST, features=None)), "the system does not tell"),
        ("cpu-float16", GOOD, "native (avx512_fp16)"),
        ("cpu-float16", replace(GOOD, host=replace(HOST, features=("avx2",))), "emulated, and slow"),
        ("cpu-float16", replace(GOOD, host=replace(HOST, features=None)), "the system does not tell"),
        ("compile-cpu", with_answers({"compile cpu": Answer()}), "compiled a small network"),
        ("compile-gpu", with_answers({"compile cuda": Answer()}), "compiled a small network"),
        ("torchvision", replace(GOOD, torch=replace(TORCH, version="2.13.0")), "it can be imported, though"),
        ("nvml", with_facts("nvml", count=1), "driver 580.95.05, 1 GPU"),
        ("browser", GOOD, "playwright 1.65 with chromium"),
        ("colour", GOOD, "120 columns"),
    ],
)
def test_each_yes_says_what_was_found(key: str, found: Findings, said: str) -> None:
    assert row(found, key).status == YES
    assert said in row(found, key).reason
    assert row(found, key).fix is None


def test_what_is_not_tried_says_what_was_looked_at() -> None:
    said = row(GOOD, "compile-cpu")
    assert (said.status, said.reason) == (NOT_TRIED, "there are g++ 12.2.0 and Python.h; --compile tries it")
    assert "Triton 3.8.0" in row(GOOD, "compile-gpu").reason
    assert row(without("nvml"), "nvml").status == NOT_TRIED


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write everywhere
    said = row(replace(GOOD, weights_folder=tmp_path / "hub" / "checkpoints"), "weights")
    assert (said.status, said.fix) == (NO, "set TORCH_HOME to a folder that you may write to")
    assert said.reason == f"{tmp_path} may not be written to"
    assert list(tmp_path.iterdir()) == []


# The pair


@pytest.mark.parametrize(
    ("torch", "torchvision", "said"),
    [
        (TORCH, TORCHVISION, None),
        (replace(TORCH, cuda="13.2"), TORCHVISION, None),  # releases of one major version serve each other
        (replace(TORCH, cuda="12.8"), TORCHVISION, "was built for CUDA 13.0, and torch for CUDA 12.8"),
        (replace(TORCH, cuda=None), TORCHVISION, "was built for CUDA 13.0, and torch 2.14.1+cu130 without CUDA"),
        (replace(TORCH, cuda=None, tells_build=False), TORCHVISION, None),
        (replace(TORCH, cuda=None), replace(TORCHVISION, version="0.29.1+cpu"), None),
        (replace(TORCH, version="2.13.0"), TORCHVISION, "0.29.1+cu130 needs torch >=2.14.0, and torch 2.13.0 is"),
        (TORCH, replace(TORCHVISION, requires=("torch==2.13.0",)), "needs torch 2.13.0, and torch 2.14.1+cu130"),
        (TORCH, replace(TORCHVISION, requires=("torch==2.14.1",)), None),
        (TORCH, replace(TORCHVISION, requires=("torch<2.14,>2.1; python_version>'3'",)), "needs torch <2.14, >2.1"),
        (TORCH, replace(TORCHVISION, requires=("torch!=2.14.1,<=3",)), "needs torch !=2.14.1, <=3"),
        (TORCH, replace(TORCHVISION, requires=("torchdata==1.0", "numpy")), None),
        (TORCH, Installed(), None),
        (Installed(), TORCHVISION, None),
    ],
)
def test_whether_a_pair_can_work(torch: Installed, torchvision: Installed, said: str | None) -> None:
    found = mismatch(torch, torchvision)
    assert found is None if said is None else said in (found or "")


def lay(folder: Path, name: str, version: str, *, cuda: str = "None", requires: str = "") -> None:
    """A package as pip installs it."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("raise SystemExit('nobody may import this')", encoding="utf-8")
    text = f"from typing import Optional\n__version__ = '{version}'\ncuda: Optional[str] = {cuda}\n"
    (folder / name / "version.py").write_text(text, encoding="utf-8")
    record = folder / f"{name}-{version.partition('+')[0]}.dist-info"
    record.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version.partition('+')[0]}"]
    lines += [f"Requires-Dist: {requires}"] if requires else []
    (record / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands before all others that Python looks at; no module is loaded yet."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("torch", "torchvision"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_the_build_is_read_from_files_and_not_imported(elsewhere: Path) -> None:
    lay(elsewhere, "torch", "2.15.0+cpu")
    lay(elsewhere, "torchvision", "0.30.0+cu130", cuda="'13.0'", requires="torch (>=2.14.0)")
    torch, torchvision = torchvision_match.installed("torch"), torchvision_match.installed("torchvision")
    assert (torch.version, torch.cuda, torch.shadow) == ("2.15.0+cpu", None, False)
    assert (torchvision.version, torchvision.cuda, torchvision.requires) == (
        "0.30.0+cu130", "13.0", ("torch (>=2.14.0)",),
    )  # fmt: skip
    assert "without CUDA" in (mismatch(torch, torchvision) or "")
    assert not {"torch", "torchvision"} & set(sys.modules)


@pytest.mark.parametrize("kind", ["torch.py", "torch"])
def test_a_file_or_folder_that_stands_before_the_package_is_noticed(kind: str, elsewhere: Path) -> None:
    if kind.endswith(".py"):
        (elsewhere / kind).write_text("", encoding="utf-8")
    else:
        (elsewhere / kind).mkdir()
        (elsewhere / kind / "__init__.py").write_text("", encoding="utf-8")
    found = torchvision_match.installed("torch")
    assert found.shadow
    assert found.folder == elsewhere / kind


def test_what_is_not_there_is_nothing() -> None:
    assert torchvision_match.installed("no_such_package_at_all") == Installed()
    assert torchvision_match.recorded_version("no_such_package_at_all") is None


def test_half_a_package_has_no_version(elsewhere: Path) -> None:
    (elsewhere / "half_gone-1.0.dist-info").mkdir()
    (elsewhere / "half_gone-1.0.dist-info" / "METADATA").write_text("Name: half_gone\n", encoding="utf-8")
    assert torchvision_match.recorded_version("half_gone") is None


def test_the_oldest_torch_is_what_the_project_says() -> None:
    assert torchvision_match.floor("torch") == "2.10"
    assert torchvision_match.floor("torchvision") == "0.25"
    assert torchvision_match.floor("nvidia-ml-py") is None  # of an extra


# What surrounds it


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def test_the_compiler_is_the_one_that_torch_would_take(tmp_path: Path) -> None:
    program(tmp_path, "g++", "echo 'g++ 99'")
    program(tmp_path, "mine", 'echo "mine $1 $2"')
    program(tmp_path, "sick", "exit 1")
    program(tmp_path, "clang++", "exit 1")
    there = {"PATH": str(tmp_path)}
    assert toolchain.compiler(there, "linux") == Tool("g++", "g++ 99")
    assert toolchain.compiler({**there, "CXX": "mine -m64"}, "linux") == Tool("mine -m64", "mine -m64 --version")
    assert toolchain.compiler({**there, "CXX": "sick"}, "linux").found is None
    assert toolchain.compiler({"PATH": str(tmp_path / "none")}, "linux").found is None
    assert toolchain.compiler(there, "darwin") == Tool("clang++", "clang++")  # not run: macOS may ask to install it
    assert toolchain.compiler(there, "win32") == Tool("cl", None)


def test_the_browser_is_the_first_on_the_path(tmp_path: Path) -> None:
    assert toolchain.browser({"PATH": str(tmp_path)}) is None
    program(tmp_path, "google-chrome", "")
    assert toolchain.browser({"PATH": str(tmp_path)}) == "google-chrome"
    program(tmp_path, "chromium", "")
    assert toolchain.browser({"PATH": str(tmp_path)}) == "chromium"


def test_the_driver_that_linux_has_loaded(tmp_path: Path) -> None:
    assert host.driver(tmp_path) is None
    file = tmp_path / "proc/driver/nvidia/version"
    file.parent.mkdir(parents=True)
    file.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\n", "ascii")
    assert host.driver(tmp_path) == "580.95.05"


class Screen(StringIO):
    """A terminal of no size."""

    encoding = "UTF-8"

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return -1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"COLUMNS": "99"}, Terminal("utf-8", True, 99, True)),
        ({"COLUMNS": "0"}, Terminal("utf-8", True, None, True)),
        ({"NO_COLOR": "1"}, Terminal("utf-8", True, None, False)),
        ({"TERM": "dumb"}, Terminal("utf-8", True, None, False)),
    ],
)
def test_where_results_go(environment: Mapping[str, str], expected: Terminal) -> None:
    assert host.terminal(Screen(), environment) == expected


def test_results_that_go_nowhere_or_to_a_file() -> None:
    assert host.terminal(None) == Terminal("none", False, None, False)
    assert host.terminal(StringIO(), {"COLUMNS": "99"}).columns is None


def test_the_environment_that_conda_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert host.interpreter().installation == "virtual environment"
    (tmp_path / "conda-meta").mkdir()
    assert host.interpreter().installation == "conda environment"
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    if not (Path(sys.base_prefix) / "conda-meta").is_dir():
        assert host.interpreter().installation == "whole system"


# Nothing personal

JOE = Identity(("/home/joe", "/mnt/real/joe"), "joe", "joes-laptop.lan")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/joe/x/torch", "~/x/torch"),
        ("/home/joe", "~"),
        ("/home/joel/x:/home/joe/y", "/home/<user>/x:~/y"),
        ("in '/mnt/real/joe'", "in '~'"),
        ("/scratch/joe/cache and joe", "/scratch/<user>/cache and joe"),
        ("C:\\Users\\mary\\torch", "C:\\Users\\<user>\\torch"),
        ("joes-laptop.lan refused joes-laptop.lang", "<host> refused joes-laptop.lang"),
        ("2.14.1+cu130", "2.14.1+cu130"),
    ],
)
def test_what_an_issue_report_must_not_tell(text: str, shown: str) -> None:
    assert JOE.scrub(text) == shown


def test_all_that_comes_from_outside_is_scrubbed() -> None:
    found = replace(
        with_failure("torch", "ImportError: /home/joe/\x1b[2J.so"),
        environment={"LD_PRELOAD": "/home/joe/a.so"},
        weights_folder=Path("/home/joe/.cache"),
    )
    text = json.dumps([str(scrubbed(verdict(found, ()), JOE))])
    assert "joe" not in text
    assert "\\x1b" not in text.replace("\\\\x1b", "")  # spelled out, and not there


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setenv("HOME", "/")  # which must not make every path look like home
    assert identity().user == ""
    assert "/" not in identity().homes


# The examination


class Asked:
    """Takes down what is asked, and answers as a good machine does."""

    def __init__(self, **facts: Mapping[str, Any]) -> None:
        self.names: list[str] = []
        self.folders: list[str] = []
        self._facts = {**FACTS, **facts}

    def __call__(
        self, names: Sequence[str], home: str, *, environment: Mapping[str, str] | None = None, progress: Any = None
    ) -> dict[str, Answer]:
        assert home == probes.__name__
        assert environment is not None
        assert Path(environment["TMPDIR"]).is_dir()
        self.names += names
        self.folders.append(environment["TMPDIR"])
        return {name: Answer(self._facts.get(name, {})) for name in names}


def test_compiling_is_tried_only_for_who_asks() -> None:
    asked = Asked()
    look(asks=asked, stdout=StringIO())
    assert tuple(asked.names) == probes.LOOKING
    found = look(try_compile=True, asks=asked, stdout=StringIO())
    assert set(asked.names) == set(probes.PROBES)
    assert row(found, "compile-cpu").status == YES
    assert not any(Path(folder).exists() for folder in asked.folders)


def test_where_no_temporary_folder_can_be_made_it_is_asked_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> str:
        raise OSError("No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", full)
    environments: list[object] = []

    def asks(names: Sequence[str], home: str, *, environment: object = None, progress: object = None) -> Any:
        environments.append(environment)
        return {}

    assert look(asks=asks, stdout=StringIO()).answers == {}
    assert environments == [None]


def test_nothing_is_compiled_for_a_gpu_that_is_not_there() -> None:
    asked = Asked(cuda={"available": False, "gpus": [], "said": []})
    look(try_compile=True, asks=asked, stdout=StringIO())
    assert "compile cpu" in asked.names
    assert "compile cuda" not in asked.names


def test_every_question_needs_one_that_comes_before_it() -> None:
    names = list(probes.PROBES)
    for name, probe in probes.PROBES.items():
        assert probe.needs is None or names.index(probe.needs) < names.index(name)


def test_the_questions_have_answers_here() -> None:
    for name in ("torch", "arithmetic", "cpu dtypes", "accelerators", "distributed", "cuda", "cudnn", "gpu dtypes"):
        assert isinstance(json.loads(json.dumps(dict(probes.PROBES[name].run()))), dict)
    import torch

    facts = probes.PROBES["torch"].run()
    assert (facts["version"], facts["threads"]) == (torch.__version__, torch.get_num_threads())
    assert probes.PROBES["cpu dtypes"].run()["bfloat16"] is None


def test_a_torch_that_computes_wrongly_is_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch, "ones", torch.zeros)
    with pytest.raises(ArithmeticError, match="wrongly"):
        probes.PROBES["torch"].run()
    assert "where 72 is right" in str(probes.PROBES["cpu dtypes"].run()["float16"])


def test_the_broken_sample_is_broken() -> None:
    assert not broken_result().ok
