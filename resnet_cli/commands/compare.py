"""`resnet-cli compare-torchvision`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from resnet_cli.commands import options
from resnet_cli.commands.options import comparison as comparison_options
from resnet_cli.commands.options import execution, parsing
from resnet_cli.commands.options.completion import one_of
from resnet_cli.commands.options.input_selection import choose_inputs
from resnet_cli.commands.options.model_selection import (
    DEFAULT_CLASSES,
    DEFAULT_STEM,
    check_alone,
    parse_model_args,
)
from resnet_cli.errors import ResnetCliError
from resnet_cli.files import check_file
from resnet_cli.measure.parity.checks import CHECKS
from resnet_cli.network.architectures import ARCHITECTURES, resolve
from resnet_cli.render.progress import is_interactive, progress, status

if TYPE_CHECKING:
    from resnet_cli.measure.parity.config import ParityConfig
    from resnet_cli.measure.parity.model_pair import ModelPair
    from resnet_cli.results.compare import CompareResult

EPILOG = """\b
Examples:
  resnet-cli compare-torchvision --depth 50
  resnet-cli compare-torchvision --all
  resnet-cli compare-torchvision --model my_resnet.py:ResNet18
  resnet-cli compare-torchvision --model my_resnet.py:ResNet18 --save-expect intended.toml
  resnet-cli compare-torchvision --model my_resnet.py:ResNet18 --expect intended.toml
  resnet-cli compare-torchvision --depth 50 --weights IMAGENET1K_V2 --image photo.jpg
  resnet-cli compare-torchvision --self-test
"""

_REFERENCE = "Reference"


def compare_torchvision(
    depth: options.Depth = None,
    arch: options.Arch = None,
    repeat: options.Repeat = None,
    model: options.Model = None,
    model_args: options.ModelArgs = None,
    in_channels: options.InChannels = None,
    num_classes: options.ModelClasses = None,
    stem: options.Stem = "imagenet",
    weights: options.Weights = None,
    every: Annotated[
        bool, options.option(options.NETWORK, "Compare all ten built-in architectures, one row each.", "--all")
    ] = False,
    against: Annotated[
        str | None,
        options.option(
            _REFERENCE,
            "Classification model of torchvision to compare with.",
            metavar="NAME",
            default="the one of the same name",
            complete=one_of(ARCHITECTURES),
        ),
    ] = None,
    key_map: Annotated[str | None, comparison_options.key_map(_REFERENCE)] = None,
    save_map: Annotated[str | None, comparison_options.save_map(_REFERENCE)] = None,
    expect: Annotated[str | None, comparison_options.expect(_REFERENCE)] = None,
    save_expect: Annotated[str | None, comparison_options.save_expect(_REFERENCE)] = None,
    batch_size: Annotated[int | None, comparison_options.batch_size()] = None,
    image_size: options.ImageSize = None,
    inputs: options.Inputs = None,
    input_file: options.InputFile = None,
    image: Annotated[
        str | None,
        options.option(
            options.INPUT,
            "Image file: compare the top-5 predictions of both networks. Requires --weights.",
            metavar="FILE",
            default="none",
        ),
    ] = None,
    device: options.RunDevice = "cpu",
    seed: options.Seed = 0,
    checks: Annotated[str | None, comparison_options.checks()] = None,
    self_test: Annotated[
        bool,
        options.option(
            options.MEASUREMENT,
            "Inject known bugs into the network and report which ones are detected and diagnosed.",
            "--self-test",
        ),
    ] = False,
    rtol: Annotated[float | None, comparison_options.rtol()] = None,
    atol: Annotated[
        float | None,
        options.option(
            options.MEASUREMENT, "Absolute tolerance, added to the relative one.", metavar="X", default="none", min=0
        ),
    ] = None,
    show: Annotated[str | None, options.sections("compare-torchvision")] = None,
    levels: Annotated[int | None, options.levels("the tree for matching parts", "1")] = None,
    collapse: Annotated[bool, comparison_options.collapse()] = True,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Check that a network is equivalent to torchvision's, and show where and why it differs.

    Exit code 0: equivalent. 1: not equivalent. 2: could not be compared. 130: interrupted; what was compared is shown.
    """
    arguments = parse_model_args(model, model_args)
    chosen_inputs = choose_inputs(
        inputs, input_file, batch_size=batch_size, image_size=image_size, in_channels=in_channels, is_built_in=True
    )
    one_network = {"--depth": depth, "--arch": arch, "--repeat": repeat, "--model": model, "--against": against}
    other_stem = None if stem == DEFAULT_STEM else stem
    other_inputs = {
        "--in-channels": None if in_channels == 3 else in_channels,
        "--input": inputs,
        "--input-file": input_file,
        "--stem": other_stem,
    }
    one_run = {"--image": image, "--save-map": save_map, "--expect": expect, "--save-expect": save_expect}
    if every:
        check_alone(
            "--all",
            {
                **one_network,
                **other_inputs,
                "--weights": weights,
                "--map": key_map,
                **one_run,
                "--self-test": self_test,
            },
        )
    if self_test:
        check_alone("--self-test", one_run)
    if against is not None and model is not None:
        check_alone("--against", {"--depth": depth, "--arch": arch, "--repeat": repeat, "--stem": other_stem})
    if image is not None and weights is None:
        raise ResnetCliError("--image requires --weights", "an untrained network makes no useful predictions")
    comparison_options.check_tolerance("--rtol", rtol)
    comparison_options.check_tolerance("--atol", atol)
    kind = "compare-torchvision-all" if every else "self-test" if self_test else "compare-torchvision"
    drawing = execution.drawing(kind, output_format, output, levels=levels, collapse=collapse, sections=show)
    chosen = parsing.chosen("check", checks, CHECKS)
    classes = arguments.get("num_classes", num_classes)
    spec = resolve(
        depth,
        arch,
        repeat=repeat,
        in_channels=in_channels or 3,
        num_classes=classes if type(classes) is int else num_classes or DEFAULT_CLASSES,
        stem=stem,
    )
    for path in (save_map, save_expect):
        if path is not None:
            check_file(path)
    machine = execution.machine(device)
    with status("loading torchvision"):
        from resnet_cli.measure.models import torchvision_models

        torchvision_models.names()  # reports a broken torchvision before anything is measured

    from resnet_cli.measure.parity import model_pair
    from resnet_cli.measure.parity.config import ParityConfig

    shape = (batch_size or comparison_options.BATCH_SIZE, *chosen_inputs.image)
    config = ParityConfig(shape=shape, seed=seed, device=machine.device, checks=chosen, rtol=rtol, atol=atol)
    if every:
        _compare_all(config, spec.num_classes, drawing)
        return
    with progress() as update:
        update("building both networks")
        pair = model_pair.model_pair(
            spec,
            model,
            against,
            is_default=depth is None and arch is None and repeat is None,
            arguments=arguments,
            seed=seed,
            as_many_classes=classes is None,
            inputs_of=chosen_inputs.load,
        )
    loaded = chosen_inputs.load(pair.model)
    config = config.for_inputs(loaded.at_batch(max(comparison_options.BATCH_SIZE, loaded.batch_size or 1)))
    config = _configure(pair, config, weights, key_map)
    if self_test:
        _run_self_test(pair, config, drawing)
        return
    result = _compare(pair, config, expect, image)
    if not result.interrupted:
        from resnet_cli.measure.parity import compare

        compare.write_files(result, (pair.model.name, pair.reference.name), save_map, save_expect)
    drawing.finish(result, holds=result.same, interrupted=result.interrupted)


def _compare_all(config: "ParityConfig", num_classes: int, drawing: execution.Drawing) -> None:
    from resnet_cli.measure.parity.all_architectures import compare_all_architectures

    with progress() as update:
        result = compare_all_architectures(config, num_classes, progress=update)
    drawing.finish(result, holds=result.same, interrupted=result.interrupted)


def _run_self_test(pair: "ModelPair", config: "ParityConfig", drawing: execution.Drawing) -> None:
    from resnet_cli.measure.faults.self_test import self_test

    with progress() as update:
        result = self_test(pair.model, pair.reference, config, progress=update)
    drawing.finish(result, holds=result.same, interrupted=result.interrupted)


def _configure(pair: "ModelPair", config: "ParityConfig", weights: str | None, key_map: str | None) -> "ParityConfig":
    """Load the weights into both networks, and read the map of --map."""
    from resnet_cli.measure.parity import model_pair
    from resnet_cli.measure.weights.torchvision_download import resolve_weights

    if weights is not None:
        with progress() as update:
            spec = pair.spec or pair.architecture
            path = resolve_weights(weights, spec, show_bar=is_interactive(), progress=update)
            config = model_pair.with_weights(pair, path, config)
    return config if key_map is None else model_pair.with_map(pair, key_map, config)


def _compare(pair: "ModelPair", config: "ParityConfig", expect: str | None, image: str | None) -> "CompareResult":
    from resnet_cli.measure.parity import compare, map_files

    expected = None if expect is None else map_files.read_expectations(expect)
    with progress() as update:
        result = compare.compare(
            pair.model, pair.reference, replace(config, keep=False), expected=expected, progress=update
        )
        result = replace(result, notes=(*pair.notes, *result.notes))
        if image is not None and not result.interrupted:
            predictions = compare.predict(
                pair.model.model, pair.reference.model, image, pair.architecture, config.device
            )
            result = replace(result, image=image, predictions=predictions)
    return result
