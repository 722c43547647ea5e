"""Starts a benchmark in a process of its own and waits for its result."""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.processes import worker
from resnet_cli.measure.bench.task import BenchTask
from resnet_cli.measure.bench.timing.sampling import Progress
from resnet_cli.measure.system.child_process import (
    ERROR,
    PROGRESS,
    RESULT,
    ended,
    pickled,
    raise_error,
    reports,
    started,
)
from resnet_cli.results.bench import BenchResult

_SHOWN = 2000  # characters of what a process wrote last


def run_in_process(task: BenchTask, name: str, progress: Progress) -> BenchResult:
    """The result of a task in a fresh process, which has ended when this returns or raises.

    Args:
        task: what to measure.
        name: of the process in messages: "run 2 of 5".
        progress: called with a line of text.

    Raises:
        ResnetCliError: it failed, or was ended from outside.
        KeyboardInterrupt: Ctrl-C.
    """
    contents: dict[str, Any] = {}
    with pickled(task.for_process()) as path, tempfile.TemporaryFile() as log:
        with started([sys.executable, "-m", worker.__name__, path], log, {}) as child:
            progress(f"{name}: starting")
            for kind, content in reports(child):
                if kind == PROGRESS:
                    progress(f"{name}: {content}")
                else:
                    contents[kind] = content
            code = child.wait()
        log.seek(0)
        written = log.read().decode(errors="replace").strip()
    raise_error(contents.get(ERROR))
    if code or RESULT not in contents:
        hint = "it may have run out of memory: use a smaller batch size"
        failure = ended(name, code, hint)
        raise ResnetCliError(failure.message, failure.hint, detail=written[-_SHOWN:] or None)
    result: BenchResult = contents[RESULT]
    return result
