"""`resnet-cli bench`."""

from typing import Annotated, Literal

from resnet_cli.commands import options
from resnet_cli.commands.bench.checks import check_conflicts, choose_optimizations, is_distributed
from resnet_cli.commands.bench.measurement import measure, measure_replicas, read_baseline
from resnet_cli.commands.options import execution, parsing
from resnet_cli.commands.options.completion import one_of, some_of
from resnet_cli.commands.options.input_selection import choose_inputs
from resnet_cli.commands.options.model_selection import choose_network
from resnet_cli.files import check_file, write_file
from resnet_cli.measure.bench.workloads.optimizers import OPTIMIZERS, SGD
from resnet_cli.measure.models.naming.grammar import EXAMPLES
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS

_MAX_PROCESSES = 1024
_MAX_RUNS = 1000
_COMPARISON = "Comparison"

EPILOG = """\b
Examples:
  resnet-cli bench --depth 18
  resnet-cli bench --depth 50 --batch-size 1,8,32 --device cuda
  resnet-cli bench --depth 50 --against torchvision
  resnet-cli bench --depth 18 --optimizations all
  resnet-cli bench --depth 18 --layers
  resnet-cli bench --depth 18 --plan 2%
  resnet-cli bench --depth 18 --runs 5 --save before.json
  resnet-cli bench --depth 18 --runs 5 --baseline before.json --fail-above 5%
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
        options.choice(options.MEASUREMENT, "Forward pass only, or a training step: forward, backward and optimizer."),
    ] = "inference",
    optimizer: Annotated[
        str | None,
        options.choice_of(OPTIMIZERS, options.MEASUREMENT, "Optimizer of a training step.", default="sgd in training"),
    ] = None,
    find_batch_size: Annotated[
        bool,
        options.option(options.MEASUREMENT, "Also find the largest batch that fits, by trying.", "--find-batch-size"),
    ] = False,
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
    runs: Annotated[
        int | None,
        options.option(
            options.MEASUREMENT,
            "Measure in N fresh processes, one after another; the intervals include what differs between them.",
            metavar="N",
            default="one run, in this process",
            min=2,
            max=_MAX_RUNS,
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
            "Interleaved comparison with: torchvision (same architecture), a torchvision model name, any other name "
            "as for --model (net.py:Net@HEAD~1, timm:NAME), or self (A/A noise check).",
            metavar="NAME",
            default="none",
            complete=one_of(("torchvision", "self", *EXAMPLES)),
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
    plan: Annotated[
        str | None,
        options.option(
            _COMPARISON,
            "Measure the noise of this machine for about 20 seconds, and say which --runs and --max-time a gate of X% "
            "takes.",
            metavar="X%",
            default="no plan",
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
    chosen = choose_optimizations(optimizations, mode)
    target = None if plan is None else parsing.fraction("--plan", plan)
    given = {
        "--optimizations": optimizations,
        "--layers": layers,
        "--against": against,
        "--baseline": baseline,
        "--fail-above": fail_above,
        "--save": save,
        "--weights": weights,
        "--optimizer": optimizer,
        "--find-batch-size": find_batch_size,
        "--runs": runs,
        "--plan": plan,
        "--nproc": nproc,
    }
    check_conflicts(given, mode, dtype)
    has_replicas = is_distributed(given, device)
    drawing = execution.drawing("bench", output_format, output, levels=levels, sections=show)
    saved = None if baseline is None else read_baseline(baseline)
    if save is not None:
        check_file(save)
    machine = execution.machine(device, dtype)

    from resnet_cli.measure.bench.config import BenchmarkConfig
    from resnet_cli.measure.bench.timing.sampling import Limits

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
        optimizer=OPTIMIZERS[optimizer or SGD.key],
        find_batch_size=find_batch_size,
    )
    if has_replicas:
        replicas = measure_replicas(network, chosen_inputs, config, nproc)
        if replicas is None:  # the first process writes the result of all
            return
        result = replicas
    else:
        result = measure(
            network,
            chosen_inputs,
            config,
            weights=weights,
            against=against,
            runs=runs,
            plan=target,
            baseline=saved,
            fail_above=slowdown,
        )
    if save is not None:
        from resnet_cli.results.serialization import to_json

        write_file(save, to_json(result).encode())
    drawing.finish(result, holds=not result.failed, interrupted=result.interrupted)
