"""`resnet-cli report`."""

import sys
from typing import Annotated

import typer

from resnet_cli import signals
from resnet_cli.commands import options
from resnet_cli.commands.options import model_selection, parsing, path_conflicts
from resnet_cli.commands.options.completion import one_of, some_of
from resnet_cli.errors import ResnetCliError
from resnet_cli.render.output import notes_to
from resnet_cli.render.pages.sections import FIGURES, MEASUREMENTS, REPORT_FORMATS, USUAL_MEASUREMENTS
from resnet_cli.render.progress import progress

EPILOG = """\b
Examples:
  resnet-cli report --depth 50 -o resnet50.html
  resnet-cli report --depth 18 --depth 50 --measure summary,flops -o both.html
  resnet-cli report --model my_resnet.py:ResNet18 --batch-size 1,8,32 -o mine.html
  resnet-cli report summary.json flops.json bench.json -o saved.html
  resnet-cli report --depth 50 --measure summary -o architecture.svg
  resnet-cli report bench.json --figure roofline -o roofline.png
"""


def report(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Saved results to draw, of --format json or --save. They need no torch.", metavar="FILE"),
    ] = None,
    depth: Annotated[
        list[int] | None,
        typer.Option(
            help="Depth of a plain ResNet to measure. Repeatable.  [default: 18, without any FILE]",
            metavar="N",
            autocompletion=one_of(tuple(map(str, options.DEPTHS))),
            show_default=False,
        ),
    ] = None,
    arch: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a family member to measure, such as resnext50_32x4d. Repeatable.  [default: none]",
            metavar="NAME",
            show_default=False,
            autocompletion=one_of(options.FAMILY),
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Your network to measure: FILE.py:NAME or package.module:NAME. Repeatable.  [default: none]",
            metavar="FILE:NAME",
            show_default=False,
        ),
    ] = None,
    model_args: model_selection.ModelArgs = None,
    measure: Annotated[
        str | None,
        typer.Option(
            help=f"What to measure, with commas: {', '.join(MEASUREMENTS)}, or all.  "
            f"[default: {','.join(USUAL_MEASUREMENTS)}]",
            metavar="A,B,C",
            autocompletion=some_of((*MEASUREMENTS, "all")),
            show_default=False,
        ),
    ] = None,
    device: options.RunDevice = "auto",
    batch_size: options.BatchSizes = "1",
    image_size: options.ImageSize = "224",
    in_channels: options.InChannels = 3,
    num_classes: model_selection.Classes = None,
    stem: options.Stem = "imagenet",
    dtype: options.Dtype = "float32",
    threads: options.Threads = None,
    max_time: options.MaxTime = 20.0,
    ceiling: options.Ceiling = True,
    seed: options.Seed = 0,
    figure: Annotated[
        str | None,
        typer.Option(
            help=f"One figure alone, as .svg or .png: {', '.join(FIGURES)}.  "
            "[default: the first that can be made, for a picture]",
            metavar="NAME",
            show_default=False,
            autocompletion=one_of(FIGURES),
        ),
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="html, svg, png or json.  [default: by the name of --output, else html]",
            metavar="NAME",
            autocompletion=one_of(REPORT_FORMATS),
            show_default=False,
        ),
    ] = None,
    output: options.Output = None,
) -> None:
    """Draw results as one self-contained page of HTML, or as pictures: measured now, or saved anywhere.

    What stands in a page's chapters is measured network by network; Ctrl-C draws what there is.
    """
    # What reads and draws results imports all of them, which `--help` does not need.
    from resnet_cli.render.report.output import expanded, report_format, write_report
    from resnet_cli.results.load import read_result

    known = None if figure is None else parsing.checked("--figure", figure, tuple(FIGURES))
    asked = None if output_format is None else parsing.checked("--format", output_format, REPORT_FORMATS)
    chosen = report_format(asked, output, known)
    networks = _networks(files, depth, arch, model, model_args, in_channels, num_classes, stem)
    if measure is not None and not networks:
        raise ResnetCliError("--measure: no network is named", "name one by --depth, --arch or --model")
    wanted = _measurements(measure, known, chosen)
    sizes = parsing.batch_sizes(batch_size, in_channels, image_size)
    image = parsing.input_shape(1, in_channels, image_size)[1:]
    if not files:
        _measurable(known, sizes, ceiling)
    parsing.within("--max-time", max_time, parsing.MOST_SECONDS, "seconds")
    parsing.within("--threads", threads, parsing.MOST_THREADS, "threads")
    parsing.check_seed(seed)
    read = {f"FILE {index + 1}": path for index, path in enumerate(files or ())}
    path_conflicts.check_paths_differ({"--output": output}, {**read, **{f"--model {one}": one for one in model or ()}})
    saved, notes = expanded(read_result("FILE", path) for path in files or ())
    measured = None
    if networks:
        machine = options.machine(device, dtype)

        from resnet_cli.measure.report import Asked, Named
        from resnet_cli.measure.report import measure as measure_all

        with progress() as tell:
            measured = measure_all(
                [Named(one.spec, one.model, one.arguments) for one in networks],
                Asked(wanted, image, sizes, machine.device, machine.dtype, max_time, seed, threads, ceiling),
                tell,
            )
        notes_to(sys.stderr, measured.notes)
        saved, notes = (*saved, *measured.results), (*notes, *measured.notes)
    interrupted = measured is not None and measured.interrupted
    write_report(saved, format=chosen, output=output, figure=known, notes=notes, interrupted=interrupted)
    if interrupted:
        raise typer.Exit(signals.exit_code())


def _networks(
    files: list[str] | None,
    depth: list[int] | None,
    arch: list[str] | None,
    model: list[str] | None,
    model_args: str | None,
    in_channels: int,
    num_classes: int | None,
    stem: str,
) -> list[model_selection.NetworkSelection]:
    """The networks to measure, in the order of the options; the usual one where nothing at all is named.

    Raises:
        ResnetCliError: an option is wrong, or one is named twice.
    """
    named: list[tuple[int | None, str | None, str | None]] = [
        *((one, None, None) for one in depth or ()),
        *((None, one, None) for one in arch or ()),
        *((None, None, one) for one in model or ()),
    ]
    if not named and not files:
        named = [(None, None, None)]
    if len(set(named)) < len(named):
        raise ResnetCliError("one network is named twice", "name each once")
    found = [
        model_selection.choose_network(
            depth,
            arch,
            None,
            model,
            model_args if model is not None or not any(one[2] for one in named) else None,
            in_channels=in_channels,
            num_classes=num_classes,
            stem=stem if model is None else model_selection.USUAL_STEM,
        )
        for depth, arch, model in named
    ]
    if len({(one.spec, one.model) for one in found}) < len(found):
        raise ResnetCliError("one network is named twice", "name each once")
    return found


def _measurable(figure: str | None, sizes: tuple[int, ...], ceiling: bool) -> None:
    """See before anything is measured that a figure can be made of it.

    Raises:
        ResnetCliError: it can not.
    """
    if figure == "versus":
        raise ResnetCliError("--figure versus: nothing is held against another here", "give a FILE of bench --against")
    if figure == "sweep" and len(sizes) < 2:
        raise ResnetCliError("--figure sweep: one batch size is no sweep", "name several: --batch-size 1,8,32")
    if figure == "roofline" and not ceiling:
        raise ResnetCliError("--figure roofline is drawn below the ceiling", "leave out --no-ceiling")


def _measurements(text: str | None, figure: str | None, chosen: str) -> tuple[str, ...]:
    """What to measure: what is asked for; else what the figure needs, or the page.

    Raises:
        ResnetCliError: there is no such measurement.
    """
    if text is None:
        if figure is None and chosen in ("svg", "png"):
            figure = next(iter(FIGURES))
        return USUAL_MEASUREMENTS if figure is None else FIGURES[figure]
    if text.strip().lower() == "all":
        return MEASUREMENTS
    asked = parsing.chosen("measurement", text, MEASUREMENTS)
    return ("bench", *asked) if {"layers", "ladder"} & set(asked) and "bench" not in asked else asked
