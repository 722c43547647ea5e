"""Machines that were never there: what was found on them, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnet_cli.measure.doctor.evidence import Findings
from resnet_cli.measure.doctor.probe_process import Answer
from resnet_cli.measure.doctor.run import verdict
from resnet_cli.measure.doctor.toolchain import Tool
from resnet_cli.measure.doctor.torchvision_match import Installed
from resnet_cli.results.doctor import Capability, DoctorResult, Host, Interpreter, Package, Terminal, Variable

HOST = Host(
    system="Linux-6.1.0-amd64-x86_64-with-glibc2.36",
    architecture="x86_64",
    processor="Xeon [bold]Platinum[/bold] 8480C",
    features=("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16"),
    physical_cores=56,
    logical_cores=112,
    usable_cores=8,
    quota=3.5,
    memory_bytes=128 * 2**30,
    memory_limit_bytes=16 * 2**30,
)
H100 = {"name": "NVIDIA H100 80GB HBM3", "memory_bytes": 80 * 10**9, "capability": [9, 0], "failure": None}
TORCH = Installed("2.14.1+cu130", "13.0", folder=Path("/site/torch"), tells_build=True)
TORCHVISION = Installed(
    "0.29.1+cu130", requires=("numpy", "torch (>=2.14.0)"), folder=Path("/site/torchvision"), tells_build=True
)
FACTS: dict[str, dict[str, Any]] = {
    "torch": {
        "version": "2.14.1+cu130", "git_version": "5c4886908584029761b579af026dcfb627c84070", "cuda": "13.0",
        "hip": None, "threads": 8, "interop_threads": 56, "weights_folder": "/nowhere/torch/hub",
    },
    "arithmetic": {"kernels": "AVX512", "libraries": ["MKL 2024.2", "oneDNN 3.12.0"]},
    "cpu dtypes": {"bfloat16": None, "float16": None, "emulates_bfloat16": False},
    "accelerators": {"mps_built": False, "mps_available": False, "mps_failure": None, "xpu_available": False},
    "distributed": {"gloo": True, "nccl": True, "nccl_version": [2, 28, 3]},
    "cuda": {"available": True, "said": [], "gpus": [H100, H100]},
    "cudnn": {"available": True, "enabled": True, "version": 91300},
    "gpu dtypes": {"bfloat16": None, "float16": None},
    "torchinfo": {"version": "1.8.0"},
    "fvcore": {"version": "0.1.5"},
    "safetensors": {"version": "0.8.0"},
    "nvml": {"driver": "580.95.05", "count": 2},
    "torchvision": {"version": "0.29.1+cu130"},
}  # fmt: skip

GOOD = Findings(
    answers={name: Answer(facts) for name, facts in FACTS.items()},
    torch=TORCH,
    torchvision=TORCHVISION,
    oldest_torch="2.10",
    versions={"torchinfo": "1.8.0", "fvcore": "0.1.5", "safetensors": "0.8.0", "triton": "3.8.0", "playwright": "1.65"},
    host=HOST,
    driver="580.95.05",
    system="linux",
    environment={"OMP_NUM_THREADS": "8", "SECRET": "x"},
    compiler=Tool("g++", "g++ 12.2.0"),
    header=Path("/usr/include/Python.h"),
    browser="chromium",
    terminal=Terminal("utf-8", True, 120, True),
    weights_folder=Path("/"),
)

NO_TORCH = replace(
    GOOD,
    answers={
        "torch": Answer(failure="ImportError: x"),
        **{name: GOOD.answers[name] for name in ("safetensors", "nvml")},
    },
)


def with_facts(question: str, found: Findings = GOOD, **facts: Any) -> Findings:
    """The machine with other facts."""
    return with_answers({question: Answer({**found.answers[question].facts, **facts})}, found)


def with_failure(question: str, failure: str, found: Findings = GOOD) -> Findings:
    """The machine on which a question fails."""
    return with_answers({question: Answer(failure=failure)}, found)


def with_answers(answers: Mapping[str, Answer], found: Findings = GOOD) -> Findings:
    return replace(found, answers={**found.answers, **answers})


def without(*questions: str, found: Findings = GOOD) -> Findings:
    """The machine on which nobody asked."""
    return replace(found, answers={name: answer for name, answer in found.answers.items() if name not in questions})


def without_cuda(found: Findings = GOOD) -> Findings:
    return with_facts("cuda", found, available=False, gpus=[])


def row(found: Findings, key: str) -> Capability:
    """A line of the verdict."""
    return next(one for one in verdict(found, ()).capabilities if one.key == key)


def broken_result() -> DoctorResult:
    """A page with all that it may hold: a broken pair, a GPU, variables, a long reason, a hostile one."""
    hostile = replace(with_failure("fvcore", "ImportError: evil\x1b[2J|<b>[/x]:x:\u202e"), torch=TORCH)
    found = with_failure("torchvision", "RuntimeError: operator torchvision::nms does not exist", hostile)
    made = verdict(
        replace(found, torch=replace(TORCH, cuda=None, version="2.14.1+cpu")),
        (Package("torch", "2.14.1"), Package("torchvision", "0.29.1"), Package("timm", None)),
    )
    return replace(
        made,
        resnet_cli="0.1.0",
        python=Interpreter("3.11.7", "CPython", "virtual environment"),
        gpus=made.gpus[:1],
        variables=(Variable("CUDA_VISIBLE_DEVICES", ""), Variable("LD_PRELOAD", "~/libs/libjemalloc.so:" * 4)),
    )
