"""What all tests share: golden files, and an environment that does not reach into what is drawn."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult
from tests.helpers.results_summary_flops import flops_result, summary_result

# Read when torch is loaded: threads that wait for work must not spin where another test's process needs the core, and
# of several workers each has a core.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests that a shell started in the background ignore Ctrl-C, and so would the processes in which they try it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run: a new one that fails belongs to whoever looks for it, with
# `--hypothesis-profile=explore`, not to the next unrelated change.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, max_examples=30)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("same")

GOLDEN = Path(__file__).parent / "golden"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Neighbours stay on one worker, where they share what a module measures once; a worker that is done takes some."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getvalue("dist") == "load" else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden files anew; read the difference")


@pytest.fixture(autouse=True)
def neutral_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colour and width are as the tests say, not as the machine they run on."""
    for name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES", "GITHUB_ACTIONS", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # a buffer fails later than a write, so that it is tested


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread of torch: small layers wait for a second one longer than it helps, above all on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text to the golden file of a name, or write that file with --regenerate."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--regenerate"):
            path.write_bytes(text.encode())
        assert path.exists(), f"there is no golden file {name}: run pytest --regenerate and read it"
        assert text == path.read_bytes().decode()

    return compare


@pytest.fixture(scope="session")
def summary() -> SummaryResult:
    """A small result of `summary`, built by hand."""
    return summary_result()


@pytest.fixture(scope="session")
def flops() -> FlopsResult:
    """A small result of `flops`, built by hand."""
    return flops_result()
