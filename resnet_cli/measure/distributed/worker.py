"""A process that `launching` has started: it measures, leaves word where it fails, and does not outlive its parent."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import threading
import time
from pathlib import Path
from typing import NoReturn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.distributed.coordination import PeerGoneError
from resnet_cli.measure.distributed.replicas import ReplicaConfig, replicate
from resnet_cli.results.bench import Replicas

PROGRESS = "progress"  # the file with what rank 0 said last
ROWS = "rows"  # the file with what rank 0 has measured so far
_GRACE_S = 10.0  # that a process waits to be ended, so that the one that failed first is the first to end


def report_name(rank: int | str) -> str:
    """The file in which a process that failed says why."""
    return f"rank-{rank}.json"


def handled_signals() -> list[signal.Signals]:
    """Those that the launcher handles."""
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__]


def worker_main(question: ReplicaConfig, folder: str) -> tuple[Replicas, ...] | None:
    """Measure as one of the processes that `launch` has started; failures are left in a file of the folder."""
    _die_with_parent()
    place = Path(folder)
    rows: list[Replicas] = []

    def keep(row: Replicas) -> None:
        rows.append(row)
        _put(place / ROWS, pickle.dumps(tuple(rows)))

    try:
        return replicate(question, lambda text: _say(place / PROGRESS, text), keep)
    except PeerGoneError as gone:
        time.sleep(_GRACE_S)
        _leave(place, ResnetCliError(str(gone)))
    except Exception as error:
        _leave(place, error)


def _die_with_parent() -> None:
    """A signal ends this process at once, inside of C++ code too; and without its parent it is of no use."""
    for number in handled_signals():
        signal.signal(number, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


def _say(path: Path, text: str) -> None:
    _put(path, text.encode())


def _put(path: Path, content: bytes) -> None:
    """Replace a file as a whole, so that nobody reads half of it."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    draft.replace(path)


def _leave(folder: Path, error: Exception) -> NoReturn:
    """End this process at once.

    An exception that left it would leave a file behind, in the system's folder for such; and at an orderly end NCCL
    may wait for processes that are gone.
    """
    ours = isinstance(error, ResnetCliError)
    report = {
        "ours": ours,
        "message": error.message if isinstance(error, ResnetCliError) else f"{type(error).__name__}: {error}",
        "hint": error.hint if isinstance(error, ResnetCliError) else None,
        "detail": error.detail if isinstance(error, ResnetCliError) else None,
    }
    _say(folder / report_name(os.environ["RANK"]), json.dumps(report))
    os._exit(1)
