"""A child process that measures: it reports to its parent a line at a time, and ends with it."""

from __future__ import annotations

import base64
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from resnet_cli.errors import ResnetCliError, attempt

PROGRESS, RESULT, ERROR = "progress", "result", "error"

Report = Callable[[str, Any], None]

_MARK = b"resnet-cli "  # begins each line of a report
_GRACE_S = 10.0  # for a child to end


# The child


def serve(measure: Callable[[Report], None]) -> None:
    """Measure in this process, which a parent has started; an error is reported, and ends the process with code 1.

    Args:
        measure: is given the function that reports: a kind (PROGRESS, RESULT) and what is to be said.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    reports = os.dup(1)
    os.dup2(2, 1)  # what a user's network prints is no report

    def report(kind: str, content: Any) -> None:
        remaining = memoryview(_MARK + base64.b64encode(pickle.dumps((kind, content))) + b"\n")
        while remaining:
            remaining = remaining[os.write(reports, remaining) :]

    error: Exception | None
    try:
        with attempt("measuring in a process of its own") as measuring:
            measure(report)
        error = measuring.error
    except SystemExit as ended_by:  # the code 0 would say that all was measured
        error = ResnetCliError(f"the network's own code calls sys.exit({ended_by.code!r})")
    if error is None:
        return
    if isinstance(error, ResnetCliError):
        report(ERROR, (error.message, error.hint, error.detail))
    else:
        report(ERROR, "".join(traceback.format_exception(error)))
    os._exit(1)  # at an orderly end NCCL may wait for processes that are gone


def unpickled(path: str) -> Any:
    """What the parent wrote with `pickled`."""
    return pickle.loads(Path(path).read_bytes())


def _end_with_parent() -> None:
    """Standard input ends with the process that holds its other end, however that ends."""
    os.read(0, 1)  # nothing is ever written to it
    os._exit(1)


# The parent


@contextmanager
def pickled(value: Any) -> Iterator[str]:
    """A file for children: with the values of inputs it would be too long for a command line."""
    with tempfile.TemporaryDirectory(prefix="resnet-cli-") as directory:
        path = Path(directory, "value")
        path.write_bytes(pickle.dumps(value))
        yield str(path)


@contextmanager
def started(command: Sequence[str], log: IO[bytes], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A child process, which has ended when this context is left.

    Args:
        command: what it runs: a module that calls `serve`.
        log: where its standard error goes.
        variables: added to those of this process.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONSAFEPATH": "1",  # a file of the working directory is not imported in place of a package
        **variables,
    }
    # A session of its own: Ctrl-C reaches this process alone, which then ends the other.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, start_new_session=True
    ) as child:
        try:
            yield child
        finally:
            assert child.stdin is not None
            child.stdin.close()  # ends it
            child.terminate()
            try:
                child.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                child.kill()


def reports(child: subprocess.Popen[bytes]) -> Iterator[tuple[str, Any]]:
    """What a child reports, until its end."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(_MARK):
            yield pickle.loads(base64.b64decode(line.removeprefix(_MARK)))


def raise_error(error: Any) -> None:
    """Raise what a child reported as ERROR; None: nothing.

    Raises:
        ResnetCliError: an error that the user can fix.
        RuntimeError: any other, with its traceback.
    """
    if isinstance(error, str):
        raise RuntimeError(error)
    if error is not None:
        message, hint, detail = error
        raise ResnetCliError(message, hint, detail=detail)


def ended(name: str, code: int, hint: str) -> ResnetCliError:
    """The error of a child that ended without a report.

    Args:
        name: of the child: "process 2 of 4".
        code: its exit code, or minus the signal that ended it.
        hint: what to do where the system killed it, which is how Linux refuses memory.
    """
    if code >= 0:
        return ResnetCliError(f"{name} ended with exit code {code}")
    signal_name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return ResnetCliError(f"{name} was ended by {signal_name}", hint if signal_name == "SIGKILL" else None)
