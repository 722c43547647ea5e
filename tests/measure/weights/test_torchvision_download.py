"""Torchvision's own weights by name, through a cache of the test's own; the network is never asked."""

from __future__ import annotations

import hashlib
import io
import socket
import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models import torchvision_models
from resnet_cli.measure.weights.torchvision_download import resolve_weights
from resnet_cli.network.architectures import ARCHITECTURES

CONTENT = b"weights of the test's own making" * 100
URL = f"https://example.invalid/models/resnet50-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"
RESNET50 = ARCHITECTURES["resnet50"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nobody at the other end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "urlopen", offline)
    return tmp_path / "home" / "hub" / "checkpoints"


def offline(*_: Any, **__: Any) -> Any:
    raise urllib.error.URLError("nobody answers")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchvision publishes the test's weights."""
    monkeypatch.setattr(torchvision_models, "published_weights", lambda _: {"IMAGENET1K_V2": URL, "DEFAULT": URL})


def answering(content: bytes) -> Any:
    class Answer(io.BytesIO):
        def info(self) -> Any:
            return {}

    class Headers(dict[str, str]):
        def get_all(self, _: str) -> list[str]:
            return [str(len(content))]

    def answer(*_: Any, **__: Any) -> Any:
        made = Answer(content)
        made.info = Headers  # type: ignore[method-assign]
        return made

    return answer


@pytest.mark.parametrize("text", ["weights.pth", "no/such/file.safetensors", "IMAGENET.pth", "", "  "])
def test_a_file_is_a_file(text: str) -> None:
    assert resolve_weights(text, RESNET50) == text


def test_a_file_of_that_name_goes_before_the_name(tmp_path: Path) -> None:
    (tmp_path / "DEFAULT").write_bytes(CONTENT)
    assert resolve_weights("DEFAULT", RESNET50) == "DEFAULT"


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("text", ["IMAGENET1K_V2", "DEFAULT", "imagenet1k_v2", " default "])
def test_what_is_in_the_cache_is_taken_and_checked(text: str, cache: Path) -> None:
    cache.mkdir(parents=True)
    path = cache / URL.rpartition("/")[2]
    path.write_bytes(CONTENT)
    steps: list[str] = []
    assert resolve_weights(text, RESNET50, progress=steps.append) == str(path)
    assert resolve_weights(text, "resnet50") == str(path)
    assert steps == [f"checking resnet50 {text.strip().upper()}"]


@pytest.mark.usefixtures("published")
def test_what_is_in_the_cache_under_a_wrong_name_is_an_error(cache: Path) -> None:
    cache.mkdir(parents=True)
    path = cache / URL.rpartition("/")[2]
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ResnetCliError, match="is not resnet50 DEFAULT as published") as caught:
        resolve_weights("DEFAULT", RESNET50)
    assert str(path) in caught.value.message
    actual, expected = (hashlib.sha256(content).hexdigest()[:8] for content in (CONTENT[:-1], CONTENT))
    assert caught.value.message.endswith(f"its SHA-256 begins with {actual}, not {expected}")
    assert URL in (caught.value.hint or "")
    assert path.read_bytes() == CONTENT[:-1]


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (urllib.error.URLError("nobody answers"), "nobody answers"),
        (TimeoutError("timed out"), "timed out"),
        (urllib.error.HTTPError(URL, 404, "Not Found\x1b[2J", {}, None), "Not Found"),  # type: ignore[arg-type]
        (ConnectionResetError(), "ConnectionResetError"),
        (OSError("a page of it " * 1000), "a page of it"),
    ],
)
def test_offline_and_not_in_the_cache(
    error: Exception, reason: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(torch.hub, "urlopen", fail)
    patience = socket.getdefaulttimeout()
    with pytest.raises(ResnetCliError, match="the weights resnet50 DEFAULT are not cached") as caught:
        resolve_weights("DEFAULT", RESNET50)
    assert reason in caught.value.message
    assert len(caught.value.message) < 300
    assert URL in (caught.value.hint or "")
    assert str(cache / URL.rpartition("/")[2]) in (caught.value.hint or "")
    assert "TORCH_HOME" in (caught.value.hint or "")
    assert list(cache.iterdir()) == []
    assert socket.getdefaulttimeout() == patience


@pytest.mark.usefixtures("published")
def test_a_download_is_put_into_the_cache_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.hub, "urlopen", answering(CONTENT))
    path = resolve_weights("DEFAULT", RESNET50, show_bar=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "100%" in err
    assert Path(path).read_bytes() == CONTENT
    assert list(cache.iterdir()) == [Path(path)]
    monkeypatch.setattr(torch.hub, "urlopen", offline)
    assert resolve_weights("DEFAULT", RESNET50) == path
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("published")
def test_a_download_without_a_bar_times_out_after_30_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    patience: list[float | None] = []

    def answer(*arguments: Any, **options: Any) -> Any:
        patience.append(socket.getdefaulttimeout())
        return answering(CONTENT)(*arguments, **options)

    monkeypatch.setattr(torch.hub, "urlopen", answer)
    before = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(7000.0)
        steps: list[str] = []
        resolve_weights("DEFAULT", RESNET50, progress=steps.append)
        assert socket.getdefaulttimeout() == 7000.0
    finally:
        socket.setdefaulttimeout(before)
    assert steps == ["downloading resnet50 DEFAULT"]
    assert patience == [30.0]
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("published")
def test_a_download_of_something_else_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "urlopen", answering(b"a page of a captive portal"))
    with pytest.raises(ResnetCliError, match="invalid hash value"):
        resolve_weights("DEFAULT", RESNET50)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(RESNET50, num_classes=10), "1000 classes, not 10"),
        (replace(RESNET50, in_channels=1), "only for its own architectures"),
        (replace(RESNET50, stem="cifar"), "only for its own architectures"),
        (replace(RESNET50, name="resnet50 with repeat 1,1,1,1", repeat=(1, 1, 1, 1)), "only for its own architectures"),
    ],
)
def test_networks_that_torchvision_has_no_weights_for(spec: Any, message: str) -> None:
    with pytest.raises(ResnetCliError, match=message) as caught:
        resolve_weights("IMAGENET1K_V1", spec)
    assert "use a file" in (caught.value.hint or "")


def test_names_that_torchvision_does_not_have() -> None:
    with pytest.raises(ResnetCliError, match=r"publishes no weights .* for resnet34") as caught:
        resolve_weights("IMAGENET1K_V2", ARCHITECTURES["resnet34"])
    assert caught.value.hint == "available: IMAGENET1K_V1, DEFAULT"
    with pytest.raises(ResnetCliError, match="publishes no weights"):
        resolve_weights("DEFAULT", "a network of nobody")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_member_has_weights_whose_names_carry_their_checksum(name: str, cache: Path) -> None:
    known = torchvision_models.published_weights(name)
    assert known["DEFAULT"] in [url for key, url in known.items() if key != "DEFAULT"]
    for key, url in known.items():
        with pytest.raises(ResnetCliError, match="nobody answers") as caught:
            resolve_weights(key, ARCHITECTURES[name])
        assert url in (caught.value.hint or "")
        assert url.rpartition("-")[2].removesuffix(".pth").isalnum()
    assert list(cache.iterdir()) == []
