"""Several processes on this machine: torchrun starts and ends them, this process listens."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import IO, Any

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.timing.sampling import Progress
from resnet_cli.measure.distributed import worker
from resnet_cli.measure.distributed.replicas import ReplicaConfig, threads_each
from resnet_cli.measure.system.child_process import PROGRESS, RESULT, ended, pickled, raise_error, reports, started
from resnet_cli.measure.system.devices.registry import device_of_rank
from resnet_cli.results.bench import Replicas


def launch(processes: int, config: ReplicaConfig, progress: Progress, keep: Callable[[Replicas], None]) -> None:
    """Measure in several processes, all of which have ended when this returns or raises.

    Args:
        processes: 1 or more.
        config: what to measure.
        progress: called with a line of text.
        keep: called with each batch size as soon as it is measured.

    Raises:
        ResnetCliError: there are not enough devices, or a process failed.
        KeyboardInterrupt: Ctrl-C.
    """
    device_of_rank(config.device, 0, processes)
    config = replace(config, threads=threads_each(config.threads, processes))
    progress(f"starting {processes} processes")
    with pickled(config) as path, tempfile.TemporaryFile() as log, _torchrun(processes, config, path, log) as run:
        error: Any = None
        for kind, content in reports(run):
            if kind == PROGRESS:
                progress(content)
            elif kind == RESULT:
                keep(content)
            else:
                error = error or content
        code = run.wait()
        log.seek(0)
        text = log.read().decode(errors="replace")
    raise_error(error)
    if code:
        raise _ended(processes, text)


def _torchrun(
    processes: int, config: ReplicaConfig, path: str, log: IO[bytes]
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    options = ["--standalone", "--local-addr=localhost", f"--nproc-per-node={processes}"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, "-m", worker.__name__, path]
    return started(command, log, {"OMP_NUM_THREADS": str(config.threads)})


def _ended(processes: int, log: str) -> ResnetCliError:
    """A process ended without a report; torchrun's log says which one."""
    match = re.search(r"Root Cause.*?rank\s*:\s*(\d+).*?exitcode\s*:\s*(-?\d+)", log, re.DOTALL)
    if match is None:
        return ResnetCliError("torchrun failed", detail=log.strip() or None)
    rank, code = map(int, match.groups())
    hint = "it may have run out of memory: use fewer processes or a smaller batch size"
    return ended(f"process {rank} of {processes}", code, hint)
