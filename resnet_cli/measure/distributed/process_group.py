"""This process as one of a run of torch.distributed: which one it is, and the group that it joins."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.distributed.coordination import TIMEOUT_S, Coordinator, PeerGoneError
from resnet_cli.measure.system.silence import silenced

_STDOUT, _STDERR = 1, 2


@dataclass(frozen=True, slots=True)
class RankInfo:
    """Which process of a run this is.

    Args:
        rank: among all.
        count: of all processes.
        local_rank: among those on this machine.
        local_count: of those on this machine.
    """

    rank: int
    count: int
    local_rank: int
    local_count: int

    @classmethod
    def from_environment(cls) -> RankInfo:
        """As torchrun and other launchers tell it.

        Raises:
            ResnetCliError: this process was started by none of them, or is told nonsense.
        """
        try:
            rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
            local_count = int(os.environ.get("LOCAL_WORLD_SIZE", count))
            local_rank = int(os.environ.get("LOCAL_RANK", rank % local_count))
            place = cls(rank, count, local_rank, local_count)
        except (KeyError, ValueError, ZeroDivisionError) as error:
            raise ResnetCliError(
                "RANK and WORLD_SIZE in the environment do not say which process of a run this is",
                "start it with torchrun, or give --nproc",
            ) from error
        if not (0 <= rank < count and 0 <= local_rank < local_count <= count):
            raise ResnetCliError(
                f"the environment says process {rank} of {count}, and {local_rank} of {local_count} on this machine",
                "start it with torchrun, or give --nproc",
            )
        return place


def launched_by_torchrun() -> bool:
    """Whether torchrun or the like has started this process as one of several."""
    return all(os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


def require_gpus(processes: int) -> None:
    """Each process of a machine has a GPU of its own.

    Args:
        processes: on this machine.

    Raises:
        ResnetCliError: there are fewer GPUs.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if processes > count:
        raise ResnetCliError(
            f"{processes} processes need a GPU each, and this machine has {count or 'none'}",
            f"use --nproc {count}, or --device cpu" if count else "use --device cpu",
        )


@contextmanager
def process_group(place: RankInfo, device: torch.device, patience_s: float = TIMEOUT_S) -> Iterator[Coordinator]:
    """Be part of the group while inside.

    What torch's libraries have to say meanwhile stays off the terminal; rank 0 may still write to standard error.

    Args:
        place: of this process.
        device: a GPU of its own, or the processor.
        patience_s: how long nothing may be heard of another process.

    Raises:
        ResnetCliError: there are fewer GPUs than processes, or the others cannot be reached.
        PeerGoneError: another process did not come.
    """
    if device.type == "cuda":
        require_gpus(place.local_count)
        torch.cuda.set_device(device)
    with silenced_fds(_STDOUT if place.rank == 0 else (_STDOUT, _STDERR)), silenced():
        with silenced_fds(_STDERR):
            peers = _connected(place, device, patience_s)
        whole = False
        try:
            yield peers
            whole = True
        finally:
            # NCCL waits for the others when it leaves, and in a run that failed they do not come.
            if whole or device.type != "cuda":
                with silenced_fds(_STDERR), suppress(RuntimeError):
                    distributed.destroy_process_group()


def _connected(place: RankInfo, device: torch.device, patience_s: float) -> Coordinator:
    patience = timedelta(seconds=TIMEOUT_S)
    try:
        store, rank, count = next(iter(rendezvous("env://", timeout=patience)))
        # A launcher may try again with the same store.
        store = PrefixStore(f"try {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore("group", store),
            rank=rank,
            world_size=count,
            timeout=patience,
            device_id=device if device.type == "cuda" else None,
        )
    except (RuntimeError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise PeerGoneError(
            f"process {place.rank} of {place.count} cannot reach the others: {lines[0]}", told=False
        ) from error
    peers = PrefixStore("peers", store)
    return Coordinator(peers, rank, count, barrier=distributed.barrier, patience_s=patience_s)


@contextmanager
def silenced_fds(descriptors: int | Sequence[int]) -> Iterator[None]:
    """What is written to these file descriptors is lost, C++ code's lines too."""
    numbers = [descriptors] if isinstance(descriptors, int) else list(descriptors)
    _flush()
    saved: list[tuple[int, int]] = []
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in numbers:
            with suppress(OSError):  # it may be closed
                saved.append((number, os.dup(number)))
                os.dup2(nowhere, number)
        yield
    finally:
        _flush()
        for number, before in saved:
            os.dup2(before, number)
            os.close(before)
        os.close(nowhere)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
