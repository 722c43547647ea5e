"""`resnet-cli bench`."""

import math
import os
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_cli.bench_results import LEVERS, BenchResult
from resnet_cli.commands import choice, options, paths
from resnet_cli.errors import INTERRUPTED, ResnetCliError
from resnet_cli.quantities import printable
from resnet_cli.render.files import check_file, write_file
from resnet_cli.render.progress import is_watched, telling, waiting

if TYPE_CHECKING:
    from resnet_cli.measure.latency.question import Opponent, Question
    from resnet_cli.measure.networks import Subject

MODES = ("inference", "train")
MOST_SECONDS = 24 * 3600
MOST_THREADS = 4096
MOST_PROCESSES = 1024

EPILOG = """\b
Examples:
  resnet-cli bench --depth 18
  resnet-cli bench --depth 50 --batch-size 1,8,32 --device cuda
  resnet-cli bench --depth 50 --against torchvision
  resnet-cli bench --depth 18 --ladder
  resnet-cli bench --depth 18 --layers
  resnet-cli bench --depth 18 --save before.json
  resnet-cli bench --depth 18 --baseline before.json --fail-above 5%
  resnet-cli bench --depth 18 --nproc 4
  resnet-cli bench --model my_resnet.py:ResNet18 --against resnet18
"""


def bench(
    depth: options.Depth = None,
    arch: options.Arch = None,
    repeat: options.Repeat = None,
    model: options.Model = None,
    model_args: choice.ModelArgs = None,
    device: options.RunDevice = "auto",
    batch_size: Annotated[
        str, typer.Option(help="Images in a batch; several with commas, a row each.", metavar="N,N,N")
    ] = "1",
    image_size: options.ImageSize = "224",
    in_channels: options.InChannels = 3,
    num_classes: choice.Classes = None,
    stem: options.Stem = "imagenet",
    dtype: options.Dtype = "float32",
    mode: Annotated[
        str,
        typer.Option(
            help="inference, or train: forward, backward and a step of SGD.",
            metavar="NAME",
            autocompletion=options.completing(*MODES),
        ),
    ] = "inference",
    threads: Annotated[
        int | None,
        typer.Option(help="Of the processor.  [default: torch's]", metavar="N", show_default=False),
    ] = None,
    max_time: Annotated[
        float, typer.Option(help="Seconds of sampling at most, for each batch size.", metavar="S")
    ] = 20.0,
    ci_width: Annotated[
        str,
        typer.Option(help="Sample until the median's 95 % interval is narrower than this share of it.", metavar="X%"),
    ] = "1%",
    against: Annotated[
        str | None,
        typer.Option(
            help="Interleave with torchvision's same network, another one of torchvision by its name, "
            "or self (how sure a ratio is here).",
            metavar="NAME",
            autocompletion=options.completing("torchvision", "self"),
        ),
    ] = None,
    ladder: Annotated[
        bool, typer.Option("--ladder", help="What each lever gains over plain eager, and what it costs.")
    ] = False,
    levers: Annotated[
        str | None,
        typer.Option(
            help=f"Rungs of the ladder, with commas: {', '.join(LEVERS)}.",
            metavar="A,B,C",
            autocompletion=options.completing(*LEVERS),
        ),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Where the time goes, layer by layer.")] = False,
    levels: Annotated[
        int | None, typer.Option(help="How deep the tree of --layers is drawn; 1 shows the stages.", metavar="N")
    ] = None,
    ceiling: Annotated[
        bool, typer.Option("--ceiling/--no-ceiling", help="Measure what the machine can do at best.")
    ] = True,
    save: Annotated[
        str | None, typer.Option(help="Keep raw samples and environment, for --baseline.", metavar="FILE")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Compare with a saved run.", metavar="FILE")] = None,
    fail_above: Annotated[
        str | None,
        typer.Option(help="Exit 1 when this run is surely slower than the baseline by more.", metavar="X%"),
    ] = None,
    nproc: Annotated[
        int | None, typer.Option(help="A replica per process, so many of them, all at once.", metavar="N")
    ] = None,
    weights: options.Weights = None,
    seed: options.Seed = 0,
    show: Annotated[
        str | None,
        typer.Option(help="Parts to show: timings, comparison, ladder, layers, replicas, ceiling.", metavar="A,B,C"),
    ] = None,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Time the network: how fast, how sure, how far from the machine's limit, and what would make it faster.

    Exit code 1: surely slower than --fail-above allows. 130: interrupted; what was measured is shown.
    """
    network = choice.choose_network(
        depth, arch, repeat, model, model_args, in_channels=in_channels, num_classes=num_classes, stem=stem
    )
    batch_sizes = _batch_sizes(batch_size, in_channels, image_size)
    image = options.input_shape(1, in_channels, image_size)[1:]
    mode = options.checked("--mode", mode, MODES)
    width = options.share("--ci-width", ci_width)
    slowdown = None if fail_above is None else options.share("--fail-above", fail_above, most=100.0)
    chosen = options.chosen("lever", levers, LEVERS) if ladder or levers is not None else None
    options.check_seed(seed)
    _within("--max-time", max_time, MOST_SECONDS, "seconds")
    _within("--threads", threads, MOST_THREADS, "threads")
    _within("--nproc", nproc, MOST_PROCESSES, "processes")
    is_member = os.environ.keys() >= {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}  # as torchrun sets them
    if is_member and nproc is not None:
        raise ResnetCliError("--nproc starts processes, and torchrun has done so", "leave out one of the two")
    together = "torchrun" if is_member else None if nproc is None else "--nproc"
    _agree(mode, dtype, chosen, layers, against, baseline, slowdown, save, weights, together)
    if together is not None and ":" in device:
        raise ResnetCliError(f"{together} gives each process a GPU of its own, and --device {printable(device)} is one")
    drawing = options.drawing("bench", output_format, output, levels=levels, sections=show)
    paths.keep_apart(
        {"--output": output, "--save": save}, {"--baseline": baseline, "--weights": weights, "--model": model}
    )
    saved = None if baseline is None else _saved(baseline)
    if save is not None:
        check_file(save)
    machine = options.machine(device, dtype)

    from resnet_cli.measure.latency.question import Question
    from resnet_cli.measure.latency.sampling import Limits

    question = Question(
        image=image,
        batch_sizes=batch_sizes,
        device=machine.device,
        dtype=machine.dtype,
        mode=mode,
        limits=Limits(ci_width=width, max_time_s=max_time, min_time_s=min(2.0, max_time)),
        threads=threads,
        seed=seed,
        levers=chosen,
        layers=layers,
        ceiling=ceiling,
        fresh=weights is None,
    )
    if is_member or nproc is not None:
        _run_many(network, question, nproc, drawing)
        return
    if saved is not None:
        _check(saved, network, question)
    from resnet_cli.measure.latency import benchmark
    from resnet_cli.measure.latency.question import give_weights

    with telling() as tell:
        tell("building")
        ours = _built(network, seed)
        if weights is not None:
            give_weights(ours, _file(weights, network))
        result = benchmark.bench(
            ours,
            question,
            opponent=None if against is None else _opponent(against, network, seed),
            baseline=saved,
            fail_above=slowdown,
            progress=tell,
        )
    _finish(result, drawing, save)


def _built(network: choice.Choice, seed: int) -> "Subject":
    from resnet_cli.measure.latency.question import build, users_own

    if network.model is None:
        return build(network.spec, seed)
    return users_own(network.model, network.arguments, seed)


def _file(weights: str, network: choice.Choice) -> str:
    from resnet_cli.measure.published_weights import resolve_weights

    if network.model is not None:
        return weights  # torchvision's are for torchvision's networks
    return resolve_weights(weights, network.spec, show_bar=is_watched())


def _check(saved: BenchResult, network: choice.Choice, question: "Question") -> None:
    from resnet_cli.measure.latency import baseline

    dtype = str(question.dtype).removeprefix("torch.")
    baseline.check(saved, network.subject().described, question.image, dtype, question.mode, question.batch_sizes)


def _run_many(network: choice.Choice, question: "Question", nproc: int | None, drawing: options.Drawing) -> None:
    from resnet_cli.measure.latency.many import bench_many

    with telling() as tell:
        result = bench_many(
            network.subject(),
            question,
            nproc,
            model=network.model,
            arguments=network.arguments,
            progress=tell,
        )
    if result is not None:  # the first process speaks for all
        drawing.write(result)


def _finish(result: BenchResult, drawing: options.Drawing, save: str | None) -> None:
    """Draw it, keep it, and leave with the exit code that it has earned."""
    if save is not None:
        from resnet_cli.render.to_json import to_json

        write_file(save, to_json(result).encode())
    drawing.write(result)
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
    options.leave(not result.failed)


def _opponent(against: str, network: choice.Choice, seed: int) -> "Opponent":
    from resnet_cli.measure.latency.question import Opponent, torchvision

    if against.strip().lower() == "self":
        twin = _built(network, seed)
        return Opponent(twin.model, f"{twin.name} again")
    if against.strip().lower() == "torchvision" and network.model is not None:
        raise ResnetCliError(
            "--against torchvision: which one? A --model has no counterpart of its name",
            "name it, such as --against resnet50",
        )
    with waiting("loading torchvision"):
        from resnet_cli.measure import reference

        reference.names()
    return torchvision(against, network.spec, seed)


def _batch_sizes(text: str, in_channels: int, image_size: str) -> tuple[int, ...]:
    """Batch sizes from a list with commas.

    Raises:
        ResnetCliError: one is no size, or there twice, or there is none.
    """
    sizes: list[int] = []
    for word in text.split(","):
        stripped = word.strip()
        if not (stripped.isascii() and stripped.isdecimal() and len(stripped) <= 10):
            raise ResnetCliError(
                f"--batch-size {printable(text)!r}: {printable(stripped)!r} is no number of images",
                "write one number, or several with commas: 1,8,32",
            )
        options.input_shape(int(stripped), in_channels, image_size)
        if int(stripped) in sizes:
            raise ResnetCliError(f"--batch-size {printable(text)!r}: {int(stripped)} is there twice")
        sizes.append(int(stripped))
    return tuple(sizes)


def _within(option: str, value: float | None, most: int, what: str) -> None:
    """Raises: ResnetCliError: a number of something that there cannot be."""
    if value is None:
        return
    if not (math.isfinite(value) and 0 < value <= most):
        raise ResnetCliError(f"{option} {value:g}: give more than 0 and up to {most:,} {what}")


def _agree(
    mode: str,
    dtype: str,
    levers: tuple[str, ...] | None,
    layers: bool,
    against: str | None,
    baseline: str | None,
    fail_above: float | None,
    save: str | None,
    weights: str | None,
    together: str | None,
) -> None:
    """Options that contradict each other.

    Raises:
        ResnetCliError: two of them do.
    """
    if levers is not None:
        if mode != "inference":
            raise ResnetCliError("--ladder is for --mode inference: most of its levers have no backward pass")
        if dtype.strip().lower() != "float32":
            raise ResnetCliError("--ladder begins at float32; the other dtypes are its rungs", "leave out --dtype")
    if layers and mode != "inference":
        raise ResnetCliError("--layers is for --mode inference", "leave out one of the two")
    if fail_above is not None and baseline is None:
        raise ResnetCliError("--fail-above needs --baseline, which says what it was before")
    if together is not None:
        alone = {
            "--ladder": levers,
            "--layers": layers or None,
            "--against": against,
            "--baseline": baseline,
            "--save": save,
            "--weights": weights,
        }
        for name, value in alone.items():
            if value is not None:
                raise ResnetCliError(f"{together} and {name} contradict each other", "leave one of the two out")


def _saved(path: str) -> BenchResult:
    """A saved run.

    Raises:
        ResnetCliError: it cannot be read, or is something else.
    """
    from resnet_cli.render.read import read_result

    result = read_result("--baseline", path)
    if not isinstance(result, BenchResult):
        raise ResnetCliError(
            f"--baseline {printable(path)} is a result of another command", "give a file that bench --save wrote"
        )
    return result
