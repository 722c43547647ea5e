"""`resnet-cli report`."""

import sys
from typing import Annotated

import typer

from resnet_cli import signals
from resnet_cli.commands import options
from resnet_cli.commands.options import model_selection, parsing, path_conflicts
from resnet_cli.commands.options.completion import one_of, some_of
from resnet_cli.errors import ExitCode, ResnetCliError
from resnet_cli.render.charts import CHARTS
from resnet_cli.render.formats import REPORT_FORMATS
from resnet_cli.render.output import notes_to
from resnet_cli.render.progress import progress
from resnet_cli.results.common import INTERNAL_ERROR, Note

# In the order of the report; layers and optimizations are parts of the benchmark.
MEASUREMENTS = ("summary", "flops", "compare", "bench", "layers", "optimizations")
DEFAULT_MEASUREMENTS = MEASUREMENTS[:-1]  # the optimizations compile, which takes minutes

EPILOG = """\b
Examples:
  resnet-cli report --depth 50 -o resnet50.html
  resnet-cli report --depth 18 --depth 50 --measure summary,flops -o both.html
  resnet-cli report --model my_resnet.py:ResNet18 --batch-size 1,8,32 -o mine.html
  resnet-cli report summary.json flops.json bench.json -o saved.html
  resnet-cli report --depth 50 --measure summary -o architecture.svg
  resnet-cli report bench.json --chart roofline -o roofline.png
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
            help=f"Measurements, comma-separated: {', '.join(MEASUREMENTS)}, or all.  "
            f"[default: {','.join(DEFAULT_MEASUREMENTS)}]",
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
    chart: Annotated[
        str | None,
        typer.Option(
            help=f"Export a single chart as .svg or .png: {', '.join(CHARTS)}.  [default: the first available]",
            metavar="NAME",
            show_default=False,
            autocompletion=one_of(tuple(CHARTS)),
        ),
    ] = None,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help=f"{', '.join(REPORT_FORMATS)}.  [default: from the extension of --output, else html]",
            metavar="NAME",
            autocompletion=one_of(REPORT_FORMATS),
            show_default=False,
        ),
    ] = None,
    output: options.Output = None,
) -> None:
    """Write a report as one self-contained HTML page, or as a chart, from new measurements or saved results.

    Networks are measured one after another; Ctrl-C renders what is finished.
    """
    # What reads and draws results imports all of them, which `--help` does not need.
    from resnet_cli.render.report.output import flattened, report_format, write_report
    from resnet_cli.results.load import read_result

    chart = None if chart is None else parsing.checked("--chart", chart, tuple(CHARTS))
    asked = None if output_format is None else parsing.checked("--format", output_format, REPORT_FORMATS)
    chosen = report_format(asked, output, chart)
    networks = _networks(files, depth, arch, model, model_args, in_channels, num_classes, stem)
    if measure is not None and not networks:
        raise ResnetCliError("--measure: no network is named", "name one by --depth, --arch or --model")
    wanted = _measurements(measure, chart, chosen.key)
    sizes = parsing.batch_sizes(batch_size, in_channels, image_size)
    image = parsing.input_shape(1, in_channels, image_size)[1:]
    if chart is not None and not files and len(sizes) < CHARTS[chart].batch_sizes:
        raise ResnetCliError(f"--chart {chart} needs several batch sizes", "name several: --batch-size 1,8,32")
    parsing.within("--max-time", max_time, parsing.MOST_SECONDS, "seconds")
    parsing.within("--threads", threads, parsing.MOST_THREADS, "threads")
    parsing.check_seed(seed)
    read = {f"FILE {index + 1}": path for index, path in enumerate(files or ())}
    path_conflicts.check_paths_differ({"--output": output}, {**read, **{f"--model {one}": one for one in model or ()}})
    saved, notes = flattened(read_result("FILE", path) for path in files or ())
    measured = None
    if networks:
        machine = options.machine(device, dtype)

        from resnet_cli.measure.report import ModelSource, ReportConfig, measure_all

        with progress() as tell:
            measured = measure_all(
                [ModelSource(network.spec, network.model, network.arguments) for network in networks],
                ReportConfig(wanted, image, sizes, machine.device, machine.dtype, max_time, seed, threads, ceiling),
                tell,
            )
        notes_to(sys.stderr, measured.notes)
        saved, notes = (*saved, *measured.results), (*notes, *measured.notes)
    interrupted = measured is not None and measured.interrupted
    write_report(saved, format=chosen, output=output, chart=chart, notes=notes, interrupted=interrupted)
    if interrupted:
        raise typer.Exit(signals.exit_code())
    if measured is not None:
        _exit_on_errors((*measured.notes, *(note for result in measured.results for note in result.notes)))


def _exit_on_errors(notes: tuple[Note, ...]) -> None:
    """Exit with 2, or 70 for a bug, where a measurement failed and its results are missing."""
    keys = {note.key for note in notes if note.level == "error"}
    if keys:
        raise typer.Exit(ExitCode.INTERNAL_ERROR if INTERNAL_ERROR in keys else ExitCode.BAD_INPUT)


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


def _measurements(text: str | None, chart: str | None, chosen: str) -> tuple[str, ...]:
    """The measurements to make: those that were named, or else those that the chart or the page needs.

    Raises:
        ResnetCliError: an unknown measurement.
    """
    if text is None:
        if chart is None and chosen in ("svg", "png"):
            chart = next(iter(CHARTS))
        return DEFAULT_MEASUREMENTS if chart is None else CHARTS[chart].measurements
    if text.strip().lower() == "all":
        return MEASUREMENTS
    named = parsing.chosen("measurement", text, MEASUREMENTS)
    return ("bench", *named) if {"layers", "optimizations"} & set(named) and "bench" not in named else named
