"""A process that torchrun has started for `launcher`: it measures, and reports to standard output, a line each."""

from __future__ import annotations

import base64
import os
import pickle
import sys
import threading
import time
from pathlib import Path
from traceback import format_exception
from typing import Any

from resnet_cli.errors import ResnetCliError, attempt
from resnet_cli.measure.distributed.process_group import DisconnectedError
from resnet_cli.measure.distributed.replicas import measure_replicas

PROGRESS, ROW, ERROR = "progress", "row", "error"
_GRACE_S = 10.0
MARK = b"resnet-cli "  # begins each line of a report


def encode(value: Any) -> str:
    """A value as one word."""
    return base64.b64encode(pickle.dumps(value)).decode("ascii")


def decode(text: bytes) -> Any:
    """The value; from a process of the same run."""
    return pickle.loads(base64.b64decode(text))


def main(config: str) -> None:
    """Measure.

    Args:
        config: a file that holds a `ReplicaConfig`, pickled by the parent.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    reports = os.dup(1)
    os.dup2(2, 1)  # what a user's network prints is no report

    def report(kind: str, content: Any) -> None:
        os.write(reports, MARK + encode((kind, content)).encode("ascii") + b"\n")

    with attempt("measuring replicas") as measuring:
        measure_replicas(
            pickle.loads(Path(config).read_bytes()), lambda text: report(PROGRESS, text), lambda row: report(ROW, row)
        )
    error = measuring.error
    if isinstance(error, DisconnectedError):
        time.sleep(_GRACE_S)  # torchrun ends this process meanwhile, and names the one that failed first
        os._exit(1)
    if error is not None:
        if isinstance(error, ResnetCliError):
            report(ERROR, (error.message, error.hint, error.detail))
        else:
            report(ERROR, "".join(format_exception(error)))
        os._exit(1)  # at an orderly end NCCL may wait for processes that are gone


def _end_with_parent() -> None:
    """Standard input ends with the process that holds its other end, however that ends."""
    os.read(0, 1)  # nothing is ever written to it
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
