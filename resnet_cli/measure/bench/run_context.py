"""The result around the measurements: configuration, conditions and disturbances."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.stats.student_t import CONFIDENCE
from resnet_cli.measure.bench.workloads.mixed_precision import TRAIN
from resnet_cli.measure.models.inputs.fitting import fitted
from resnet_cli.measure.models.model import ModelUnderTest, own_dtype
from resnet_cli.measure.system import torch_build
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.measure.system.environment import environment
from resnet_cli.results.bench import BenchResult, Conditions


class RunContext:
    """Starts the interference counters; `close` fills a result with configuration and conditions.

    Args:
        model: the network.
        config: what is measured.
        devices: that are watched; none: that of the configuration.
    """

    def __init__(self, model: ModelUnderTest, config: BenchmarkConfig, devices: Sequence[torch.device] = ()) -> None:
        self._model, self._config = model, config
        self._dtype = config.weight_dtype or own_dtype(model.model)
        self._conversion = model.conversion(config.weight_dtype)
        self._inputs = fitted(config.inputs, model.model)
        # Now: a device that fails within the measurement tells nothing any more.
        self._environment = environment(config.device)
        self._precision = config.autocast or device_backend(config.device).precision(self._dtype)
        self._begin = time.perf_counter()
        self.monitor = conditions.ConditionMonitor(*map(device_backend, devices or [config.device]))

    def close(self) -> BenchResult:
        """A result without measurements; its notes name the disturbances."""
        seen = self.monitor.stop()
        config, threads = self._config, torch.get_num_threads()
        return BenchResult(
            network=self._model.description,
            input=self._inputs.at_batch(config.batch_sizes[0]).describe(self._dtype),
            image=None if self._inputs.image_shape is None else self._inputs.image_shape[1:],
            confidence=CONFIDENCE,
            ci_width=config.limits.ci_width,
            max_time_s=config.limits.max_time_s,
            seed=config.seed,
            timings=(),
            ceiling=None,
            versus=(),
            optimizations=None,
            layers=None,
            replicas=(),
            fail_above=None,
            failed=False,
            interrupted=False,
            conditions=Conditions(
                mode=config.mode,
                precision=self._precision,
                threads=threads,
                interop_threads=torch.get_num_interop_threads(),
                instructions=torch_build.instructions(),
                libraries=torch_build.libraries(),
                background_cpu_load=seen.background_cpu_load,
                steal_time_share=seen.steal_share,
                clock_hz=seen.clock_hz,
                throttled=seen.throttled,
                duration_s=time.perf_counter() - self._begin,
                optimizer=config.optimizer.key if config.mode == TRAIN else None,
            ),
            environment=self._environment,
            notes=(*self._inputs.notes, *self._conversion, *conditions.notes(seen, threads)),
        )


@contextmanager
def torch_settings(threads: int | None) -> Iterator[None]:
    """Set the number of CPU threads, and let cuDNN choose the fastest algorithm for each shape; restored afterwards.

    Args:
        threads: None keeps torch's number.
    """
    before, tuned = torch.get_num_threads(), torch.backends.cudnn.benchmark
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = True
        yield
    finally:
        torch.backends.cudnn.benchmark = tuned
        if threads is not None:
            torch.set_num_threads(before)
