"""`resnet-cli summary`."""

from typing import Annotated

import typer

from resnet_cli.architectures import resolve
from resnet_cli.budgets import hold, parse_budgets
from resnet_cli.commands import options

EPILOG = """\b
Examples:
  resnet-cli summary --depth 18
  resnet-cli summary --depth 50 --levels 2 --columns kind,output,macs,saved
  resnet-cli summary --arch wide_resnet50_2 --batch-size 256 --dtype bfloat16
  resnet-cli summary --stem cifar --image-size 32 --num-classes 10 -o cifar.json
  resnet-cli summary --depth 50 --assert "macs<=4.2G" --assert "parameters<26M"
"""


def summary(
    depth: options.Depth = None,
    arch: options.Arch = None,
    repeat: options.Repeat = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = 1,
    image_size: options.ImageSize = "224",
    in_channels: options.InChannels = 3,
    num_classes: options.NumClasses = 1000,
    stem: options.Stem = "imagenet",
    dtype: options.Dtype = "float32",
    levels: Annotated[
        int | None, typer.Option(help="How deep the tree is drawn; 1 shows the stages.", metavar="N")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Columns to show, with commas; an unknown one lists them all.", metavar="A,B,C"),
    ] = None,
    fold: Annotated[bool, typer.Option("--fold/--no-fold", help="Draw identical blocks once, as ×5.")] = True,
    assertions: options.Assertions = None,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Show the layer tree: shapes, parameters, MACs, memory and receptive field of every layer.

    Nothing is allocated, so any input can be asked about. Every column's rows add up to its total.
    """
    spec = resolve(depth, arch, repeat=repeat, in_channels=in_channels, num_classes=num_classes, stem=stem)
    shape = options.input_shape(batch_size, in_channels, image_size)
    drawing = options.drawing("summary", output_format, output, levels=levels, columns=columns, fold=fold)
    budgets = parse_budgets(assertions or (), "summary")
    machine = options.machine(device, dtype)

    from resnet_cli.measure.networks import subject
    from resnet_cli.measure.summary import summarize

    result = hold(summarize(subject(spec), shape=shape, dtype=machine.dtype, device=machine.device), budgets)
    drawing.write(result)
    options.finish(result.assertions)
