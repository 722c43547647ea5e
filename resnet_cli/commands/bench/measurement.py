"""What `bench` measures: the network and its inputs, in this process or in others."""

from dataclasses import replace
from typing import TYPE_CHECKING

from resnet_cli.commands.options.input_selection import InputSelection
from resnet_cli.commands.options.model_selection import NetworkSelection
from resnet_cli.errors import ResnetCliError
from resnet_cli.render.progress import is_interactive, progress
from resnet_cli.results.bench import BenchResult

if TYPE_CHECKING:
    from resnet_cli.measure.bench.config import BenchmarkConfig
    from resnet_cli.measure.models.model import ModelUnderTest


def measure(
    network: NetworkSelection,
    inputs: InputSelection,
    config: "BenchmarkConfig",
    *,
    weights: str | None = None,
    against: str | None = None,
    runs: int | None = None,
    plan: float | None = None,
    baseline: BenchResult | None = None,
    fail_above: float | None = None,
) -> BenchResult:
    """Benchmark in this process, or in several fresh ones.

    Args:
        network: that the options name.
        inputs: that the options name; those of the configuration are replaced by them.
        config: what to measure.
        weights: of --weights.
        against: of --against.
        runs: number of processes; None: this one.
        plan: half-width of the interval that a gate is planned for; None: none is.
        baseline: a saved result.
        fail_above: the slowdown against it that is a failure.
    """
    from resnet_cli.measure.bench.baseline import with_baseline
    from resnet_cli.measure.bench.task import BenchTask, run_task

    loaded = network.load() if baseline is not None or runs is not None or plan is not None else None
    if loaded is not None:
        config = _with_inputs(config, inputs, loaded)
    if loaded is not None and baseline is not None:
        _check_baseline(baseline, loaded, config)
    file = None if weights is None else _weights_file(weights, network)
    task = BenchTask(config, network.spec, network.model, network.arguments, network.op_flops, file, against)
    with progress() as update:
        if plan is not None:
            from resnet_cli.measure.bench.processes.plan import plan_gate

            return plan_gate(task, plan, update)
        if runs is not None:
            from resnet_cli.measure.bench.processes.series import bench_in_processes

            result = bench_in_processes(task, runs, update)
        else:
            update("building")
            model = task.build()
            result = run_task(replace(task, config=_with_inputs(config, inputs, model)), model, progress=update)
    return result if baseline is None else with_baseline(result, baseline, fail_above)


def measure_replicas(
    network: NetworkSelection, inputs: InputSelection, config: "BenchmarkConfig", nproc: int | None
) -> BenchResult | None:
    """Benchmark replicas in several processes at once; None in all but the first.

    Args:
        network: that the options name.
        inputs: that the options name.
        config: what to measure.
        nproc: number of processes; None: torchrun has started them.
    """
    from resnet_cli.measure.distributed.run import bench_multi_process

    with progress() as update:
        model = network.load()
        config = _with_inputs(config, inputs, model)
        return bench_multi_process(
            model, config, nproc, model=network.model, arguments=network.arguments, progress=update
        )


def _with_inputs(config: "BenchmarkConfig", inputs: InputSelection, model: "ModelUnderTest") -> "BenchmarkConfig":
    """The configuration with the inputs of this network."""
    chosen, batch_sizes = inputs.for_model(model)
    return replace(config, inputs=chosen, batch_sizes=batch_sizes)


def _weights_file(weights: str, network: NetworkSelection) -> str:
    from resnet_cli.measure.weights.torchvision_download import resolve_weights

    if network.model is not None:
        return weights  # torchvision's weights are for torchvision's architectures
    return resolve_weights(weights, network.spec, show_bar=is_interactive())


def read_baseline(path: str) -> BenchResult:
    """A saved run.

    Raises:
        ResnetCliError: it cannot be read, or is the result of another command.
    """
    from resnet_cli.results.load import read_result

    result = read_result("--baseline", path)
    if not isinstance(result, BenchResult):
        raise ResnetCliError(f"--baseline {path} is a result of another command", "give a file that bench --save wrote")
    return result


def _check_baseline(saved: BenchResult, model: "ModelUnderTest", config: "BenchmarkConfig") -> None:
    """Check, before anything is measured, that two runs can be compared."""
    from resnet_cli.measure.bench import baseline
    from resnet_cli.measure.models.inputs.fitting import fitted
    from resnet_cli.measure.models.model import own_dtype

    described = fitted(config.inputs, model.model).describe(config.weight_dtype or own_dtype(model.model))
    optimizer = config.optimizer.key if config.mode == "train" else None
    baseline.check(saved, model.description, described, config.mode, config.batch_sizes, config.autocast, optimizer)
