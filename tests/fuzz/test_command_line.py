"""Any options and any values: a command does what it is asked or says why not, and leaves no other trace.

`FUZZ_CASES=2000 pytest tests/fuzz` is the long run by hand, with other cases each time.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from resnet_cli.results.serialization import to_json
from tests.fuzz.runner import RAN, HungError, Outcome, check, run, watched
from tests.fuzz.sandbox import DEVICES, NOWHERE, PLACES, SPECIAL, changed, fill, fill_beside, snapshot
from tests.fuzz.seam import nothing_is_downloaded, nothing_is_measured, saved_bench
from tests.fuzz.strategies import HOSTILE, NUMBERS, command_lines, commands, path_lines

ASKED = os.environ.get("FUZZ_CASES")
CASES = int(ASKED or 200)
fuzzed = settings(
    max_examples=max(1, CASES // len(commands())),
    derandomize=ASKED is None,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
WRITES = ("--output", "-o", "--save", "--save-map", "--save-expect")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of its own, which is also home and the current folder."""
    folder = tmp_path_factory.mktemp("fuzz") / "here"
    folder.mkdir()
    fill_beside(folder.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("RESNET_CLI_DEBUG", raising=False)
        yield folder


def clean(folder: Path) -> None:
    os.chdir(folder.parent)
    shutil.rmtree(folder)
    folder.mkdir()
    fill(folder, to_json(saved_bench()))
    os.chdir(folder)


def written_by(arguments: tuple[str, ...]) -> set[str]:
    """Paths, seen from the folder, that a command line asks to write."""
    found = set()
    for option, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, inside = option.partition("=")
        if name in WRITES:
            given = inside if equals else following
            if given:
                found.add(os.path.relpath(os.path.realpath(given)))
    return found


def check_traces(outcome: Outcome, traces: set[str]) -> None:
    """On failure nothing has changed; else only what was named."""
    if outcome.code in RAN:
        assert traces <= written_by(outcome.arguments), (outcome, traces)
    else:
        assert traces == set(), (outcome, traces)


@pytest.fixture(scope="module")
def unmeasured(sandbox: Path) -> Iterator[Path]:
    before = Path.cwd()
    with nothing_is_measured(), pytest.MonkeyPatch.context() as patch:
        for module in ("resnet_cli.files", "resnet_cli.files"):
            patch.setattr(f"{module}.PATIENCE_S", 0.05)
        clean(sandbox)
        yield sandbox
    os.chdir(before)


def tried(line: list[str], folder: Path) -> int:
    """Run a line, hold it against all that holds of any line, and tidy up after it."""
    before = snapshot(folder)
    outcome = run(line)
    traces = changed(before, snapshot(folder))
    if traces:
        clean(folder)
    check(outcome)
    check_traces(outcome, traces)
    return outcome.code


@pytest.mark.parametrize("command", commands())
def test_any_command_line_ends_well(command: str, unmeasured: Path) -> None:
    codes: Counter[int] = Counter()

    @fuzzed
    @given(command_lines(command))
    def every(line: list[str]) -> None:
        note(" ".join(map(repr, line)))
        codes[tried(line, unmeasured)] += 1

    every()
    # Where every line is refused at the door, nothing behind it was tried: a new command wants values in SOUND.
    assert codes[0] + codes[1], codes
    assert codes[2], codes


@pytest.mark.parametrize(("command", "option"), [(c, o.key) for c, os in commands().items() for o in os if o.is_path])
def test_any_place_that_an_option_can_name(command: str, option: str, unmeasured: Path) -> None:
    """Pipes without another end, endless devices, folders, sockets, links in circles, names too long, and the rest."""
    for line in path_lines(command, option, PLACES + DEVICES + NOWHERE if ASKED else SPECIAL):
        tried(line, unmeasured)


REAL = (
    ["summary", "--repeat", "1,1,1,1", "--image-size", "32"],
    ["flops", "--repeat", "1,1,1,1", "--image-size", "32"],
    ["bench", "--repeat", "1,1,1,1", "--image-size", "32", "--max-time", "0.05", "--no-ceiling"],
    ["compare-torchvision", "--repeat", "1,1,1,1", "--image-size", "32", "--checks", "parameters,settings"],
    ["compare-torchvision", "--model", "net.py:Net", "--checks", "settings", "--image-size", "32"],
    ["summary", "--model", "net.py:Net"],
    ["flops", "--model", "net.py:Net", "--backward", "--batch-size", "2"],
    ["bench", "--model", "net.py:Net", "--max-time", "0.05", "--no-ceiling"],
)
EXTREME = st.one_of(HOSTILE, NUMBERS)


@settings(fuzzed, max_examples=max(1, CASES // 20))
@given(st.data())
def test_real_measurements_end_well(sandbox: Path, data: st.DataObject) -> None:
    """The same without a seam, on tiny networks, with one value out of the ordinary."""
    line = list(data.draw(st.sampled_from(REAL)))
    options = [option for option in commands()[line[0]] if option.takes_value and option.key not in TOO_LONG]
    option = data.draw(st.sampled_from(options))
    line.append(f"{option.key}={data.draw(EXTREME)}")
    note(" ".join(map(repr, line)))
    clean(sandbox)
    try:
        with nothing_is_downloaded():
            tried(line, sandbox)
    finally:
        os.chdir(sandbox.parent)


# Values of these may be right and ask for hours, gigabytes or a hundred processes.
TOO_LONG = ("--batch-size", "--image-size", "--in-channels", "--num-classes", "--nproc", "--max-time", "--repeat",
            "--against", "--threads")  # fmt: skip


def test_what_waits_for_ever_is_seen() -> None:
    with pytest.raises(HungError), watched(0.05):
        threading.Event().wait(60)
