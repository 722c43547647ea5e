"""The page of a checkpoint: the network that it fits, then its tensors."""

from __future__ import annotations

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Document, Element, Fields, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages import PAGES
from resnet_cli.render.pages.cells import EMPTY, counted, dimensions, exact, scaled, text_cell
from resnet_cli.render.pages.elements import closing, fields, ignored, location
from resnet_cli.render.pages.summary import summary_elements, summary_page
from resnet_cli.results.checkpoint import CheckpointResult, TensorStatistics

_NAMING = {"torchvision": "torchvision names", None: "its own names"}
_FORMATS = {"torch": "torch.save"}
_COUNTER = "num_batches_tracked"


def checkpoint_page(result: CheckpointResult, view: ViewOptions) -> Document:
    """The summary of the network, where one fits, and the tensors; or the tensors alone."""
    sections = view.sections or PAGES["checkpoint"].sections
    summary = result.summary if "summary" in sections else None
    if summary is None:
        title = f"weights in {result.path}"
        subtitle = f"{formatting.scaled(result.parameters)} parameters · {formatting.scaled(result.bytes, 'B')}"
    elif "tensors" not in sections:
        return summary_page(summary, view)
    else:
        page = summary_page(summary, view)
        title, subtitle = page.title, page.subtitle
    return Document(
        title=title,
        subtitle=subtitle,
        elements=(
            *([] if summary is None else summary_elements(summary, view)),
            *_tensors(result, view),
            *closing((*(() if summary is None else summary.notes), *result.notes), result.environment),
        ),
    )


def _tensors(result: CheckpointResult, view: ViewOptions) -> list[Element]:
    shown = [tensor for tensor in result.tensors if not (view.collapse and tensor.name.endswith(_COUNTER))]
    hidden = len(result.tensors) - len(shown)
    elements: list[Element] = [
        _table(shown),
        _totals(result),
        *_match(result),
        *location(result.key_path, result.prefix, is_ema=result.is_ema),
        *ignored("also in the file", result.ignored_entries),
    ]
    if hidden:
        elements.append(Paragraph("dim", f"{counted(hidden, _COUNTER + ' counter')} hidden; --no-collapse shows them"))
    return elements


def _table(tensors: list[TensorStatistics]) -> Table:
    columns = (
        Column("name", "tensor", numeric=False, minimum=16, comfort=36),
        Column("shape", "shape", numeric=False),
        Column("dtype", "dtype", numeric=False, priority=2),
        Column("elements", "elements", priority=4),
        Column("bytes", "size", priority=5),
        Column("minimum", "min", legend="of finite values, as max, mean and std"),
        Column("maximum", "max"),
        Column("mean", "mean", priority=1),
        Column("standard_deviation", "std"),
        Column("nan", "NaN"),
        Column("infinite", "inf"),
        Column("dead_channels", "dead", legend="channels that a batch norm multiplies by 0"),
    )
    return Table("tensors", "", columns, tuple(Row(_cells(tensor)) for tensor in tensors))


def _cells(tensor: TensorStatistics) -> dict[str, Cell]:
    is_suspicious = bool(tensor.nan or tensor.infinite or tensor.dead_channels)
    return {
        "name": text_cell(tensor.name, "warning" if is_suspicious else ""),
        "shape": dimensions(tensor.shape),
        "dtype": text_cell(tensor.dtype),
        "elements": exact(tensor.elements),
        "bytes": scaled(tensor.bytes, "B"),
        "minimum": _statistic(tensor.minimum),
        "maximum": _statistic(tensor.maximum),
        "mean": _statistic(tensor.mean),
        "standard_deviation": _statistic(tensor.standard_deviation),
        "nan": _count(tensor.nan, "bad"),
        "infinite": _count(tensor.infinite, "bad"),
        "dead_channels": EMPTY if tensor.dead_channels is None else _count(tensor.dead_channels, "warning"),
    }


def _statistic(value: float | None) -> Cell:
    return Cell(formatting.UNKNOWN if value is None else f"{value:.3g}", value, "" if value else "dim")


def _count(number: int, style: str) -> Cell:
    """A number that should be 0."""
    return exact(number, style if number else "dim")


def _totals(result: CheckpointResult) -> Fields:
    dtypes = dict.fromkeys(tensor.dtype for tensor in result.tensors if not tensor.name.endswith(_COUNTER))
    return fields(
        f"weights in {result.path}",
        ("format", text_cell(_FORMATS.get(result.format, result.format), value=result.format)),
        ("tensors", exact(len(result.tensors))),
        ("parameters", exact(result.parameters, "strong")),
        ("buffers", exact(result.buffers)),
        ("size", scaled(result.bytes, "B")),
        ("file size", scaled(result.file_bytes, "B")),
        ("dtypes", text_cell(", ".join(dtypes))),
        ("NaN", _count(result.nan, "bad")),
        ("infinite", _count(result.infinite, "bad")),
        ("dead channels", _count(result.dead_channels, "warning")),
    )


def _match(result: CheckpointResult) -> list[Element]:
    """The network that every tensor fits."""
    if result.network is None:
        return []
    return [Paragraph("dim", f"matches {result.network.name} ({_NAMING.get(result.naming, 'resnet-cli names')})")]
