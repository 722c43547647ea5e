"""Cells and sentences that more than one page is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from resnet_cli import formatting
from resnet_cli.formatting import printable
from resnet_cli.render.document import Cell, Column, Element, Fields, Paragraph, Row, Table, Value
from resnet_cli.results.common import Assertion, Environment, Input, Network, Note
from resnet_cli.results.compare import BITWISE, DIFFERENT, NOT_COMPARABLE, ROUNDING, SKIPPED, VERDICTS, Check
from resnet_cli.results.summary import CrossCheck


def text_cell(text: str | None, role: str = "", value: Value = None) -> Cell:
    """A text from outside, made safe; what it is stays as it came."""
    if text is None:
        return Cell(formatting.UNKNOWN, None, "dim")
    return Cell(printable(text), text if value is None else value, role)


def scaled(value: float | None, unit: str = "", role: str = "") -> Cell:
    """A figure for people in a table of many: 11.69 M."""
    return Cell(formatting.scaled(value, unit) if value else _zero(value), value, role or _faint(value))


def exact(value: float | None, role: str = "") -> Cell:
    """A figure with every digit: 11,689,512."""
    return Cell(formatting.exact(value), value, role or _faint(value))


def seconds(value: float | None, role: str = "") -> Cell:
    """A time for people: 14.72 ms."""
    return Cell(formatting.seconds(value), value, role or _faint(value))


def percent(value: float | None, role: str = "") -> Cell:
    """A share of the whole: 6.5 %."""
    return Cell(formatting.percent(value), value, role or _faint(value))


def relative_ci(low: float, middle: float, high: float) -> Cell:
    """Half the width of an interval as a share of what lies in it: ±0.4 %."""
    half = (high - low) / 2 / middle if middle else None
    return Cell(formatting.UNKNOWN if half is None else f"±{formatting.percent(half)}", half, _faint(half))


def share(value: float | None, widest: float = 1.0) -> Cell:
    """A share of the whole with a bar, which is full at the widest one."""
    bar = None if value is None or not widest else min(value / widest, 1.0)
    return Cell(formatting.percent(value) if value != 0 else "0", value, _faint(value), bar)


def rate(value: float | None, role: str = "") -> Cell:
    """Things per second: 67.9."""
    text = formatting.UNKNOWN if value is None else f"{value:,.1f}" if value >= 10 else f"{value:.2f}"
    return Cell(text, value, role or _faint(value))


def difference(value: int | None) -> Cell:
    """A signed figure with every digit: +4,992,512."""
    return Cell(formatting.UNKNOWN if value is None else f"{value:+,}" if value else "0", value, _faint(value))


def _zero(value: float | None) -> str:
    return formatting.UNKNOWN if value is None else "0"


def _faint(value: float | None) -> str:
    return "" if value else "dim"


def subtitle(network: Network, given: Input, parameters: int | None, macs: int) -> str:
    """One line that says what was looked at."""
    parts = [] if parameters is None else [f"{formatting.scaled(parameters)} parameters"]
    parts += [formatting.scaled(macs, "MAC"), f"input {formatting.dimensions(given.shape)} {printable(given.dtype)}"]
    if network.block is not None and network.repeat is not None:
        parts.append(f"{printable(network.block)} blocks {'-'.join(map(str, network.repeat))}")
    return " · ".join(parts)


def cross_checks(them: Iterable[CrossCheck]) -> list[Element]:
    """What other tools say, as a table, and why one says nothing or something else."""
    them = tuple(them)
    if not them:
        return []
    columns = (
        Column("tool", "tool", numeric=False, minimum=8, comfort=16),
        Column("quantity", "counts", numeric=False, minimum=8, comfort=24),
        Column("ours", "ours", priority=1),
        Column("theirs", "theirs"),
        Column("agrees", "", numeric=False),
    )
    rows = tuple(
        Row(
            {
                "tool": text_cell(one.tool if one.version is None else f"{one.tool} {one.version}"),
                "quantity": text_cell(one.quantity),
                "ours": exact(one.value),
                "theirs": exact(one.tool_value),
                "agrees": verdict(one.agrees, "agrees", "differs", "no figure"),
            }
        )
        for one in them
    )
    remarks = [Paragraph("dim", f"{one.tool}, {one.quantity}: {one.note}") for one in them if one.note]
    return [Table("witnesses", "witnesses", columns, rows), *remarks]


def assertions(them: Iterable[Assertion]) -> list[Element]:
    """The budgets that the reader set, and whether they are kept."""
    them = tuple(them)
    if not them:
        return []
    columns = (
        Column("quantity", "budget", numeric=False, minimum=8),
        Column("operator", "", numeric=False),
        Column("limit", "limit"),
        Column("value", "found"),
        Column("holds", "", numeric=False),
    )
    rows = tuple(
        Row(
            {
                "quantity": text_cell(one.quantity),
                "operator": text_cell(one.operator),
                "limit": exact(one.limit),
                "value": exact(one.value),
                "holds": verdict(one.holds, "holds", "broken", ""),
            }
        )
        for one in them
    )
    return [Table("assertions", "budgets", columns, rows)]


def verdict(answer: bool | None, yes: str, no: str, unknown: str) -> Cell:
    """A yes or no that colour may show, and that reads without it."""
    if answer is None:
        return Cell(unknown, None, "dim")
    return Cell(f"✓ {yes}", True, "good") if answer else Cell(f"✗ {no}", False, "bad")


_SIGNS = {
    BITWISE: ("✓", "bitwise", "good"),
    ROUNDING: ("✓", "rounding (≈)", "good"),
    DIFFERENT: ("✗", "different", "bad"),
    NOT_COMPARABLE: ("?", "not comparable", "warning"),
    SKIPPED: ("–", "skipped", "dim"),
}


def outcome(verdict_of_check: str) -> Cell:
    """What a check found: a sign, a word, a colour."""
    sign, said, role = _SIGNS.get(verdict_of_check, ("?", verdict_of_check, "warning"))
    return text_cell(f"{sign} {said}", role, verdict_of_check)


def overall(verdict_of_all: str, checks: Sequence[Check]) -> str:
    """The worst verdict of the checks that were made."""
    made = [one.verdict for one in checks if one.verdict != SKIPPED]
    return max(made, key=lambda one: VERDICTS.index(one) if one in VERDICTS else len(VERDICTS), default=verdict_of_all)


def sign(verdict_of_check: str) -> Cell:
    """The same as one character, where rounding has its own."""
    mark, _, role = _SIGNS.get(verdict_of_check, ("?", "", "warning"))
    return Cell("≈" if verdict_of_check == ROUNDING else mark, verdict_of_check, role)


def error(value: float | None, role: str = "") -> Cell:
    """A relative error: 3.1e-07; exactly 0 is 0."""
    return Cell(formatting.UNKNOWN if value is None else f"{value:.1e}" if value else "0", value, role or _faint(value))


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 difference", "3 differences"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


INTERRUPTED = Note("warning", "interrupted; here is what had been measured by then")


def interrupted(is_so: bool) -> list[Element]:
    """What stands above a result that is a part of what was asked for."""
    return [Paragraph(INTERRUPTED.level, INTERRUPTED.text)] if is_so else []


def closing(notes: Iterable[Note], where: Environment) -> list[Element]:
    """Notes, and the machine that the figures come from."""
    memory = "" if where.device_memory_bytes is None else f", {formatting.scaled(where.device_memory_bytes, 'B')}"
    device = (
        where.device if where.device_name in ("", where.device) else f"{where.device} ({where.device_name}{memory})"
    )
    return [
        *(Paragraph(note.level, note.text) for note in notes),
        Paragraph(
            "dim",
            f"resnet-cli {where.resnet_cli} · torch {where.torch} · Python {where.python} · {where.platform} · "
            f"{device} · {counted(where.threads, 'thread')}",
        ),
    ]


def facts(title: str, *items: tuple[str, Cell] | None) -> Fields:
    """A list of facts without those that there are none of."""
    return Fields(title, tuple(item for item in items if item is not None))
