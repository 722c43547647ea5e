"""Files that the user names: read with a limit, written whole or not at all, and only regular ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resnet_cli.errors import ResnetCliError
from resnet_cli.files import check_file, exists, is_stdout, read_bytes, write_file, write_through
from resnet_cli.measure.parity.map_files import read_map


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    assert read_bytes(str(path), 100_000) == b"x" * 100_000
    with pytest.raises(OSError, match="larger"):
        read_bytes(str(path), 99_999)


def test_a_name_that_cannot_be_one_does_not_exist(tmp_path: Path) -> None:
    assert exists(str(tmp_path))
    assert not exists(str(tmp_path / "missing"))
    assert not exists("x" * 300)
    assert not exists("a\0b")


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "loop", "missing folder", "empty name", "NUL"])
def test_only_regular_files_are_written(kind: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    paths = {"device": "/dev/full", "folder": str(tmp_path), "missing folder": str(tmp_path / "no" / "x")}
    path = {**paths, "empty name": "", "NUL": "a\0b"}.get(kind, str(tmp_path / kind))
    for write in (check_file, lambda name: write_file(name, b"x")):
        with pytest.raises(ResnetCliError):
            write(path)
    assert {each.name for each in tmp_path.iterdir()} == {"pipe", "loop"}


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", str(tmp_path / "pipe"), str(tmp_path)):
        with pytest.raises(OSError, match="regular"):
            read_bytes(path, 10)
    with pytest.raises(ResnetCliError):
        read_map("/dev/zero")


def test_a_file_is_replaced_in_one_step_and_keeps_its_permissions(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)

    def fail(temporary: str) -> None:
        Path(temporary).write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_through(str(link), fail)
    assert path.read_bytes() == b"old"
    write_file(str(link), b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, link.is_symlink()) == (b"new", 0o640, True)
    assert {each.name for each in tmp_path.iterdir()} == {"file", "link"}


def test_standard_output_has_names() -> None:
    assert all(map(is_stdout, (None, "-", "/dev/stdout")))
    assert not is_stdout("x.json")


def test_a_key_without_an_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text("a." * 100_000 + "b = 1", encoding="utf-8")  # 10 GB in tomllib
    with pytest.raises(ResnetCliError, match="a key of more than 32 parts"):
        read_map(str(path))
    name = ".".join(["block"] * 100)
    path.write_text(f'[parameters]\n"{name}" = "fc.weight"\n', encoding="utf-8")
    assert read_map(str(path)) == {name: "fc.weight"}
