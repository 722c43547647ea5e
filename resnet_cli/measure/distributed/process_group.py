"""This process as one of several that torchrun has started, and how they exchange values."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.system.devices.backend import DeviceBackend

Share = Callable[[Any], list[Any]]  # gives the others a value; returns those of all, in the order of their ranks


class DisconnectedError(Exception):
    """Another process of the run has failed or ended, and reports the reason itself if it can."""


@dataclass(frozen=True, slots=True)
class RankInfo:
    """Which process of a run this is: its rank, of how many, and the same among those on this machine."""

    rank: int
    count: int
    local_rank: int
    local_count: int

    @classmethod
    def from_environment(cls) -> RankInfo:
        """From the variables that torchrun sets.

        Raises:
            ResnetCliError: they are missing or invalid.
        """
        try:
            rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
            local_count = int(os.environ.get("LOCAL_WORLD_SIZE", count))
            local_rank = int(os.environ.get("LOCAL_RANK", rank % local_count))
            if not (0 <= rank < count and 0 <= local_rank < local_count <= count):
                raise ValueError
            return cls(rank, count, local_rank, local_count)
        except (KeyError, ValueError, ZeroDivisionError) as error:
            raise ResnetCliError(
                "RANK and WORLD_SIZE in the environment are not valid", "start the processes with torchrun"
            ) from error


def alone(value: Any) -> list[Any]:
    """`Share` of a process that measures by itself."""
    return [value]


@contextmanager
def process_group(info: RankInfo, backend: DeviceBackend, timeout_s: float) -> Iterator[Share]:
    """Join the group. Values go through gloo, whose waiting processes sleep; NCCL's would keep a core and a GPU busy.

    Args:
        info: of this process.
        backend: of its device.
        timeout_s: how long the others are waited for.

    Raises:
        DisconnectedError: the other processes cannot be reached.
    """
    if backend.is_accelerator:
        torch.accelerator.set_device_index(backend.device.index)
    limit = timedelta(seconds=timeout_s)
    try:
        with _quiet_stdout():
            distributed.init_process_group(
                backend.collectives, timeout=limit, device_id=backend.device if backend.is_accelerator else None
            )
            gloo = distributed.new_group(timeout=limit, backend="gloo")
    except (RuntimeError, ValueError) as error:
        raise DisconnectedError(str(error)) from error

    def share(value: Any) -> list[Any]:
        values: list[Any] = [None] * info.count
        try:
            distributed.all_gather_object(values, value, group=gloo)  # type: ignore[arg-type]
        except RuntimeError as error:
            raise DisconnectedError(str(error)) from error
        return values

    yield share
    distributed.destroy_process_group()  # not after an error: NCCL would wait for processes that are gone


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Send what C++ code writes to standard output to standard error: some versions of gloo announce their peers."""
    sys.stdout.flush()
    before = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
