"""`resnet-cli convert`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from resnet_cli.commands import options
from resnet_cli.commands.options import execution
from resnet_cli.errors import ResnetCliError
from resnet_cli.files import check_file, exists, write_through
from resnet_cli.render.formats import RESULT_FORMATS
from resnet_cli.render.progress import progress

EPILOG = """\b
Examples:
  resnet-cli convert resnet18-f37072fd.pth --to resnet-cli -o weights.safetensors
  resnet-cli convert weights.safetensors --to torchvision -o resnet18.pth
  resnet-cli convert checkpoint.pth --ema -o averaged.safetensors
  resnet-cli convert resnet50.pth --dtype bfloat16 -o half.safetensors --format json
"""

_FORMATS: Mapping[str, Literal["torch", "safetensors"]] = {
    ".pth": "torch",
    ".pt": "torch",
    ".safetensors": "safetensors",
}


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="Weights to read: .pth, .pt or .safetensors, a state dict or a checkpoint.",
            metavar="SRC",
            rich_help_panel=options.INPUT,
        ),
    ],
    output: Annotated[
        str,
        options.option(
            options.OUTPUT,
            f"Output file (written atomically); its extension sets the format: {options.listed(_FORMATS)}.",
            "--output",
            "-o",
            metavar="FILE",
        ),
    ],
    ema: Annotated[
        bool,
        options.option(options.INPUT, "Use the averaged (EMA) weights of a checkpoint that has both.", "--ema"),
    ] = False,
    to: Annotated[
        Literal["resnet-cli", "torchvision"] | None,
        options.choice(options.OUTPUT, "Parameter names of the output.", default="unchanged"),
    ] = None,
    dtype: Annotated[
        options.Dtypes | None, options.choice(options.OUTPUT, "Data type of all weights.", default="unchanged")
    ] = None,
    show: Annotated[str | None, options.sections("convert", "files")] = None,
    output_format: Annotated[
        str | None,
        options.choice_of(
            RESULT_FORMATS, options.OUTPUT, "Format of the report on stdout", "--format", "-f", default="terminal"
        ),
    ] = None,
) -> None:
    """Convert checkpoints between the parameter names of resnet-cli and torchvision, .pth and .safetensors, and dtypes.

    The architecture is detected from names and shapes. Reading runs no code from the file. Everything else is
    preserved bit for bit; the file is written atomically.
    """
    drawing = execution.drawing("convert", output_format, None, sections=show)
    suffix = _check_paths(source, output)
    with execution.loading_torch():
        from resnet_cli.measure.system import dtypes
        from resnet_cli.measure.weights import conversion

    with progress() as update:
        converted = conversion.convert(
            source,
            output,
            to=to,
            format=_FORMATS[suffix],
            dtype=None if dtype is None else dtypes.dtype(dtype),
            averaged=ema,
            progress=update,
        )
        update("writing the weights")
        size = write_through(output, lambda path: conversion.save(converted, path))
    drawing.finish(replace(converted.result, target=replace(converted.result.target, bytes=size)))


def _check_paths(source: str, output: str) -> str:
    """Check the files before anything is read.

    Returns:
        The extension of the output file.

    Raises:
        ResnetCliError: the source does not exist, or the output cannot be written.
    """
    suffix = Path(output).suffix.lower()
    if suffix not in _FORMATS:
        raise ResnetCliError(f"--output: unsupported extension {suffix!r}", f"use {options.listed(_FORMATS)}")
    if not exists(source):
        raise ResnetCliError(f"{source}: no such file", "name the weights to read")
    check_file(output)
    if Path(output).exists() and Path(source).samefile(output):
        raise ResnetCliError(f"--output {output} is the file to read", "choose another name")
    return suffix
