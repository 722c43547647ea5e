"""The page of an examination: versions, the machine, and what works here with the reason for each no."""

from __future__ import annotations

from resnet_cli import formatting
from resnet_cli.formatting import printable
from resnet_cli.render.document import Cell, Column, Document, Element, Fields, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import counted, exact, facts, scaled, text_cell
from resnet_cli.results.doctor import NO, NOT_TRIED, YES, Capability, DoctorResult, Gpu, Host, TorchBuild


def doctor_page(result: DoctorResult, view: ViewOptions) -> Document:  # noqa: ARG001  # there is nothing to choose
    """All of it: it is meant to be pasted into an issue report."""
    broken = [one.name for one in result.capabilities if one.required and one.status == NO]
    said = "all that commands need works here" if result.ok else f"broken here: {printable(', '.join(broken))}"
    parts: list[Element] = [_packages(result)] if result.packages else []
    parts += [] if result.torch is None else [_torch(result.torch)]
    parts += [_host(result.host), *(_gpu(index, gpu) for index, gpu in enumerate(result.gpus))]
    if result.host.features:
        parts.append(Paragraph("dim", f"instructions: {', '.join(map(printable, result.host.features))}"))
    if result.variables:
        parts.append(_variables(result))
    parts.append(_capabilities(result))
    parts += [Paragraph(note.level, note.text) for note in result.notes]
    return Document(
        title=f"resnet-cli {printable(result.resnet_cli)}: {said}",
        subtitle=" · ".join(_where(result)),
        elements=tuple(parts),
    )


def _where(result: DoctorResult) -> list[str]:
    python = result.python
    output = f"output in {printable(result.terminal.encoding)}"
    if result.terminal.columns is not None:
        output += f" to a terminal of {counted(result.terminal.columns, 'column')}"
    return [
        f"{printable(python.implementation)} {printable(python.version)} ({printable(python.installation)})",
        printable(result.host.system),
        printable(result.host.processor),
        output,
    ]


def _packages(result: DoctorResult) -> Fields:
    return Fields("packages", tuple((printable(one.name), text_cell(one.version)) for one in result.packages))


def _torch(build: TorchBuild) -> Fields:
    threads = None if build.threads is None else f"{build.threads} / {build.interop_threads or formatting.UNKNOWN}"
    libraries = [(name, text_cell(number)) for name, _, number in (one.partition(" ") for one in build.libraries)]
    return facts(
        "torch",
        ("version", text_cell(build.version)),
        ("commit", text_cell(None if build.git_version is None else build.git_version[:12], value=build.git_version)),
        ("built for CUDA", text_cell(build.cuda)) if build.hip is None else ("built for ROCm", text_cell(build.hip)),
        ("kernels", text_cell(build.kernels)),
        *((printable(name), cell) for name, cell in libraries),
        ("threads / interop", text_cell(threads)),
    )


def _host(host: Host) -> Fields:
    cores = None if host.physical_cores is None else f"{host.physical_cores} physical"
    logical = None if host.logical_cores is None else f"{host.logical_cores} logical"
    return facts(
        "machine",
        ("architecture", text_cell(host.architecture)),
        ("cores", text_cell(" / ".join(one for one in (cores, logical) if one) or None)),
        ("cores usable", exact(host.usable_cores)),
        ("quota of cores", _limit(host.quota, None if host.quota is None else f"{host.quota:g}")),
        ("memory", scaled(host.memory_bytes, "B")),
        ("memory limit", _limit(host.memory_limit_bytes, formatting.scaled(host.memory_limit_bytes, "B"))),
    )


def _limit(value: float | None, text: str | None) -> Cell:
    return Cell("none", None, "dim") if value is None or text is None else Cell(text, value)


def _gpu(index: int, gpu: Gpu) -> Fields:
    return facts(
        f"GPU {index}: {printable(gpu.name)}",
        ("memory", scaled(gpu.memory_bytes, "B")),
        ("compute capability", text_cell(gpu.capability)),
        ("driver", text_cell(gpu.driver)),
    )


def _variables(result: DoctorResult) -> Table:
    columns = (
        Column("variable", "variable", numeric=False),
        Column("value", "value", numeric=False, minimum=16, comfort=24, wrap=True),
    )
    rows = tuple(
        Row({"variable": text_cell(one.name), "value": text_cell(one.value or "(empty)", value=one.value)})
        for one in result.variables
    )
    return Table("variables", "set, and it changes figures or what is imported", columns, rows)


def _capabilities(result: DoctorResult) -> Table:
    columns = (
        Column("capability", "what", numeric=False, minimum=14, comfort=20),
        Column("works", "works", numeric=False),
        Column("reason", "why", numeric=False, minimum=16, comfort=24, wrap=True),
    )
    rows = tuple(
        Row({"capability": text_cell(one.name, value=one.key), "works": _status(one), "reason": _reason(one)})
        for one in result.capabilities
    )
    return Table("capabilities", "what works here", columns, rows)


def _status(one: Capability) -> Cell:
    """A no matters where a command needs it; else it is a plain word."""
    if one.status == YES:
        return Cell("✓ yes", one.status, "good")
    if one.status == NO:
        return Cell("✗ broken", one.status, "bad") if one.required else Cell("– no", one.status)
    return Cell(f"? {NOT_TRIED}" if one.status == NOT_TRIED else printable(one.status), one.status, "dim")


def _reason(one: Capability) -> Cell:
    """What was found, and after an arrow what to do about it."""
    text = one.reason if one.fix is None else f"{one.reason} → {one.fix}"
    return text_cell(text)
