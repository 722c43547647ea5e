"""A process that was started for a run, in this one: what it leaves for the one that started it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.distributed import launcher, worker
from resnet_cli.measure.distributed.coordination import PeerGoneError
from resnet_cli.measure.distributed.efficiency import REPLICAS, combined
from resnet_cli.measure.distributed.replicas import ReplicaConfig
from resnet_cli.measure.distributed.synchronized_sampling import RankSamples
from resnet_cli.measure.distributed.worker import PROGRESS, handled_signals, worker_main

QUESTION = ReplicaConfig(image=(3, 32, 32), batch_sizes=(2,))
Replicate = Callable[..., object]


class Left(BaseException):
    """In place of the end of this process."""


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | int]]:
    """Naps and ends, in their order; the handlers of signals are as before afterwards."""
    found: list[str | int] = []
    handlers = {number: signal.getsignal(number) for number in handled_signals()}

    def leave(code: int) -> NoReturn:
        found.append(code)
        raise Left

    monkeypatch.setattr(worker, "os", SimpleNamespace(_exit=leave, environ={"RANK": "1"}))
    monkeypatch.setattr(worker, "time", SimpleNamespace(sleep=lambda seconds: found.append("nap")))
    yield found
    for number, handler in handlers.items():
        signal.signal(number, handler)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, replicate: Replicate) -> Any:
    monkeypatch.setattr(worker, "replicate", replicate)
    return worker_main(QUESTION, str(folder))


def row(batch_size: int) -> Any:
    rank = {"host": "here", "device": "cpu", "samples": [0.1], "calls": 10, "seconds": 1.0}
    return combined(batch_size, "gloo", REPLICAS, 1, RankSamples([0.1], 10, 1.0), [rank], 0.95)


def test_what_is_measured_reaches_the_launcher_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (row(1), row(2))

    def replicate(question: ReplicaConfig, progress: Callable[[str], None], keep: Callable[[Any], None]) -> Any:
        assert question is QUESTION
        assert launcher._measured(tmp_path) == ()
        for number, one in enumerate(rows, 1):
            progress(f"batch {number} of … 3×3")
            assert (tmp_path / PROGRESS).read_text(encoding="utf-8") == f"batch {number} of … 3×3"
            keep(one)
            assert launcher._measured(tmp_path) == rows[:number]
        return rows

    assert run(monkeypatch, tmp_path, replicate) == rows
    assert len(list(tmp_path.iterdir())) == 2  # no drafts


@pytest.mark.parametrize(
    ("error", "kind", "message", "hint", "detail"),
    [
        (ResnetCliError("too large", "use less", detail="line 7"), ResnetCliError, "too large", "use less", "line 7"),
        (ResnetCliError("too large"), ResnetCliError, "too large", None, None),
        (KeyError("x"), RuntimeError, "process 1 of 2: KeyError: 'x'", None, None),
    ],
)
def test_a_failure_is_the_launcher_s_own(
    error: Exception,
    kind: type[Exception],
    message: str,
    hint: str | None,
    detail: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: list[str | int],
) -> None:
    def replicate(*_: object) -> NoReturn:
        raise error

    assert launcher._report(tmp_path, 1) is None
    with pytest.raises(Left):
        run(monkeypatch, tmp_path, replicate)
    assert ends == [1]
    failure = launcher._failed(1, 2, 1, launcher._report(tmp_path, 1))
    assert type(failure) is kind
    assert str(failure) == message
    assert (getattr(failure, "hint", None), getattr(failure, "detail", None)) == (hint, detail)
    assert launcher._report(tmp_path, 0) is None


def test_whoever_misses_another_one_lets_it_end_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: list[str | int]
) -> None:
    def replicate(*_: object) -> NoReturn:
        raise PeerGoneError("process 0 of 2 failed", told=True)

    with pytest.raises(Left):
        run(monkeypatch, tmp_path, replicate)
    assert ends == ["nap", 1]
    failure = launcher._failed(1, 2, 1, launcher._report(tmp_path, 1))
    assert isinstance(failure, ResnetCliError)
    assert failure.message == "process 0 of 2 failed"


def test_signals_end_it_as_if_nobody_handled_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replicate(*_: object) -> tuple[()]:
        assert {signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} == {signal.SIG_DFL}
        return ()

    signal.signal(signal.SIGTERM, lambda *_: None)
    assert run(monkeypatch, tmp_path, replicate) == ()


def test_it_does_not_outlive_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: list[str | int]) -> None:
    parent, lives = threading.Event(), threading.Event()
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(join=lambda: parent.wait(30)))

    def leave(code: int) -> None:
        ends.append(code)
        lives.set()

    monkeypatch.setattr(worker, "os", SimpleNamespace(_exit=leave))

    def replicate(*_: object) -> tuple[()]:
        assert threads() == {True}
        assert ends == []
        parent.set()
        assert lives.wait(30)
        return ()

    before = set(threading.enumerate())

    def threads() -> set[bool]:
        """Whether those that are new let the process end."""
        return {thread.daemon for thread in set(threading.enumerate()) - before}

    assert run(monkeypatch, tmp_path, replicate) == ()
    assert ends == [1]


def test_what_a_launch_has_started_is_ended_and_what_it_changed_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Child:
        lives, joined = True, False

        def kill(self) -> None:
            self.lives = False

        def join(self) -> None:
            assert not self.lives  # else it would be waited for without an end
            self.joined = True

    ours, its = Child(), Child()
    children = [ours]
    monkeypatch.setattr(multiprocessing, "active_children", lambda: [*children])
    main, handler = sys.modules["__main__"], signal.getsignal(signal.SIGTERM)
    with suppress(ValueError), launcher._surroundings():
        children.append(its)
        signal.signal(signal.SIGTERM, lambda *_: None)
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "7")
        assert not hasattr(sys.modules["__main__"], "__file__")
        raise ValueError
    assert (ours.lives, its.lives, its.joined) == (True, False, True)
    assert sys.modules["__main__"] is main
    assert signal.getsignal(signal.SIGTERM) == handler
    assert "TORCHELASTIC_RUN_ID" not in os.environ
