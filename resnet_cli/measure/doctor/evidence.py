"""What is known about this machine, and how a capability row is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import Version

from resnet_cli.measure.doctor.probe_process import Answer
from resnet_cli.measure.doctor.toolchain import Tool
from resnet_cli.measure.doctor.torchvision_match import InstalledPackage
from resnet_cli.results.doctor import NO, NOT_TRIED, YES, Capability, Host, Terminal


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the capability rows are derived from (injectable for tests).

    Args:
        answers: of the probes, by name; one that could not run has none.
        torch: as described by its files.
        torchvision: likewise.
        oldest_torch: the oldest release that resnet-cli allows; None if that is not known.
        versions: of the installed packages, by name.
        host: the machine.
        driver: version of NVIDIA's kernel driver, if loaded.
        system: `sys.platform`.
        environment: environment variables.
        compiler: C++ compiler.
        header: path of Python.h.
        terminal: standard output.
        weights_folder: where torchvision caches downloaded weights; None if only torch would know.
    """

    answers: Mapping[str, Answer]
    torch: InstalledPackage
    torchvision: InstalledPackage
    oldest_torch: Version | None
    versions: Mapping[str, str]
    host: Host
    driver: str | None
    system: str
    environment: Mapping[str, str]
    compiler: Tool
    header: Path | None
    terminal: Terminal
    weights_folder: Path | None = field(default=None)

    def fact(self, probe: str, name: str) -> object:
        """One fact of a probe's answer, or None."""
        answer = self.answers.get(probe)
        return None if answer is None else answer.facts.get(name)

    def failure(self, probe: str) -> str | None:
        """Why a probe failed; None if it succeeded or did not run."""
        answer = self.answers.get(probe)
        return None if answer is None else answer.failure

    @property
    def nvidia_driver(self) -> str | None:
        """Version of NVIDIA's driver; on some systems, such as WSL, only NVML knows it."""
        version = self.fact("nvml", "driver")
        return self.driver if version is None else str(version)

    @property
    def imports_torch(self) -> bool:
        """Whether torch can be imported and multiplies correctly."""
        answer = self.answers.get("torch")
        return answer is not None and answer.failure is None


def yes(key: str, name: str, reason: str, *, required: bool = False) -> Capability:
    """Row for a capability that works."""
    return Capability(key, name, YES, reason, None, required)


def no(key: str, name: str, reason: str, fix: str | None = None, *, required: bool = False) -> Capability:
    """Row for a capability that does not work; `fix` says what to do."""
    return Capability(key, name, NO, reason, fix, required)


def not_tried(key: str, name: str, reason: str, fix: str | None = None, *, required: bool = False) -> Capability:
    """Row for a capability that was not probed."""
    return Capability(key, name, NOT_TRIED, reason, fix, required)


WITHOUT_TORCH = "needs torch"
WITHOUT_CUDA = "needs CUDA"
