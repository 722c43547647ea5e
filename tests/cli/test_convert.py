"""`convert`, as a user types it."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from resnet_cli.cli import main
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.network.resnet import build
from resnet_cli.network.torchvision_names import torchvision_names
from resnet_cli.signals import Terminated

SMALL = ModelSpec("small", "basic", (1, 1, 1, 1), num_classes=10)
NAMES = torchvision_names(SMALL)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict under torchvision's names, half as large as usual."""
    torch.manual_seed(0)
    state = {
        NAMES[name]: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in build(SMALL).state_dict().items()
    }
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    torch.save(state, path)
    return path


@pytest.fixture(autouse=True)
def inside(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that a test names are its own; small.pth is there."""
    monkeypatch.chdir(tmp_path)
    Path("small.pth").symlink_to(weights)
    return tmp_path


def content() -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load("small.pth", weights_only=True)
    return state


def test_there_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "small.pth", "--to", "resnet-cli", "-o", "ours.safetensors"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "resnet18 with repeat 1,1,1,1" in out
    assert set(load_file("ours.safetensors")) == set(NAMES)
    assert main(["convert", "ours.safetensors", "--to", "torchvision", "-o", "back.pt"]) == 0
    back = torch.load("back.pt", weights_only=True)
    assert list(back) == list(NAMES.values())
    assert all(torch.equal(back[name], tensor) for name, tensor in content().items())
    assert {name.name for name in Path().iterdir()} == {"small.pth", "ours.safetensors", "back.pt"}


def test_the_report_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "small.pth", "-o", "x.safetensors", "--dtype", "float32", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    result = json.loads(out)
    assert result["schema"] == "resnet-cli/convert/2"
    assert result["target"]["bytes"] == Path("x.safetensors").stat().st_size
    assert result["source"]["bytes"] == Path("small.pth").stat().st_size
    assert result["cast"] == sum(tensor.is_floating_point() for tensor in content().values())
    assert [tensor["name"] for tensor in result["tensors"]] == list(NAMES.values())
    assert sum(tensor["bytes"] for tensor in result["tensors"]) < result["target"]["bytes"]


def test_the_same_input_gives_the_same_bytes() -> None:
    for suffix in ("pth", "safetensors"):
        for name in ("one", "two"):
            assert main(["convert", "small.pth", "--to", "resnet-cli", "-o", f"{name}.{suffix}"]) == 0
        assert Path(f"one.{suffix}").read_bytes() == Path(f"two.{suffix}").read_bytes()


def test_a_training_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    state = {f"module.{name}": tensor for name, tensor in content().items()}
    torch.save({"model": state, "model_ema": state, "optimizer": {"state": {}}, "epoch": 3}, "run.pth")
    assert main(["convert", "run.pth", "--to", "resnet-cli", "-o", "x.safetensors"]) == 0
    out = capsys.readouterr().out
    assert "model_ema, optimizer, epoch" in out
    assert main(["convert", "run.pth", "--ema", "-o", "x.safetensors"]) == 0
    assert "model_ema" in capsys.readouterr().out


def listing() -> dict[str, Any]:
    return {path.name: path.lstat().st_mtime_ns for path in Path().iterdir()}


def truncated(suffix: str) -> None:
    save_file(content(), "whole.safetensors")
    whole = Path("small.pth" if suffix == "pth" else "whole.safetensors").read_bytes()
    Path(f"bad.{suffix}").write_bytes(whole[: len(whole) // 2])


def header(suffix: str) -> None:
    save_file(content(), f"bad.{suffix}")
    whole = Path(f"bad.{suffix}").read_bytes()
    Path(f"bad.{suffix}").write_bytes(whole.replace(b"layer2.0.bn1.weight", b"layer2.0.bm1.weight"))


class Runs:
    def __reduce__(self) -> Any:
        return (print, ("ran",))


BAD_FILES: dict[str, Callable[[], Any]] = {
    "truncated": lambda: truncated("pth"),
    "a missing tensor": lambda: header("safetensors"),
    "a folder": lambda: Path("bad.pth").mkdir(),
    "code": lambda: torch.save({"model": content(), "more": Runs()}, "bad.pth"),
    "escapes": lambda: torch.save({"\x1b]0;owned\x07\x1b[2J": torch.ones(1)}, "bad.pth"),
    "no ResNet": lambda: torch.save({"features.0.weight": torch.ones(1)}, "bad.pth"),
    "two state dicts": lambda: torch.save({"a": {"b.c": torch.ones(1)}, "b": {"b.c": torch.ones(1)}}, "bad.pth"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    BAD_FILES[case]()
    target = Path("x.safetensors")
    target.write_bytes(b"what was there")
    before = listing()
    name = "bad.safetensors" if Path("bad.safetensors").exists() else "bad.pth"
    assert main(["convert", name, "--to", "resnet-cli", "-o", str(target)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert name in error
    assert hint.startswith("hint: ")
    assert err.replace("\n", "").isprintable()
    assert listing() == before
    assert target.read_bytes() == b"what was there"


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_no_space_left(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    resource = pytest.importorskip("resource")
    Path(name).write_bytes(b"what was there")
    before = listing()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        code = main(["convert", "small.pth", "-o", name])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: cannot write {name}: {os.strerror(errno.EFBIG).lower()}")
    assert len(err.splitlines()) == 2
    assert listing() == before
    assert Path(name).read_bytes() == b"what was there"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, Terminated])
def test_an_interruption_leaves_nothing(interruption: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    from resnet_cli.measure.weights import conversion

    def interrupted(_: Any, path: str) -> None:
        Path(path).write_bytes(b"half")
        raise interruption

    monkeypatch.setattr(conversion, "save", interrupted)
    before = listing()
    assert main(["convert", "small.pth", "-o", "x.pth"]) == 130
    assert listing() == before


def test_torchvision_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)  # `import torchvision` raises
    assert main(["convert", "small.pth", "-o", "x.pth"]) == 0
