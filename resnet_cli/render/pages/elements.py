"""Elements that several pages have: a subtitle, cross-checks, assertions, notes and the environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Element, Fields, Paragraph, Row, Table
from resnet_cli.render.pages.cells import counted, exact, listed, text_cell, yes_no
from resnet_cli.results.common import Assertion, Environment, Input, Network, Note, first_about
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import CrossCheck, SummaryResult

INTERRUPTED = Note("warning", "interrupted: showing partial results", "interrupted")
_LISTED_ENTRIES = 8


def fields(title: str, *items: tuple[str, Cell] | None) -> Fields:
    """A list of labels and values without those that are None."""
    return Fields(title, tuple(item for item in items if item is not None))


def subtitle(result: SummaryResult | FlopsResult) -> str:
    """Parameters, MACs (or a lower bound of them), input and blocks of a network in one line."""
    parts = []
    if isinstance(result, SummaryResult):
        parts = [qualified(f"{formatting.scaled(result.parameters)} parameters", result.notes, "parameters")]
    parts += [
        qualified(formatting.scaled(result.macs, "MAC"), result.notes, "macs"),
        f"input {input_text(result.input)}",
    ]
    return " · ".join([*parts, *blocks(result.network)])


def qualified(value: str, notes: Iterable[Note], figure: str) -> str:
    """A value with what the notes say of its figure: "at least 4.1 GMAC", "4.1 GMAC (uncertain)"."""
    if first_about(notes, "unknown", figure):
        return f"{value} (uncertain)"
    return f"at least {value}" if first_about(notes, "lower_bounds", figure) else value


def qualified_label(label: str, notes: Iterable[Note], *figures: str) -> str:
    """A label with what the notes say of the figures behind it: "MACs, at least", "total, uncertain"."""
    if first_about(notes, "unknown", *figures):
        return f"{label}, uncertain"
    return f"{label}, at least" if first_about(notes, "lower_bounds", *figures) else label


def compute_fields(result: SummaryResult | FlopsResult, label: str, *others: tuple[str, Cell] | None) -> Fields:
    """MACs, FLOPs and all operations of a forward; what is not known, or a lower bound, is called so."""
    return fields(
        label,
        (qualified_label("MACs", result.notes, "macs"), exact(result.macs, "strong")),
        (qualified_label("FLOPs (2 × MACs)", result.notes, "flops"), exact(result.flops)),
        (qualified_label("all arithmetic ops", result.notes, "ops"), exact(result.ops)),
        *others,
    )


def input_text(inputs: Input) -> str:
    """Shape and dtype of an image, or of each tensor of other inputs with its name."""
    if inputs.source == "image" or not inputs.tensors:
        return f"{formatting.dimensions(inputs.shape)} {inputs.dtype}"
    return ", ".join(f"{row.name} {formatting.dimensions(row.shape)} {row.dtype}" for row in inputs.tensors)


def blocks(network: Network) -> list[str]:
    """Type and number of a network's blocks, where they are known."""
    if network.block is None or network.repeat is None:
        return []
    return [f"{network.block} blocks {'-'.join(map(str, network.repeat))}"]


def cross_checks(checks: Sequence[CrossCheck]) -> list[Element]:
    """What other tools report for the same network, and why one reports nothing or something else."""
    if not checks:
        return []
    columns = (
        Column("tool", "tool", numeric=False, minimum=8, comfort=16),
        Column("quantity", "quantity", numeric=False, minimum=8, comfort=24),
        Column("value", "resnet-cli", priority=1),
        Column("tool_value", "tool's value"),
        Column("agrees", "", numeric=False),
    )
    rows = tuple(
        Row(
            {
                "tool": text_cell(check.tool if check.version is None else f"{check.tool} {check.version}"),
                "quantity": text_cell(check.quantity),
                "value": exact(check.value),
                "tool_value": exact(check.tool_value),
                "agrees": yes_no(check.agrees, "agrees", "differs", "not available"),
            }
        )
        for check in checks
    )
    remarks = [Paragraph("dim", f"{check.tool}, {check.quantity}: {check.note}") for check in checks if check.note]
    return [Table("cross_checks", "cross-checks", columns, rows), *remarks]


def assertions(results: Sequence[Assertion]) -> list[Element]:
    """What --assert asked for, and whether it holds."""
    if not results:
        return []
    columns = (
        Column("quantity", "assertion", numeric=False, minimum=8),
        Column("operator", "", numeric=False),
        Column("limit", "limit"),
        Column("value", "value"),
        Column("holds", "", numeric=False),
    )
    rows = tuple(
        Row(
            {
                "quantity": text_cell(result.quantity),
                "operator": text_cell(result.operator),
                "limit": exact(result.limit),
                "value": exact(result.value),
                "holds": yes_no(result.holds, "holds", "failed"),
            }
        )
        for result in results
    )
    undecided = [Paragraph("bad", f"{result.quantity}: {result.reason}") for result in results if result.reason]
    return [Table("assertions", "assertions", columns, rows), *undecided]


def ignored(label: str, entries: Sequence[str]) -> list[Element]:
    """The entries of a checkpoint that hold no weights."""
    return [Paragraph("dim", f"{label}: {listed(entries, _LISTED_ENTRIES)}")] if entries else []


def location(key_path: Sequence[str], prefix: str, *, is_ema: bool) -> list[Element]:
    """Where the tensors are in a checkpoint, unless they are its top level."""
    parts = [f"under {'.'.join(key_path)}"] if key_path else []
    parts += ["EMA weights"] if is_ema else []
    parts += [f"prefix {prefix} removed from every name"] if prefix else []
    return [Paragraph("dim", f"tensors: {', '.join(parts)}")] if parts else []


def interrupted(is_interrupted: bool) -> list[Element]:
    """The first line of a partial result."""
    return [*notes([INTERRUPTED])] if is_interrupted else []


def notes(result_notes: Iterable[Note]) -> list[Paragraph]:
    """The notes of a result."""
    return [Paragraph(note.level, note.text) for note in result_notes]


def closing(result_notes: Iterable[Note], environment: Environment) -> list[Element]:
    """Notes, then the versions and the machine that the numbers were measured with."""
    device = environment.device
    if environment.device_name not in ("", device):
        memory = environment.device_memory_bytes
        size = "" if memory is None else f", {formatting.scaled(memory, 'B')}"
        device = f"{device} ({environment.device_name}{size})"
    parts = (
        f"resnet-cli {environment.resnet_cli}",
        f"torch {environment.torch}",
        f"Python {environment.python}",
        environment.platform,
        device,
        counted(environment.threads, "thread"),
    )
    return [*notes(result_notes), Paragraph("dim", " · ".join(parts))]
