"""A replica of the network in each of several processes: what all of them reach together, held against one alone.

The processes are there already, started by `launching` or by torchrun, and this is one of them. For each batch size
rank 0 measures alone while the others sleep; then all measure at once. In training they are one
DistributedDataParallel, so each step waits for the slowest; alone it is the same network without that.
"""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import scaled
from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.batch_timing import OUT_OF_MEMORY, as_not_run
from resnet_cli.measure.bench.device_timer import clock
from resnet_cli.measure.bench.sampling import Limits, Progress
from resnet_cli.measure.bench.workload import INFERENCE, TRAIN, Workload
from resnet_cli.measure.bench.workload_cost import workload_cost
from resnet_cli.measure.distributed.coordination import (
    TIMEOUT_S,
    CoordinationProtocol,
    Coordinator,
    PeerGoneError,
    SingleProcess,
)
from resnet_cli.measure.distributed.cpu_threads import settings, threads_each
from resnet_cli.measure.distributed.efficiency import DDP, REPLICAS, combined
from resnet_cli.measure.distributed.process_group import RankInfo, process_group
from resnet_cli.measure.distributed.synchronized_sampling import RankSamples, sample_synchronized
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.user_model import load_model
from resnet_cli.measure.system import devices
from resnet_cli.network import resnet
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.results.bench import Replicas
from resnet_cli.results.common import Shape

_LONG_NAP_S = 0.25  # between two looks of a process that waits while another one is measured


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """What to measure; plain, so that it can be sent to a process.

    Args:
        image: (C, H, W).
        batch_sizes: of each process.
        spec: of a network of ours …
        model: … or a reference to anybody's, "FILE.py:NAME", and what to call it with.
        arguments: such as num_classes, for those callables that take them.
        dtype: by its name.
        device: "cpu", or "cuda" for a GPU per process.
        mode: "inference" or "train".
        limits: when to stop, alone and again together.
        seed: of weights; the images of each process are others.
        threads: of each process; None: its share of what torch would take.
    """

    image: Shape
    batch_sizes: tuple[int, ...]
    spec: ModelSpec | None = None
    model: str | None = None
    arguments: tuple[tuple[str, Any], ...] = ()
    dtype: str = "float32"
    device: str = "cpu"
    mode: str = INFERENCE
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    threads: int | None = None


def replicate(
    question: ReplicaConfig, progress: Progress, keep: Callable[[Replicas], None] = lambda _: None
) -> tuple[Replicas, ...] | None:
    """Measure as one of the processes of a run; all of them must ask the same.

    Args:
        question: what to measure.
        progress: is told what goes on, on rank 0 only.
        keep: is given each batch size as soon as it is measured, on rank 0 only.

    Returns:
        One for each batch size on rank 0, and None on all others.

    Raises:
        ResnetCliError: this process could not do it.
        PeerGoneError: another one could not.
    """
    place = RankInfo.from_environment()
    device = own_device(question.device, place.local_rank)
    dtype = devices.dtype(question.dtype)
    patience_s = TIMEOUT_S + 2 * question.limits.max_time_s  # the others wait for the one that is measured alone
    with settings(threads_each(question.threads, place.local_count)), process_group(place, device, patience_s) as peers:
        try:
            model = _build(question)
            if place.rank == 0:
                _require_memory(question, model, device, dtype, place.local_count)
            rows = []
            for batch_size in question.batch_sizes:
                row = _row(question, model, batch_size, device, dtype, peers, progress if place.rank == 0 else _silent)
                if row is not None:
                    rows.append(row)
                    keep(row)
            peers.share(None)  # nobody leaves before all are through
        except PeerGoneError:
            raise
        except Exception:
            with suppress(RuntimeError):  # nobody may be left to tell
                peers.fail()
            raise
    return tuple(rows) if place.rank == 0 else None


def own_device(kind: str, local_rank: int) -> torch.device:
    """The device of a process.

    Raises:
        ResnetCliError: not of a kind that several processes can use.
    """
    if kind == "cuda":
        return torch.device("cuda", local_rank)
    if kind != "cpu":
        raise ResnetCliError(f"several processes do not run on {kind}", "use --device cpu or --device cuda")
    return torch.device("cpu")


def _silent(text: str) -> None: ...


def _require_memory(
    question: ReplicaConfig, model: nn.Module, device: torch.device, dtype: torch.dtype, processes: int
) -> None:
    """Nothing is tried that cannot fit: a system without memory kills processes, and not always ours.

    Raises:
        ResnetCliError: the processes of this machine need more than there is.
    """
    available = conditions.available_bytes(device)
    if available is None:
        return
    sharing = 1 if device.type == "cuda" else processes
    asked = workload_cost(ModelUnderTest(model, "the network", question.spec), question.image, dtype, question.mode)
    for batch_size in question.batch_sizes:
        needed = sharing * asked.bytes_at(batch_size)
        if needed > available:
            who = "a process needs" if sharing == 1 else f"{sharing} processes need"
            raise ResnetCliError(
                f"--batch-size {batch_size}: out of memory: {who} {scaled(needed, 'B')}, "
                f"and {scaled(available, 'B')} are free",
                "use a smaller --batch-size or fewer processes",
            )


def _build(question: ReplicaConfig) -> nn.Module:
    with random_init.seeded(question.seed):
        if question.spec is not None:
            return resnet.build(question.spec)
        if question.model is None:
            raise ResnetCliError("no network was named")
        return load_model(question.model, dict(question.arguments))[0]


def _row(
    question: ReplicaConfig,
    model: nn.Module,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype,
    peers: Coordinator,
    progress: Progress,
) -> Replicas | None:
    """One batch size; on rank 0."""

    def workload() -> Workload:
        return Workload(
            copy.deepcopy(model),
            image=question.image,
            device=device,
            dtype=dtype,
            mode=question.mode,
            seed=question.seed + peers.rank,
        )

    def rounds(work: Workload, party: CoordinationProtocol, name: str) -> RankSamples:
        lockstep = isinstance(work.model, DistributedDataParallel)
        with work.running():
            return sample_synchronized(
                party,
                clock(device),
                work.call(batch_size),
                question.limits,
                lockstep=lockstep,
                queue=device.type != "cpu",
                progress=progress,
                name=f"batch {batch_size}, {name}: ",
            )

    with _told(batch_size, peers, device):
        alone = rounds(workload(), SingleProcess(), "one process alone") if peers.rank == 0 else None
        peers.share(None, _LONG_NAP_S)
        work = workload()
        if question.mode == TRAIN:
            work.model = _wrapped(work, batch_size, question.spec is None)
        together = rounds(work, peers, f"{peers.count} processes together")
    found = peers.share(
        {
            "host": socket.gethostname(),
            "device": str(device),
            "samples": together.samples_s,
            "calls": together.calls,
            "seconds": together.seconds,
        }
    )
    if alone is None:
        return None
    return combined(
        batch_size,
        distributed.get_backend(),
        DDP if question.mode == TRAIN else REPLICAS,
        torch.get_num_threads(),
        alone,
        found,
        question.limits.confidence,
    )


def _wrapped(work: Workload, batch_size: int, foreign: bool) -> nn.Module:
    """The network as one of several; a foreign one may have parameters that no loss depends on, and that costs."""
    unused = False
    if foreign:
        work.call(batch_size)()
        unused = any(one.grad is None for one in work.model.parameters() if one.requires_grad)
    index = [work.device.index] if work.device.type == "cuda" else None
    return DistributedDataParallel(work.model, device_ids=index, find_unused_parameters=unused)


@contextmanager
def _told(batch_size: int, peers: Coordinator, device: torch.device) -> Iterator[None]:
    """Failures of a measurement in a sentence; a connection that breaks is another process's failure."""
    try:
        yield
    except (PeerGoneError, ResnetCliError):
        raise
    except Exception as error:
        if _is_disconnection(error):
            raise peers.gone() from error
        why = as_not_run(error, clock(device))
        raise ResnetCliError(
            f"process {peers.rank} of {peers.count} at batch {batch_size}: {why.status}: {why.reason}",
            "use a smaller --batch-size or fewer processes" if why.status == OUT_OF_MEMORY else None,
        ) from error


def _is_disconnection(error: Exception) -> bool:
    if isinstance(error, distributed.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("connection closed", "connection reset", "broken pipe", "gloo/transport")
    )
