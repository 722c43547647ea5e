"""Files of weights as they come: damaged, mislabelled, hostile, and sound."""

from __future__ import annotations

import argparse
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.weights.files import read

STATE = {
    "conv1.weight": torch.arange(12.0).reshape(3, 4),
    "bn1.weight": torch.tensor([1.5, -0.0, float("inf")], dtype=torch.bfloat16),
    "bn1.num_batches_tracked": torch.tensor(7),
}


def saved(**options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(STATE, stream, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A whole file of each kind."""
    path = tmp_path_factory.mktemp("sound") / "x.safetensors"
    save_file(STATE, path)
    return {
        "zip.pth": saved(),
        "legacy.pth": saved(_use_new_zipfile_serialization=False),
        "x.safetensors": path.read_bytes(),
    }


def same(weights: Any) -> bool:
    return set(weights) == set(STATE) and all(
        weights[name].dtype == tensor.dtype and torch.equal(weights[name], tensor) for name, tensor in STATE.items()
    )


def rezipped(change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The archive of torch.save with other bytes in its entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved())) as old, zipfile.ZipFile(out, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return out.getvalue()


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "x.safetensors"])
def test_a_sound_file(name: str, sound: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(sound[name])
    weights = read(str(path))
    assert same(weights.content)
    assert weights.format == ("safetensors" if "safe" in name else "torch")
    assert weights.bytes == len(sound[name])
    assert same(read(str(path), mapped=True).content)


def test_the_content_says_the_format_and_not_the_name(sound: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(sound["x.safetensors"])
    assert read(str(path)).format == "safetensors"
    assert same(read(str(path)).content)


def test_archives_that_others_packed(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(rezipped(lambda _, content: content, zipfile.ZIP_DEFLATED))
    assert same(read(str(path)).content)
    assert same(read(str(path), mapped=True).content)


def test_an_archive_that_is_compressed_in_part(tmp_path: Path) -> None:
    """Nothing of it can be mapped: what lies in the file is not what the values are."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved())) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            kind = zipfile.ZIP_DEFLATED if "/data/" in entry.filename else zipfile.ZIP_STORED
            packed = zipfile.ZipInfo(entry.filename)
            packed.external_attr = 0x01  # read-only, as some tools mark what they pack
            new.writestr(packed, old.read(entry), kind)
    path = tmp_path / "x.pth"
    path.write_bytes(out.getvalue())
    assert same(read(str(path), mapped=True).content)


def test_a_file_of_a_machine_with_a_gpu_is_read_on_one_without(tmp_path: Path) -> None:
    def moved(name: str, content: bytes) -> bytes:
        return content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0") if "data.pkl" in name else content

    path = tmp_path / "x.pth"
    path.write_bytes(rezipped(moved))
    assert b"cuda:0" in path.read_bytes()
    weights = read(str(path)).content
    assert same(weights)
    assert {tensor.device.type for tensor in weights.values()} == {"cpu"}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["zip.pth", "legacy.pth", "x.safetensors"]), st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_always_an_error(sound: dict[str, bytes], tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    path.write_bytes(sound[name][: int(share * len(sound[name]))])
    with pytest.raises(ResnetCliError) as caught:
        read(str(path))
    assert caught.value.exit_code == 2
    assert "weights_only" not in caught.value.message


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["zip.pth", "legacy.pth", "x.safetensors"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_bytes_never_end_in_a_traceback(
    sound: dict[str, bytes], tmp_path: Path, name: str, damage: list[tuple[float, int]]
) -> None:
    content = bytearray(sound[name])
    for place, value in damage:
        content[int(place * len(content))] = value
    path = tmp_path / name
    path.write_bytes(content)
    message = ""
    try:
        read(str(path))
    except ResnetCliError as error:
        message = error.message
    assert "\x1b" not in message


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_flipped_bit_in_an_archive_is_found_or_harmless(
    sound: dict[str, bytes], tmp_path: Path, place: float, bit: int
) -> None:
    content = bytearray(sound["zip.pth"])
    content[int(place * len(content))] ^= 1 << bit
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    try:
        weights = read(str(path)).content
    except ResnetCliError:
        return
    assert same(weights)


def test_an_entry_marked_as_a_folder(sound: dict[str, bytes], tmp_path: Path) -> None:
    """Torch reads none of its values and hands out whatever is in memory."""
    content = bytearray(sound["zip.pth"])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start = archive.start_dir
    entry = content.index(b"/data/0", start) - len("archive") - 46  # the length of an entry before its name
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + 38] |= 0x10
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(ResnetCliError, match="marked as a folder"):
        read(str(path))


def test_an_archive_that_holds_far_more_than_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(
        rezipped(lambda name, content: bytes(10**6) if name.endswith("data/0") else content, zipfile.ZIP_DEFLATED)
    )
    with pytest.raises(ResnetCliError, match=r"expand from .* to 1\.00 MB"):
        read(str(path))


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("what", "named"),
    [
        (Calls(print, "ran"), "print"),
        (Calls(eval, "print('ran')"), "eval"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_in_a_file_is_run(
    what: Any, named: str, zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.pth"
    torch.save({"state_dict": STATE, "more": what}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ResnetCliError, match="would run code") as caught:
        read(str(path))
    assert f"({named})" in caught.value.message
    assert "state_dict()" in (caught.value.hint or "")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("pickled", "runs"),
    [
        (b"\x80\x02X\x05\x00\x00\x00thing\x85Q.", True),  # an object that only its maker can find
        (b"\x80\x02K\x05)R.", True),  # a call of what is no function
        (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", True),
        (b"\x80\x02]}b.", False),
        (b"\x80\x02}K\x01a.", False),
        (b"\x80\x02i.", False),
    ],
)
def test_what_would_run_code_is_told_from_what_is_broken(pickled: bytes, runs: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(rezipped(lambda name, content: pickled if name.endswith("data.pkl") else content))
    with pytest.raises(ResnetCliError) as caught:
        read(str(path))
    assert ("would run code" in caught.value.message) is runs
    assert ("damaged" in caught.value.message) is not runs
    assert "weights_only" not in caught.value.message


def test_a_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:  # what an archive of TorchScript is told by
        archive.writestr("x/constants.pkl", b"\x80\x02).")
        archive.writestr("x/data.pkl", b"\x80\x02).")
        archive.writestr("x/version", b"3\n")
    path.write_bytes(out.getvalue())
    with pytest.raises(ResnetCliError, match="TorchScript program"):
        read(str(path))


def test_the_oldest_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(ResnetCliError, match=r"legacy \.tar"):
        read(str(path))


def test_options_of_a_training_script_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"model": STATE, "args": argparse.Namespace(lr=0.1, model="resnet18")}, path)
    assert same(read(str(path)).content["model"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"some text", "unknown format"),
        (b"PK\x03\x04 broken", "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "HTML page"),
        (b"\xff" * 8 + b'{"a":', "safetensors"),
        (b"\x1f\x8b\x08\x00", "damaged"),
        (saved(_use_new_zipfile_serialization=False)[:20], "end of file"),
    ],
)
def test_files_that_are_not_checkpoints(content: bytes, message: str, tmp_path: Path) -> None:
    for name in ("x.pth", "x.safetensors"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ResnetCliError) as caught:
            read(str(path))
        assert caught.value.hint
        assert name == "x.safetensors" or message in caught.value.message


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    with pytest.raises(ResnetCliError, match="does not exist"):
        read(str(tmp_path / "x\x1b[2J.pth"))
    with pytest.raises(ResnetCliError, match="not a regular file"):
        read(str(tmp_path))
    with pytest.raises(ResnetCliError):
        read("nul\0.pth")


def test_behind_an_entry_without_a_checksum_the_others_are_checked(tmp_path: Path) -> None:
    """That of nothing is 0, and so is one that was left out."""
    stream = io.BytesIO()
    values = torch.arange(300_000.0)  # more than are read at once
    torch.save({"a": torch.empty(0), "b": values}, stream)
    content = bytearray(stream.getvalue())
    place = content.index(values.numpy().tobytes())
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    assert read(str(path)).content["b"][-1] == 299_999
    content[place + values.nbytes - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ResnetCliError, match="damaged"):
        read(str(path))


def test_tensors_do_not_depend_on_the_file(sound: dict[str, bytes], tmp_path: Path) -> None:
    """What was read does not change when the file is replaced, or goes."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(sound["x.safetensors"])
    weights: dict[str, Tensor] = read(str(path)).content
    other = tmp_path / "y.safetensors"
    other.write_bytes(bytes(len(sound["x.safetensors"])))
    other.replace(path)
    assert same(weights)
