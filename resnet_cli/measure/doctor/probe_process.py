"""Probes that may crash or hang, run in a child process.

A child runs one probe after another and writes a line of JSON for each. If it crashes or does not answer in time, that
is the answer of the probe that was running, and another child continues with the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import IO, Any

from resnet_cli import signals
from resnet_cli.errors import attempt

_LONGEST = 240  # characters of a reason
_ENDS_WITHIN_S = 5.0  # after SIGKILL; a process that waits for a driver may not end

# The child gets the module search path of this process, wherever it starts.
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from resnet_cli.measure.doctor.probe_process import answer_all; answer_all(sys.argv[2], sys.argv[3:])"
)


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe.

    Args:
        run: returns facts that JSON can hold; an exception is the reason why there are none.
        doing: shown as progress meanwhile.
        needs: another probe; if that one fails, this one is not run.
        limit_s: time limit in seconds.
    """

    run: Callable[[], Mapping[str, Any]]
    doing: str
    needs: str | None = None
    limit_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The facts of a probe, or why it failed."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None


def reason(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:_LONGEST] if text else type(error).__name__


# The child


def answer_all(home: str, names: Sequence[str]) -> None:
    """Run probes, write the answers to standard output, and exit. What libraries print meanwhile is discarded.

    Args:
        home: module that holds the probes, as PROBES.
        names: of the probes.
    """
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    probes: Mapping[str, Probe] = import_module(home).PROBES
    warnings.simplefilter("ignore")  # even if PYTHONWARNINGS turns them into errors
    for name in names:
        answer: dict[str, Any]
        with contextlib.suppress(OSError):  # messages of earlier probes would be misleading
            os.ftruncate(2, 0)
            os.lseek(2, 0, os.SEEK_SET)
        try:
            with attempt(f"probe {name}") as probed:
                answer = {"facts": dict(probes[name].run())}
            if probed.error is not None:
                answer = {"failure": reason(probed.error)}
        except (SystemExit, KeyboardInterrupt) as error:  # a broken package may even call sys.exit
            answer = {"failure": reason(error)}
        out.write(json.dumps({"name": name, **answer}) + "\n")
        out.flush()
    os._exit(0)  # a crash during interpreter shutdown must not count


# The parent


def ask(
    names: Sequence[str],
    home: str,
    *,
    environment: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Answer]:
    """Run probes in child processes.

    Args:
        names: of the probes, in order.
        home: module that holds them, as PROBES.
        environment: of the children; None: that of this process.
        progress: called with a short text before each probe.

    Returns:
        An answer for each probe, except for those whose `needs` failed.
    """
    probes: Mapping[str, Probe] = import_module(home).PROBES
    answers: dict[str, Answer] = {}
    left = list(names)
    while left:
        try:
            with _child(home, left, environment) as child:
                _converse(child, probes, left, answers, progress)
        except OSError as error:
            answers |= {name: Answer(failure=f"no process could be started: {reason(error)}") for name in left}
            left = []
    return answers


def _converse(
    child: _Child,
    probes: Mapping[str, Probe],
    left: list[str],
    answers: dict[str, Answer],
    progress: Callable[[str], None],
) -> None:
    """Take answers from a child while it is usable; finished probes are removed from `left`."""
    while left:
        name = left.pop(0)
        progress(probes[name].doing)
        answers[name], goes_on = child.answer(probes[name].limit_s)
        if answers[name].failure is not None:
            skipped = [other for other in left if probes[other].needs == name]
            left[:] = [other for other in left if other not in skipped]
            goes_on = goes_on and not skipped
        if not goes_on:
            return


class _Child:
    """A child process that runs probes."""

    def __init__(self, process: subprocess.Popen[bytes], messages: IO[bytes]) -> None:
        self.process = process
        self._messages = messages
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # closed by `end`
            for line in self.process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def answer(self, limit_s: float) -> tuple[Answer, bool]:
        """The next answer, and whether there can be another one."""
        try:
            line = self._lines.get(timeout=limit_s)
        except queue.Empty:
            return Answer(failure=f"no answer within {limit_s:g} s"), False
        if line is None:
            return Answer(failure=self._how_it_ended()), False
        answer = json.loads(line)
        return Answer(answer.get("facts") or {}, answer.get("failure")), True

    def end(self) -> None:
        """Kill the process and all that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_ENDS_WITHIN_S)
        self._reader.join(_ENDS_WITHIN_S)
        if self.process.stdout is not None and not self._reader.is_alive():  # else closing would wait for it
            self.process.stdout.close()

    def _how_it_ended(self) -> str:
        """How the process ended, with its last line on standard error."""
        try:
            code = self.process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            return "the probe process closed its output"
        how = f"ended with code {code}"
        if code < 0:
            how = f"crashed ({signal.Signals(-code).name})" if -code in set(signal.Signals) else f"crashed ({-code})"
        self._messages.seek(0)
        messages = self._messages.read().decode("utf-8", "replace").strip().splitlines()
        last = f": {messages[-1].strip()}" if messages else ""
        return f"the probe process {how}{last}"[:_LONGEST]


@contextlib.contextmanager
def _child(home: str, names: Sequence[str], environment: Mapping[str, str] | None) -> Iterator[_Child]:
    """A child process for these probes, killed afterwards with all that it started."""
    with tempfile.TemporaryFile() as messages:
        child: _Child | None = None
        try:
            with signals.deferred():
                process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _CHILD, json.dumps(sys.path), home, *names],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=messages,
                    env=None if environment is None else dict(environment),
                    start_new_session=True,  # so that compilers which it starts are killed too
                )
                child = _Child(process, messages)
            yield child
        finally:
            if child is not None:
                child.end()
