"""All tests that need a CUDA device, within eight minutes, and one summary of them.

    python tests/tools/gpu_check.py [--seconds 480] [--output summary.txt]

Run it in a checkout; the package need not be installed, but what it depends on, pytest and hypothesis. Each file of
tests is a process of its own, the most important ones first, since a GPU whose kernel failed is lost to its process.
The summary names the card and the versions, the figures that tests recorded, what failed, and what there was no time
for. Exit codes: 0 all passed, 1 a test failed or was not run, 2 there is no GPU here or a package is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
FIRST = ("tests/gpu/test_ceiling.py", "tests/gpu/test_networks.py", "tests/gpu/test_broken.py", "tests/measure/system")
OPTIONAL = ("torchinfo", "fvcore")  # counters that figures are compared with where they are installed
NO_GPU, FAILED = 2, 1
_ENOUGH_S = 10.0  # with less time left a part is not begun
_MARK = "mark.gpu"

Run = Callable[[Sequence[str], float], int]


@dataclass
class Part:
    """The tests of one file.

    Args:
        path: of the file, from the root of the checkout.
        status: "passed", "failed", "out of time" or "not run".
    """

    path: str
    status: str = "not run"
    seconds: float = 0.0
    passed: int = 0
    skipped: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)


def parts(root: Path = ROOT) -> list[Part]:
    """Files with tests of a GPU, the most important ones first."""
    paths = {
        path.relative_to(root).as_posix()
        for path in (root / "tests").rglob("test_*.py")
        if path.parent.name == "gpu" or _MARK in path.read_text(encoding="utf-8")
    }

    def place(path: str) -> tuple[int, str]:
        return next((number for number, begin in enumerate(FIRST) if path.startswith(begin)), len(FIRST)), path

    return [Part(path) for path in sorted(paths, key=place)]


def missing_packages(root: Path = ROOT) -> list[str]:
    """Packages that the tests need and that are not here."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [requirement.partition(">")[0].strip() for requirement in project["dependencies"]]
    needed = [name for name in (*names, "pytest", "hypothesis") if name not in OPTIONAL]
    return [name for name in needed if importlib.util.find_spec(name) is None]


def run_parts(chosen: Sequence[Part], seconds: float, run: Run, now: Callable[[], float] = time.monotonic) -> None:
    """Run one after the other until the time is over; each is filled in."""
    begin = now()
    with tempfile.TemporaryDirectory() as folder:
        for number, part in enumerate(chosen):
            left = seconds - (now() - begin)
            if left < _ENOUGH_S:
                return
            report = Path(folder, f"{number}.xml")
            started = now()
            code = run([part.path, f"--junitxml={report}"], left)
            part.seconds = now() - started
            _read(part, report, code)


def _read(part: Part, report: Path, code: int) -> None:
    """Fill in what pytest reports; a process that was killed reports nothing."""
    if not report.exists():
        part.status = "out of time" if code < 0 else "failed"
        part.failures += [] if code < 0 else [f"{part.path}: pytest ended with {code}"]
        return
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{part.path}::{case.get('name')}"
        part.figures += [entry.get("value", "") for entry in case.iter("property") if entry.get("name") == "figure"]
        problem = next((each for tag in ("failure", "error") for each in case.iter(tag)), None)
        skip = next(case.iter("skipped"), None)
        if problem is not None:
            first = (problem.get("message") or "").strip().splitlines() or [""]
            part.failures.append(f"{name}: {first[0]}")
        elif skip is not None:
            part.skipped.append(f"{name}: {skip.get('message')}")
        else:
            part.passed += 1
    part.status = "failed" if part.failures or code not in (0, 5) else "passed"
    if part.status == "failed" and not part.failures:
        part.failures.append(f"{part.path}: pytest ended with {code}")


def summary(chosen: Sequence[Part], machine: Sequence[str], seconds: float) -> Iterator[str]:
    """Lines: the machine, the figures, each part, what failed, and the verdict."""
    yield from machine
    yield ""
    yield from (figure for part in chosen for figure in part.figures)
    yield ""
    for part in chosen:
        counts = f"{part.passed} passed, {len(part.failures)} failed, {len(part.skipped)} skipped"
        yield f"{part.status:12} {part.seconds:6.1f} s  {part.path}: {counts}"
    yield from (f"SKIPPED {line}" for part in chosen for line in part.skipped)
    yield from (f"FAILED {line}" for part in chosen for line in part.failures)
    passed, failed = sum(part.passed for part in chosen), sum(len(part.failures) for part in chosen)
    left = [part.path for part in chosen if part.status in ("not run", "out of time")]
    yield f"{passed} passed, {failed} failed, {len(left)} files without a result, in {seconds:.0f} s"


def exit_code(chosen: Sequence[Part]) -> int:
    """0 where every part passed, and one test at least ran."""
    return 0 if all(part.status == "passed" for part in chosen) and any(part.passed for part in chosen) else FAILED


def machine() -> list[str] | None:
    """Card and versions; None without a CUDA device."""
    import torch

    if not torch.cuda.is_available():
        return None
    import torchvision

    properties = torch.cuda.get_device_properties(0)
    return [
        f"{torch.cuda.device_count()} x {properties.name}, {properties.total_memory / 1e9:.0f} GB, compute capability "
        f"{properties.major}.{properties.minor}",
        f"Python {sys.version.split()[0]}, torch {torch.__version__}, torchvision {torchvision.__version__}, CUDA "
        f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",  # type: ignore[no-untyped-call]
    ]


def _pytest(arguments: Sequence[str], seconds: float) -> int:
    """Run pytest on tests of a GPU; negative where it was killed at the end of its time."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-W", "default", "-p", "no:cacheprovider", *arguments]
    if importlib.util.find_spec("xdist") is not None:
        command += ["-n", "0"]
    # A session of its own: the processes that a test has started end with it.
    environment = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            return process.wait(seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return -1
            raise


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all, print the summary, and return the exit code."""
    parser = argparse.ArgumentParser(description="Run all tests that need a CUDA device.")
    parser.add_argument("--seconds", type=float, default=460.0, help="time for all of them")
    parser.add_argument("--output", type=Path, help="file that the summary is written to as well")
    chosen = parser.parse_args(arguments)
    missing = missing_packages()
    if missing:
        print(f"these packages are missing: {', '.join(missing)}", file=sys.stderr)
        return NO_GPU
    here = machine()
    if here is None:
        print("there is no CUDA device here", file=sys.stderr)
        return NO_GPU
    begin = time.monotonic()
    everything = parts()
    run_parts(everything, chosen.seconds, _pytest)
    text = "\n".join(summary(everything, here, time.monotonic() - begin)) + "\n"
    print(f"\n{text}", end="")
    if chosen.output is not None:
        chosen.output.write_text(text, encoding="utf-8")
    return exit_code(everything)


if __name__ == "__main__":
    sys.exit(main())
