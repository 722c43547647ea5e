"""The whole examination of this machine, by answers that are made up: no process is started."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import resnet_cli
from resnet_cli.measure.doctor import host, run
from resnet_cli.measure.doctor.evidence import Findings
from resnet_cli.measure.doctor.probe_process import Answer
from resnet_cli.measure.doctor.redaction import Identity
from resnet_cli.measure.doctor.run import Progress, examine, look, scrubbed, verdict
from resnet_cli.results.doctor import Gpu, Package, TorchBuild
from tests.helpers.results_doctor import FACTS, GOOD, NO_TORCH, with_facts, without, without_cuda


def answers(
    names: Sequence[str],
    home: str,
    *,
    environment: object = None,
    progress: Progress = lambda _: None,
) -> dict[str, Answer]:
    """Those of a good machine; each question is told of."""
    for name in names:
        progress(name)
    return {name: Answer(FACTS.get(name, {})) for name in names}


class Screen(StringIO):
    """A terminal."""

    encoding = "utf-16"

    def isatty(self) -> bool:
        return True


def test_what_is_looked_at_goes_into_the_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "77")
    found = look(asks=answers, stdout=Screen())
    assert (found.terminal.is_terminal, found.terminal.columns, found.terminal.encoding) == (True, 77, "utf-16")
    assert found.weights_folder == Path("/nowhere/torch/hub/checkpoints")
    assert found.system == sys.platform
    assert found.environment["COLUMNS"] == "77"
    assert found.versions["safetensors"]
    monkeypatch.setattr(sys, "stdout", Screen())
    assert look(asks=answers).terminal.encoding == "utf-16"


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = (Package("playwright", None), Package("rich", "15.0"))
    monkeypatch.setattr(host, "packages", lambda: packages)
    assert look(asks=answers, stdout=StringIO()).versions == {"rich": "15.0"}


def test_progress_is_told_whether_there_is_a_temporary_folder_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> str:
        raise OSError("No space left on device")

    told: list[str] = []
    look(asks=answers, stdout=StringIO(), progress=told.append)
    assert told[0] == "torch"
    before = list(told)
    monkeypatch.setattr("tempfile.mkdtemp", full)
    look(asks=answers, stdout=StringIO(), progress=told.append)
    assert told == before * 2


def test_a_temporary_folder_that_is_gone_already_is_no_failure() -> None:
    folders: list[str] = []

    def asks(names: Sequence[str], home: str, *, environment: Any = None, progress: Any = None) -> dict[str, Answer]:
        folders.append(environment["TMPDIR"])
        assert {environment["TEMP"], environment["TMP"]} == {environment["TMPDIR"]}
        for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
            assert Path(environment[name]).parent == Path(environment["TMPDIR"])
        shutil.rmtree(environment["TMPDIR"])
        return answers(names, home)

    assert look(asks=asks, stdout=StringIO()).fact("torch", "cuda") == "13.0"
    assert not Path(folders[0]).exists()


def test_nothing_is_compiled_where_torch_cannot_be_imported() -> None:
    asked: list[str] = []

    def asks(names: Sequence[str], home: str, *, environment: Any = None, progress: Any = None) -> dict[str, Answer]:
        asked.extend(names)
        return dict(NO_TORCH.answers)

    look(try_compile=True, asks=asks, stdout=StringIO())
    assert not {"compile cpu", "compile cuda"} & set(asked)


@pytest.mark.parametrize("try_compile", [True, False])
def test_the_result_is_the_verdict_on_what_was_found_and_nothing_personal_is_in_it(
    try_compile: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def found(*, try_compile: bool, stdout: object, progress: Progress) -> Findings:
        asked.append((try_compile, stdout))
        progress("looking")
        return replace(GOOD, environment={"TORCH_HOME": "/srv/joe/torch"})

    monkeypatch.setattr(run, "look", found)
    monkeypatch.setenv("HOME", "/srv/joe")
    told: list[str] = []
    stdout = StringIO()
    result = examine(try_compile=try_compile, stdout=stdout, progress=told.append)
    assert (asked, told) == ([(try_compile, stdout)], ["looking"])
    assert [one.value for one in result.variables] == ["~/torch"]
    assert result.packages == host.packages()
    assert result.resnet_cli == resnet_cli.__version__
    assert examine().ok
    assert asked[1] == (False, None)


def test_the_build_of_torch_is_what_torch_says_of_itself() -> None:
    assert verdict(GOOD, ()).torch == TorchBuild(
        version="2.14.1+cu130",
        git_version="5c4886908584029761b579af026dcfb627c84070",
        cuda="13.0",
        hip=None,
        kernels="AVX512",
        libraries=("MKL 2024.2", "oneDNN 3.12.0"),
        threads=8,
        interop_threads=56,
    )
    bare = verdict(without("arithmetic"), ()).torch
    assert bare is not None
    assert (bare.version, bare.kernels, bare.libraries) == ("2.14.1+cu130", None, ())


def test_a_gpu_of_amds_has_no_driver_of_nvidias() -> None:
    rocm = with_facts("torch", cuda=None, hip="6.4")
    assert verdict(rocm, ()).gpus == (Gpu("NVIDIA H100 80GB HBM3", 80 * 10**9, "9.0", None),) * 2
    assert verdict(rocm, (Package("torch", "2.14.1"),)).packages == (Package("torch", "2.14.1"),)


def test_what_to_do_is_scrubbed_as_well() -> None:
    """The driver's version in the advice is what a library said."""
    found = replace(with_facts("nvml", without_cuda(), driver="580 of /home/joe/x \x1b[2J"), system="linux")
    said = {one.key: one for one in scrubbed(verdict(found, ()), Identity(("/home/joe",), "joe", "")).capabilities}
    assert "580 of ~/x \\x1b[2J" in (said["cuda"].fix or "")
    for one in said.values():
        assert "joe" not in f"{one.reason} {one.fix}"
        assert "\x1b" not in f"{one.reason} {one.fix}"
    assert said["fvcore"].fix is None
