"""Ctrl-C and SIGTERM at chosen moments: what was measured is shown, the exit code says why, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from resnet_cli.cli import main
from resnet_cli.measure.faults import self_test
from resnet_cli.measure.parity import all_architectures
from resnet_cli.measure.parity.checks import CHECKS, forward
from resnet_cli.render.output import render
from resnet_cli.results.compare import BITWISE, SKIPPED, ArchitectureResult, Check, FaultResult
from resnet_cli.results.serialization import from_json, to_json
from tests.helpers.processes import session, wait_for_end
from tests.helpers.results_bench import replicated
from tests.helpers.results_summary_flops import summary_result

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}
ROOT = Path(__file__).parents[2]
TINY = ["--repeat", "1,1,1,1", "--image-size", "32", "--num-classes", "10"]


# In this process, where the exception comes from a chosen call


def interrupt(*_: object, **__: object) -> NoReturn:
    raise KeyboardInterrupt


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """The JSON of an interrupted command."""

    def run(*arguments: str) -> dict[str, Any]:
        assert main([*arguments, "--format", "json"]) == 130
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert result["interrupted"] is True
        return result

    return run


def drawn(result: dict[str, Any]) -> str:
    """The same as a person sees it."""
    return render(from_json(json.dumps(result)), "terminal")


def test_a_comparison_keeps_the_checks_that_were_made(
    monkeypatch: pytest.MonkeyPatch, shown: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    monkeypatch.setattr(forward, "eval_mode", interrupt)
    kept = tmp_path / "intended.toml"
    result = shown("compare-torchvision", "--image-size", "64", "--save-expect", str(kept))
    verdicts = {check["key"]: check["verdict"] for check in result["checks"]}
    assert verdicts == {key: BITWISE if key in ("parameters", "settings") else SKIPPED for key in CHECKS}
    assert result["same"] is False  # nobody knows
    assert "interrupted" in drawn(result)
    assert not kept.exists()  # half of the differences would be taken for all


def member(name: str) -> ArchitectureResult:
    return ArchitectureResult(
        name, BITWISE, True, 1000, 2, 2, (Check("eval", "forward", BITWISE, 0.0, None, "equal"),), 0, None
    )


def test_comparing_all_keeps_the_architectures_that_were_compared(
    monkeypatch: pytest.MonkeyPatch, shown: Callable[..., dict[str, Any]]
) -> None:
    def one(spec: Any, *_: object) -> ArchitectureResult:
        return member(spec.name) if spec.name != "resnet50" else interrupt()

    monkeypatch.setattr(all_architectures, "_compare", one)
    result = shown("compare-torchvision", "--all")
    assert [each["name"] for each in result["architectures"]] == ["resnet18", "resnet34"]
    assert result["same"] is False
    text = drawn(result)
    assert "interrupted" in text


def test_the_self_test_keeps_the_faults_that_were_tested(
    monkeypatch: pytest.MonkeyPatch, shown: Callable[..., dict[str, Any]]
) -> None:
    def one(mutation: Any, *_: object) -> FaultResult:
        if mutation.key == "conv-padding":
            interrupt()
        return FaultResult(mutation.key, mutation.group, mutation.title, True, True, True, ("eval",), "said so")

    monkeypatch.setattr(self_test, "_test_fault", one)
    monkeypatch.setattr(self_test, "compare", lambda *_: SimpleNamespace(same=True, interrupted=False))
    result = shown("compare-torchvision", "--self-test")
    keys = [fault["key"] for fault in result["faults"]]
    assert keys
    assert "conv-padding" not in keys
    assert result["same"] is False
    assert "interrupted" in drawn(result)


def test_processes_keep_the_batch_sizes_that_were_measured(
    monkeypatch: pytest.MonkeyPatch, shown: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = replicated().replicas

    def launch(*_: object, keep: Callable[[object], None] | None = None) -> NoReturn:
        assert keep is not None or callable(_[-1])
        for row in rows:
            (keep or _[-1])(row)  # type: ignore[operator]
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_cli.measure.distributed.run.launch", launch)
    result = shown("bench", *TINY, "--nproc", "2")
    assert [row["batch_size"] for row in result["replicas"]] == [row.batch_size for row in rows]
    rows = ()
    assert main(["bench", *TINY, "--nproc", "2"]) == 130
    assert capsys.readouterr() == ("", "")


# In a process of its own, where the signal is a real one


@pytest.fixture
def interrupted(tmp_path: Path) -> Callable[..., str]:
    """Run a command that sends itself a signal; gives what it wrote, and sees that nothing else came of it."""

    def run(code: str, arguments: list[str], expected: int) -> str:
        scratch = tmp_path / "tmp"
        scratch.mkdir()
        start = f"import os, signal, sys\n{code}\nfrom resnet_cli.__main__ import run\n"
        process = subprocess.Popen(
            [sys.executable, "-c", f"{start}sys.argv[1:] = {arguments!r}\nrun()"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        out, err = process.communicate(timeout=120)
        errors = [line for line in err.splitlines() if not line.startswith("note: ")]
        assert (process.returncode, errors) == (expected, [])
        wait_for_end(*session(process.pid))
        assert not session(process.pid)
        assert not list(scratch.iterdir())
        return out

    return run


IMPORTING = """
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch.nn":
            {0}
sys.meta_path.insert(0, Finder())
"""


def test_ctrl_c_while_torch_is_imported(interrupted: Callable[..., str]) -> None:
    code = IMPORTING.format(f"os.kill(0, {signal.SIGINT})")
    assert interrupted(code, ["summary"], 130) == ""


def test_a_signal_that_an_import_swallows_is_not_lost(interrupted: Callable[..., str]) -> None:
    swallow = f"""try: os.kill(os.getpid(), {signal.SIGTERM}); os.getpid()
            except BaseException: pass"""
    assert interrupted(IMPORTING.format(swallow), ["summary"], 143) == ""


WRITING = """
def write(descriptor):
    os.kill(os.getpid(), {0})
    os.getpid()
os.fsync = write
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_a_file_is_written(
    number: signal.Signals, interrupted: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "saved.json").write_text(to_json(summary_result()), encoding="utf-8")
    (tmp_path / "out.html").write_text("old", encoding="utf-8")
    assert interrupted(WRITING.format(int(number)), ["report", "saved.json", "-o", "out.html"], SIGNALS[number]) == ""
    assert (tmp_path / "out.html").read_text(encoding="utf-8") == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"saved.json", "out.html", "tmp"}


TWICE = """
import time
from resnet_cli import signals
from resnet_cli.measure.doctor import run as doctor
signals._REPEAT_WINDOW_S = 0.0
def work(*_, **__):
    try:
        os.kill(os.getpid(), {0})
        time.sleep(60)
    except KeyboardInterrupt:
        os.kill(os.getpid(), {0})  # while the result is made of what there is
        time.sleep(60)
doctor.examine = work
"""


def test_a_second_signal_ends_the_work(interrupted: Callable[..., str]) -> None:
    assert interrupted(TWICE.format(int(signal.SIGINT)), ["doctor"], 130) == ""


def test_a_signal_that_was_to_be_ignored_stays_ignored() -> None:
    code = f"""
import os, signal
signal.signal({signal.SIGINT}, signal.SIG_IGN)
from resnet_cli import signals
signals.install_handlers()
os.kill(os.getpid(), {signal.SIGINT})
print(signal.getsignal({signal.SIGINT}) is signal.SIG_IGN)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("True\n", "")
