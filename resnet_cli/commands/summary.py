"""`resnet-cli summary`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from resnet_cli.assertions import ParsedAssertion, evaluate, parse_assertions
from resnet_cli.commands import options
from resnet_cli.commands.options import execution
from resnet_cli.commands.options.completion import file_or
from resnet_cli.commands.options.input_selection import InputSelection, choose_inputs
from resnet_cli.commands.options.model_selection import NetworkSelection, choose_network
from resnet_cli.errors import ResnetCliError
from resnet_cli.files import exists
from resnet_cli.render.progress import is_interactive, progress

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
    model_args: options.ModelArgs = None,
    in_channels: options.InChannels = None,
    num_classes: options.ModelClasses = None,
    stem: options.Stem = "imagenet",
    weights: Annotated[
        str | None,
        options.option(
            options.NETWORK,
            "Show a weights file too (.pth, .pt, .safetensors), tensor by tensor; without another network option its "
            "architecture is detected from its shapes. Or torchvision's weights by name: "
            f"{options.listed(options.TORCHVISION_WEIGHTS)}.",
            metavar="FILE|NAME",
            default="none",
            complete=file_or(options.TORCHVISION_WEIGHTS),
        ),
    ] = None,
    batch_size: options.BatchSize = None,
    image_size: options.ImageSize = None,
    inputs: options.Inputs = None,
    input_file: options.InputFile = None,
    dtype: options.Dtype = None,
    device: options.Device = "auto",
    op_flops: options.OpFlops = None,
    assertions: options.Assertions = None,
    levels: Annotated[int | None, options.levels("the tree")] = None,
    columns: Annotated[str | None, options.columns("summary", "the most useful ones")] = None,
    collapse: options.Collapse = True,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Show the layer tree: shapes, parameters, MACs, memory and receptive field of every layer.

    Runs on the meta device: nothing is allocated, so any input size works. Every column sums to its total.
    """
    network = choose_network(
        depth,
        arch,
        repeat,
        model,
        model_args,
        in_channels=in_channels,
        num_classes=num_classes,
        stem=stem,
        op_flops=op_flops,
    )
    chosen_inputs = choose_inputs(
        inputs,
        input_file,
        batch_size=batch_size,
        image_size=image_size,
        in_channels=in_channels,
        is_built_in=model is None,
    )
    kind = "summary" if weights is None else "checkpoint"
    drawing = execution.drawing(kind, output_format, output, levels=levels, columns=columns, collapse=collapse)
    parsed = parse_assertions(assertions or (), "summary")
    machine = execution.machine(device, dtype)
    if weights is not None:
        _show_weights(weights, network, chosen_inputs, machine, parsed, drawing)
        return

    from resnet_cli.measure.cost.summary import summarize

    loaded = network.load()
    result = summarize(loaded, inputs=chosen_inputs.load(loaded), dtype=machine.dtype, device=machine.device)
    result = evaluate(result, parsed)
    execution.finish_assertions(drawing, result, result.assertions)


def _show_weights(
    weights: str,
    network: NetworkSelection,
    inputs: InputSelection,
    machine: execution.Machine,
    assertions: tuple[ParsedAssertion, ...],
    drawing: execution.Drawing,
) -> None:
    """Show the tensors of a file, and the summary of the network that they fit."""
    from resnet_cli.measure.cost.summary import summarize

    checkpoint, model = _read_weights(weights, network)
    if model is None:
        if assertions:
            raise ResnetCliError(
                f"--assert {assertions[0].quantity}: the weights fit no known network", "name it with --model"
            )
        drawing.finish(checkpoint)
        return
    if not network.is_named and model.spec is not None:
        inputs = replace(inputs, image=(model.spec.in_channels, *inputs.image[1:]))
    result = summarize(model, inputs=inputs.load(model), dtype=machine.dtype, device=machine.device)
    result = evaluate(result, assertions)
    execution.finish_assertions(drawing, replace(checkpoint, summary=result), result.assertions)


def _read_weights(weights: str, network: NetworkSelection) -> "tuple[CheckpointResult, ModelUnderTest | None]":
    """The content of a file of weights, and the network that it fits: the named one if one is named."""
    from resnet_cli.measure.weights.tensor_statistics import view_weights

    model = network.load() if network.is_named else None
    with progress() as update:
        path = weights
        if network.model is None and not exists(weights):
            from resnet_cli.measure.weights.torchvision_download import resolve_weights

            path = resolve_weights(weights, network.spec, show_bar=is_interactive(), progress=update)
        return view_weights(path, model, progress=update)
