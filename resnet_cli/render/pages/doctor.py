"""The page of `doctor`: versions, the machine, and what works here with the reason where it does not."""

from __future__ import annotations

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Document, Element, Fields, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import counted, exact, scaled, text_cell
from resnet_cli.render.pages.elements import fields, notes
from resnet_cli.results.doctor import NO, NOT_TRIED, YES, Capability, DoctorResult, Gpu, Host, TorchBuild

_COMMIT_DIGITS = 12


def doctor_page(result: DoctorResult, view: ViewOptions) -> Document:  # noqa: ARG001  # there is nothing to choose
    """All of it: it is meant to be pasted into an issue report."""
    broken = [capability.name for capability in result.capabilities if capability.required and capability.status == NO]
    summary = "all required components work" if result.ok else f"does not work: {', '.join(broken)}"
    elements: list[Element] = [_packages(result)] if result.packages else []
    elements += [] if result.torch is None else [_torch(result.torch)]
    elements += [_host(result.host), *(_gpu(index, gpu) for index, gpu in enumerate(result.gpus))]
    if result.host.features:
        elements.append(Paragraph("dim", f"CPU instructions: {', '.join(result.host.features)}"))
    if result.variables:
        elements.append(_variables(result))
    return Document(
        title=f"resnet-cli {result.resnet_cli}: {summary}",
        subtitle=_subtitle(result),
        elements=(*elements, _capabilities(result), *notes(result.notes)),
    )


def _subtitle(result: DoctorResult) -> str:
    python, terminal = result.python, result.terminal
    output = f"output in {terminal.encoding}"
    if terminal.columns is not None:
        output += f" to a terminal of {counted(terminal.columns, 'column')}"
    parts = (
        f"{python.implementation} {python.version} ({python.installation})",
        result.host.system,
        result.host.processor,
        output,
    )
    return " · ".join(parts)


def _packages(result: DoctorResult) -> Fields:
    return Fields("packages", tuple((package.name, text_cell(package.version)) for package in result.packages))


def _torch(build: TorchBuild) -> Fields:
    threads = None if build.threads is None else f"{build.threads} / {build.interop_threads or formatting.UNKNOWN}"
    commit = None if build.git_version is None else build.git_version[:_COMMIT_DIGITS]
    libraries = [(name, text_cell(version)) for name, _, version in (each.partition(" ") for each in build.libraries)]
    return fields(
        "torch",
        ("version", text_cell(build.version)),
        ("commit", text_cell(commit, value=build.git_version)),
        ("built for CUDA", text_cell(build.cuda)) if build.hip is None else ("built for ROCm", text_cell(build.hip)),
        ("CPU kernels", text_cell(build.kernels)),
        *libraries,
        ("intra-op / inter-op threads", text_cell(threads)),
    )


def _host(host: Host) -> Fields:
    cores = [
        f"{number} {kind}"
        for number, kind in ((host.physical_cores, "physical"), (host.logical_cores, "logical"))
        if number is not None
    ]
    return fields(
        "machine",
        ("architecture", text_cell(host.architecture)),
        ("cores", text_cell(" / ".join(cores) or None)),
        ("usable cores", exact(host.usable_cores)),
        ("CPU quota (cgroup)", _limit(host.quota, None if host.quota is None else f"{host.quota:g}")),
        ("memory", scaled(host.memory_bytes, "B")),
        ("memory limit (cgroup)", _limit(host.memory_limit_bytes, formatting.scaled(host.memory_limit_bytes, "B"))),
    )


def _limit(value: float | None, text: str | None) -> Cell:
    return Cell("none", None, "dim") if value is None or text is None else Cell(text, value)


def _gpu(index: int, gpu: Gpu) -> Fields:
    return fields(
        f"GPU {index}: {gpu.name}",
        ("memory", scaled(gpu.memory_bytes, "B")),
        ("compute capability", text_cell(gpu.capability)),
        ("driver", text_cell(gpu.driver)),
    )


def _variables(result: DoctorResult) -> Table:
    columns = (
        Column("name", "variable", numeric=False),
        Column("value", "value", numeric=False, minimum=16, comfort=24, wrap=True),
    )
    rows = tuple(
        Row({"name": text_cell(each.name), "value": text_cell(each.value or "(empty)", value=each.value)})
        for each in result.variables
    )
    return Table("variables", "environment variables that affect results", columns, rows)


def _capabilities(result: DoctorResult) -> Table:
    columns = (
        Column("name", "component", numeric=False, minimum=14, comfort=20),
        Column("status", "works", numeric=False),
        Column("reason", "reason", numeric=False, minimum=16, comfort=24, wrap=True),
    )
    rows = tuple(
        Row({"name": text_cell(each.name, value=each.key), "status": _status(each), "reason": _reason(each)})
        for each in result.capabilities
    )
    return Table("capabilities", "components", columns, rows)


def _status(capability: Capability) -> Cell:
    """A "no" is an error only where a command requires the component."""
    status = capability.status
    if status == YES:
        return Cell("✓ yes", status, "good")
    if status == NO:
        return Cell("✗ broken", status, "bad") if capability.required else Cell("– no", status)
    return Cell(f"? {status}" if status == NOT_TRIED else status, status, "dim")


def _reason(capability: Capability) -> Cell:
    """The evidence, and after an arrow the fix."""
    fix = "" if capability.fix is None else f" → {capability.fix}"
    return text_cell(f"{capability.reason}{fix}")
