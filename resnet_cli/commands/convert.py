"""`resnet-cli convert`."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from resnet_cli.commands import options
from resnet_cli.commands.options import parsing
from resnet_cli.commands.options.completion import one_of
from resnet_cli.errors import ResnetCliError
from resnet_cli.files import check_file, write_through
from resnet_cli.formatting import printable
from resnet_cli.render.formats import RESULT_FORMATS
from resnet_cli.render.pages import PAGES
from resnet_cli.render.progress import progress
from resnet_cli.user_files import exists

EPILOG = """\b
Examples:
  resnet-cli convert resnet18-f37072fd.pth --to resnet-cli -o weights.safetensors
  resnet-cli convert weights.safetensors --to torchvision -o resnet18.pth
  resnet-cli convert checkpoint.pth --ema -o averaged.safetensors
  resnet-cli convert resnet50.pth --dtype bfloat16 -o half.safetensors --format json
"""

_NAMINGS = ("resnet-cli", "torchvision")
_FORMATS = {".pth": "torch", ".pt": "torch", ".safetensors": "safetensors"}


def convert(
    source: Annotated[
        str,
        typer.Argument(help="Weights to read: .pth, .pt or .safetensors, a state dict or a checkpoint.", metavar="SRC"),
    ],
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="File to write: .pth, .pt or .safetensors, by its name.", metavar="FILE"),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            help="Whose names: ours or torchvision.  [default: those that it has]",
            metavar="NAME",
            autocompletion=one_of(_NAMINGS),
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Of all weights: float32, bfloat16, float16 or float64.  [default: each its own]",
            metavar="NAME",
            autocompletion=one_of(options.DTYPES),
            show_default=False,
        ),
    ] = None,
    ema: Annotated[
        bool, typer.Option("--ema", help="Take the averaged (EMA) weights of a checkpoint that has both.")
    ] = False,
    show: Annotated[str | None, options.sections(PAGES["convert"].sections, "all")] = None,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="Of the report on standard output: terminal, json, csv, markdown or svg.  [default: terminal]",
            metavar="NAME",
            autocompletion=one_of(RESULT_FORMATS),
            show_default=False,
        ),
    ] = None,
) -> None:
    """Carry weights between our names and torchvision's, .pth and .safetensors, and dtypes.

    The network is found by the names and shapes. Reading runs no code of the file. What is not asked to change
    stays bit for bit, and the new file is there whole or not at all.
    """
    naming = None if to is None else parsing.checked("--to", to, _NAMINGS)
    kind = None if dtype is None else parsing.checked("--dtype", dtype, options.DTYPES)
    drawing = options.drawing("convert", output_format, None, sections=show)
    suffix = Path(output).suffix.lower()
    if suffix not in _FORMATS:
        raise ResnetCliError(
            f"--output {printable(output)!r}: the name of the file says the format",
            f"let it end in {', '.join(_FORMATS)}",
        )
    if not exists(source):
        raise ResnetCliError(f"{printable(source)}: there is no such file", "name the weights to read")
    with _to_a_file():
        check_file(output)
    if Path(output).exists() and Path(source).samefile(output):
        raise ResnetCliError(
            f"--output {printable(output)} is the file to read", "give another name: the weights are left as they are"
        )
    with options.loading_torch():
        from resnet_cli.measure.system import dtypes
        from resnet_cli.measure.weights import conversion

    with progress() as tell:
        converted = conversion.convert(
            source,
            output,
            to=naming,  # type: ignore[arg-type]  # checked above
            format=_FORMATS[suffix],  # type: ignore[arg-type]
            dtype=None if kind is None else dtypes.dtype(kind),
            averaged=ema,
            progress=tell,
        )
        tell("writing the weights")
        with _to_a_file():
            size = write_through(output, lambda path: conversion.save(converted, path))
    drawing.write(replace(converted.result, target=replace(converted.result.target, bytes=size)))


@contextlib.contextmanager
def _to_a_file() -> Iterator[None]:
    """Weights are no text: the advice to write to standard output does not hold for them."""
    try:
        yield
    except ResnetCliError as error:
        raise ResnetCliError(
            error.message, "name a file in a folder that exists and that you may write to, where there is room"
        ) from None
