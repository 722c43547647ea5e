"""How the process of a question came to its end, by processes that are made up."""

from __future__ import annotations

import io
import json
import subprocess
from typing import Any

import pytest

from resnet_cli.measure.doctor.probe_process import Answer, _Child, reason


class Process:
    """A process that has answered and ended so; None: it has closed its output and goes on."""

    pid = -1

    def __init__(self, code: int | None, *said: object) -> None:
        self.code = code
        self.stdout = io.BytesIO("".join(json.dumps(one) + "\n" for one in said).encode())

    def wait(self, limit_s: float) -> int:
        if self.code is None:
            raise subprocess.TimeoutExpired("python", limit_s)
        return self.code


def child(process: Any, complaints: bytes = b"") -> _Child:
    return _Child(process, io.BytesIO(complaints))


@pytest.mark.parametrize(
    ("code", "complaints", "said"),
    [
        (0, b"", "ended with code 0"),
        (7, b"first\n  last  \n\n", "ended with code 7: last"),
        (-11, b"", "crashed (SIGSEGV)"),
        (-9, b"out of memory\n", "crashed (SIGKILL): out of memory"),
        (-120, b"", "crashed (120)"),
        (1, b"\x1b[2J\xff", "ended with code 1: \x1b[2J\ufffd"),
        (None, b"noise", "closed its output"),
    ],
)
def test_the_end_of_a_process_in_words(code: int | None, complaints: bytes, said: str) -> None:
    assert child(Process(code), complaints).answer(10) == (Answer(failure=f"the probe process {said}"), False)


def test_a_long_complaint_is_cut() -> None:
    answer, _ = child(Process(1), b"x" * 10_000).answer(10)
    assert len(answer.failure or "") == 240


def test_answers_come_in_order_and_then_the_end() -> None:
    one = child(Process(3, {"facts": {"a": 1}}, {"failure": "ValueError"}))
    assert one.answer(10) == (Answer({"a": 1}), True)
    assert one.answer(10) == (Answer({}, "ValueError"), True)
    assert one.answer(10) == (Answer(failure="the probe process ended with code 3"), False)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("a\n  b\x1b[2J"), "ValueError: a b\x1b[2J"),
        (ValueError(" \n"), "ValueError"),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError("x" * 1000), f"RuntimeError: {'x' * 226}"),
    ],
)
def test_a_reason_is_one_line_of_a_length_that_can_be_read(error: Exception, said: str) -> None:
    assert reason(error) == said
