"""The page of a file of weights: the network that it fits, then the weights, tensor by tensor."""

from __future__ import annotations

from resnet_cli import formatting
from resnet_cli.formatting import printable
from resnet_cli.render.document import Cell, Column, Document, Element, Fields, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import closing, counted, exact, facts, scaled, text_cell
from resnet_cli.render.pages.summary import summary_page
from resnet_cli.results.checkpoint import CheckpointResult, TensorStatistics

_NAMES = {"ours": "resnet-cli's names", "torchvision": "torchvision's names"}
_FORMATS = {"torch": "torch.save"}
_COUNTER = "num_batches_tracked"
_MOST_DROPPED = 8


def weights_page(result: CheckpointResult, view: ViewOptions) -> Document:
    """The summary of the network, where one fits, with the weights behind it; or the weights alone."""
    weights = _weights(result, view)
    wanted = view.sections or ("summary", "weights")
    if result.summary is None or "summary" not in wanted:
        title = f"the weights in {result.path}"
        subtitle = f"{formatting.scaled(result.parameters)} parameters · {formatting.scaled(result.bytes, 'B')}"
        ends = closing(result.notes, result.environment)
        return Document(title=printable(title), subtitle=subtitle, elements=(*weights, *ends))
    summary = summary_page(result.summary, view)
    if "weights" not in wanted:
        return summary
    # What closes a page, its notes and its machine, is said once, at the end.
    ends = closing(result.summary.notes, result.summary.environment)
    inside = summary.elements[: len(summary.elements) - len(ends)]
    notes = (*result.summary.notes, *result.notes)
    return Document(
        title=summary.title,
        subtitle=summary.subtitle,
        elements=(*inside, *weights, *closing(notes, result.environment)),
    )


def _weights(result: CheckpointResult, view: ViewOptions) -> list[Element]:
    shown = [one for one in result.tensors if not (view.collapse and one.name.endswith(_COUNTER))]
    hidden = len(result.tensors) - len(shown)
    said = [one for one in (_fits(result), _found(result), _dropped(result)) if one]
    if hidden:
        said.append(f"{counted(hidden, 'counter')} of batches not shown: --no-fold shows them")
    return [_table(shown), _totals(result), *(Paragraph("dim", one) for one in said)]


def _table(tensors: list[TensorStatistics]) -> Table:
    columns = (
        Column("name", "weights", numeric=False, minimum=16, comfort=36),
        Column("shape", "shape", numeric=False),
        Column("dtype", "dtype", numeric=False, priority=2),
        Column("elements", "values", priority=4),
        Column("bytes", "size", priority=5),
        Column("minimum", "min", legend="of the finite values, as max, mean and std"),
        Column("maximum", "max"),
        Column("mean", "mean", priority=1),
        Column("standard_deviation", "std"),
        Column("nan", "NaN"),
        Column("infinite", "inf"),
        Column("dead_channels", "dead", legend="channels that a batch norm multiplies by 0"),
    )
    return Table("weights", "", columns, tuple(Row(_cells(one)) for one in tensors))


def _cells(one: TensorStatistics) -> dict[str, Cell]:
    is_sick = bool(one.nan or one.infinite or one.dead_channels)
    return {
        "name": text_cell(one.name, "warning" if is_sick else ""),
        "shape": Cell(formatting.dimensions(one.shape) or "scalar", formatting.dimensions(one.shape)),
        "dtype": text_cell(one.dtype),
        "elements": exact(one.elements),
        "bytes": scaled(one.bytes, "B"),
        "minimum": _figure(one.minimum),
        "maximum": _figure(one.maximum),
        "mean": _figure(one.mean),
        "standard_deviation": _figure(one.standard_deviation),
        "nan": _count(one.nan, "bad"),
        "infinite": _count(one.infinite, "bad"),
        "dead_channels": Cell("", None) if one.dead_channels is None else _count(one.dead_channels, "warning"),
    }


def _figure(value: float | None) -> Cell:
    """A value with three digits; every digit for CSV."""
    return Cell(formatting.UNKNOWN if value is None else f"{value:.3g}", value, "" if value else "dim")


def _count(number: int, role: str) -> Cell:
    return exact(number, role if number else "dim")


def _totals(result: CheckpointResult) -> Fields:
    dtypes = dict.fromkeys(one.dtype for one in result.tensors if not one.name.endswith(_COUNTER))
    return facts(
        f"weights in {printable(result.path)}",
        ("format", text_cell(_FORMATS.get(result.format, result.format), value=result.format)),
        ("tensors", exact(len(result.tensors))),
        ("parameters", exact(result.parameters, "strong")),
        ("buffers", exact(result.buffers)),
        ("size", scaled(result.bytes, "B")),
        ("size of the file", scaled(result.file_bytes, "B")),
        ("dtypes", text_cell(", ".join(dtypes))),
        ("NaN", _count(result.nan, "bad")),
        ("infinite", _count(result.infinite, "bad")),
        ("dead channels", _count(result.dead_channels, "warning")),
    )


def _fits(result: CheckpointResult) -> str:
    if result.network is None:
        return ""
    names = _NAMES.get(result.naming or "", "its own names")
    return f"every tensor has its place in {printable(result.network.name)}, under {names}"


def _found(result: CheckpointResult) -> str:
    """Where the tensors are in the file."""
    where = [f"under {printable(' in '.join(reversed(result.key_path)))}"] if result.key_path else []
    if result.is_ema:
        where.append("averaged over training (EMA)")
    if result.prefix:
        where.append(f"with {printable(result.prefix)} before every name")
    return f"found {', '.join(where)}" if where else ""


def _dropped(result: CheckpointResult) -> str:
    if not result.ignored_entries:
        return ""
    more = len(result.ignored_entries) - _MOST_DROPPED
    names = printable(", ".join(result.ignored_entries[:_MOST_DROPPED]))
    return f"beside them: {names}{f' and {more} more' if more > 0 else ''}"
