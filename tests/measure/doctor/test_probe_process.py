"""Questions that crash, hang or lie: the process that asks goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnet_cli.measure.doctor.probe_process import Answer, ask
from tests.helpers.processes import Letterbox, needs_linux, wait_for_end

# What a child may meet. The limits are long where an answer comes, and short where none does.
QUESTIONS = """
import os, signal, subprocess, sys, threading, warnings
from pathlib import Path
from resnet_cli.measure.doctor.probe_process import Probe

def prints():
    print("noise")
    os.write(1, b"{not json}\\n")
    sys.stderr.write("more noise\\n")
    return {"pid": os.getpid(), "here": os.getcwd(), "path": sys.path, "said": os.environ.get("SAID")}

def warns():
    warnings.warn("old")
    return {}

def raises():
    raise ValueError("a\\x1b[2J  reason\\nin two lines")

def leaves():
    sys.exit("no more")

def crashes():
    sys.stderr.write("terminate called\\n  what():  driver is gone\\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGSEGV)

def stops():
    os._exit(7)

def hangs():
    helper = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
    Path("letterbox").write_text(f"{os.getpid()} {helper.pid}")
    threading.Event().wait()

PROBES = {
    "prints": Probe(prints, "printing"),
    "again": Probe(prints, "printing again"),
    "warns": Probe(warns, "warning"),
    "raises": Probe(raises, "raising"),
    "leaves": Probe(leaves, "leaving"),
    "crashes": Probe(crashes, "crashing"),
    "stops": Probe(stops, "stopping"),
    "hangs": Probe(hangs, "hanging", limit_s=2.0),
    "hanger-on": Probe(prints, "hanging on", needs="raises"),
}
"""


@pytest.fixture(autouse=True)
def questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "the_questions.py").write_text(QUESTIONS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "the_questions", raising=False)
    monkeypatch.chdir(tmp_path)


def asked(*names: str) -> dict[str, Answer]:
    return ask(names, "the_questions")


def test_answers_come_from_one_other_process_whatever_is_printed() -> None:
    answers = asked("prints", "raises", "again")
    first, last = answers["prints"].facts, answers["again"].facts
    assert first["pid"] == last["pid"] != os.getpid()
    assert first["here"] == str(Path.cwd())
    assert first["path"] == sys.path


def test_what_is_raised_is_the_reason_in_one_line_that_is_safe_to_show() -> None:
    answers = asked("raises", "leaves")
    assert answers["raises"] == Answer(failure="ValueError: a\x1b[2J reason in two lines")
    assert answers["leaves"] == Answer(failure="SystemExit: no more")


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("crashes", "the probe process crashed (SIGSEGV): what():  driver is gone"),
        ("stops", "the probe process ended with code 7"),
    ],
)
def test_after_a_crash_the_others_are_asked(name: str, failure: str) -> None:
    answers = asked("prints", name, "again")
    assert answers[name].failure == failure
    assert answers["prints"].facts["pid"] != answers["again"].facts["pid"]


def test_what_needs_an_answer_that_is_missing_is_not_asked() -> None:
    assert set(asked("raises", "hanger-on", "prints")) == {"raises", "prints"}
    assert set(asked("raises", "hanger-on")) == {"raises"}
    assert set(asked("hanger-on")) == {"hanger-on"}


@pytest.fixture
def letterbox(questions: None) -> Iterator[Letterbox]:
    """Where a child that hangs leaves its own number and its helper's."""
    box = Letterbox(Path("letterbox"))
    yield box
    box.close()


@needs_linux
def test_what_hangs_is_ended_with_all_that_it_started(letterbox: Letterbox) -> None:
    answers = asked("prints", "hangs", "again")  # the first of them pays for the start
    assert answers["hangs"].failure == "no answer within 2 s"
    assert "pid" in answers["again"].facts
    wait_for_end(*map(int, letterbox.read().split()))


@needs_linux
def test_an_interrupt_ends_the_child_with_all_that_it_started(letterbox: Letterbox) -> None:
    numbers: list[int] = []

    def interrupt(text: str) -> None:
        if text == "hanging":
            numbers.extend(map(int, letterbox.read().split()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(("prints", "hangs"), "the_questions", progress=interrupt)
    assert len(numbers) == 2
    wait_for_end(*numbers)


def test_a_questionnaire_that_does_not_load() -> None:
    import the_questions  # type: ignore[import-not-found]  # this process has it whole

    assert len(the_questions.PROBES) > 1
    Path("the_questions.py").write_text("raise ImportError('half a file')", encoding="utf-8")
    answers = asked("prints", "again")
    assert [answer.failure for answer in answers.values()] == [
        "the probe process ended with code 1: ImportError: half a file"
    ] * 2


def test_a_warning_is_no_failure() -> None:
    answers = ask(("warns",), "the_questions", environment={**os.environ, "PYTHONWARNINGS": "error::UserWarning"})
    assert answers == {"warns": Answer({})}


def test_a_python_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    answers = asked("prints", "again")
    assert set(answers) == {"prints", "again"}
    assert all(
        "no process could be started: FileNotFoundError" in (answer.failure or "") for answer in answers.values()
    )


def test_the_environment_is_the_one_that_is_given_and_progress_is_reported() -> None:
    messages: list[str] = []
    answers = ask(("prints",), "the_questions", environment={**os.environ, "SAID": "yes"}, progress=messages.append)
    assert answers["prints"].facts["said"] == "yes"
    assert messages == ["printing"]
