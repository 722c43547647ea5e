"""`resnet-cli report`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_cli.commands import options
from resnet_cli.commands.options import execution, parsing
from resnet_cli.commands.options.completion import one_of, some_of
from resnet_cli.commands.options.input_selection import choose_inputs
from resnet_cli.commands.options.model_selection import DEFAULT_STEM, NetworkSelection, choose_network
from resnet_cli.errors import ResnetCliError
from resnet_cli.network.architectures import ARCHITECTURES, DEPTHS
from resnet_cli.render.charts import CHARTS
from resnet_cli.render.formats import REPORT_FORMATS
from resnet_cli.render.output import notes_to
from resnet_cli.render.progress import progress

if TYPE_CHECKING:
    from resnet_cli.measure.report import ReportConfig
    from resnet_cli.results.report import ReportResult

# What can be measured, in the order of the page; layers and optimizations are parts of the benchmark.
MEASUREMENTS = ("summary", "flops", "compare", "bench", "layers", "optimizations")
DEFAULT_MEASUREMENTS = MEASUREMENTS[:-1]  # optimizations compile, which takes minutes

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
        typer.Argument(
            help="Saved results to draw, from --format json or --save. They need no torch.",
            metavar="FILE",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    depth: Annotated[
        list[int] | None,
        options.option(
            options.NETWORK,
            f"Depth of a plain ResNet to measure: {options.listed(DEPTHS)}. Repeatable.",
            metavar="N",
            default="18, without any FILE",
            complete=one_of(tuple(map(str, DEPTHS))),
        ),
    ] = None,
    arch: Annotated[
        list[str] | None,
        options.option(
            options.NETWORK,
            f"Built-in architecture to measure: {options.listed(ARCHITECTURES)}. Repeatable.",
            metavar="NAME",
            default="none",
            complete=one_of(ARCHITECTURES),
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        options.option(
            options.NETWORK,
            "Model to measure: FILE.py:NAME or package.module:NAME. Repeatable.",
            metavar="FILE:NAME",
            default="none",
        ),
    ] = None,
    model_args: options.ModelArgs = None,
    in_channels: options.InChannels = None,
    num_classes: options.ModelClasses = None,
    stem: options.Stem = "imagenet",
    batch_size: options.BatchSizes = None,
    image_size: options.ImageSize = None,
    inputs: options.Inputs = None,
    input_file: options.InputFile = None,
    dtype: options.Dtype = None,
    measure: Annotated[
        str | None,
        options.option(
            options.MEASUREMENT,
            f"Measurements, comma-separated, or all: {options.listed(MEASUREMENTS)}.",
            metavar="all|A,B,C",
            default=",".join(DEFAULT_MEASUREMENTS),
            complete=some_of(("all", *MEASUREMENTS)),
        ),
    ] = None,
    device: options.RunDevice = "auto",
    threads: options.Threads = None,
    seed: options.Seed = 0,
    max_time: options.MaxTime = 20.0,
    ceiling: options.Ceiling = True,
    chart: Annotated[
        str | None,
        options.choice_of(
            CHARTS, options.OUTPUT, "Export a single chart as .svg or .png", default="the first available"
        ),
    ] = None,
    output_format: Annotated[
        str | None,
        options.choice_of(
            REPORT_FORMATS,
            options.OUTPUT,
            "Output format",
            "--format",
            "-f",
            default="from the extension of --output, else html",
        ),
    ] = None,
    output: options.Output = None,
) -> None:
    """Render results as one self-contained HTML page, or as a chart: measured now, or saved on any machine.

    Networks are measured one after another; Ctrl-C renders what is finished.
    """
    # These import every kind of result, which `--help` does not need.
    from resnet_cli.render.report.output import flattened, report_format, write_report
    from resnet_cli.results.load import read_result

    format_ = report_format(output_format, output, chart)
    networks = _networks(files, depth, arch, model, model_args, in_channels, num_classes, stem)
    if measure is not None and not networks:
        raise ResnetCliError("--measure requires a network", "name one with --depth, --arch or --model")
    measurements = _measurements(measure, chart, format_.key)
    chosen_inputs = choose_inputs(
        inputs,
        input_file,
        batch_size=batch_size,
        image_size=image_size,
        in_channels=in_channels,
        is_built_in=not model,
    )
    batches = len(chosen_inputs.batch_sizes or (1,))
    if chart is not None and not files and batches < CHARTS[chart].batch_sizes:
        raise ResnetCliError(f"--chart {chart} requires several batch sizes", "use e.g. --batch-size 1,8,32")
    results, notes = flattened(read_result("FILE", path) for path in files or ())
    measured = None
    if networks:
        machine = execution.machine(device, dtype)

        from resnet_cli.measure.report import ReportConfig

        config = ReportConfig(
            measurements,
            chosen_inputs.for_model,
            machine.device,
            machine.dtype,
            max_time,
            seed,
            threads,
            ceiling,
        )
        measured = _measure(networks, config)
        results, notes = (*results, *measured.results), (*notes, *measured.notes)
    interrupted = measured is not None and measured.interrupted
    write_report(results, format=format_, output=output, chart=chart, notes=notes, interrupted=interrupted)
    if measured is not None:
        notes_to(sys.stderr, measured.notes)
        notes = (*measured.notes, *(note for result in measured.results for note in result.notes))
        execution.exit_with(notes, interrupted=interrupted)


def _measure(networks: list[NetworkSelection], config: "ReportConfig") -> "ReportResult":
    from resnet_cli.measure.report import ModelSource, measure_all

    with progress() as update:
        return measure_all([ModelSource(each.spec, each.model, each.arguments) for each in networks], config, update)


def _networks(
    files: list[str] | None,
    depths: list[int] | None,
    archs: list[str] | None,
    models: list[str] | None,
    model_args: str | None,
    in_channels: int | None,
    num_classes: int | None,
    stem: str,
) -> list[NetworkSelection]:
    """The networks to measure, in the order of the options; the default one where nothing at all is named.

    Raises:
        ResnetCliError: an option is not valid, or a network is named twice.
    """
    if model_args is not None and not models:
        raise ResnetCliError("--model-args requires --model", "name a network with --model")
    sizes = {"in_channels": in_channels, "num_classes": num_classes}
    built_in: list[tuple[int | None, str | None]] = [(depth, None) for depth in depths or ()]
    built_in += [(None, arch) for arch in archs or ()]
    if not (built_in or models or files):
        built_in = [(None, None)]
    networks = [choose_network(depth, arch, stem=stem, **sizes) for depth, arch in built_in]  # type: ignore[arg-type]
    networks += [
        choose_network(model=model, model_args=model_args, stem=DEFAULT_STEM, **sizes)  # type: ignore[arg-type]
        for model in models or ()
    ]
    if len({(network.spec, network.model) for network in networks}) < len(networks):
        raise ResnetCliError("a network is listed twice", "list each network once")
    return networks


def _measurements(text: str | None, chart: str | None, format_: str) -> tuple[str, ...]:
    """The measurements of --measure, by default those that the chart or the page needs.

    Raises:
        ResnetCliError: an unknown measurement.
    """
    if text is None:
        if chart is None and format_ in ("svg", "png"):
            chart = next(iter(CHARTS))
        return DEFAULT_MEASUREMENTS if chart is None else CHARTS[chart].measurements
    measurements = parsing.chosen("measurement", text, MEASUREMENTS)
    needs_bench = {"layers", "optimizations"} & set(measurements) and "bench" not in measurements
    return ("bench", *measurements) if needs_bench else measurements
