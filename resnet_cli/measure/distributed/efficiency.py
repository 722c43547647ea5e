"""What several processes reach together, held against one alone. Pure figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resnet_cli.measure.bench.estimators import describe
from resnet_cli.measure.distributed.synchronized_sampling import RankSamples
from resnet_cli.results.bench import Rank, Replicas
from resnet_cli.results.common import Note

REPLICAS, DDP = "replicas", "DistributedDataParallel"


def combined(
    batch_size: int,
    backend: str,
    wrapper: str,
    threads: int,
    alone: RankSamples,
    found: Sequence[dict[str, Any]],
    confidence: float,
) -> Replicas:
    """What the rounds of all processes say together.

    Args:
        batch_size: of each process.
        backend: "gloo" or "nccl".
        wrapper: "replicas" or "DistributedDataParallel".
        threads: of each process.
        alone: rounds of one process while the others waited.
        found: of each rank its host, device, samples in seconds, and the calls and seconds of its rate.
        confidence: of the medians' intervals.
    """
    ranks = tuple(
        Rank(
            rank=rank,
            host=one["host"],
            device=one["device"],
            time=describe(one["samples"], confidence),
            images_per_s=batch_size * one["calls"] / one["seconds"],
        )
        for rank, one in enumerate(found)
    )
    by_itself = batch_size * alone.calls / alone.seconds
    together = sum(rank.images_per_s for rank in ranks)
    return Replicas(
        batch_size=batch_size,
        backend=backend,
        wrapper=wrapper,
        threads=threads,
        ranks=ranks,
        images_per_s=together,
        single_process=describe(alone.samples_s, confidence),
        single_process_images_per_s=by_itself,
        efficiency=together / (len(ranks) * by_itself),
        slowest_rank=min(ranks, key=lambda rank: (rank.images_per_s, -rank.time.median_s)).rank,
    )


def notes(rows: Sequence[Replicas]) -> tuple[Note, ...]:
    """What one has to know to read these figures."""
    if not rows:
        return ()
    row = rows[0]
    what = f"{row.threads} thread{'' if row.threads == 1 else 's'}"
    found = [Note("note", f"each process has {what}, the one that was measured alone too")]
    if row.wrapper == DDP:
        found.append(
            Note(
                "note",
                "in training every step waits for the slowest process, so all have about the same rate; "
                "alone is a process without DistributedDataParallel",
            )
        )
    return tuple(found)
