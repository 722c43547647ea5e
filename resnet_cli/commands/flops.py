"""`resnet-cli flops`."""

from typing import Annotated

import typer

from resnet_cli.assertions import evaluate, parse_assertions
from resnet_cli.commands import options
from resnet_cli.commands.options import model_selection, parsing, path_conflicts
from resnet_cli.commands.options.completion import pair_of
from resnet_cli.measure.cost.conventions import keys, parse_reconciliation
from resnet_cli.render.pages import PAGES

EPILOG = """\b
Examples:
  resnet-cli flops --depth 50
  resnet-cli flops --depth 50 --show conventions,walks --walk paper:fvcore
  resnet-cli flops --depth 18 --backward --batch-size 32
  resnet-cli flops --depth 101 --show modules --levels 3 -o modules.csv
  resnet-cli flops --model my_resnet.py:ResNet18 --backward
"""


def flops(
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
    dtype: options.Dtype = "float32",
    backward: Annotated[bool, typer.Option("--backward", help="Count the backward pass of a step too.")] = False,
    walk: Annotated[
        list[str] | None,
        typer.Option(
            help="Walk from one figure to another, such as fvcore:torchvision. Repeatable.  [default: two of interest]",
            metavar="FROM:TO",
            autocompletion=pair_of(keys),
            show_default=False,
        ),
    ] = None,
    show: Annotated[str | None, options.sections(PAGES["flops"].sections, "all", "Tables")] = None,
    levels: Annotated[int | None, options.levels("the module tree is drawn", "2")] = None,
    assertions: options.Assertions = None,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Count FLOPs by operator and by module, and explain why every counter says something else.

    1 MAC is 2 FLOPs. Each convention is a formula over the same parts, held against the tool itself where it runs.
    """
    network = model_selection.choose_network(
        depth, arch, repeat, model, model_args, in_channels=in_channels, num_classes=num_classes, stem=stem
    )
    shape = parsing.input_shape(batch_size, in_channels, image_size)
    drawing = options.drawing("flops", output_format, output, levels=levels, sections=show)
    path_conflicts.check_paths_differ({"--output": output}, {"--model": model})
    budgets = parse_assertions(assertions or (), "flops")
    walks = [parse_reconciliation(text) for text in walk or ()]
    machine = options.machine(device, dtype)

    from resnet_cli.measure.cost.flops import count_flops

    result = count_flops(
        network.subject(),
        shape=shape,
        dtype=machine.dtype,
        device=machine.device,
        backward=backward,
        walks=walks,
    )
    result = evaluate(result, budgets)
    drawing.write(result)
    options.finish(result.assertions)
