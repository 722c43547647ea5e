"""`resnet-cli summary`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_cli.assertions import evaluate, parse_assertions
from resnet_cli.commands import options
from resnet_cli.commands.options import model_selection, parsing, path_conflicts
from resnet_cli.commands.options.completion import file_or, some_of
from resnet_cli.errors import ResnetCliError
from resnet_cli.render.pages import PAGES
from resnet_cli.render.progress import is_interactive, progress
from resnet_cli.user_files import exists

if TYPE_CHECKING:
    from resnet_cli.measure.models.model import ModelUnderTest
    from resnet_cli.results.checkpoint import CheckpointResult

EPILOG = """\b
Examples:
  resnet-cli summary --depth 18
  resnet-cli summary --depth 50 --levels 2 --columns layer_type,output_shape,macs,saved_for_backward_bytes
  resnet-cli summary --arch wide_resnet50_2 --batch-size 256 --dtype bfloat16
  resnet-cli summary --stem cifar --image-size 32 --num-classes 10 -o cifar.json
  resnet-cli summary --model my_resnet.py:ResNet18 --model-args '{"num_classes": 10}'
  resnet-cli summary --weights resnet18.safetensors
  resnet-cli summary --depth 50 --assert "macs<=4.2G" --assert "parameters<26M"
"""


def summary(
    depth: options.Depth = None,
    arch: options.Arch = None,
    repeat: options.Repeat = None,
    model: options.Model = None,
    model_args: model_selection.ModelArgs = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = 1,
    image_size: options.ImageSize = "224",
    in_channels: options.InChannels = 3,
    num_classes: model_selection.Classes = None,
    stem: options.Stem = "imagenet",
    weights: Annotated[
        str | None,
        typer.Option(
            help="Show a FILE of weights too (.pth, .pt, .safetensors), tensor by tensor; without another option its "
            "network is found by its shapes. Or torchvision's own by name: "
            f"{', '.join(options.PUBLISHED)}.  [default: none]",
            metavar="FILE|NAME",
            autocompletion=file_or(options.PUBLISHED),
            show_default=False,
        ),
    ] = None,
    dtype: options.Dtype = "float32",
    levels: Annotated[int | None, options.levels("the tree is drawn")] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns to show, with commas; an unknown one lists them all.  [default: those of most use]",
            metavar="A,B,C",
            autocompletion=some_of(PAGES["summary"].column_names),
            show_default=False,
        ),
    ] = None,
    fold: Annotated[bool, typer.Option("--fold/--no-fold", help="Draw identical blocks once, as ×5.")] = True,
    assertions: options.Assertions = None,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Show the layer tree: shapes, parameters, MACs, memory and receptive field of every layer.

    Nothing is allocated, so any input can be asked about. Every column's rows add up to its total.
    """
    network = model_selection.choose_network(
        depth, arch, repeat, model, model_args, in_channels=in_channels, num_classes=num_classes, stem=stem
    )
    shape = parsing.input_shape(batch_size, in_channels, image_size)
    kind = "summary" if weights is None else "checkpoint"
    drawing = options.drawing(kind, output_format, output, levels=levels, columns=columns, fold=fold)
    path_conflicts.check_paths_differ({"--output": output}, {"--weights": weights, "--model": model})
    budgets = parse_assertions(assertions or (), "summary")
    machine = options.machine(device, dtype)

    from resnet_cli.measure.cost.summary import summarize

    if weights is None:
        result = evaluate(
            summarize(network.subject(), shape=shape, dtype=machine.dtype, device=machine.device), budgets
        )
        drawing.write(result)
        options.finish(result.assertions)
        return
    held, subject = _weights(weights, network)
    if subject is None and budgets:
        raise ResnetCliError(
            f"--assert {budgets[0].quantity}: the weights fit no network that we know", "name it by --model"
        )
    if subject is not None:
        if not network.is_named and subject.spec is not None:
            shape = parsing.input_shape(batch_size, subject.spec.in_channels, image_size)
        summarized = evaluate(summarize(subject, shape=shape, dtype=machine.dtype, device=machine.device), budgets)
        held = replace(held, summary=summarized)
    drawing.write(held)
    if held.summary is not None:
        options.finish(held.summary.assertions)


def _weights(text: str, network: model_selection.NetworkSelection) -> "tuple[CheckpointResult, ModelUnderTest | None]":
    """What a file of weights holds, and the network that it fits, which is the named one if one is named."""
    from resnet_cli.measure.weights.tensor_statistics import view_weights

    subject = network.subject() if network.is_named else None
    with progress() as tell:
        path = text
        if network.model is None and not exists(text):
            from resnet_cli.measure.weights.torchvision_download import resolve_weights

            path = resolve_weights(text, network.spec, show_bar=is_interactive(), progress=tell)
        return view_weights(path, subject, progress=tell)
