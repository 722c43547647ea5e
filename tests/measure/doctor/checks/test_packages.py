"""What has to be importable, and which of its versions is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resnet_cli.measure.doctor.evidence import Findings
from resnet_cli.measure.doctor.run import verdict
from resnet_cli.results.doctor import NO, YES
from tests.helpers.results_doctor import GOOD, NO_TORCH, TORCHVISION, row, with_facts


@pytest.mark.parametrize("found", [GOOD, NO_TORCH, replace(GOOD, answers={})], ids=["all", "no torch", "nobody asked"])
def test_what_commands_need_is_marked_as_needed_whatever_came_of_it(found: Findings) -> None:
    needed = {one.key for one in verdict(found, ()).capabilities if one.required}
    assert needed == {"torch", "torchvision", "safetensors"}


@pytest.mark.parametrize("key", ["torchinfo", "fvcore", "safetensors"])
def test_the_version_is_the_one_that_is_installed_else_what_the_package_says_itself(key: str) -> None:
    found = with_facts(key, version="9.9")
    assert row(found, key).reason == GOOD.versions[key]
    assert row(replace(found, versions={}), key).reason == "9.9"
    assert row(replace(with_facts(key, version=None), versions={}), key).reason == "of unknown version"


@pytest.mark.parametrize(
    ("version", "status"),
    [("2.9.1", NO), ("2.10", YES), ("2.10.0+cpu", YES), ("2.10.0a0+git1", YES), ("2.100", YES), ("10.0", YES)],
)
def test_the_oldest_torch_is_old_enough(version: str, status: str) -> None:
    assert GOOD.oldest_torch == "2.10"
    assert row(with_facts("torch", version=version), "torch").status == status


def test_a_torchvision_that_does_not_tell_its_version_has_that_of_its_files() -> None:
    found = replace(with_facts("torchvision", version=None), torchvision=replace(TORCHVISION, version="0.29.2+cu130"))
    assert row(found, "torchvision").reason.startswith("0.29.2+cu130, ")
    assert row(with_facts("torchvision", found, version="0.29.1"), "torchvision").reason.startswith("0.29.1, ")
