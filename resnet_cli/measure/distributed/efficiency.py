"""Throughput of several processes together, compared with one alone."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_cli.measure.bench.stats.estimators import describe
from resnet_cli.measure.distributed.synchronized_sampling import RankSamples
from resnet_cli.results.bench import Rank, Replicas
from resnet_cli.results.common import Note

REPLICAS, DDP = "replicas", "DistributedDataParallel"


def combined(
    batch_size: int,
    backend: str,
    wrapper: str,
    threads: int,
    single: RankSamples,
    samples: Sequence[tuple[str, str, RankSamples]],
) -> Replicas:
    """The row of a batch size.

    Args:
        batch_size: of each process.
        backend: "gloo" or "nccl".
        wrapper: "replicas" or "DistributedDataParallel".
        threads: of each process.
        single: of one process while the others waited.
        samples: of each rank: host, device and what it measured while all did.
    """
    ranks = tuple(
        Rank(
            rank=rank,
            host=host,
            device=device,
            time=describe(measured.samples_s),
            images_per_s=batch_size * measured.calls / measured.seconds,
        )
        for rank, (host, device, measured) in enumerate(samples)
    )
    single_rate = batch_size * single.calls / single.seconds
    rate = sum(rank.images_per_s for rank in ranks)
    return Replicas(
        batch_size=batch_size,
        backend=backend,
        wrapper=wrapper,
        threads=threads,
        ranks=ranks,
        images_per_s=rate,
        single_process=describe(single.samples_s),
        single_process_images_per_s=single_rate,
        efficiency=rate / (len(ranks) * single_rate),
        slowest_rank=min(ranks, key=lambda rank: (rank.images_per_s, -rank.time.median_s)).rank,
    )


def notes(rows: Sequence[Replicas]) -> tuple[Note, ...]:
    """How the rows were measured."""
    row = rows[0]
    threads = f"{row.threads} thread{'' if row.threads == 1 else 's'}"
    rows_notes = [
        Note("note", f"each process has {threads}, including the one that was measured alone", "threads-per-process")
    ]
    if row.wrapper == DDP:
        text = (
            "in training every step waits for the slowest process, so all have about the same rate; "
            "the single process runs without DistributedDataParallel"
        )
        rows_notes.append(Note("note", text, "steps-wait-for-the-slowest"))
    return tuple(rows_notes)
