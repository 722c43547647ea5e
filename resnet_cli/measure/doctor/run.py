"""`doctor`: collect evidence about this machine, and conclude what works."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TextIO

import resnet_cli
from resnet_cli.measure.doctor import host, probes, toolchain, torchvision_match
from resnet_cli.measure.doctor.checks.accelerators import capability, check_accelerators, gpus
from resnet_cli.measure.doctor.checks.cpu_and_compile import check_cpu_and_compile
from resnet_cli.measure.doctor.checks.optional import check_optional, weights_folder
from resnet_cli.measure.doctor.checks.packages import check_packages
from resnet_cli.measure.doctor.evidence import Evidence
from resnet_cli.measure.doctor.probe_process import Answer, ask
from resnet_cli.measure.doctor.redaction import Identity, identity
from resnet_cli.results.doctor import NO, Capability, DoctorResult, Gpu, Package, TorchBuild

Progress = Callable[[str], None]

# Each yields rows of the table, in this order.
CHECKS: tuple[Callable[[Evidence], Iterable[Capability]], ...] = (
    check_packages,
    check_accelerators,
    check_cpu_and_compile,
    check_optional,
)


class AskFunction(Protocol):
    """Answers probes in a process of their own; `probe_process.ask` does."""

    def __call__(
        self, names: Sequence[str], home: str, *, environment: Mapping[str, str] | None = ..., progress: Progress = ...
    ) -> dict[str, Answer]:
        """An answer for each probe that ran."""


def examine(
    *, try_compile: bool = False, stdout: TextIO | None = None, progress: Progress = lambda _: None
) -> DoctorResult:
    """Everything that an issue report should contain.

    Args:
        try_compile: also compile a small network, which may take a minute.
        stdout: where results go; None: sys.stdout.
        progress: called with a short text before each step.
    """
    evidence = collect_evidence(try_compile=try_compile, stdout=stdout, progress=progress)
    return scrubbed(summarize_evidence(evidence, host.packages()), identity())


def collect_evidence(
    *,
    try_compile: bool = False,
    stdout: TextIO | None = None,
    progress: Progress = lambda _: None,
    asks: AskFunction = ask,
) -> Evidence:
    """Run all probes, and read what can be read without torch.

    Args:
        try_compile: also compile a small network.
        stdout: where results go; None: sys.stdout.
        progress: called with a short text before each step.
        asks: runs probes (injectable for tests).
    """
    answers = _ask_in_scratch_folder(probes.LOOKING, asks, progress)
    versions = {one.name: one.version for one in host.packages() if one.version is not None}
    evidence = Evidence(
        answers=answers,
        torch=torchvision_match.installed("torch"),
        torchvision=torchvision_match.installed("torchvision"),
        oldest_torch=torchvision_match.minimum_version("torch"),
        versions=versions,
        host=host.host(),
        driver=host.driver(),
        system=sys.platform,
        environment=os.environ,
        compiler=toolchain.compiler(),
        header=toolchain.python_header(),
        terminal=host.terminal(sys.stdout if stdout is None else stdout),
    )
    evidence = replace(evidence, weights_folder=weights_folder(evidence))
    if try_compile and evidence.imports_torch:
        names = [name for name in probes.COMPILING if name != "compile cuda" or gpus(evidence)]
        evidence = replace(evidence, answers={**answers, **_ask_in_scratch_folder(names, asks, progress)})
    return evidence


def _ask_in_scratch_folder(names: Sequence[str], asks: AskFunction, progress: Progress) -> dict[str, Answer]:
    """Run probes with a scratch folder for temporary files and compiler caches, which is removed afterwards.

    Importing torchvision leaves a temporary folder, and a compiler that is stopped leaves more.
    """
    try:
        folder = tempfile.mkdtemp(prefix="resnet-cli-")
    except OSError:  # no writable temporary folder: the probes report what that breaks
        return asks(names, probes.__name__, progress=progress)
    try:
        environment = {
            **os.environ,
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), folder),
            "TORCHINDUCTOR_CACHE_DIR": str(Path(folder, "inductor")),
            "TRITON_CACHE_DIR": str(Path(folder, "triton")),
        }
        return asks(names, probes.__name__, environment=environment, progress=progress)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def summarize_evidence(evidence: Evidence, installed: tuple[Package, ...]) -> DoctorResult:
    """The result: facts as they are, and one row per capability.

    Args:
        evidence: of this machine.
        installed: packages with their versions.
    """
    capabilities = tuple(row for check in CHECKS for row in check(evidence))
    return DoctorResult(
        ok=_all_required_work(capabilities),
        resnet_cli=resnet_cli.__version__,
        python=host.interpreter(),
        packages=installed,
        torch=_torch_build(evidence),
        host=evidence.host,
        gpus=tuple(_gpu(gpu, evidence) for gpu in gpus(evidence)),
        variables=tuple(host.variables(evidence.environment)),
        terminal=evidence.terminal,
        capabilities=capabilities,
        notes=(),
    )


def _all_required_work(capabilities: Sequence[Capability]) -> bool:
    return not any(one.required and one.status == NO for one in capabilities)


def _torch_build(evidence: Evidence) -> TorchBuild | None:
    if not evidence.imports_torch:
        return None
    facts = {**evidence.answers["torch"].facts, **evidence.answers.get("arithmetic", Answer()).facts}
    return TorchBuild(
        version=str(facts["version"]),
        git_version=facts.get("git_version"),
        cuda=facts.get("cuda"),
        hip=facts.get("hip"),
        kernels=facts.get("kernels"),
        libraries=tuple(facts.get("libraries") or ()),
        threads=facts.get("threads"),
        interop_threads=facts.get("interop_threads"),
    )


def _gpu(gpu: dict[str, Any], evidence: Evidence) -> Gpu:
    return Gpu(
        name=str(gpu["name"]),
        memory_bytes=int(gpu["memory_bytes"]),
        capability=".".join(map(str, capability(gpu))),
        driver=None if evidence.fact("torch", "hip") else evidence.nvidia_driver,
    )


def scrubbed(result: DoctorResult, who: Identity) -> DoctorResult:
    """The result without user name, host name and home folders, which an issue report must not contain."""
    clean = who.scrub

    return replace(
        result,
        variables=tuple(replace(one, value=clean(one.value)) for one in result.variables),
        capabilities=tuple(
            replace(one, reason=clean(one.reason), fix=None if one.fix is None else clean(one.fix))
            for one in result.capabilities
        ),
    )
