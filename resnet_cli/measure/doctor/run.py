"""The whole examination: look, ask, and say what works."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TextIO

import resnet_cli
from resnet_cli.formatting import printable
from resnet_cli.measure.doctor import host, probes, toolchain, torchvision_match
from resnet_cli.measure.doctor.checks.accelerators import accelerators, capability, gpus
from resnet_cli.measure.doctor.checks.cpu_and_compile import processing
from resnet_cli.measure.doctor.checks.optional import extras, weights_folder
from resnet_cli.measure.doctor.checks.packages import packages
from resnet_cli.measure.doctor.evidence import Findings
from resnet_cli.measure.doctor.probe_process import Answer, ask
from resnet_cli.measure.doctor.redaction import Identity, identity
from resnet_cli.results.doctor import NO, Capability, DoctorResult, Gpu, Package, TorchBuild

Progress = Callable[[str], None]


class Asks(Protocol):
    """Asks questions in processes of their own: `isolated.ask`."""

    def __call__(
        self, names: Sequence[str], home: str, *, environment: Mapping[str, str] | None = ..., progress: Progress = ...
    ) -> dict[str, Answer]:
        """An answer for each name that could be asked."""


def examine(
    *, try_compile: bool = False, stdout: TextIO | None = None, progress: Progress = lambda _: None
) -> DoctorResult:
    """Look at everything that an issue report should contain.

    Args:
        try_compile: really compile a small network, which may take a minute.
        stdout: where results go; None: sys.stdout.
        progress: is told what is going on.
    """
    found = look(try_compile=try_compile, stdout=stdout, progress=progress)
    return scrubbed(verdict(found, host.packages()), identity())


def look(
    *,
    try_compile: bool = False,
    stdout: TextIO | None = None,
    progress: Progress = lambda _: None,
    asks: Asks = ask,
) -> Findings:
    """Find everything out.

    Args:
        try_compile: really compile a small network.
        stdout: where results go; None: sys.stdout.
        progress: is told what is going on.
        asks: in a process of its own.
    """
    answers = _ask(probes.LOOKING, asks, progress)
    versions = {one.name: one.version for one in host.packages() if one.version is not None}
    found = Findings(
        answers=answers,
        torch=torchvision_match.installed("torch"),
        torchvision=torchvision_match.installed("torchvision"),
        oldest_torch=torchvision_match.floor("torch"),
        versions=versions,
        host=host.host(),
        driver=host.driver(),
        system=sys.platform,
        environment=os.environ,
        compiler=toolchain.compiler(),
        header=toolchain.python_header(),
        browser=toolchain.browser(),
        terminal=host.terminal(sys.stdout if stdout is None else stdout),
    )
    found = replace(found, weights_folder=weights_folder(found))
    if try_compile and found.imports_torch:
        names = [name for name in probes.COMPILING if name != "compile cuda" or gpus(found)]
        found = replace(found, answers={**answers, **_ask(names, asks, progress)})
    return found


def _ask(names: Sequence[str], asks: Asks, progress: Progress) -> dict[str, Answer]:
    """What the processes write to folders of temporary files and caches goes with them.

    The import of torchvision alone leaves a folder, and a compiler that has to be stopped leaves more. What is compiled
    here is not found again either.
    """
    try:
        folder = tempfile.mkdtemp(prefix="resnet-cli-")
    except OSError:  # nothing can be written here; what that breaks, the answers say
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


def verdict(found: Findings, installed: tuple[Package, ...]) -> DoctorResult:
    """What the findings come to.

    Args:
        found: everything that was found out.
        installed: packages with their versions.
    """
    capabilities = (*packages(found), *accelerators(found), *processing(found), *extras(found))
    return DoctorResult(
        ok=_healthy(capabilities),
        resnet_cli=resnet_cli.__version__,
        python=host.interpreter(),
        packages=installed,
        torch=_torch_build(found),
        host=found.host,
        gpus=tuple(_gpu(gpu, found) for gpu in gpus(found)),
        variables=tuple(host.variables(found.environment)),
        terminal=found.terminal,
        capabilities=capabilities,
        notes=(),
    )


def _healthy(capabilities: Sequence[Capability]) -> bool:
    return not any(one.required and one.status == NO for one in capabilities)


def _torch_build(found: Findings) -> TorchBuild | None:
    if not found.imports_torch:
        return None
    facts = {**found.answers["torch"].facts, **found.answers.get("arithmetic", Answer()).facts}
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


def _gpu(gpu: dict[str, Any], found: Findings) -> Gpu:
    return Gpu(
        name=str(gpu["name"]),
        memory_bytes=int(gpu["memory_bytes"]),
        capability=".".join(map(str, capability(gpu))),
        driver=None if found.fact("torch", "hip") else found.nvidia_driver,
    )


def scrubbed(result: DoctorResult, who: Identity) -> DoctorResult:
    """The result without what an issue report must not tell, wherever a text comes from outside."""

    def clean(text: str) -> str:
        return printable(who.scrub(text))

    return replace(
        result,
        variables=tuple(replace(one, value=clean(one.value)) for one in result.variables),
        capabilities=tuple(
            replace(one, reason=clean(one.reason), fix=None if one.fix is None else clean(one.fix))
            for one in result.capabilities
        ),
    )
