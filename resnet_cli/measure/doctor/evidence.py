"""What was found out, and how a line of the verdict is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from resnet_cli.measure.doctor.probe_process import Answer
from resnet_cli.measure.doctor.toolchain import Tool
from resnet_cli.measure.doctor.torchvision_match import Installed
from resnet_cli.results.doctor import NO, NOT_TRIED, YES, Capability, Host, Terminal


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that the lines of the verdict are drawn from. A test brings its own.

    Args:
        answers: of torch and its companions; a question that was in vain has none.
        torch: as its files tell it.
        torchvision: likewise.
        oldest_torch: the oldest release that resnet-cli takes; None where that is not known.
        versions: of packages by their names; one that is not installed is missing.
        host: the machine.
        driver: of NVIDIA, where the system has loaded one.
        system: as sys.platform says.
        environment: its variables.
        compiler: of C++.
        header: where Python.h is.
        browser: the program.
        terminal: where results go.
        weights_folder: where published weights are kept; None where only torch would know.
    """

    answers: Mapping[str, Answer]
    torch: Installed
    torchvision: Installed
    oldest_torch: str | None
    versions: Mapping[str, str]
    host: Host
    driver: str | None
    system: str
    environment: Mapping[str, str]
    compiler: Tool
    header: Path | None
    browser: str | None
    terminal: Terminal
    weights_folder: Path | None = field(default=None)

    def fact(self, question: str, name: str) -> object:
        """One of the facts of an answer; None where there is none."""
        answer = self.answers.get(question)
        return None if answer is None else answer.facts.get(name)

    def failure(self, question: str) -> str | None:
        """Why a question has no answer; None where it has one."""
        answer = self.answers.get(question)
        return None if answer is None else answer.failure

    @property
    def nvidia_driver(self) -> str | None:
        """The version of NVIDIA's driver; on some systems, such as WSL, only NVML knows it."""
        told = self.fact("nvml", "driver")
        return self.driver if told is None else str(told)

    @property
    def imports_torch(self) -> bool:
        """Whether torch can be imported and multiplies."""
        answer = self.answers.get("torch")
        return answer is not None and answer.failure is None


def yes(key: str, name: str, reason: str, *, needed: bool = False) -> Capability:
    """It works."""
    return Capability(key, name, YES, reason, None, needed)


def no(key: str, name: str, reason: str, fix: str | None = None, *, needed: bool = False) -> Capability:
    """It does not work."""
    return Capability(key, name, NO, reason, fix, needed)


def not_tried(key: str, name: str, reason: str, fix: str | None = None, *, needed: bool = False) -> Capability:
    """Nobody knows."""
    return Capability(key, name, NOT_TRIED, reason, fix, needed)


WITHOUT_TORCH = "needs torch"
WITHOUT_CUDA = "needs CUDA"
