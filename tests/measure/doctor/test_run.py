"""Rows of `doctor` on invented machines, and the order in which evidence is collected. No process is started."""

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

from resnet_cli.measure.doctor import probes
from resnet_cli.measure.doctor.checks.optional import weights_folder
from resnet_cli.measure.doctor.evidence import Evidence
from resnet_cli.measure.doctor.probe_process import Answer
from resnet_cli.measure.doctor.redaction import Identity
from resnet_cli.measure.doctor.run import collect_evidence, examine, scrubbed, summarize_evidence
from resnet_cli.measure.doctor.toolchain import Tool
from resnet_cli.measure.doctor.torchvision_match import InstalledPackage
from resnet_cli.results.doctor import NO, NOT_TRIED, YES, Gpu, Terminal, TorchBuild
from tests.helpers.results_doctor import (
    FACTS,
    GOOD,
    H100,
    HOST,
    NO_TORCH,
    TORCH,
    TORCHVISION,
    row,
    with_answers,
    with_facts,
    with_failure,
    without_cuda,
)

CRASHED = "the probe process crashed (SIGSEGV)"
OLD_GPU = with_facts("cuda", gpus=[{**H100, "capability": [6, 1]}])
CPU_BUILD = without_cuda(with_facts("torch", cuda=None))
NO_DRIVER = replace(with_failure("nvml", "NVMLError: x"), driver=None)
MAC = replace(without_cuda(NO_DRIVER), system="darwin")
ROCM = with_facts("torch", cuda=None, hip="6.4")
REQUIRED = {"torch", "torchvision", "safetensors"}
OF_THE_PYTHON_PROCESS = {"unicode", "colour"}


def test_a_machine_where_everything_works() -> None:
    result = summarize_evidence(GOOD, ())
    assert result.ok
    assert {capability.key: capability.status for capability in result.capabilities if capability.status != YES} == {
        "mps": NO,
        "xpu": NO,
        "compile-cpu": NOT_TRIED,
        "compile-gpu": NOT_TRIED,
    }
    assert result.gpus == (Gpu("NVIDIA H100 80GB HBM3", 80 * 10**9, "9.0", "580.95.05"),) * 2
    assert [variable.name for variable in result.variables] == ["OMP_NUM_THREADS"]  # and no secret
    assert len({capability.key for capability in result.capabilities}) == len(result.capabilities)
    assert result.torch == TorchBuild(
        "2.14.1+cu130",
        "5c4886908584029761b579af026dcfb627c84070",
        "13.0",
        None,
        "AVX512",
        ("MKL 2024.2", "oneDNN 3.12.0"),
        8,
        56,
    )


# What does not work: the row, the machine, whether there is something to do about it.
BROKEN: list[tuple[str, Evidence, bool]] = [
    ("torch", replace(with_failure("torch", "x"), torch=InstalledPackage()), True),
    ("torch", with_failure("torch", "OSError: no libc10.so"), True),
    ("torch", replace(with_failure("torch", "x"), torch=replace(TORCH, is_shadowed=True)), True),
    ("torch", with_facts("torch", version="2.9.1+cu128"), True),
    ("torchvision", replace(with_failure("torchvision", "x"), torchvision=InstalledPackage()), True),
    ("torchvision", with_failure("torchvision", CRASHED), True),
    ("torchvision", replace(with_failure("torchvision", "nms"), torch=replace(TORCH, cuda=None)), True),
    (
        "torchvision",
        replace(with_failure("torchvision", "x"), torchvision=replace(TORCHVISION, is_shadowed=True)),
        True,
    ),
    ("torchvision", replace(NO_TORCH, torch=replace(TORCH, cuda=None)), True),
    ("safetensors", with_failure("safetensors", "ImportError: y"), True),
    ("torchinfo", with_failure("torchinfo", "ImportError: y"), True),
    ("fvcore", with_failure("fvcore", "ImportError: y"), True),
    ("cuda", MAC, False),
    ("cuda", replace(with_failure("nvml", "NVMLError: x", CPU_BUILD), driver=None), False),
    ("cuda", CPU_BUILD, True),
    ("cuda", replace(without_cuda(), environment={"CUDA_VISIBLE_DEVICES": ""}), True),
    ("cuda", without_cuda(NO_DRIVER), True),
    ("cuda", without_cuda(), True),
    ("cuda", with_failure("cuda", "no answer within 120 s"), True),
    ("cuda", with_facts("cuda", gpus=[{**H100, "failure": "AcceleratorError: no kernel image"}]), True),
    ("cudnn", without_cuda(), False),
    ("cudnn", with_facts("cudnn", available=False), True),
    ("cudnn", with_failure("cudnn", CRASHED), True),
    ("gloo", with_facts("distributed", gloo=False), False),
    ("gloo", with_failure("distributed", CRASHED), False),
    ("nccl", without_cuda(), False),
    ("nccl", with_facts("distributed", nccl=False), False),
    ("nccl", with_failure("distributed", CRASHED), False),
    ("gpu-bfloat16", without_cuda(), False),
    ("gpu-bfloat16", with_facts("gpu dtypes", bfloat16="RuntimeError: z"), False),
    ("gpu-float16", with_failure("gpu dtypes", CRASHED), False),
    ("tf32", OLD_GPU, False),
    ("tf32", ROCM, False),
    ("mps", GOOD, False),
    ("mps", MAC, True),
    ("mps", with_facts("accelerators", MAC, mps_built=True), True),
    ("mps", with_facts("accelerators", MAC, mps_available=True, mps_failure="E: y"), False),
    ("mps", with_failure("accelerators", CRASHED), False),
    ("xpu", GOOD, False),
    ("xpu", with_facts("accelerators", xpu_available=True), True),
    ("cpu-bfloat16", with_facts("cpu dtypes", bfloat16="RuntimeError: z"), False),
    ("cpu-float16", with_failure("cpu dtypes", CRASHED), False),
    ("compile-cpu", replace(GOOD, compiler=Tool("g++", None)), True),
    ("compile-cpu", replace(MAC, compiler=Tool("clang++", None)), True),
    ("compile-cpu", replace(GOOD, header=None), True),
    ("compile-cpu", with_answers({"compile cpu": Answer(failure="X: cc1plus died")}), True),
    ("compile-gpu", without_cuda(), False),
    ("compile-gpu", OLD_GPU, False),
    ("compile-gpu", replace(GOOD, versions={}), True),
    ("compile-gpu", with_answers({"compile cuda": Answer(failure="UnavailableError: no gcc")}), True),
    ("nvml", with_failure("nvml", "ModuleNotFoundError: No module named 'pynvml'"), True),
    ("nvml", replace(with_failure("nvml", "E: NVML Shared Library Not Found"), driver=None), False),
    ("nvml", with_failure("nvml", "NVMLError: Driver/library version mismatch"), True),
    ("weights", replace(GOOD, weights_folder=Path(__file__, "checkpoints")), True),
    ("unicode", replace(GOOD, terminal=Terminal("cp1252", True, 80, True)), True),
    ("unicode", replace(GOOD, terminal=Terminal("no-such", True, 80, True)), True),
    ("colour", replace(GOOD, terminal=Terminal("utf-8", False, None, False)), False),
    ("colour", replace(GOOD, terminal=Terminal("utf-8", True, 80, False), environment={"NO_COLOR": "1"}), False),
]


@pytest.mark.parametrize(("key", "evidence", "has_fix"), BROKEN)
def test_what_is_broken(key: str, evidence: Evidence, has_fix: bool) -> None:
    result = summarize_evidence(evidence, ())
    broken = {capability.key for capability in result.capabilities if capability.status == NO}
    assert key in broken
    assert (row(evidence, key).fix is not None) is has_fix
    assert result.ok is (not broken & REQUIRED)
    assert {capability.key for capability in result.capabilities if capability.required} == REQUIRED


def test_every_row_can_be_broken() -> None:
    assert {key for key, *_ in BROKEN} == {capability.key for capability in summarize_evidence(GOOD, ()).capabilities}


def test_without_torch_nothing_is_claimed_about_what_needs_it() -> None:
    result = summarize_evidence(replace(NO_TORCH, weights_folder=weights_folder(NO_TORCH)), ())
    assert (result.torch, result.ok) == (None, False)
    unknown = {capability.key for capability in result.capabilities if capability.status == NOT_TRIED}
    assert unknown == {capability.key for capability in result.capabilities} - {
        "torch",
        "safetensors",
        "nvml",
        *OF_THE_PYTHON_PROCESS,
    }


@pytest.mark.parametrize(
    ("key", "evidence", "value"),
    [
        ("torch", ROCM, "ROCm 6.4"),
        ("cuda", GOOD, "13.0, 2 GPUs"),
        ("cuda", with_facts("cuda", ROCM, gpus=[H100]), "6.4, 1 GPU"),
        ("gpu-bfloat16", OLD_GPU, "6.1"),
        ("cpu-bfloat16", GOOD, "avx512_bf16, amx_bf16"),
        ("cpu-bfloat16", with_facts("cpu dtypes", emulates_bfloat16=True), "emulated"),
        ("cpu-float16", replace(GOOD, host=replace(HOST, features=("avx2",))), "emulated"),
        ("cpu-float16", replace(GOOD, host=replace(HOST, features=None)), "not known"),
        ("compile-cpu", with_answers({"compile cpu": Answer()}), "compiled"),
        ("compile-gpu", with_answers({"compile cuda": Answer()}), "compiled"),
        ("torchvision", replace(GOOD, torch=replace(TORCH, version="2.13.0")), "needs torch >=2.14.0"),
        ("colour", GOOD, "120"),
    ],
)
def test_what_works_says_what_was_found(key: str, evidence: Evidence, value: str) -> None:
    capability = row(evidence, key)
    assert (capability.status, capability.fix) == (YES, None)
    assert value in capability.reason


@pytest.mark.parametrize(("version", "status"), [("2.9.1", NO), ("2.10", YES), ("2.10.0a0+git1", YES), ("2.100", YES)])
def test_the_oldest_torch_is_old_enough(version: str, status: str) -> None:
    assert row(with_facts("torch", version=version), "torch").status == status


def test_a_folder_that_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write everywhere
    assert row(replace(GOOD, weights_folder=tmp_path / "hub" / "checkpoints"), "weights").status == NO
    assert list(tmp_path.iterdir()) == []
    assert row(replace(GOOD, weights_folder=Path("/") / "a/b"), "weights").reason == "/a/b"


def test_personal_data_is_scrubbed() -> None:
    evidence = replace(
        with_failure("torch", "ImportError: /home/joe/x.so"),
        environment={"LD_PRELOAD": "/home/joe/a.so"},
        weights_folder=Path("/home/joe/.cache"),
    )
    result = scrubbed(summarize_evidence(evidence, ()), Identity(("/home/joe",), "joe", "joes-laptop"))
    assert "joe" not in json.dumps(str(result))


class Recorder:
    """Records which probes run, and answers as a good machine does."""

    def __init__(self, **facts: Mapping[str, Any]) -> None:
        self.names: list[str] = []
        self.folders: list[str | None] = []
        self._facts = {**FACTS, **facts}

    def __call__(
        self, names: Sequence[str], home: str, *, environment: Mapping[str, str] | None = None, progress: Any = None
    ) -> dict[str, Answer]:
        assert home == probes.__name__
        self.names += names
        self.folders.append(None if environment is None else environment["TMPDIR"])
        assert environment is None or Path(environment["TMPDIR"]).is_dir()
        return {name: Answer(self._facts.get(name, {})) for name in names}


def test_evidence_is_collected_from_probes_and_from_this_machine() -> None:
    evidence = collect_evidence(asks=Recorder(), stdout=StringIO())
    assert evidence.weights_folder == Path("/nowhere/torch/hub/checkpoints")
    assert (evidence.system, evidence.terminal.is_terminal) == (sys.platform, False)
    assert evidence.versions["safetensors"]


def test_compiling_is_tried_only_on_request() -> None:
    recorder = Recorder()
    collect_evidence(asks=recorder, stdout=StringIO())
    assert tuple(recorder.names) == probes.LOOKING
    evidence = collect_evidence(try_compile=True, asks=recorder, stdout=StringIO())
    assert set(recorder.names) == set(probes.PROBES)
    assert row(evidence, "compile-cpu").status == YES
    assert not any(Path(folder).exists() for folder in recorder.folders if folder)


def test_nothing_is_compiled_for_a_missing_gpu() -> None:
    recorder = Recorder(cuda={"available": False, "gpus": [], "warnings": []})
    collect_evidence(try_compile=True, asks=recorder, stdout=StringIO())
    assert "compile cpu" in recorder.names
    assert "compile cuda" not in recorder.names


def test_the_result_is_that_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = replace(GOOD, environment={"TORCH_HOME": "/srv/joe/torch"})
    monkeypatch.setattr("resnet_cli.measure.doctor.run.collect_evidence", lambda **_: evidence)
    monkeypatch.setenv("HOME", "/srv/joe")
    result = examine()
    assert [variable.value for variable in result.variables] == ["~/torch"]
    assert result.ok
