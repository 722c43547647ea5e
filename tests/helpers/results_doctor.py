"""Evidence of invented machines, and the results that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.version import Version

from resnet_cli.measure.doctor.evidence import Evidence
from resnet_cli.measure.doctor.probe_process import Answer
from resnet_cli.measure.doctor.run import summarize_evidence
from resnet_cli.measure.doctor.toolchain import Tool
from resnet_cli.measure.doctor.torchvision_match import InstalledPackage
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
TORCH = InstalledPackage("2.14.1+cu130", "13.0", folder=Path("/site/torch"), tells_build=True)
TORCHVISION = InstalledPackage(
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
    "cuda": {"available": True, "warnings": [], "gpus": [H100, H100]},
    "cudnn": {"available": True, "enabled": True, "version": 91300},
    "gpu dtypes": {"bfloat16": None, "float16": None},
    "torchinfo": {"version": "1.8.0"},
    "fvcore": {"version": "0.1.5"},
    "safetensors": {"version": "0.8.0"},
    "nvml": {"driver": "580.95.05", "count": 2},
    "torchvision": {"version": "0.29.1+cu130"},
}  # fmt: skip

GOOD = Evidence(
    answers={name: Answer(facts) for name, facts in FACTS.items()},
    torch=TORCH,
    torchvision=TORCHVISION,
    oldest_torch=Version("2.10"),
    versions={"torchinfo": "1.8.0", "fvcore": "0.1.5", "safetensors": "0.8.0", "triton": "3.8.0"},
    host=HOST,
    driver="580.95.05",
    system="linux",
    environment={"OMP_NUM_THREADS": "8", "SECRET": "x"},
    compiler=Tool("g++", "g++ 12.2.0"),
    header=Path("/usr/include/Python.h"),
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


def with_facts(probe: str, evidence: Evidence = GOOD, **facts: Any) -> Evidence:
    """The machine with other facts."""
    return with_answers({probe: Answer({**evidence.answers[probe].facts, **facts})}, evidence)


def with_failure(probe: str, failure: str, evidence: Evidence = GOOD) -> Evidence:
    """The machine on which a probe fails."""
    return with_answers({probe: Answer(failure=failure)}, evidence)


def with_answers(answers: Mapping[str, Answer], evidence: Evidence = GOOD) -> Evidence:
    return replace(evidence, answers={**evidence.answers, **answers})


def without(*probes: str, evidence: Evidence = GOOD) -> Evidence:
    """The machine on which these probes did not run."""
    return replace(evidence, answers={name: answer for name, answer in evidence.answers.items() if name not in probes})


def without_cuda(evidence: Evidence = GOOD) -> Evidence:
    return with_facts("cuda", evidence, available=False, gpus=[])


def row(evidence: Evidence, key: str) -> Capability:
    """The row of a capability."""
    return next(row for row in summarize_evidence(evidence, ()).capabilities if row.key == key)


def broken_result() -> DoctorResult:
    """Everything that a page can show: torch and torchvision that do not match, a GPU, variables, a hostile text."""
    hostile = replace(with_failure("fvcore", "ImportError: evil\x1b[2J|<b>[/x]:x:\u202e"), torch=TORCH)
    evidence = with_failure("torchvision", "RuntimeError: operator torchvision::nms does not exist", hostile)
    result = summarize_evidence(
        replace(evidence, torch=replace(TORCH, cuda=None, version="2.14.1+cpu")),
        (Package("torch", "2.14.1"), Package("torchvision", "0.29.1"), Package("timm", None)),
    )
    return replace(
        result,
        resnet_cli="0.1.0",
        python=Interpreter("3.11.7", "CPython", "virtual environment"),
        gpus=result.gpus[:1],
        variables=(Variable("CUDA_VISIBLE_DEVICES", ""), Variable("LD_PRELOAD", "~/libs/libjemalloc.so:" * 4)),
    )
