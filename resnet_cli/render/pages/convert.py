"""The page of a conversion: what was read, what was written, and what became of it on the way."""

from __future__ import annotations

from resnet_cli import formatting
from resnet_cli.formatting import printable
from resnet_cli.render.document import Cell, Column, Document, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import closing, counted, scaled, text_cell
from resnet_cli.results.common import Network
from resnet_cli.results.convert import ConvertResult, WeightsFile

_MOST_DROPPED = 8


def convert_page(result: ConvertResult, view: ViewOptions) -> Document:
    """Both files and what became of the weights; the tensors one by one for who asks for them."""
    sections = view.sections or ("files",)
    parts: list[Element] = []
    if "files" in sections:
        parts += [_files(result), Paragraph("plain", _done(result), apart=True)]
        parts += [Paragraph("dim", said) for said in (_found(result), _dropped(result)) if said]
    if "tensors" in sections:
        parts.append(_tensors(result))
    return Document(
        title=f"the weights of {printable(result.network.name)}",
        subtitle=" · ".join([f"{formatting.scaled(result.parameters)} parameters", *_given(result.network)]),
        elements=(*parts, *closing(result.notes, result.environment)),
    )


def _given(network: Network) -> list[str]:
    """How the network differs from the one of that name."""
    said = []
    if network.num_classes is not None:
        said.append(f"{network.num_classes:,} {'class' if network.num_classes == 1 else 'classes'}")
    if network.in_channels not in (None, 3):
        said.append(counted(network.in_channels, "input channel"))
    if network.stem not in (None, "imagenet"):
        said.append(f"{printable(network.stem)} stem")
    return said


def _files(result: ConvertResult) -> Table:
    columns = (
        Column("what", "", numeric=False),
        Column("file", "file", numeric=False, minimum=12, comfort=24),
        Column("format", "format", numeric=False, priority=2),
        Column("naming", "names", numeric=False, priority=1),
        Column("bytes", "size"),
    )
    rows = tuple(_file(what, file) for what, file in (("read", result.source), ("written", result.target)))
    return Table("files", "", columns, rows)


def _file(what: str, file: WeightsFile) -> Row:
    return Row(
        {
            "what": Cell(what, what),
            "file": text_cell(file.path),
            "format": text_cell({"torch": "torch.save"}.get(file.format, file.format), value=file.format),
            "naming": text_cell({"ours": "resnet-cli's", "torchvision": "torchvision's"}.get(file.naming, file.naming)),
            "bytes": scaled(file.bytes, "B"),
        }
    )


def _done(result: ConvertResult) -> str:
    """What became of the tensors."""
    count = len(result.tensors)
    said = [counted(count, "tensor"), f"{_part(result.renamed, count)} renamed"]
    if result.cast:
        changed = [(one.source_dtype, one.dtype) for one in result.tensors if one.dtype != one.source_dtype]
        kinds = ", ".join(f"{printable(before)} to {printable(after)}" for before, after in dict.fromkeys(changed))
        said.append(f"{_part(result.cast, count)} cast from {kinds}")
    else:
        kinds = ", ".join(dict.fromkeys(printable(one.dtype) for one in result.tensors))
        said.append(f"every value bit for bit as it was ({kinds})")
    return ", ".join(said)


def _part(number: int, of: int) -> str:
    return "all" if number == of and of else "none" if not number else formatting.exact(number)


def _found(result: ConvertResult) -> str:
    """Where the tensors were in the file."""
    where = [f"under {printable(' in '.join(reversed(result.key_path)))}"] if result.key_path else []
    if result.prefix:
        where.append(f"with {printable(result.prefix)} before every name")
    return f"found {', '.join(where)}" if where else ""


def _dropped(result: ConvertResult) -> str:
    if not result.ignored_entries:
        return ""
    more = len(result.ignored_entries) - _MOST_DROPPED
    names = printable(", ".join(result.ignored_entries[:_MOST_DROPPED]))
    return f"left out: {names}{f' and {more} more' if more > 0 else ''}"


def _tensors(result: ConvertResult) -> Table:
    columns = (
        Column("name", "name", numeric=False, minimum=16, comfort=40),
        Column("source", "was", numeric=False, minimum=16, comfort=28, priority=1),
        Column("shape", "shape", numeric=False),
        Column("dtype", "dtype", numeric=False, priority=2),
        Column("bytes", "size", priority=3),
    )
    rows = tuple(
        Row(
            {
                "name": text_cell(one.name),
                "source": text_cell(one.source),
                "shape": Cell(formatting.dimensions(one.shape) or "scalar", formatting.dimensions(one.shape)),
                "dtype": text_cell(one.dtype),
                "bytes": scaled(one.bytes, "B"),
            }
        )
        for one in result.tensors
    )
    return Table("tensors", "tensors", columns, rows)
