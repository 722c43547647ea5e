"""Files that the user names: what cannot be meant is refused, and nothing waits without end."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from resnet_cli import files
from resnet_cli.cli import main
from resnet_cli.errors import ResnetCliError
from resnet_cli.files import exists, read_bytes
from resnet_cli.measure.parity.map_files import read_map

LONG = "x" * 300


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("resnet_cli.files", "resnet_cli.files"):
        monkeypatch.setattr(f"{module}.PATIENCE_S", 0.05)


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return str(path)


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    assert read_bytes(str(path), 100_000) == b"x" * 100_000
    with pytest.raises(OSError, match="larger than"):
        read_bytes(str(path), 99_999)


def test_a_name_that_is_none_does_not_exist(tmp_path: Path) -> None:
    assert exists(str(tmp_path))
    assert not exists(str(tmp_path / "missing"))
    assert not exists(LONG)
    assert not exists("a\0b")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full"])
def test_a_device_without_an_end_is_refused(device: str) -> None:
    with pytest.raises(OSError, match="larger than"):
        read_bytes(device, 10**6)
    with pytest.raises(ResnetCliError, match="cannot be read: larger than 16 MB"):
        read_map(device)


def test_a_key_without_an_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text("a." * 100_000 + "b = 1", encoding="utf-8")  # 10 GB in tomllib
    with pytest.raises(ResnetCliError, match="a key of more than 32 parts"):
        read_map(str(path))
    name = ".".join(["block"] * 100)
    path.write_text(f'[parameters]\n"{name}" = "fc.weight"\n', encoding="utf-8")
    assert read_map(str(path)) == {name: "fc.weight"}


@pytest.mark.usefixtures("impatient")
def test_a_pipe_that_nobody_writes_into_is_refused(pipe: str) -> None:
    with pytest.raises(TimeoutError, match="nobody writes"):
        read_bytes(pipe, 10)


@pytest.mark.usefixtures("impatient")
def test_a_slow_writer_is_waited_for(pipe: str) -> None:
    # Open at both ends, so that the pipe has a writer before it is read from.
    writer = os.fdopen(os.open(pipe, os.O_RDWR), "wb", buffering=0)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(read_bytes(pipe, 10)))
    reader.start()
    reader.join(0.2)  # longer than its patience with nobody
    assert reader.is_alive()
    writer.write(b"late")
    writer.close()
    reader.join(10)
    assert found == [b"late"]


@pytest.mark.usefixtures("impatient")
def test_a_pipe_that_nobody_reads_from_is_refused(pipe: str) -> None:
    with pytest.raises(ResnetCliError, match="nobody reads from this pipe"):
        files.write_file(pipe, b"x")
    assert stat.S_ISFIFO(Path(pipe).stat().st_mode)


@pytest.mark.parametrize("arguments", [["summary", "--weights", LONG], ["convert", LONG, "-o", "new.pth"]])
def test_a_name_that_is_too_long_is_no_fault_of_ours(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: xxx")


@pytest.mark.parametrize("seed", ["-1", str(2**62 + 1), "9" * 30])
@pytest.mark.parametrize("command", ["bench", "compare-torchvision"])
def test_a_seed_that_no_generator_takes(command: str, seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--seed", seed]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: --seed {seed} is out of range"
    assert "2**62" in hint


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bench", "--baseline", "a.json", "--save", "a.json"], "--save would overwrite a.json, which --baseline"),
        (["bench", "--baseline", "link", "--output", "a.json"], "--output would overwrite a.json, which --baseline"),
        (["bench", "--save", "new.json", "--output", "./new.json"], "--output and --save both write ./new.json"),
        (["bench", "--model", "a.json:Net", "--save", "a.json"], "which --model reads"),
        (["summary", "--weights", "a.json", "-o", "link"], "--output would overwrite link, which --weights reads"),
        (["flops", "--model", "a.json:Net", "-o", "a.json"], "--output would overwrite a.json, which --model reads"),
        (["compare-torchvision", "--map", "a.json", "-o", "a.json"], "which --map reads"),
        (["compare-torchvision", "--map", "a.json", "--save-expect", "a.json"], "which --map reads"),
        (["compare-torchvision", "--save-map", "x", "--save-expect", "x"], "both write x"),
    ],
)  # fmt: skip
def test_what_is_read_is_not_overwritten(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text("precious", encoding="utf-8")
    Path("link").symlink_to("a.json")
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert Path("a.json").read_text(encoding="utf-8") == "precious"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.json", "link"]


def test_intended_changes_may_be_renewed_in_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("intended.toml").write_text("expected = []\n", encoding="utf-8")
    line = ["compare-torchvision", "--checks", "parameters", "--image-size", "32"]
    assert main([*line, "--expect", "intended.toml", "--save-expect", "intended.toml"]) == 0
    assert Path("intended.toml").read_text(encoding="utf-8").endswith("expected = [\n]\n")
    capsys.readouterr()
