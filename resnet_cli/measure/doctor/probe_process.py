"""Questions that may crash or hang the process that asks them, asked in a process of their own.

A child answers one question after another, a line of JSON each. Where it ends or stays silent, that is the answer to
the question that it was at, and another child goes on with the next one.
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
from resnet_cli.formatting import printable

_LONGEST = 240  # characters of a reason
_ENDS_WITHIN_S = 5.0  # a process that was killed; one that waits for a driver may not

# The child looks for modules where this process does, whatever the folder that it starts in.
_CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from resnet_cli.measure.doctor.probe_process import answer_all; answer_all(sys.argv[2], sys.argv[3:])"
)


@dataclass(frozen=True, slots=True)
class Probe:
    """A question.

    Args:
        run: gives the facts, as JSON can hold them; whatever it raises is the reason why there are none.
        doing: what is going on meanwhile, for a person who waits.
        needs: another question; without an answer to that one this is not asked.
        limit_s: how long to wait for the answer.
    """

    run: Callable[[], Mapping[str, Any]]
    doing: str
    needs: str | None = None
    limit_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Facts, or why there are none."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None


def reason(error: BaseException) -> str:
    """An error in one line that a terminal can show."""
    text = printable(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"[:_LONGEST] if text else type(error).__name__


# The child


def answer_all(home: str, names: Sequence[str]) -> None:
    """Answer questions on standard output, and end. What libraries print meanwhile is lost.

    Args:
        home: the module that has the questions, as PROBES.
        names: of the questions.
    """
    out = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    probes: Mapping[str, Probe] = import_module(home).PROBES
    warnings.simplefilter("ignore")  # even where PYTHONWARNINGS makes errors of them
    for name in names:
        said: dict[str, Any]
        with contextlib.suppress(OSError):  # complaints about the questions before explain nothing that comes now
            os.ftruncate(2, 0)
            os.lseek(2, 0, os.SEEK_SET)
        try:
            said = {"facts": dict(probes[name].run())}
        except BaseException as error:  # a broken package may even call sys.exit
            said = {"failure": reason(error)}
        out.write(json.dumps({"name": name, **said}) + "\n")
        out.flush()
    os._exit(0)  # a library that crashes while it is taken down has answered already


# The parent


def ask(
    names: Sequence[str],
    home: str,
    *,
    environment: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Answer]:
    """Ask questions in processes of their own.

    Args:
        names: of the questions, in order.
        home: the module that has them, as PROBES.
        environment: of these processes; None: that of this one.
        progress: is told what is going on.

    Returns:
        An answer for each; none for those that an answer was missing for which they need.
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
    """Take answers from a child for as long as it is of use; questions that are done with are taken out."""
    while left:
        name = left.pop(0)
        progress(probes[name].doing)
        answers[name], goes_on = child.answer(probes[name].limit_s)
        if answers[name].failure is not None:
            in_vain = [other for other in left if probes[other].needs == name]
            left[:] = [other for other in left if other not in in_vain]
            goes_on = goes_on and not in_vain
        if not goes_on:
            return


class _Child:
    """A process that answers."""

    def __init__(self, process: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
        self.process = process
        self._complaints = complaints
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # closed meanwhile
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
        said = json.loads(line)
        return Answer(said.get("facts") or {}, said.get("failure")), True

    def end(self) -> None:
        """End the process and all that it has started."""
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
        """How the process came to its end."""
        try:
            code = self.process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            return "the process that tried it closed its output"
        how = f"ended with code {code}"
        if code < 0:
            how = f"crashed ({signal.Signals(-code).name})" if -code in set(signal.Signals) else f"crashed ({-code})"
        self._complaints.seek(0)
        complaints = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        last = f": {printable(complaints[-1].strip())}" if complaints else ""
        return f"the process that tried it {how}{last}"[:_LONGEST]


@contextlib.contextmanager
def _child(home: str, names: Sequence[str], environment: Mapping[str, str] | None) -> Iterator[_Child]:
    """A process that answers these questions; with all that it started it is gone afterwards."""
    with tempfile.TemporaryFile() as complaints:
        child: _Child | None = None
        try:
            with signals.deferred():
                child = _Child(
                    subprocess.Popen(
                        [sys.executable, "-P", "-c", _CHILD, json.dumps(sys.path), home, *names],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=complaints,
                        env=None if environment is None else dict(environment),
                        start_new_session=True,  # a group of its own, which compilers that it starts belong to
                    ),
                    complaints,
                )
            yield child
        finally:
            if child is not None:
                child.end()
