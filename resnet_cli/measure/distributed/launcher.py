"""Several processes on this machine: torchrun starts and ends them, this process listens."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.sampling import Progress
from resnet_cli.measure.distributed import worker
from resnet_cli.measure.distributed.replicas import ReplicaConfig, threads_each
from resnet_cli.measure.system.devices.registry import device_of_rank
from resnet_cli.results.bench import Replicas

_GRACE_S = 10.0  # for torchrun to end its processes


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
    with _pickled(config) as path, tempfile.TemporaryFile() as log, _torchrun(processes, config, path, log) as run:
        error: Any = None
        for kind, content in _reports(run):
            if kind == worker.PROGRESS:
                progress(content)
            elif kind == worker.ROW:
                keep(content)
            else:
                error = error or content
        code = run.wait()
        log.seek(0)
        text = log.read().decode(errors="replace")
    if isinstance(error, str):
        raise RuntimeError(error)
    if error is not None:
        message, hint, detail = error
        raise ResnetCliError(message, hint, detail=detail)
    if code:
        raise _ended(processes, text)


@contextmanager
def _pickled(config: ReplicaConfig) -> Iterator[str]:
    """A file for the processes: with the values of inputs it would be too long for a command line."""
    with tempfile.TemporaryDirectory(prefix="resnet-cli-") as folder:
        path = Path(folder, "config")
        path.write_bytes(pickle.dumps(config))
        yield str(path)


@contextmanager
def _torchrun(processes: int, config: ReplicaConfig, path: str, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    options = ["--standalone", "--local-addr=localhost", f"--nproc-per-node={processes}"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, "-m", worker.__name__, path]
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONSAFEPATH": "1",  # a file of the working directory is not imported in place of a package
        "OMP_NUM_THREADS": str(config.threads),
    }
    # A session of its own: Ctrl-C reaches this process alone, which then ends the others.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=variables, start_new_session=True
    ) as run:
        try:
            yield run
        finally:
            assert run.stdin is not None
            run.stdin.close()  # ends the workers
            run.terminate()
            try:
                run.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                run.kill()


def _reports(run: subprocess.Popen[bytes]) -> Iterator[tuple[str, Any]]:
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith(worker.MARK):
            yield worker.decode(line.removeprefix(worker.MARK))


def _ended(processes: int, log: str) -> ResnetCliError:
    """A process ended without a report; torchrun's log says which one."""
    match = re.search(r"Root Cause.*?rank\s*:\s*(\d+).*?exitcode\s*:\s*(-?\d+)", log, re.DOTALL)
    if match is None:
        return ResnetCliError("torchrun failed", detail=log.strip() or None)
    rank, code = map(int, match.groups())
    if code >= 0:
        return ResnetCliError(f"process {rank} of {processes} ended with exit code {code}")
    hint = "it may have run out of memory: use fewer processes or a smaller batch size"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return ResnetCliError(f"process {rank} of {processes} was ended by {name}", hint if name == "SIGKILL" else None)
