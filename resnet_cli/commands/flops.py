"""`resnet-cli flops`."""

from typing import Annotated

from resnet_cli.assertions import evaluate, parse_assertions
from resnet_cli.commands import options
from resnet_cli.commands.options import execution
from resnet_cli.commands.options.completion import pair_of
from resnet_cli.commands.options.input_selection import choose_inputs
from resnet_cli.commands.options.model_selection import choose_network
from resnet_cli.measure.cost.conventions import DEFAULT_RECONCILIATIONS, keys, parse_reconciliation

EPILOG = """\b
Examples:
  resnet-cli flops --depth 50
  resnet-cli flops --depth 50 --show conventions --reconcile paper:fvcore
  resnet-cli flops --depth 18 --backward --batch-size 32
  resnet-cli flops --depth 101 --show modules --levels 3 -o modules.csv
  resnet-cli flops --model my_resnet.py:ResNet18 --backward
"""


def flops(
    depth: options.Depth = None,
    arch: options.Arch = None,
    repeat: options.Repeat = None,
    model: options.Model = None,
    model_args: options.ModelArgs = None,
    in_channels: options.InChannels = None,
    num_classes: options.ModelClasses = None,
    stem: options.Stem = "imagenet",
    batch_size: options.BatchSize = None,
    image_size: options.ImageSize = None,
    inputs: options.Inputs = None,
    input_file: options.InputFile = None,
    dtype: options.Dtype = None,
    device: options.Device = "auto",
    op_flops: options.OpFlops = None,
    backward: Annotated[
        bool, options.option(options.MEASUREMENT, "Count the backward pass of a training step too.", "--backward")
    ] = False,
    reconcile: Annotated[
        list[str] | None,
        options.option(
            options.MEASUREMENT,
            "Break down the difference between two counts, e.g. fvcore:torchvision. Repeatable. Counts: "
            f"{options.listed(keys())}.",
            metavar="A:B",
            default=options.listed(":".join(pair) for pair in DEFAULT_RECONCILIATIONS),
            complete=pair_of(keys),
        ),
    ] = None,
    assertions: options.Assertions = None,
    show: Annotated[str | None, options.sections("flops")] = None,
    levels: Annotated[int | None, options.levels("the module tree", "2")] = None,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Count FLOPs by operator and by module, and reconcile the result with other FLOP counters.

    1 MAC is 2 FLOPs. Each convention is a formula over the same terms, checked against the tool itself where installed.
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
    drawing = execution.drawing("flops", output_format, output, levels=levels, sections=show)
    parsed = parse_assertions(assertions or (), "flops")
    pairs = [parse_reconciliation(text) for text in reconcile or ()]
    machine = execution.machine(device, dtype)

    from resnet_cli.measure.cost.flops import count_flops

    loaded = network.load()
    result = count_flops(
        loaded,
        inputs=chosen_inputs.load(loaded),
        dtype=machine.dtype,
        device=machine.device,
        backward=backward,
        reconciliations=pairs,
    )
    result = evaluate(result, parsed)
    execution.finish_assertions(drawing, result, result.assertions)
