"""`resnet-cli bench`."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from resnet_cli.commands import options
from resnet_cli.commands.options import execution, parsing
from resnet_cli.commands.options.completion import one_of, some_of
from resnet_cli.commands.options.input_selection import InputSelection, choose_inputs
from resnet_cli.commands.options.model_selection import NetworkSelection, check_alone, choose_network
from resnet_cli.errors import ResnetCliError
from resnet_cli.files import check_file, write_file
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from resnet_cli.network.architectures import ARCHITECTURES
from resnet_cli.render.progress import is_interactive, progress, status
from resnet_cli.results.bench import BenchResult

if TYPE_CHECKING:
    from resnet_cli.measure.bench.config import BenchmarkConfig
    from resnet_cli.measure.bench.models import OtherModel
    from resnet_cli.measure.models.model import ModelUnderTest

_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # variables that it sets
_MAX_PROCESSES = 1024
_COMPARISON = "Comparison"

EPILOG = """\b
Examples:
  resnet-cli bench --depth 18
  resnet-cli bench --depth 50 --batch-size 1,8,32 --device cuda
  resnet-cli bench --depth 50 --against torchvision
  resnet-cli bench --depth 18 --optimizations all
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
    model_args: options.ModelArgs = None,
    in_channels: options.InChannels = None,
    num_classes: options.ModelClasses = None,
    stem: options.Stem = "imagenet",
    weights: options.Weights = None,
    batch_size: options.BatchSizes = None,
    image_size: options.ImageSize = None,
    inputs: options.Inputs = None,
    input_file: options.InputFile = None,
    dtype: options.Dtype = None,
    device: options.RunDevice = "auto",
    op_flops: options.OpFlops = None,
    mode: Annotated[
        Literal["inference", "train"],
        options.choice(options.MEASUREMENT, "Forward pass only, or a training step: forward, backward and SGD."),
    ] = "inference",
    threads: options.Threads = None,
    seed: options.Seed = 0,
    max_time: options.MaxTime = 20.0,
    ci_width: Annotated[
        str,
        options.option(
            options.MEASUREMENT,
            "Stop when the 95% confidence interval of the median is narrower than this fraction of the median.",
            metavar="X%",
        ),
    ] = "1%",
    ceiling: options.Ceiling = True,
    layers: Annotated[bool, options.option(options.MEASUREMENT, "Measure the time of each layer.", "--layers")] = False,
    optimizations: Annotated[
        str | None,
        options.option(
            options.MEASUREMENT,
            "Measure speed-up and cost of optimizations over eager, comma-separated, or all: "
            f"{options.listed(OPTIMIZATIONS)}.",
            metavar="all|A,B,C",
            default="none",
            complete=some_of(("all", *OPTIMIZATIONS)),
        ),
    ] = None,
    nproc: Annotated[
        int | None,
        options.option(
            options.MEASUREMENT,
            "Run N replicas concurrently, one per process.",
            metavar="N",
            default="one network, in this process",
            min=1,
            max=_MAX_PROCESSES,
        ),
    ] = None,
    against: Annotated[
        str | None,
        options.option(
            _COMPARISON,
            "Interleaved comparison with: torchvision (same architecture), a torchvision model name, or self (A/A "
            "noise check).",
            metavar="NAME",
            default="none",
            complete=one_of(("torchvision", "self", *ARCHITECTURES)),
        ),
    ] = None,
    save: Annotated[
        str | None,
        options.option(
            _COMPARISON,
            "Save raw samples and environment to a file, for --baseline.",
            metavar="FILE",
            default="not saved",
        ),
    ] = None,
    baseline: Annotated[
        str | None, options.option(_COMPARISON, "Compare with a saved run.", metavar="FILE", default="none")
    ] = None,
    fail_above: Annotated[
        str | None,
        options.option(
            _COMPARISON,
            "Exit with 1 if this run is significantly slower than the baseline by more than X%.",
            metavar="X%",
            default="never",
        ),
    ] = None,
    show: Annotated[str | None, options.sections("bench")] = None,
    levels: Annotated[int | None, options.levels("the tree of --layers")] = None,
    output_format: options.OutputFormat = None,
    output: options.Output = None,
) -> None:
    """Measure latency and throughput with confidence intervals, relative to the peak of the machine.

    Exit code 1: significantly (95%) slower than --fail-above. 130: interrupted; what was measured is shown.
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
    width = parsing.fraction("--ci-width", ci_width)
    slowdown = None if fail_above is None else parsing.fraction("--fail-above", fail_above, limit=100.0)
    chosen = None if optimizations is None else parsing.chosen("optimization", optimizations, tuple(OPTIMIZATIONS))
    if mode != "inference":
        check_alone("--mode train", {"--optimizations": optimizations, "--layers": layers})
    if dtype not in (None, "float32"):
        check_alone(f"--dtype {dtype}", {"--optimizations": optimizations})
    if fail_above is not None and baseline is None:
        raise ResnetCliError("--fail-above requires --baseline", "give a file that bench --save wrote")
    one_process = {
        "--optimizations": optimizations,
        "--layers": layers,
        "--against": against,
        "--baseline": baseline,
        "--save": save,
        "--weights": weights,
        f"--device {device}": ":" in device,
    }
    is_distributed = _is_distributed(nproc, one_process)
    drawing = execution.drawing("bench", output_format, output, levels=levels, sections=show)
    saved = None if baseline is None else _read_baseline(baseline)
    if save is not None:
        check_file(save)
    machine = execution.machine(device, dtype)

    from resnet_cli.measure.bench.config import BenchmarkConfig
    from resnet_cli.measure.bench.sampling import Limits

    config = BenchmarkConfig(
        inputs=chosen_inputs.image_input(),
        batch_sizes=(1,),
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
    if is_distributed:
        result = _bench_processes(network, config, chosen_inputs, nproc)
        if result is None:  # the first process writes the result of all
            return
    else:
        result = _bench(network, config, chosen_inputs, weights, against, saved, slowdown)
    if save is not None:
        from resnet_cli.results.serialization import to_json

        write_file(save, to_json(result).encode())
    drawing.finish(result, holds=not result.failed, interrupted=result.interrupted)


def _is_distributed(nproc: int | None, one_process: Mapping[str, Any]) -> bool:
    """Whether several processes measure, as --nproc or torchrun asks.

    Args:
        nproc: value of --nproc.
        one_process: options that need a single process, and their values.

    Raises:
        ResnetCliError: torchrun and --nproc, or one of the other options is given too.
    """
    is_torchrun = os.environ.keys() >= set(_TORCHRUN)
    if is_torchrun:
        check_alone("torchrun", {"--nproc": nproc, **one_process})
    elif nproc is not None:
        check_alone("--nproc", dict(one_process))
    return is_torchrun or nproc is not None


def _bench(
    network: NetworkSelection,
    config: "BenchmarkConfig",
    inputs: InputSelection,
    weights: str | None,
    against: str | None,
    baseline: BenchResult | None,
    fail_above: float | None,
) -> BenchResult:
    """Benchmark in this process."""
    from resnet_cli.measure.bench import benchmark
    from resnet_cli.measure.bench.models import give_weights

    if baseline is not None:
        _check_baseline(baseline, network, config, inputs)
    with progress() as update:
        update("building")
        model = _build(network, config.seed)
        if weights is not None:
            give_weights(model, _weights_file(weights, network))
        return benchmark.bench(
            model,
            _for_model(config, inputs, model),
            reference=None if against is None else _other_model(against, network, config.seed),
            baseline=baseline,
            fail_above=fail_above,
            progress=update,
        )


def _for_model(config: "BenchmarkConfig", inputs: InputSelection, model: "ModelUnderTest") -> "BenchmarkConfig":
    """The configuration with the inputs of this network."""
    chosen, batch_sizes = inputs.for_model(model)
    return replace(config, inputs=chosen, batch_sizes=batch_sizes)


def _bench_processes(
    network: NetworkSelection, config: "BenchmarkConfig", inputs: InputSelection, nproc: int | None
) -> BenchResult | None:
    """Benchmark replicas in several processes; None in all but the first."""
    from resnet_cli.measure.distributed.run import bench_multi_process

    with progress() as update:
        model = network.load()
        config = _for_model(config, inputs, model)
        return bench_multi_process(
            model, config, nproc, model=network.model, arguments=network.arguments, progress=update
        )


def _build(network: NetworkSelection, seed: int) -> "ModelUnderTest":
    from resnet_cli.measure.bench.models import build, users_own

    if network.model is None:
        return build(network.spec, seed)
    return users_own(network.model, network.arguments, seed)


def _weights_file(weights: str, network: NetworkSelection) -> str:
    from resnet_cli.measure.weights.torchvision_download import resolve_weights

    if network.model is not None:
        return weights  # torchvision's weights are for torchvision's architectures
    return resolve_weights(weights, network.spec, show_bar=is_interactive())


def _other_model(against: str, network: NetworkSelection, seed: int) -> "OtherModel":
    """The model of --against."""
    from resnet_cli.measure.bench.models import OtherModel, torchvision

    if against.strip().lower() == "self":
        twin = _build(network, seed)
        return OtherModel(twin.model, f"{twin.name} again", takes_image=False)
    if against.strip().lower() == "torchvision" and network.model is not None:
        raise ResnetCliError(
            "--against torchvision cannot be combined with --model", "name the architecture, e.g. --against resnet50"
        )
    with status("loading torchvision"):
        from resnet_cli.measure.models import torchvision_models

        torchvision_models.names()
    return torchvision(against, network.spec, seed)


def _read_baseline(path: str) -> BenchResult:
    """A saved run.

    Raises:
        ResnetCliError: it cannot be read, or is the result of another command.
    """
    from resnet_cli.results.load import read_result

    result = read_result("--baseline", path)
    if not isinstance(result, BenchResult):
        raise ResnetCliError(f"--baseline {path} is a result of another command", "give a file that bench --save wrote")
    return result


def _check_baseline(
    saved: BenchResult, network: NetworkSelection, config: "BenchmarkConfig", inputs: InputSelection
) -> None:
    """Check, before anything is measured, that two runs can be compared."""
    from resnet_cli.measure.bench import baseline
    from resnet_cli.measure.models.inputs.fitting import fitted
    from resnet_cli.measure.models.model import own_dtype

    model = network.load()
    config = _for_model(config, inputs, model)
    described = fitted(config.inputs, model.model).describe(config.weight_dtype or own_dtype(model.model))
    baseline.check(saved, model.description, described, config.mode, config.batch_sizes, config.autocast)
