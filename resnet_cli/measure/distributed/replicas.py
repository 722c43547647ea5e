"""One of several processes, each with a replica of the network: what it measures.

For each batch size rank 0 measures alone while the others sleep; then all measure at once. In training they are one
DistributedDataParallel, so each step waits for the slowest; alone it is the same network without that.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import scaled
from resnet_cli.measure.bench.run_context import torch_settings
from resnet_cli.measure.bench.timing.batch_timing import OUT_OF_MEMORY, as_not_run
from resnet_cli.measure.bench.timing.sampling import Limits, Progress
from resnet_cli.measure.bench.workloads.mixed_precision import TRAIN, is_mixed
from resnet_cli.measure.bench.workloads.workload import INFERENCE, Workload
from resnet_cli.measure.bench.workloads.workload_cost import workload_cost
from resnet_cli.measure.distributed.efficiency import DDP, REPLICAS, combined
from resnet_cli.measure.distributed.process_group import DisconnectedError, RankInfo, Share, alone, process_group
from resnet_cli.measure.distributed.synchronized_sampling import RankSamples, sample_synchronized
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.copies import duplicate
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.models.user_model import load_with_examples
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.devices.loss import require_device
from resnet_cli.measure.system.devices.registry import device_backend, device_of_rank
from resnet_cli.measure.system.dtypes import dtype
from resnet_cli.network import resnet
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.results.bench import Replicas

_TIMEOUT_S = 300.0  # of silence: longer than any step takes


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """What to measure; plain data, so that it can be sent to a process.

    Args:
        inputs: of a forward, at any batch size; None: those of example_inputs() beside the user's network, which each
            process calls, as they may be of the user's own classes.
        batch_sizes: of each process.
        spec: of a built-in network …
        model: … or FILE.py:NAME or module:NAME of the user's.
        arguments: that the user's class or function has to take.
        dtype: by its name; None: the network's own.
        device: kind of device, such as "cpu".
        mode: "inference" or "train".
        limits: when to stop, alone and again together.
        seed: of weights; each process has images of its own.
        threads: of each process; None: an equal share of the cores.
    """

    inputs: ModelInputs | None
    batch_sizes: tuple[int, ...]
    spec: ModelSpec | None = None
    model: str | None = None
    arguments: tuple[tuple[str, Any], ...] = ()
    dtype: str | None = None
    device: str = "cpu"
    mode: str = INFERENCE
    limits: Limits = field(default_factory=Limits)
    seed: int = 0
    threads: int | None = None


def measure_replicas(config: ReplicaConfig, progress: Progress, keep: Callable[[Replicas], None]) -> None:
    """Measure as one of the processes of a run; all of them must have the same configuration.

    Args:
        config: what to measure.
        progress: called with a line of text on rank 0.
        keep: called with each batch size as soon as it is measured, on rank 0.

    Raises:
        ResnetCliError: this process failed.
        DisconnectedError: another one failed.
    """
    info = RankInfo.from_environment()
    backend = device_backend(device_of_rank(config.device, info.local_rank, info.local_count))
    require_device(backend, "does not work")
    timeout_s = _TIMEOUT_S + 2 * config.limits.max_time_s  # the others wait for the one that is measured alone
    threads = threads_each(config.threads, info.local_count)
    with torch_settings(threads), process_group(info, backend, timeout_s) as share:
        model, inputs = _build(config)
        if info.rank == 0:
            _require_memory(config, model, inputs, backend, info.local_count)
        replica = _Replica(config, model, inputs, backend, info, share, progress if info.rank == 0 else _silent)
        for batch_size in config.batch_sizes:
            row = replica.measure(batch_size)
            if row is not None:
                keep(row)
        share(None)  # nobody leaves before all are through


def threads_each(threads: int | None, processes: int) -> int:
    """Threads of each process on this machine.

    Args:
        threads: chosen by the user, for each process; None: an equal share of what torch would take.
        processes: on this machine.
    """
    if threads is not None:
        return threads
    variable = os.environ.get("OMP_NUM_THREADS", "")
    if variable.isdecimal() and int(variable) > 1:
        return int(variable)
    if variable != "1":
        return max(1, torch.get_num_threads() // processes)
    # torchrun sets 1 where the user has chosen nothing.
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable, psutil.cpu_count(logical=False) or usable) // processes)


def _silent(text: str) -> None: ...


def _build(config: ReplicaConfig) -> tuple[nn.Module, ModelInputs]:
    """The network and its inputs."""
    with random_init.seeded(config.seed):
        if config.model is not None:
            loaded = load_with_examples(config.model, given=dict(config.arguments))
            if config.inputs is None:
                assert loaded.example_inputs is not None
                return loaded.network, loaded.example_inputs()
            return loaded.network, config.inputs
        assert config.spec is not None
        assert config.inputs is not None
        return resnet.build(config.spec), config.inputs


def _dtype(config: ReplicaConfig) -> torch.dtype | None:
    return None if config.dtype is None else dtype(config.dtype)


def _require_memory(
    config: ReplicaConfig, model: nn.Module, inputs: ModelInputs, backend: DeviceBackend, processes: int
) -> None:
    """Nothing is tried that cannot fit: a system without memory kills processes, and not always ours.

    Raises:
        ResnetCliError: the processes of this machine need more than is free.
    """
    available = backend.free_memory()
    if available is None:
        return
    sharing = 1 if backend.is_accelerator else processes
    under_test = ModelUnderTest(model, "the network", config.spec)
    cost = workload_cost(under_test, inputs, _dtype(config), config.mode)
    for batch_size in config.batch_sizes:
        needed = sharing * cost.bytes_at(batch_size)
        if needed > available:
            who = "a process needs" if sharing == 1 else f"{sharing} processes need"
            raise ResnetCliError(
                f"`batch_size={batch_size}`: {OUT_OF_MEMORY}: {who} {scaled(needed, 'B')}, "
                f"and {scaled(available, 'B')} are free",
                "use a smaller batch size or fewer processes",
            )


@dataclass(frozen=True, slots=True)
class _Replica:
    """The network of this process."""

    config: ReplicaConfig
    model: nn.Module
    inputs: ModelInputs
    backend: DeviceBackend
    info: RankInfo
    share: Share
    progress: Progress

    def measure(self, batch_size: int) -> Replicas | None:
        """One batch size; the row of all processes on rank 0."""
        config = self.config
        with self._errors(batch_size):
            single = None
            if self.info.rank == 0:
                single = self._sample(self._workload(), batch_size, alone, "one process alone")
            self.share(None)
            work = self._workload()
            if config.mode == TRAIN:
                work.model = self._data_parallel(work, batch_size)
            together = self._sample(work, batch_size, self.share, f"{self.info.count} processes together")
            samples = self.share((socket.gethostname(), str(self.backend.device), together))
        if single is None:
            return None
        return combined(
            batch_size,
            distributed.get_backend(),
            DDP if config.mode == TRAIN else REPLICAS,
            torch.get_num_threads(),
            single,
            samples,
        )

    def _workload(self) -> Workload:
        return Workload(
            duplicate(self.model, lambda: _build(self.config)[0]),
            inputs=self.inputs,
            device=self.backend.device,
            dtype=_dtype(self.config),
            mode=self.config.mode,
            seed=self.config.seed + self.info.rank,
            mixed=is_mixed(self.config.mode, _dtype(self.config)),
        )

    def _sample(self, work: Workload, batch_size: int, share: Share, name: str) -> RankSamples:
        with work.running():
            return sample_synchronized(
                share,
                self.backend,
                work.call(batch_size),
                self.config.limits,
                lockstep=isinstance(work.model, DistributedDataParallel),
                queue=self.backend.is_accelerator,
                progress=self.progress,
                name=f"batch {batch_size}, {name}: ",
            )

    def _data_parallel(self, work: Workload, batch_size: int) -> nn.Module:
        """DistributedDataParallel; a user's network may have unused parameters, and looking for them costs time."""
        unused = False
        if self.config.spec is None:
            work.call(batch_size)()
            unused = any(p.grad is None for p in work.model.parameters() if p.requires_grad)
        index = [work.device.index] if self.backend.is_accelerator else None
        return DistributedDataParallel(work.model, device_ids=index, find_unused_parameters=unused)

    @contextmanager
    def _errors(self, batch_size: int) -> Iterator[None]:
        """Failures of a measurement as errors; a connection that breaks is another process's failure."""
        try:
            yield
        except (DisconnectedError, ResnetCliError):
            raise
        except Exception as error:
            if _is_disconnection(error):
                raise DisconnectedError(str(error)) from error
            failure = as_not_run(error, self.backend)
            raise ResnetCliError(
                f"process {self.info.rank} of {self.info.count} at batch {batch_size}: "
                f"{failure.status}: {failure.reason}",
                "use a smaller batch size or fewer processes" if failure.status == OUT_OF_MEMORY else None,
            ) from error


def _is_disconnection(error: Exception) -> bool:
    if isinstance(error, distributed.DistError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("connection closed", "connection reset", "broken pipe", "gloo/transport")
    )
