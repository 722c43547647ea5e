"""What is good to have: each line by what was found."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_cli.measure.doctor.checks.optional import weights_folder
from resnet_cli.results.doctor import NO, YES, Terminal
from tests.helpers.results_doctor import GOOD, row, with_facts, with_failure


@pytest.mark.parametrize(("count", "said"), [(0, "0 GPUs"), (1, "1 GPU"), (2, "2 GPUs")])
def test_gpus_that_nvml_counts(count: int, said: str) -> None:
    assert row(with_facts("nvml", count=count), "nvml").reason == f"driver 580.95.05, {said}"


def test_an_nvml_that_is_not_found_beside_a_driver_is_worth_a_look() -> None:
    found = with_failure("nvml", "NVMLError: NVML Shared Library Not Found")
    assert row(found, "nvml").fix == "see whether nvidia-smi answers"


def test_all_that_tests_in_a_browser_lack_is_said_at_once() -> None:
    said = row(replace(GOOD, versions={}, browser=None), "browser")
    assert said.status == NO
    for words in ("playwright is not installed", "none of chromium"):
        assert words in said.reason
    for words in ("pip install playwright", "install Chromium"):
        assert words in (said.fix or "")


@pytest.mark.parametrize("denied", [os.W_OK, os.X_OK])
def test_a_folder_for_weights_has_to_be_writable_and_enterable(
    denied: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & denied)  # root may do everything
    assert row(replace(GOOD, weights_folder=tmp_path), "weights").status == NO


def test_weights_go_where_a_folder_is_or_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert row(replace(GOOD, weights_folder=tmp_path), "weights").status == YES
    assert row(replace(GOOD, weights_folder=tmp_path / "a/b/c"), "weights").reason == str(tmp_path / "a/b/c")
    said = row(replace(GOOD, weights_folder=tmp_path / "file/b/c"), "weights")
    assert (said.status, said.reason) == (NO, f"{tmp_path / 'file'} is no folder")


def test_the_folder_of_weights_is_that_of_torch_with_the_users_home_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/srv/joe")
    assert weights_folder(with_facts("torch", weights_folder="~/hub")) == Path("/srv/joe/hub/checkpoints")
    assert weights_folder(with_facts("torch", weights_folder=None)) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gb18030"])
def test_encodings_that_have_every_character(encoding: str) -> None:
    assert row(replace(GOOD, terminal=Terminal(encoding, True, 80, True)), "unicode").status == YES


@pytest.mark.parametrize(("columns", "said"), [(None, "80"), (132, "132")])
def test_a_terminal_that_does_not_tell_its_width_is_taken_for_the_usual_one(columns: int | None, said: str) -> None:
    assert row(replace(GOOD, terminal=Terminal("utf-8", True, columns, True)), "colour").reason.endswith(
        f"{said} columns"
    )
