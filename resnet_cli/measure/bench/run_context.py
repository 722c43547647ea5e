"""The result around the figures: what was asked, under which conditions, and what disturbed it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from resnet_cli.measure.bench import conditions
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.models.model import ModelUnderTest, describe_input
from resnet_cli.measure.system import torch_build
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.measure.system.environment import environment
from resnet_cli.results.bench import BenchResult, Conditions


class RunContext:
    """Opened before the measurement and closed after it.

    Args:
        subject: what is measured.
        question: what is asked.
    """

    def __init__(self, subject: ModelUnderTest, question: BenchmarkConfig) -> None:
        self._subject, self._question = subject, question
        self._begin = time.perf_counter()
        self.watch = conditions.ConditionMonitor(device_backend(question.device))

    def close(self) -> BenchResult:
        """A result without any figures yet; its notes say what disturbed the measurement."""
        seen = self.watch.stop()
        question, threads = self._question, torch.get_num_threads()
        return BenchResult(
            network=self._subject.description,
            input=describe_input((question.batch_sizes[0], *question.image), question.dtype),
            image=question.image,
            confidence=question.limits.confidence,
            ci_width=question.limits.ci_width,
            max_time_s=question.limits.max_time_s,
            seed=question.seed,
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
                mode=question.mode,
                precision=device_backend(question.device).precision(question.dtype),
                threads=threads,
                interop_threads=torch.get_num_interop_threads(),
                instructions=torch_build.instructions(),
                libraries=torch_build.libraries(),
                background_cpu_load=seen.background_cpu_load,
                steal_time_share=seen.steal_share,
                clock_hz=seen.clock_hz,
                throttled=seen.throttled,
                duration_s=time.perf_counter() - self._begin,
            ),
            environment=environment(question.device),
            notes=tuple(conditions.notes(seen, threads)),
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
