"""`doctor`, as a user types it, and on installations that are broken."""

from __future__ import annotations

import getpass
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resnet_cli.cli import main
from tests.helpers.processes import LONGEST_S, Letterbox, needs_linux, wait_for_end

ROOT = Path(__file__).parents[2]


def run(*arguments: str, before: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The tool in a process of its own, with a folder that stands before all installed packages."""
    return subprocess.run(
        [sys.executable, "-m", "resnet_cli", "doctor", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env=surroundings(before, **environment),
        timeout=300,
    )


def surroundings(before: Path | None, **environment: str) -> dict[str, str]:
    paths = [str(before)] if before is not None else []
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, str(ROOT)]), **environment}


def rows(text: str) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in json.loads(text)["capabilities"]}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """This installation, which the tests run in, so it works; in a home and a temporary folder of its own."""
    home = tmp_path_factory.mktemp("home")
    folder = tmp_path_factory.mktemp("temporary")
    done = run("--format", "json", HOME=str(home), TMPDIR=str(folder), TORCH_HOME=str(home / "weights"))
    assert list(folder.iterdir()) == []  # nothing is left behind
    assert list(home.iterdir()) == []
    return done


def test_an_installation_that_works(healthy: subprocess.CompletedProcess[str]) -> None:
    import torch

    assert (healthy.returncode, healthy.stderr) == (0, "")
    document = json.loads(healthy.stdout)
    assert document["schema"] == "resnet-cli/doctor/2"
    assert document["ok"] is True
    assert document["torch"]["version"] == torch.__version__
    assert document["torch"]["git_version"] == torch.version.git_version
    assert document["host"]["logical_cores"] == os.cpu_count()
    assert document["python"]["version"] == platform.python_version()
    by_key = rows(healthy.stdout)
    assert all(by_key[key]["status"] == "yes" for key in ("torch", "torchvision", "safetensors", "cpu-bfloat16"))
    assert by_key["cuda"]["status"] == ("yes" if torch.cuda.is_available() else "no")
    assert by_key["compile-cpu"]["status"] in ("not tried", "no")
    assert by_key["weights"]["reason"] == "~/weights/hub/checkpoints"


def test_nothing_personal_is_in_it(healthy: subprocess.CompletedProcess[str]) -> None:
    document = json.loads(healthy.stdout)
    texts = [variable["value"] for variable in document["variables"]]
    texts += [f"{row['reason']} {row['fix']}" for row in document["capabilities"]]
    for text in texts:
        assert str(Path.home()) + "/" not in text
        assert f"/{getpass.getuser()}/" not in text
        assert platform.node() == "localhost" or platform.node() not in text.split()


def test_a_torch_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(
        "raise ImportError('libcudart.so.13: cannot open shared object file')", encoding="ascii"
    )
    done = run("--format", "json", before=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    document, by_key = json.loads(done.stdout), rows(done.stdout)
    assert document["torch"] is None
    assert (by_key["torch"]["status"], by_key["torch"]["required"]) == ("no", True)
    assert "ImportError: libcudart.so.13: cannot open shared object file" in by_key["torch"]["reason"]
    assert "rename or remove it" in by_key["torch"]["fix"]
    assert {by_key[key]["status"] for key in ("cuda", "fvcore", "torchvision")} == {"not tried"}
    assert by_key["compile-cpu"]["status"] in ("not tried", "no")  # no: there is no compiler
    assert by_key["safetensors"]["status"] == "yes"
    assert document["host"]["memory_bytes"] > 2**28


def test_a_torchvision_that_crashes(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGABRT)", encoding="ascii"
    )
    done = run("--format", "markdown", before=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("# resnet-cli ")
    line = next(line for line in done.stdout.splitlines() if line.startswith("| torchvision | ✗ broken"))
    assert "crashed (SIGABRT)" in line
    assert "rename or remove it" in line
    assert "| torch | ✓ yes" in done.stdout


def test_a_pair_from_two_places(healthy: subprocess.CompletedProcess[str], tmp_path: Path) -> None:
    """A torch for the CPU, and PyPI's torchvision, whose binary needs CUDA's libraries."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')", "ascii")
    (package / "version.py").write_text("__version__ = '0.29.2+cu10'\n", "ascii")  # no torch of today is for CUDA 1.0
    done = run("--format", "json", before=tmp_path)
    assert done.returncode == 1
    row = rows(done.stdout)["torchvision"]
    assert "torchvision 0.29.2+cu10 was built for CUDA 1.0, and torch" in row["reason"]
    assert "pip install --force-reinstall torch torchvision" in row["fix"]
    # What has not changed is the same in every run.
    again, before = json.loads(done.stdout), json.loads(healthy.stdout)
    assert all(again[key] == before[key] for key in ("host", "python", "torch"))


HANGING = "import threading\nthreading.Event().wait()\n"
# It says which process it is, and is interrupted before anybody else knows.
STARTING = """
import os, pathlib, subprocess, sys
number = int(sys.argv.pop())
class Started(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        pathlib.Path("letterbox").write_text(str(self.pid))
        os.kill(os.getpid(), number)
        os.getpid()
subprocess.Popen = Started
from resnet_cli.__main__ import run
run()
"""


@needs_linux
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_while_torch_hangs(number: int, code: int, tmp_path: Path) -> None:
    letterbox = Letterbox(tmp_path / "letterbox")
    (tmp_path / "torch.py").write_text(
        f"import os, pathlib\npathlib.Path({str(tmp_path / 'letterbox')!r}).write_text(str(os.getpid()))\n{HANGING}",
        encoding="utf-8",
    )
    output = tmp_path / "doctor.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "resnet_cli", "doctor", "-o", str(output)],
        stderr=subprocess.PIPE,
        env=surroundings(tmp_path, TMPDIR=str(tmp_path)),
    )
    hanging = int(letterbox.read())
    process.send_signal(number)
    _, complaints = process.communicate(timeout=LONGEST_S)
    assert process.returncode == code
    assert b"Traceback" not in complaints
    assert not output.exists()
    wait_for_end(hanging)
    letterbox.close()
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"torch.py", "letterbox"}


@needs_linux
def test_interrupted_while_the_other_process_starts(tmp_path: Path) -> None:
    letterbox = Letterbox(tmp_path / "letterbox")
    (tmp_path / "torch.py").write_text(HANGING, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", STARTING, "doctor", str(int(signal.SIGINT))],
        cwd=tmp_path,
        check=False,
        env=surroundings(tmp_path),
        timeout=LONGEST_S,
    )
    assert done.returncode == 130
    wait_for_end(int(letterbox.read()))
    letterbox.close()


def test_this_process_imports_no_torch() -> None:
    code = (
        "import io, sys\nfrom resnet_cli.measure.doctor.run import collect_evidence\n"
        "collect_evidence(asks=lambda *_, **__: {}, stdout=io.StringIO())\n"
        "print(sorted({'torch', 'torchvision', 'fvcore', 'numpy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_compile_is_handed_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from resnet_cli.measure.doctor.run import summarize_evidence
    from tests.helpers.results_doctor import GOOD

    tries: list[bool] = []

    def examine(*, try_compile: bool, progress: object) -> Any:
        tries.append(try_compile)
        return summarize_evidence(GOOD, ())

    monkeypatch.setattr("resnet_cli.measure.doctor.run.examine", examine)
    assert main(["doctor", "--compile"]) == 0
    assert main(["doctor"]) == 0
    assert tries == [True, False]
