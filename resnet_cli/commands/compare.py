"""`resnet-cli compare-torchvision`."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from resnet_cli.commands import options
from resnet_cli.commands.options import model_selection, parsing, path_conflicts
from resnet_cli.commands.options.completion import one_of, some_of
from resnet_cli.errors import ResnetCliError
from resnet_cli.files import check_file, write_file
from resnet_cli.network.architectures import FAMILY, resolve
from resnet_cli.render.pages import PAGES
from resnet_cli.render.progress import is_interactive, progress, status
from resnet_cli.results.compare import CHECKS

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


def _writing(what: str) -> Any:
    return typer.Option(help=f"{what}  [default: it is not written]", metavar="FILE", show_default=False)


def compare_torchvision(
    depth: options.Depth = None,
    arch: options.Arch = None,
    repeat: options.Repeat = None,
    model: options.Model = None,
    model_args: model_selection.ModelArgs = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Any classification network of torchvision to compare with.  [default: the one of the same name]",
            metavar="NAME",
            autocompletion=one_of(FAMILY),
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All ten members of the family, a row each.")] = False,
    self_test: Annotated[
        bool,
        typer.Option("--self-test", help="Plant every known fault in the network and show which are found and named."),
    ] = False,
    device: options.RunDevice = "cpu",
    batch_size: Annotated[int, typer.Option(help="Images in a batch, two or more.", metavar="N")] = 2,
    image_size: options.ImageSize = "224",
    num_classes: options.NumClasses = 1000,
    seed: options.Seed = 0,
    checks: Annotated[
        str | None,
        typer.Option(
            help=f"Checks to make, with commas: {', '.join(CHECKS)}.  [default: all]",
            metavar="A,B,C",
            autocompletion=some_of(CHECKS),
            show_default=False,
        ),
    ] = None,
    weights: options.Weights = None,
    image: Annotated[
        str | None,
        typer.Option(
            help="A photograph: shows the five likeliest classes of each. Needs --weights.  [default: none]",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    key_map: Annotated[
        str | None,
        typer.Option(
            "--map",
            help="Which parameter is which.  [default: as the alignment finds it]",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    save_map: Annotated[str | None, _writing("Write down which parameter is which, as --map reads it.")] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            help="Intended changes: exit 0 while nothing else differs.  [default: none]",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    save_expect: Annotated[str | None, _writing("Write down what differs now, as --expect reads it.")] = None,
    rtol: Annotated[
        float | None,
        typer.Option(
            help="Tolerance relative to the largest |value|.  [default: measured]", metavar="X", show_default=False
        ),
    ] = None,
    atol: Annotated[
        float | None,
        typer.Option(help="Absolute tolerance, added to it.  [default: none]", metavar="X", show_default=False),
    ] = None,
    levels: Annotated[int | None, options.levels("equal parts are drawn", "1")] = None,
    show: Annotated[str | None, options.sections(PAGES["compare-torchvision"].sections, "all")] = None,
    fold: Annotated[bool, typer.Option("--fold/--no-fold", help="Draw what is equal in one row.")] = True,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Prove that the network is torchvision's, or show where it is not and why.

    Exit code 0: the same network. 1: not the same. 2: it could not be compared. 130: interrupted; what was found by
    then is shown.
    """
    arguments = model_selection.parse_model_args(model, model_args)
    classes = arguments.get("num_classes", num_classes)
    spec = resolve(depth, arch, repeat=repeat, num_classes=classes if type(classes) is int else num_classes)
    shape = parsing.input_shape(batch_size, 3, image_size)
    if batch_size < 2:
        raise ResnetCliError("--batch-size 1: a mistake between images shows from two on", "use 2 or more")
    _check_conflicts(
        every, self_test, depth, arch, repeat, model, against, weights, image, key_map, save_map, expect, save_expect
    )
    parsing.check_seed(seed)
    for name, value in (("--rtol", rtol), ("--atol", atol)):
        if value is not None and not 0 <= value < float("inf"):
            raise ResnetCliError(f"{name} {value} is no tolerance", "use a number of 0 or more, such as 1e-5")
    kind = "compare-torchvision-all" if every else "self-test" if self_test else "compare-torchvision"
    drawing = options.drawing(kind, output_format, output, levels=levels, fold=fold, sections=show)
    path_conflicts.check_paths_differ(
        {"--output": output, "--save-map": save_map, "--save-expect": save_expect},
        {"--weights": weights, "--image": image, "--model": model, "--map": key_map, "--expect": expect},
        renewed={"--save-map": "--map", "--save-expect": "--expect"},
    )
    asked = parsing.chosen("check", checks, CHECKS)
    for path in (save_map, save_expect):
        if path is not None:
            check_file(path)
    machine = options.machine(device, "float32")
    with status("loading torchvision"):
        from resnet_cli.measure.models import torchvision_models

        torchvision_models.names()  # what is wrong with torchvision is best known before anything else

    from resnet_cli.measure.parity.config import ParityConfig

    question = ParityConfig(shape=shape, seed=seed, device=machine.device, checks=asked, rtol=rtol, atol=atol)
    if every:
        from resnet_cli.measure.parity.family import compare_family

        with progress() as tell:
            family = compare_family(question, num_classes, progress=tell)
        drawing.write(family)
        options.leave(family.same, interrupted=family.interrupted)
        return

    from resnet_cli.measure.parity import compare, model_pair
    from resnet_cli.measure.parity import map_files as maps
    from resnet_cli.measure.weights.torchvision_download import resolve_weights

    with progress() as tell:
        tell("building both networks")
        pair = model_pair.model_pair(
            spec,
            model,
            against,
            is_default=depth is None and arch is None and repeat is None,
            arguments=arguments,
            seed=seed,
        )
        if weights is not None:
            path = resolve_weights(weights, pair.spec or pair.architecture, show_bar=is_interactive(), progress=tell)
            question = model_pair.loaded(pair, path, question)
        if key_map is not None:
            question = model_pair.overruled(pair, key_map, question)
        if self_test:
            from resnet_cli.measure.faults.self_test import self_test as plant

            tested = plant(pair.ours, pair.theirs, question, progress=tell)
        else:
            expected = None if expect is None else maps.read_expectations(expect)
            question = replace(question, keep=False)
            result = compare.compare(pair.ours, pair.theirs, question, expected=expected, progress=tell)
            result = replace(result, notes=(*pair.notes, *result.notes))
            if image is not None and not result.interrupted:
                seen = compare.predict(pair.ours.model, pair.theirs.model, image, pair.architecture)
                result = replace(result, image=image, predictions=seen)
    if self_test:
        drawing.write(tested)
        options.leave(tested.same, interrupted=tested.interrupted)
        return
    if save_map is not None and not result.interrupted:
        text = maps.map_text(dict(result.mapping.pairs), pair.ours.name, pair.theirs.name)
        write_file(save_map, text.encode())
    if save_expect is not None and not result.interrupted:
        keys = [compare.finding_key(finding) for finding in result.differences]
        write_file(save_expect, maps.expectations_text(keys, pair.ours.name, pair.theirs.name).encode())
    drawing.write(result)
    options.leave(result.same, interrupted=result.interrupted)


def _check_conflicts(
    every: bool,
    self_test: bool,
    depth: int | None,
    arch: str | None,
    repeat: str | None,
    model: str | None,
    against: str | None,
    weights: str | None,
    image: str | None,
    key_map: str | None,
    save_map: str | None,
    expect: str | None,
    save_expect: str | None,
) -> None:
    """Options that contradict each other.

    Raises:
        ResnetCliError: two of them do.
    """
    one = {"--depth": depth, "--arch": arch, "--repeat": repeat, "--model": model, "--against": against}
    files = {
        "--weights": weights,
        "--image": image,
        "--map": key_map,
        "--save-map": save_map,
        "--expect": expect,
        "--save-expect": save_expect,
    }
    if every:
        for name, value in {**one, **files, "--self-test": self_test or None}.items():
            if value is not None:
                raise ResnetCliError(f"--all and {name} contradict each other", "leave one of the two out")
    if self_test:
        for name in ("--image", "--save-map", "--expect", "--save-expect"):
            if files[name] is not None:
                raise ResnetCliError(f"--self-test and {name} contradict each other", "leave one of the two out")
    if against is not None:
        for name in ("--depth", "--arch", "--repeat"):
            if one[name] is not None and model is not None:
                raise ResnetCliError(f"--against and {name} both name what to compare with", "leave one of the two out")
    if image is not None and weights is None:
        raise ResnetCliError("--image needs --weights: a network without training knows no classes")
