"""The page of `convert`: what was read, what was written, and what changed."""

from __future__ import annotations

from resnet_cli import formatting
from resnet_cli.render.document import Cell, Column, Document, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import counted, dimensions, scaled, text_cell
from resnet_cli.render.pages.elements import closing, ignored, location
from resnet_cli.results.common import Network
from resnet_cli.results.convert import ConvertResult, WeightsFile

_FORMATS = {"torch": "torch.save"}


def convert_page(result: ConvertResult, view: ViewOptions) -> Document:
    """Both files and what changed; every tensor where the reader asks for them."""
    sections = view.sections or ("files",)
    elements: list[Element] = []
    if "files" in sections:
        elements += [
            _files(result),
            Paragraph("plain", _changes(result), apart=True),
            *location(result.key_path, result.prefix, is_ema=result.is_ema),
            *ignored("not copied", result.ignored_entries),
        ]
    if "tensors" in sections:
        elements.append(_tensors(result))
    return Document(
        title=f"weights of {result.network.name}",
        subtitle=" · ".join([f"{formatting.scaled(result.parameters)} parameters", *_configuration(result.network)]),
        elements=(*elements, *closing(result.notes, result.environment)),
    )


def _configuration(network: Network) -> list[str]:
    """Where the network differs from the standard architecture of that name."""
    parts = []
    if network.num_classes is not None:
        parts.append(f"{network.num_classes:,} {'class' if network.num_classes == 1 else 'classes'}")
    if network.in_channels not in (None, 3):
        parts.append(counted(network.in_channels, "input channel"))
    if network.stem not in (None, "imagenet"):
        parts.append(f"{network.stem} stem")
    return parts


def _files(result: ConvertResult) -> Table:
    columns = (
        Column("role", "", numeric=False),
        Column("path", "file", numeric=False, minimum=12, comfort=24),
        Column("format", "format", numeric=False, priority=2),
        Column("naming", "names", numeric=False, priority=1),
        Column("bytes", "size"),
    )
    return Table("files", "", columns, (_file("read", result.source), _file("written", result.target)))


def _file(role: str, file: WeightsFile) -> Row:
    return Row(
        {
            "role": Cell(role, role),
            "path": text_cell(file.path),
            "format": text_cell(_FORMATS.get(file.format, file.format), value=file.format),
            "naming": text_cell("resnet-cli" if file.naming == "ours" else file.naming),
            "bytes": scaled(file.bytes, "B"),
        }
    )


def _changes(result: ConvertResult) -> str:
    """What changed of the tensors."""
    count = len(result.tensors)
    parts = [counted(count, "tensor"), f"{_amount(result.renamed, count)} renamed"]
    if result.cast:
        changed = [(each.source_dtype, each.dtype) for each in result.tensors if each.dtype != each.source_dtype]
        casts = ", ".join(f"{before} to {after}" for before, after in dict.fromkeys(changed))
        parts.append(f"{_amount(result.cast, count)} cast from {casts}")
    else:
        parts.append(f"values unchanged ({', '.join(dict.fromkeys(each.dtype for each in result.tensors))})")
    return ", ".join(parts)


def _amount(number: int, of: int) -> str:
    return "all" if number == of and of else "none" if not number else formatting.exact(number)


def _tensors(result: ConvertResult) -> Table:
    columns = (
        Column("name", "name", numeric=False, minimum=16, comfort=40),
        Column("source", "name before", numeric=False, minimum=16, comfort=28, priority=1),
        Column("shape", "shape", numeric=False),
        Column("dtype", "dtype", numeric=False, priority=2),
        Column("bytes", "size", priority=3),
    )
    rows = tuple(
        Row(
            {
                "name": text_cell(tensor.name),
                "source": text_cell(tensor.source),
                "shape": dimensions(tensor.shape),
                "dtype": text_cell(tensor.dtype),
                "bytes": scaled(tensor.bytes, "B"),
            }
        )
        for tensor in result.tensors
    )
    return Table("tensors", "tensors", columns, rows)
