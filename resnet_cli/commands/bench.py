"""`resnet-cli bench`."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_cli.commands import options
from resnet_cli.commands.options import model_selection, parsing, path_conflicts
from resnet_cli.commands.options.completion import one_of, some_of
from resnet_cli.errors import ResnetCliError
from resnet_cli.files import check_file, write_file
from resnet_cli.formatting import printable
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from resnet_cli.network.architectures import FAMILY
from resnet_cli.render.pages import PAGES
from resnet_cli.render.progress import is_interactive, progress, status
from resnet_cli.results.bench import BenchResult

if TYPE_CHECKING:
    from resnet_cli.measure.bench.config import BenchmarkConfig
    from resnet_cli.measure.bench.models import OtherModel
    from resnet_cli.measure.models.model import ModelUnderTest

MODES = ("inference", "train")

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
    model_args: model_selection.ModelArgs = None,
    device: options.RunDevice = "auto",
    batch_size: options.BatchSizes = "1",
    image_size: options.ImageSize = "224",
    in_channels: options.InChannels = 3,
    num_classes: model_selection.Classes = None,
    stem: options.Stem = "imagenet",
    dtype: options.Dtype = "float32",
    mode: Annotated[
        str,
        typer.Option(
            help="inference, or train: forward, backward and a step of SGD.",
            metavar="NAME",
            autocompletion=one_of(MODES),
        ),
    ] = "inference",
    threads: options.Threads = None,
    max_time: options.MaxTime = 20.0,
    ci_width: Annotated[
        str,
        typer.Option(help="Sample until the median's 95 % interval is narrower than this share of it.", metavar="X%"),
    ] = "1%",
    against: Annotated[
        str | None,
        typer.Option(
            help="Interleave with torchvision's same network, another one of torchvision by its name, "
            "or self (how sure a ratio is here).  [default: nothing]",
            metavar="NAME",
            autocompletion=one_of(("torchvision", "self", *FAMILY)),
            show_default=False,
        ),
    ] = None,
    ladder: Annotated[
        bool, typer.Option("--ladder", help="What each lever gains over plain eager, and what it costs.")
    ] = False,
    levers: Annotated[
        str | None,
        typer.Option(
            help=f"Optimizations to try, comma-separated: {', '.join(OPTIMIZATIONS)}.  [default: none]",
            metavar="A,B,C",
            autocompletion=some_of(tuple(OPTIMIZATIONS)),
            show_default=False,
        ),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Where the time goes, layer by layer.")] = False,
    levels: Annotated[int | None, options.levels("the tree of --layers is drawn")] = None,
    ceiling: options.Ceiling = True,
    save: Annotated[
        str | None,
        typer.Option(
            help="Keep raw samples and environment, for --baseline.  [default: they are not kept]",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Compare with a saved run.  [default: none]", metavar="FILE", show_default=False),
    ] = None,
    fail_above: Annotated[
        str | None,
        typer.Option(
            help="Exit 1 when this run is surely slower than the baseline by more.  [default: exit 0 however slow]",
            metavar="X%",
            show_default=False,
        ),
    ] = None,
    nproc: Annotated[
        int | None,
        typer.Option(
            help="A replica per process, so many of them, all at once.  [default: one network, in this process]",
            metavar="N",
            show_default=False,
        ),
    ] = None,
    weights: options.Weights = None,
    seed: options.Seed = 0,
    show: Annotated[str | None, options.sections(PAGES["bench"].sections)] = None,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Time the network: how fast, how sure, how far from the machine's limit, and what would make it faster.

    Exit code 1: surely slower than --fail-above allows. 130: interrupted; what was measured is shown.
    """
    network = model_selection.choose_network(
        depth, arch, repeat, model, model_args, in_channels=in_channels, num_classes=num_classes, stem=stem
    )
    batch_sizes = parsing.batch_sizes(batch_size, in_channels, image_size)
    image = parsing.input_shape(1, in_channels, image_size)[1:]
    mode = parsing.checked("--mode", mode, MODES)
    width = parsing.share("--ci-width", ci_width)
    slowdown = None if fail_above is None else parsing.share("--fail-above", fail_above, most=100.0)
    chosen = parsing.chosen("lever", levers, tuple(OPTIMIZATIONS)) if ladder or levers is not None else None
    parsing.check_seed(seed)
    parsing.within("--max-time", max_time, parsing.MOST_SECONDS, "seconds")
    parsing.within("--threads", threads, parsing.MOST_THREADS, "threads")
    parsing.within("--nproc", nproc, parsing.MOST_PROCESSES, "processes")
    is_member = os.environ.keys() >= {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}  # as torchrun sets them
    if is_member and nproc is not None:
        raise ResnetCliError("--nproc starts processes, and torchrun has done so", "leave out one of the two")
    together = "torchrun" if is_member else None if nproc is None else "--nproc"
    _check_conflicts(mode, dtype, chosen, layers, against, baseline, slowdown, save, weights, together)
    if together is not None and ":" in device:
        raise ResnetCliError(f"{together} gives each process a GPU of its own, and --device {printable(device)} is one")
    drawing = options.drawing("bench", output_format, output, levels=levels, sections=show)
    path_conflicts.check_paths_differ(
        {"--output": output, "--save": save}, {"--baseline": baseline, "--weights": weights, "--model": model}
    )
    saved = None if baseline is None else _saved(baseline)
    if save is not None:
        check_file(save)
    machine = options.machine(device, dtype)

    from resnet_cli.measure.bench.config import BenchmarkConfig
    from resnet_cli.measure.bench.sampling import Limits

    question = BenchmarkConfig(
        image=image,
        batch_sizes=batch_sizes,
        device=machine.device,
        dtype=machine.dtype,
        mode=mode,
        limits=Limits(ci_width=width, max_time_s=max_time, min_time_s=min(2.0, max_time)),
        threads=threads,
        seed=seed,
        optimizations=chosen,
        layers=layers,
        ceiling=ceiling,
        fresh=weights is None,
    )
    if is_member or nproc is not None:
        _run_many(network, question, nproc, drawing)
        return
    if saved is not None:
        _check(saved, network, question)
    from resnet_cli.measure.bench import benchmark
    from resnet_cli.measure.bench.models import give_weights

    with progress() as tell:
        tell("building")
        ours = _built(network, seed)
        if weights is not None:
            give_weights(ours, _file(weights, network))
        result = benchmark.bench(
            ours,
            question,
            reference=None if against is None else _opponent(against, network, seed),
            baseline=saved,
            fail_above=slowdown,
            progress=tell,
        )
    _finish(result, drawing, save)


def _built(network: model_selection.NetworkSelection, seed: int) -> "ModelUnderTest":
    from resnet_cli.measure.bench.models import build, users_own

    if network.model is None:
        return build(network.spec, seed)
    return users_own(network.model, network.arguments, seed)


def _file(weights: str, network: model_selection.NetworkSelection) -> str:
    from resnet_cli.measure.weights.torchvision_download import resolve_weights

    if network.model is not None:
        return weights  # torchvision's are for torchvision's networks
    return resolve_weights(weights, network.spec, show_bar=is_interactive())


def _check(saved: BenchResult, network: model_selection.NetworkSelection, question: "BenchmarkConfig") -> None:
    from resnet_cli.measure.bench import baseline

    dtype = str(question.dtype).removeprefix("torch.")
    baseline.check(saved, network.subject().description, question.image, dtype, question.mode, question.batch_sizes)


def _run_many(
    network: model_selection.NetworkSelection, question: "BenchmarkConfig", nproc: int | None, drawing: options.Drawing
) -> None:
    from resnet_cli.measure.distributed.run import bench_multi_process

    with progress() as tell:
        result = bench_multi_process(
            network.subject(),
            question,
            nproc,
            model=network.model,
            arguments=network.arguments,
            progress=tell,
        )
    if result is not None:  # the first process speaks for all
        _finish(result, drawing, None)


def _finish(result: BenchResult, drawing: options.Drawing, save: str | None) -> None:
    """Draw it, keep it, and leave with the exit code that it has earned."""
    if save is not None:
        from resnet_cli.results.serialization import to_json

        write_file(save, to_json(result).encode())
    drawing.write(result)
    options.leave(not result.failed, interrupted=result.interrupted)


def _opponent(against: str, network: model_selection.NetworkSelection, seed: int) -> "OtherModel":
    from resnet_cli.measure.bench.models import OtherModel, torchvision

    if against.strip().lower() == "self":
        twin = _built(network, seed)
        return OtherModel(twin.model, f"{twin.name} again")
    if against.strip().lower() == "torchvision" and network.model is not None:
        raise ResnetCliError(
            "--against torchvision: which one? A --model has no counterpart of its name",
            "name it, such as --against resnet50",
        )
    with status("loading torchvision"):
        from resnet_cli.measure.models import torchvision_models

        torchvision_models.names()
    return torchvision(against, network.spec, seed)


def _check_conflicts(
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
    from resnet_cli.results.load import read_result

    result = read_result("--baseline", path)
    if not isinstance(result, BenchResult):
        raise ResnetCliError(
            f"--baseline {printable(path)} is a result of another command", "give a file that bench --save wrote"
        )
    return result
