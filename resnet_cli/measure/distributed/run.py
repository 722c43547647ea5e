"""`bench` with a replica per process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from resnet_cli import signals
from resnet_cli.errors import BAD_INPUT, ResnetCliError, attempt
from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.run_context import RunContext
from resnet_cli.measure.bench.timing.sampling import Progress
from resnet_cli.measure.distributed import efficiency
from resnet_cli.measure.distributed.launcher import launch
from resnet_cli.measure.distributed.process_group import DisconnectedError, RankInfo
from resnet_cli.measure.distributed.replicas import ReplicaConfig, measure_replicas
from resnet_cli.measure.models.inputs.model_inputs import EXAMPLE
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.user_errors import prints_to_stderr
from resnet_cli.measure.system.devices.registry import device_of_rank
from resnet_cli.results.bench import BenchResult, Replicas
from resnet_cli.results.common import error_note


@prints_to_stderr()
def bench_multi_process(
    described: ModelUnderTest,
    config: BenchmarkConfig,
    processes: int | None,
    *,
    model: str | None = None,
    arguments: Mapping[str, Any] = {},
    progress: Progress,
) -> BenchResult | None:
    """Time replicas, all at once.

    Args:
        described: the network; it is not run, each process builds its own.
        config: what to measure.
        model: FILE.py:NAME or module:NAME of the user's network, None for a built-in one.
        arguments: of the user's class or function.
        processes: how many to start; None: torchrun has started them, and this is one of them.
        progress: called with a line of text.

    Returns:
        The result; None on ranks other than 0 of torchrun's.

    Raises:
        ResnetCliError: one of the processes failed before a batch size was measured; later, its rows are kept.
        KeyboardInterrupt: before a batch size was measured.
    """
    context = RunContext(described, config, _devices(config.device.type, processes))

    def watched(text: str) -> None:
        context.monitor.sample()
        progress(text)

    replicas = ReplicaConfig(
        inputs=None if config.inputs.source == EXAMPLE else config.inputs,
        batch_sizes=config.batch_sizes,
        spec=described.spec,
        model=model,
        arguments=tuple(arguments.items()),
        dtype=None if config.dtype is None else str(config.dtype).removeprefix("torch."),
        device=config.device.type,
        mode=config.mode,
        limits=config.limits,
        seed=config.seed,
        threads=config.threads,
    )
    rows: list[Replicas] = []
    interrupted = False
    try:
        with attempt("measuring replicas") as measuring:
            if processes is None:
                measure_replicas(replicas, watched, rows.append)
            else:
                launch(processes, replicas, watched, rows.append)
    except KeyboardInterrupt:
        if not rows:
            raise
        signals.acknowledge()
        interrupted = True
    error = measuring.error
    if isinstance(error, DisconnectedError):
        if os.environ["RANK"] != "0":
            raise SystemExit(BAD_INPUT) from error
        error = ResnetCliError("another process of this run failed", "its error may stand above")
    if error is not None and not rows:
        raise error from measuring.error
    if not rows:
        return None
    result = _result(context.close(), tuple(rows))
    errors = () if error is None else (error_note(error),)
    return replace(result, interrupted=interrupted, notes=(*result.notes, *errors))


def _devices(kind: str, processes: int | None) -> list[torch.device]:
    """Those whose clocks this process reads: of all that it starts, or its own among torchrun's.

    Raises:
        ResnetCliError: there are not enough of them.
    """
    if processes is not None:
        ranks = [(rank, processes) for rank in range(processes)]
    else:
        info = RankInfo.from_environment()
        ranks = [(info.local_rank, info.local_count)]
    return list(dict.fromkeys(device_of_rank(kind, *rank) for rank in ranks))


def _result(result: BenchResult, rows: tuple[Replicas, ...]) -> BenchResult:
    # The load of "other" processes is that of the replicas themselves.
    measured = replace(result.conditions, threads=rows[0].threads, background_cpu_load=None)
    seen = conditions.Interference(steal_share=measured.steal_time_share, throttled=measured.throttled)
    unknown = (note for note in result.notes if note.key == "gpu-clock-unknown")
    notes = (*efficiency.notes(rows), *conditions.notes(seen, measured.threads), *unknown)
    return replace(result, replicas=rows, conditions=measured, notes=notes)
