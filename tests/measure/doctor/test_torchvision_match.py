"""Packages by their files alone, and what versions ask of each other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from resnet_cli.measure.doctor.torchvision_match import Installed, installed, mismatch, recorded_version, release


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
    found = installed("plain_package")
    assert found == Installed(version="1.5", folder=folder)
    assert "plain_package" not in sys.modules


def test_a_folder_that_stands_before_the_installed_package_is_a_stranger(
    site: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(site, "plain_package")
    before = tmp_path_factory.mktemp("before")
    (before / "plain_package.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(before)
    found = installed("plain_package")
    assert (found.version, found.folder, found.shadow) == ("1.5", before / "plain_package.py", True)


def test_a_build_from_source_lies_elsewhere_and_is_no_stranger(
    site: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(site, "plain_package")
    source = tmp_path_factory.mktemp("source") / "plain_package"
    source.mkdir()
    (source / "__init__.py").touch()
    (source / "version.py").write_text('__version__ = "2.0a0+git1"\ncuda: str = "13.0"\n', encoding="utf-8")
    monkeypatch.syspath_prepend(source.parent)
    found = installed("plain_package")
    assert found == Installed(version="2.0a0+git1", cuda="13.0", folder=source, tells_build=True)


def test_a_version_file_that_is_no_utf_8(site: Path) -> None:
    (lay(site, "plain_package") / "version.py").write_bytes(b"# by M\xfcller\n__version__ = '1.5+cpu'\n")
    assert installed("plain_package").version == "1.5+cpu"


def test_the_version_of_the_metadata_and_of_metadata_that_has_none(site: Path) -> None:
    lay(site, "plain_package")
    lay(site, "half_package", metadata="Summary: half of it\n")
    assert recorded_version("plain_package") == "1.5"
    assert recorded_version("half_package") is None


@pytest.mark.parametrize(
    ("requirement", "fits"),
    [
        ("torch<=2.14.1", True),
        ("torch<=2.14.0", False),
        ("torch<2.14.1", False),
        ("torch<2.14.2", True),
        ("torch>2.14.1", False),
        ("torch>2.14.0", True),
        ("torch>=2.14.1", True),
        ("torch>=2.14.2", False),
        ("torch==2.14.*", True),
        ("torch==2.13.*", False),
        ("torch!=2.14.*", False),
        ("torch!=2.13.*", True),
        ("torch (==2.14.1) ; extra == 'x'", True),
        ("torch>=2.9", True),  # nine is less than fourteen
        ("torch~=2.14", True),
    ],
)
def test_what_a_torchvision_asks_of_torch_2_14_1(requirement: str, fits: bool) -> None:
    torch = Installed("2.14.1+cpu", tells_build=True)
    said = mismatch(torch, Installed("0.29.1", requires=("numpy", requirement)))
    assert (said is None) is fits


def test_the_numbers_of_a_version_end_where_something_else_begins() -> None:
    assert release("2.14.1+cu130") == (2, 14, 1)
    assert release("2.10.0a0+git5") == (2, 10, 0)
    assert release("unknown") == ()
