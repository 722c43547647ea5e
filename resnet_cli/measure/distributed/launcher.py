"""Starting the processes of a run, and getting them all down again, whatever happens.

Either this process starts them, through torch's elastic launcher, or torchrun has done so and this is one of them.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnet_cli.errors import BAD_INPUT, ResnetCliError
from resnet_cli.measure.bench.sampling import Progress
from resnet_cli.measure.distributed.coordination import PeerGoneError
from resnet_cli.measure.distributed.cpu_threads import threads_each
from resnet_cli.measure.distributed.process_group import launched_by_torchrun, require_gpus, silenced_fds
from resnet_cli.measure.distributed.replicas import ReplicaConfig, own_device, replicate
from resnet_cli.measure.distributed.worker import PROGRESS, ROWS, handled_signals, report_name, worker_main
from resnet_cli.results.bench import Replicas

__all__ = ["launch", "launched_by_torchrun", "run_here"]

_LOOKS_EVERY_S = 0.2


def _silent(text: str) -> None: ...


def run_here(question: ReplicaConfig, progress: Progress = _silent) -> tuple[Replicas, ...] | None:
    """Measure as one of the processes that torchrun has started; all of them must ask the same.

    Args:
        question: what to measure.
        progress: is told what goes on, on rank 0 only.

    Returns:
        One for each batch size on rank 0; None elsewhere, and then there is nothing to print.

    Raises:
        ResnetCliError: this process could not do it, or on rank 0: another one is gone without a word.
        SystemExit: another one could not do it, and says so.
    """
    try:
        return replicate(question, progress)
    except PeerGoneError as gone:
        if os.environ.get("RANK") == "0" and not gone.told:
            raise ResnetCliError(str(gone), "what became of it may stand above") from gone
        raise SystemExit(BAD_INPUT) from gone


def launch(
    processes: int,
    question: ReplicaConfig,
    progress: Progress = _silent,
    rescue: Callable[[tuple[Replicas, ...]], None] = lambda _: None,
) -> tuple[Replicas, ...]:
    """Start so many processes on this machine, let them measure, and end them.

    Args:
        processes: how many.
        question: what to measure.
        progress: is told what goes on, from a thread of its own.
        rescue: is given what was measured before an interruption.

    Returns:
        One for each batch size.

    Raises:
        ResnetCliError: there are not as many GPUs, or a process failed; the others have been ended then.
        KeyboardInterrupt: Ctrl-C; all have been ended.
    """
    if processes < 1:
        raise ResnetCliError(f"--nproc {processes}: give 1 or more processes")
    if own_device(question.device, 0).type == "cuda":
        require_gpus(processes)
    question = replace(question, threads=threads_each(question.threads, processes))
    progress(f"starting {processes} processes")
    received: signal.Signals | None = None
    returned: dict[int, Any] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="resnet-cli-") as folder:
            try:
                with _surroundings():
                    returned = _returned(processes, question, Path(folder), progress)
            except BaseException:
                rescue(_measured(Path(folder)))
                raise
    except Exception as error:
        received = getattr(error, "sigval", None)  # the launcher's own exception for a signal
        if received is None:
            raise
    if received is not None:
        signal.raise_signal(received)  # what it does to this process is not for us to decide
        raise KeyboardInterrupt
    rows: tuple[Replicas, ...] = returned[0]
    return rows


def _returned(processes: int, question: ReplicaConfig, folder: Path, progress: Progress) -> dict[int, Any]:
    """What each process gave back."""
    # On some systems it logs a line when it is imported.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs  # noqa: PLC0415
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # noqa: PLC0415

    configuration = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        logs_specs=DefaultLogsSpecs(log_dir=str(folder)),
        run_id=folder.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a free port, so that runs side by side do not meet
        local_addr="localhost",
        max_restarts=0,
        monitor_interval=0.1,
        start_method="spawn",
    )
    try:
        with _hearing(folder, progress):
            returned: dict[int, Any] = elastic_launch(configuration, worker_main)(question, str(folder))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == -signal.SIGINT:  # Ctrl-C reaches all of a terminal's processes, in whatever order
            raise KeyboardInterrupt from None
        raise _failed(rank, processes, failure.exitcode, _report(folder, rank)) from None
    return returned


@contextmanager
def _surroundings() -> Iterator[None]:
    """What the launcher changes in this process is put back, what it logs is lost, what it started is ended."""
    before = set(multiprocessing.active_children())
    handlers = {number: signal.getsignal(number) for number in handled_signals()}
    logged = logging.root.manager.disable
    main = sys.modules["__main__"]
    variables = dict(os.environ)
    logging.disable(logging.CRITICAL)
    # A process that is spawned runs the main script first, unless there is none: ours have no need of it.
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()
            child.join()
        sys.modules["__main__"] = main
        logging.disable(logged)
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None:
                    signal.signal(number, handler)


@contextmanager
def _hearing(folder: Path, progress: Progress) -> Iterator[None]:
    """Pass on what rank 0 says.

    Until it says something, what is written to this process's standard streams is lost: the others are born with
    these streams, and what they have to say has no place there.
    """
    over = threading.Event()

    def listen(speak: Callable[[], None]) -> None:
        last = ""
        while not over.wait(_LOOKS_EVERY_S):
            with suppress(FileNotFoundError):
                text = (folder / PROGRESS).read_text(encoding="utf-8")
                if text != last:
                    last = text
                    speak()
                    progress(text)

    with ExitStack() as silence:
        silence.enter_context(silenced_fds((1, 2)))
        thread = threading.Thread(target=listen, args=(silence.close,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _measured(folder: Path) -> tuple[Replicas, ...]:
    """What rank 0 had finished; it is our own process that wrote this."""
    try:
        found: tuple[Replicas, ...] = pickle.loads((folder / ROWS).read_bytes())
    except FileNotFoundError:
        return ()
    return found


def _report(folder: Path, rank: int) -> dict[str, Any] | None:
    """What a process wrote before it ended."""
    try:
        found: dict[str, Any] = json.loads((folder / report_name(rank)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _failed(rank: int, processes: int, code: int, report: dict[str, Any] | None) -> Exception:
    """The failure of a process as an error of this one."""
    if report is not None:
        if report["ours"]:
            return ResnetCliError(report["message"], report["hint"], detail=report["detail"])
        return RuntimeError(f"process {rank} of {processes}: {report['message']}")
    who = f"process {rank} of {processes}"
    if code >= 0:
        return ResnetCliError(f"{who} ended with exit code {code} in the middle of it")
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    killed = name == "SIGKILL"
    return ResnetCliError(
        f"{who} was ended by {name}",
        "the memory may be used up: use fewer processes or a smaller --batch-size" if killed else None,
    )
