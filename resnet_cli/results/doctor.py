"""What is installed, what the machine is, and what works on it."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_cli.results.common import Note

YES, NO, NOT_TRIED = "yes", "no", "not tried"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that resnet-cli, or a part of it, uses."""

    name: str
    version: str | None  # as its metadata says; None where it is not installed


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that runs this."""

    version: str
    implementation: str  # "CPython"
    installation: str  # "virtual environment", "conda environment" or "whole system"


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """The torch that was imported; None is what it does not have, or does not tell."""

    version: str
    git_version: str | None
    cuda: str | None  # that it was built for
    hip: str | None
    kernels: str | None  # the widest instructions that its own kernels use here: "AVX512"
    libraries: tuple[str, ...]  # that do the arithmetic: "oneDNN 3.7.1"
    threads: int | None  # within an operator
    interop_threads: int | None  # between operators


@dataclass(frozen=True, slots=True)
class Host:
    """The machine, and how much of it this process may use."""

    system: str  # "Linux-6.1.0-amd64-x86_64-with-glibc2.36"
    architecture: str
    processor: str
    features: tuple[str, ...] | None  # instructions that matter for a network; None where they cannot be told
    physical_cores: int | None
    logical_cores: int | None
    usable_cores: int | None  # logical ones that this process may run on
    quota: float | None  # processors' worth of time that the control group grants; None for all
    memory_bytes: int | None  # all of it, not what happens to be free
    memory_limit_bytes: int | None  # of the control group


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU that torch sees."""

    name: str
    memory_bytes: int
    capability: str | None  # "9.0"
    driver: str | None


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment that is set and that changes figures."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where standard output goes."""

    encoding: str
    is_terminal: bool
    columns: int | None  # None where it is no terminal
    colour: bool


@dataclass(frozen=True, slots=True)
class Capability:
    """Something that works here or does not."""

    key: str
    name: str
    status: str  # "yes", "no" or "not tried"
    reason: str  # what was found
    fix: str | None  # what to do where it does not work
    required: bool  # a command is broken where this is


@dataclass(frozen=True, slots=True)
class DoctorResult:
    """What an issue report should contain. Nothing personal is in it, and nothing that changes between two runs."""

    ok: bool  # everything that a command needs works
    resnet_cli: str
    python: Interpreter
    packages: tuple[Package, ...]
    torch: TorchBuild | None  # None where it cannot be imported
    host: Host
    gpus: tuple[Gpu, ...]
    variables: tuple[Variable, ...]
    terminal: Terminal
    capabilities: tuple[Capability, ...]
    notes: tuple[Note, ...]
