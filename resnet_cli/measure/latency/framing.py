"""The result around the figures: what was asked, under which conditions, and what disturbed it."""

from __future__ import annotations

import time

import torch

from resnet_cli.bench_results import BenchResult, Conditions
from resnet_cli.measure.environment import environment
from resnet_cli.measure.latency import sensors
from resnet_cli.measure.latency.question import Question
from resnet_cli.measure.networks import Subject, describe_input


class Frame:
    """Opened before the measurement and closed after it.

    Args:
        subject: what is measured.
        question: what is asked.
    """

    def __init__(self, subject: Subject, question: Question) -> None:
        self._subject, self._question = subject, question
        self._begin = time.perf_counter()
        self.watch = sensors.Watch(question.device)
        self.watch.start()

    def close(self) -> BenchResult:
        """A result without any figures yet; its notes say what disturbed the measurement."""
        seen = self.watch.stop()
        question, threads = self._question, torch.get_num_threads()
        return BenchResult(
            network=self._subject.described,
            input=describe_input((question.batch_sizes[0], *question.image), question.dtype),
            image=question.image,
            confidence=question.limits.confidence,
            ci_width=question.limits.ci_width,
            max_time_s=question.limits.max_time_s,
            seed=question.seed,
            timings=(),
            ceiling=None,
            comparisons=(),
            ladder=None,
            layers=None,
            replicas=(),
            fail_above=None,
            failed=False,
            interrupted=False,
            conditions=Conditions(
                mode=question.mode,
                precision=sensors.precision(question.dtype, question.device),
                threads=threads,
                interop_threads=torch.get_num_interop_threads(),
                instructions=sensors.instructions(),
                libraries=sensors.libraries(),
                other_load=seen.other_load,
                stolen=seen.stolen,
                clock_hz=seen.clock_hz,
                throttled=seen.throttled,
                seconds=time.perf_counter() - self._begin,
            ),
            environment=environment(question.device),
            notes=tuple(sensors.notes(seen, threads)),
        )
