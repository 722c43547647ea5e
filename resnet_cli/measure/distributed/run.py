"""`bench` with a replica per process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from resnet_cli import signals
from resnet_cli.measure.bench import conditions as sensors
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.run_context import RunContext
from resnet_cli.measure.bench.sampling import Progress
from resnet_cli.measure.distributed import efficiency, launcher
from resnet_cli.measure.distributed.replicas import ReplicaConfig
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.results.bench import BenchResult, Replicas


def bench_multi_process(
    described: ModelUnderTest,
    question: BenchmarkConfig,
    processes: int | None,
    *,
    model: str | None = None,
    arguments: Mapping[str, Any] = {},
    progress: Progress,
) -> BenchResult | None:
    """Time replicas, all at once.

    Args:
        described: the network; it is not run, each process builds its own.
        question: what to measure.
        model: reference of the user's network, None for one of ours.
        arguments: of the user's class or function.
        processes: how many to start; None: torchrun has started them, and this is one.
        progress: is told what goes on.

    Returns:
        The result; None in a process other than the first of torchrun's, which has nothing to say.

    Raises:
        ResnetCliError: one of the processes failed; none is left.
        KeyboardInterrupt: before a batch size was measured.
    """
    frame = RunContext(described, question)
    asked = ReplicaConfig(
        image=question.image,
        batch_sizes=question.batch_sizes,
        spec=described.spec,
        model=model,
        arguments=tuple(arguments.items()),
        dtype=str(question.dtype).removeprefix("torch."),
        device=question.device.type,
        mode=question.mode,
        limits=question.limits,
        seed=question.seed,
        threads=question.threads,
    )
    finished: list[Replicas] = []
    interrupted = False
    if processes is None:
        rows = launcher.run_here(asked, progress)
        if rows is None:
            return None
    else:
        try:
            rows = launcher.launch(processes, asked, progress, finished.extend)
        except KeyboardInterrupt:
            if not finished:
                raise
            signals.acknowledge()
            rows, interrupted = tuple(finished), True
    result = frame.close()
    # What other processes keep busy are our own ones here.
    conditions = replace(result.conditions, threads=rows[0].threads, background_cpu_load=None)
    seen = sensors.Interference(stolen=conditions.steal_time_share, throttled=conditions.throttled)
    notes = (*efficiency.notes(rows), *sensors.notes(seen, conditions.threads))
    return replace(result, replicas=rows, interrupted=interrupted, conditions=conditions, notes=notes)
