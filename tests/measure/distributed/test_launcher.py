"""What a launch makes of its processes' ends, with a launcher of torch's that starts none."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher import api

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.distributed import launcher
from resnet_cli.measure.distributed.launcher import launch
from resnet_cli.measure.distributed.replicas import ReplicaConfig
from resnet_cli.measure.distributed.worker import PROGRESS, ROWS, report_name, worker_main

QUESTION = ReplicaConfig(image=(3, 4, 4), batch_sizes=(2,), threads=3)
Act = Callable[[Path], dict[int, Any]]


class Launched:
    """What the launcher was asked, and where its processes would have worked."""

    config: api.LaunchConfig
    entry: object
    question: ReplicaConfig
    folder: Path


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Launched]:
    monkeypatch.setattr(launcher, "_LOOKS_EVERY_S", 0.001)
    found = Launched()
    yield found
    assert not found.folder.exists()


def started(monkeypatch: pytest.MonkeyPatch, found: Launched, act: Act) -> None:
    """Two processes, of which one knows what to do."""

    def elastic_launch(config: api.LaunchConfig, entry: object) -> Callable[..., dict[int, Any]]:
        def run(question: ReplicaConfig, folder: str) -> dict[int, Any]:
            found.config, found.entry, found.question, found.folder = config, entry, question, Path(folder)
            return act(found.folder)

        return run

    monkeypatch.setattr(api, "elastic_launch", elastic_launch)


def failing(code: int) -> ChildFailedError:
    """The second process has ended like this."""
    return ChildFailedError("work", {1: ProcessFailure(1, 4711, code, "<N/A>")})


def test_the_rows_of_the_first_process_are_those_of_the_run(
    launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    started(monkeypatch, launched, lambda folder: {0: ("row",), 1: None})
    rows: Any = launch(2, QUESTION, said.append)
    assert rows == ("row",)
    assert said == ["starting 2 processes"]
    assert launched.entry is worker_main
    assert launched.question == QUESTION
    config = launched.config
    assert (config.min_nodes, config.max_nodes, config.nproc_per_node, config.max_restarts) == (1, 1, 2, 0)
    assert config.start_method == "spawn"  # CUDA does not survive a fork


def test_one_process_is_a_run_too(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, launched, lambda folder: {0: ()})
    assert launch(1, QUESTION) == ()
    assert launched.config.nproc_per_node == 1


def test_each_process_has_its_share_of_the_threads(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "threads_each", lambda asked, processes: (asked or 8) // processes)
    started(monkeypatch, launched, lambda folder: {0: ()})
    launch(2, replace(QUESTION, threads=None))
    assert launched.question.threads == 4


def test_what_the_first_process_says_is_passed_on_once(
    launched: Launched, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    words = {text: threading.Event() for text in ("batch 1: 3×3 …", "batch 2")}

    def progress(text: str) -> None:
        said.append(text)
        if text in words:
            words[text].set()

    def act(folder: Path) -> dict[int, Any]:
        os.write(1, b"lost")
        os.write(2, b"lost")
        for text, heard in words.items():
            (folder / "draft").write_text(text, encoding="utf-8")
            (folder / "draft").replace(folder / PROGRESS)
            assert heard.wait(30)
        os.write(2, b"kept")  # its streams were born before
        return {0: ()}

    started(monkeypatch, launched, act)
    launch(2, QUESTION, progress)
    assert said == ["starting 2 processes", *words]
    assert capfd.readouterr() == ("", "kept")


@pytest.mark.parametrize(
    ("code", "report", "message"),
    [
        (7, None, "process 1 of 2 ended with exit code 7 in the middle of it"),
        (0, None, "process 1 of 2 ended with exit code 0 in the middle of it"),
        (7, "{half", "process 1 of 2 ended with exit code 7 in the middle of it"),
        (1, '{"ours": true, "message": "too much", "hint": "take less", "detail": null}', "too much"),
    ],
)
def test_the_failure_of_a_process_is_that_of_the_run(
    code: int, report: str | None, message: str, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(folder: Path) -> dict[int, Any]:
        if report is not None:
            (folder / report_name(1)).write_text(report, encoding="utf-8")
        raise failing(code)

    started(monkeypatch, launched, act)
    with pytest.raises(ResnetCliError) as caught:
        launch(2, QUESTION)
    assert str(caught.value) == message
    assert caught.value.__suppress_context__  # torch's own report is of no use


def test_ctrl_c_that_reaches_a_process_first_is_ctrl_c_and_what_there_is_is_rescued(
    launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    rescued: list[object] = []

    def act(folder: Path) -> dict[int, Any]:
        (folder / ROWS).write_bytes(b"\x80\x04]\x94.")  # an empty list
        raise failing(-signal.SIGINT)

    started(monkeypatch, launched, act)
    with pytest.raises(KeyboardInterrupt):
        launch(2, QUESTION, rescue=rescued.append)
    assert rescued == [[]]


class SignalError(Exception):
    """As torch's launcher raises where it was sent a signal."""

    def __init__(self, sigval: signal.Signals) -> None:
        super().__init__()
        self.sigval = sigval


def test_a_signal_to_the_launcher_comes_again_when_all_is_put_back(
    launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[int] = []
    handler = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))

    def act(folder: Path) -> dict[int, Any]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as the launcher has its own
        raise SignalError(signal.SIGTERM)

    started(monkeypatch, launched, act)
    try:
        with pytest.raises(KeyboardInterrupt):
            launch(2, QUESTION)
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert came == [signal.SIGTERM]


def test_a_fault_of_the_launcher_is_none_of_the_processes(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(folder: Path) -> dict[int, Any]:
        raise ValueError("oh")

    started(monkeypatch, launched, act)
    with pytest.raises(ValueError, match="oh"):
        launch(2, QUESTION)


@pytest.mark.parametrize(("device", "needs"), [("cuda", True), ("cpu", False)])
def test_gpus_are_needed_for_processes_on_gpus_alone(
    device: str, needs: bool, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(launcher, "require_gpus", asked.append)
    started(monkeypatch, launched, lambda folder: {0: ()})
    launch(2, replace(QUESTION, device=device))
    assert asked == [2] * needs
