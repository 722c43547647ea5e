"""`resnet-cli compare`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_cli.commands import options
from resnet_cli.commands.options import comparison as comparison_options
from resnet_cli.commands.options import execution, parsing
from resnet_cli.commands.options.completion import file_or
from resnet_cli.commands.options.input_selection import choose_inputs
from resnet_cli.commands.options.model_selection import check_alone
from resnet_cli.files import check_file
from resnet_cli.measure.models.naming.grammar import EXAMPLES, parse
from resnet_cli.measure.parity.checks import CHECKS
from resnet_cli.render.progress import progress

if TYPE_CHECKING:
    from resnet_cli.measure.parity.config import ParityConfig
    from resnet_cli.measure.parity.model_pair import ModelPair

EPILOG = """\b
Examples:
  resnet-cli compare my_resnet.py:ResNet18@HEAD~1 my_resnet.py:ResNet18
  resnet-cli compare torchvision:resnet18 my_resnet.py:ResNet18
  resnet-cli compare 'resnet18(stem="cifar")' my_resnet.py:ResNet18
"""


def _network(help_text: str) -> typer.models.ArgumentInfo:
    argument: typer.models.ArgumentInfo = typer.Argument(
        help=help_text, metavar="NAME", show_default=False, autocompletion=file_or(EXAMPLES)
    )
    return argument


def compare(
    reference: Annotated[str, _network("The reference: FILE.py:NAME, FILE.py:NAME@REVISION, torchvision:NAME, …")],
    model: Annotated[str, _network("The network that is compared with it.")],
    weights: Annotated[
        str | None,
        options.option(
            options.NETWORK, "File of weights that fits one of them, or both.", metavar="FILE", default="random"
        ),
    ] = None,
    weights_a: Annotated[
        str | None,
        options.option(options.NETWORK, "File of weights of the reference.", metavar="FILE", default="random"),
    ] = None,
    weights_b: Annotated[
        str | None,
        options.option(options.NETWORK, "File of weights of the other network.", metavar="FILE", default="random"),
    ] = None,
    key_map: Annotated[str | None, comparison_options.key_map(options.NETWORK)] = None,
    save_map: Annotated[str | None, comparison_options.save_map(options.NETWORK)] = None,
    expect: Annotated[str | None, comparison_options.expect(options.NETWORK)] = None,
    save_expect: Annotated[str | None, comparison_options.save_expect(options.NETWORK)] = None,
    batch_size: Annotated[int | None, comparison_options.batch_size()] = None,
    image_size: options.ImageSize = None,
    in_channels: options.InChannels = None,
    inputs: options.Inputs = None,
    input_file: options.InputFile = None,
    device: options.RunDevice = "cpu",
    seed: options.Seed = 0,
    checks: Annotated[str | None, comparison_options.checks()] = None,
    rtol: Annotated[float | None, comparison_options.rtol()] = None,
    show: Annotated[str | None, options.sections("compare")] = None,
    levels: Annotated[int | None, options.levels("the tree for matching parts", "1")] = None,
    collapse: Annotated[bool, comparison_options.collapse()] = True,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Compare a network with another one: what changed, what it costs, and where they compute the same.

    The reference comes first, as in `diff old new`. Exit code 0: equivalent. 1: not equivalent. 2: could not be
    compared. 130: interrupted; what was compared is shown.
    """
    if weights is not None:
        check_alone("--weights", {"--weights-a": weights_a, "--weights-b": weights_b})
    comparison_options.check_tolerance("--rtol", rtol)
    for text in (reference, model):
        parse(text)
    chosen_inputs = choose_inputs(
        inputs, input_file, batch_size=batch_size, image_size=image_size, in_channels=in_channels, is_built_in=True
    )
    drawing = execution.drawing("compare", output_format, output, levels=levels, collapse=collapse, sections=show)
    chosen = parsing.chosen("check", checks, CHECKS)
    for path in (save_map, save_expect):
        if path is not None:
            check_file(path)
    machine = execution.machine(device)

    from resnet_cli.measure.cost.summary import summarize
    from resnet_cli.measure.parity import compare as comparison
    from resnet_cli.measure.parity import map_files, model_pair
    from resnet_cli.measure.parity.changes import with_changes
    from resnet_cli.measure.parity.config import ParityConfig

    expected = None if expect is None else map_files.read_expectations(expect)
    shape = (batch_size or comparison_options.BATCH_SIZE, *chosen_inputs.image)
    config = ParityConfig(shape=shape, seed=seed, device=machine.device, checks=chosen, rtol=rtol, keep=False)
    with progress() as update:
        update("building both networks")
        pair = model_pair.named_pair(reference, model, chosen_inputs.load, seed)
        loaded = chosen_inputs.load(pair.model)
        config = replace(config, reference=pair.reference.name)
        config = config.for_inputs(loaded.at_batch(max(comparison_options.BATCH_SIZE, loaded.batch_size or 1)))
        config = _with_weights(pair, config, weights, weights_a, weights_b)
        config = config if key_map is None else model_pair.with_map(pair, key_map, config)
        update("measuring both networks")
        before, after = (
            summarize(subject, inputs=chosen_inputs.load(subject).at_batch(1), device=machine.device)
            for subject in (pair.reference, pair.model)
        )
        result = comparison.compare(pair.model, pair.reference, config, expected=expected, progress=update)
    result = with_changes(replace(result, notes=(*pair.notes, *result.notes)), before, after)
    if not result.interrupted:
        comparison.write_files(result, (pair.model.name, pair.reference.name), save_map, save_expect)
    drawing.finish(result, holds=result.same, interrupted=result.interrupted)


def _with_weights(
    pair: "ModelPair", config: "ParityConfig", both: str | None, reference: str | None, model: str | None
) -> "ParityConfig":
    """Load the files of weights; where each network has its own, none is copied to the other."""
    from resnet_cli.measure.parity import model_pair

    if both is not None:
        return model_pair.with_weights(pair, both, config)
    given = [(subject, path) for subject, path in ((pair.reference, reference), (pair.model, model)) if path]
    for subject, path in given:
        model_pair.load_into(subject, path)
    if not given:
        return config
    transfer = "none" if len(given) == 2 else "to model" if reference else "to reference"
    return replace(config, weights=" and ".join(path for _, path in given), transfer=transfer)
