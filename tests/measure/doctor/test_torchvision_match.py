"""Packages by their files alone, and what versions ask of each other."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_cli.measure.doctor.torchvision_match import (
    InstalledPackage,
    installed,
    metadata_version,
    minimum_version,
    mismatch,
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that stands before all others."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def lay(site: Path, name: str, metadata: str = "Version: 1.5\n") -> Path:
    """A package as pip installs it, without a version.py."""
    (site / name).mkdir()
    (site / name / "__init__.py").write_text("raise SystemExit('nobody may import this')", encoding="utf-8")
    record = site / f"{name}-1.5.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n{metadata}", encoding="utf-8")
    return site / name


def test_an_installed_package_without_a_version_file_is_no_stranger(site: Path) -> None:
    folder = lay(site, "plain_package")
    package = installed("plain_package")
    assert package == InstalledPackage(version="1.5", folder=folder)
    assert "plain_package" not in sys.modules


def test_a_folder_that_stands_before_the_installed_package_is_a_stranger(
    site: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(site, "plain_package")
    before = tmp_path_factory.mktemp("before")
    (before / "plain_package.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(before)
    package = installed("plain_package")
    assert (package.version, package.folder, package.is_shadowed) == ("1.5", before / "plain_package.py", True)


def test_a_build_from_source_lies_elsewhere_and_is_no_stranger(
    site: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(site, "plain_package")
    source = tmp_path_factory.mktemp("source") / "plain_package"
    source.mkdir()
    (source / "__init__.py").touch()
    (source / "version.py").write_text('__version__ = "2.0a0+git1"\ncuda: str = "13.0"\n', encoding="utf-8")
    monkeypatch.syspath_prepend(source.parent)
    package = installed("plain_package")
    assert package == InstalledPackage(version="2.0a0+git1", cuda="13.0", folder=source, tells_build=True)


def test_a_version_file_that_is_no_utf_8(site: Path) -> None:
    (lay(site, "plain_package") / "version.py").write_bytes(b"# by M\xfcller\n__version__ = '1.5+cpu'\n")
    assert installed("plain_package").version == "1.5+cpu"


def test_the_version_of_the_metadata_and_of_metadata_that_has_none(site: Path) -> None:
    lay(site, "plain_package")
    lay(site, "half_package", metadata="Summary: half of it\n")
    assert metadata_version("plain_package") == "1.5"
    assert metadata_version("half_package") is None


@pytest.mark.parametrize(
    ("requirement", "fits"),
    [
        ("torch<=2.14.0", False),
        ("torch<2.14.2", True),
        ("torch>=2.14.1", True),
        ("torch==2.14.1", True),  # a local version such as +cpu matches its public version (PEP 440)
        ("torch==2.13.*", False),
        ("torch!=2.14.*", False),
        ("torch (==2.14.1) ; extra == 'x'", True),
        ("torch>=2.9", True),  # nine is less than fourteen
        ("torch~=2.14", True),
        ("torch~=2.13.0", False),
        ("torch<2.14,>2.1; python_version>'3'", False),
        ("torchdata==1.0", True),
        ("not a requirement at all!", True),
    ],
)
def test_which_torch_a_torchvision_requires(requirement: str, fits: bool) -> None:
    torch = InstalledPackage("2.14.1+cpu", tells_build=True)
    reason = mismatch(torch, InstalledPackage("0.29.1", requires=("numpy", requirement)))
    assert (reason is None) is fits


TORCH = InstalledPackage("2.14.1+cu130", "13.0", tells_build=True)


@pytest.mark.parametrize(
    ("torch", "torchvision", "fits"),
    [
        (TORCH, "0.29.1+cu130", True),
        (replace(TORCH, cuda="13.2"), "0.29.1+cu130", True),  # minor releases of CUDA are compatible
        (replace(TORCH, cuda="12.8"), "0.29.1+cu130", False),
        (replace(TORCH, cuda=None), "0.29.1+cu130", False),
        (replace(TORCH, cuda=None, tells_build=False), "0.29.1+cu130", True),
        (replace(TORCH, cuda=None), "0.29.1+cpu", True),
        (TORCH, None, True),
        (InstalledPackage(), "0.29.1", True),
    ],
)
def test_which_builds_fit(torch: InstalledPackage, torchvision: str | None, fits: bool) -> None:
    assert (mismatch(torch, InstalledPackage(torchvision)) is None) is fits


def test_a_package_that_is_not_installed() -> None:
    assert installed("no_such_package_at_all") == InstalledPackage()
    assert metadata_version("no_such_package_at_all") is None


def test_the_oldest_release_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"torch>={minimum_version('torch')}" in project["dependencies"]
    assert minimum_version("nvidia-ml-py") is None  # of an extra
