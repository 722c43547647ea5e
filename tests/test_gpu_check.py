"""The script that runs the tests of a GPU: what it runs, when it ends, what it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.tools import gpu_check
from tests.tools.gpu_check import Part, exit_code, missing_packages, parts, run_parts, summary

CASES = """<testsuites><testsuite>
<testcase name="test_fast"><properties><property name="figure" value="ResNet-50: 5 ms"/></properties></testcase>
{extra}
</testsuite></testsuites>"""
FAILURE = '<testcase name="test_slow"><failure message="assert 0.5 == 0.1&#10; and more">…</failure></testcase>'
SKIPPED = '<testcase name="test_other"><skipped message="needs two GPUs"/></testcase>'


class Pytest:
    """Stands for pytest: writes a report, and takes virtual time.

    Args:
        extra: more test cases, by path.
        seconds: that a file takes.
        killed: a file that does not end in its time.
    """

    def __init__(self, extra: dict[str, str], seconds: float = 1.0, killed: str = "") -> None:
        self.extra, self.seconds, self.killed = extra, seconds, killed
        self.now_s = 0.0
        self.limits: list[float] = []

    def now(self) -> float:
        return self.now_s

    def __call__(self, arguments: Sequence[str], seconds: float) -> int:
        path, report = arguments
        self.limits.append(seconds)
        self.now_s += self.seconds
        if path == self.killed:
            return -1
        extra = self.extra.get(path, "")
        Path(report.removeprefix("--junitxml=")).write_text(CASES.format(extra=extra), encoding="utf-8")
        return 1 if "failure" in extra else 0


def run(names: str, pytest_run: Pytest, seconds: float = 100.0) -> tuple[list[Part], str]:
    chosen = [Part(name) for name in names]
    run_parts(chosen, seconds, pytest_run, pytest_run.now)
    return chosen, "\n".join(summary(chosen, ["1 x a GPU"], pytest_run.now_s))


def test_all_passed() -> None:
    chosen, text = run("ab", Pytest({"b": SKIPPED}))
    assert exit_code(chosen) == 0
    assert text.splitlines()[:3] == ["1 x a GPU", "", "ResNet-50: 5 ms"]
    assert "SKIPPED b::test_other: needs two GPUs" in text
    assert text.splitlines()[-1] == "2 passed, 0 failed, 0 files without a result, in 2 s"


def test_a_failure_is_named_in_one_line() -> None:
    chosen, text = run("ab", Pytest({"a": FAILURE}))
    assert exit_code(chosen) == 1
    assert "FAILED a::test_slow: assert 0.5 == 0.1" in text.splitlines()
    assert [part.status for part in chosen] == ["failed", "passed"]


def test_the_time_ends_it_and_what_was_not_run_is_named() -> None:
    stand_in = Pytest({}, seconds=40.0)
    chosen, text = run("abcd", stand_in)
    assert [part.status for part in chosen] == ["passed", "passed", "passed", "not run"]
    assert stand_in.limits == [100.0, 60.0, 20.0]
    assert exit_code(chosen) == 1
    assert text.splitlines()[-1].startswith("3 passed, 0 failed, 1 files without a result")


def test_a_file_that_is_killed_or_that_reports_nothing() -> None:
    chosen, _ = run("ab", Pytest({}, killed="a"))
    assert [part.status for part in chosen] == ["out of time", "passed"]
    assert exit_code(chosen) == 1
    silent = [Part("a")]
    run_parts(silent, 100.0, lambda arguments, seconds: 4, lambda: 0.0)
    assert silent[0].failures == ["a: pytest ended with 4"]


def test_nothing_that_ran_is_no_success() -> None:
    assert exit_code([Part("a", status="passed")]) == 1


def test_every_file_with_tests_of_a_gpu_is_run_the_largest_networks_early() -> None:
    paths = [part.path for part in parts()]
    assert paths[:2] == ["tests/gpu/test_ceiling.py", "tests/gpu/test_networks.py"]
    assert {"tests/gpu/test_broken.py", "tests/measure/system/devices/test_cuda.py", "tests/cli/test_bench.py"} <= set(
        paths
    )
    assert missing_packages() == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_at_once() -> None:
    done = subprocess.run(
        [sys.executable, gpu_check.__file__], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "there is no CUDA device here\n")
