"""Every file that the program reads, damaged or hostile: read, or refused in a sentence; never a traceback or a hang."""

from __future__ import annotations

import io
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, note
from hypothesis import strategies as st
from safetensors.torch import save

from resnet_cli.results.serialization import to_json
from tests.fuzz.runner import CASES, OK, check, fuzzed
from tests.helpers.cli_examples import stop_before_measuring
from tests.helpers.results_bench import one_batch

STATE = {"conv1.weight": torch.arange(24.0).reshape(4, 6), "bn1.running_var": torch.ones(4)}
NET = b"from torch import nn\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
NET += b"        self.lin = nn.Linear(3, 2)\n    def forward(self, x):\n        return self.lin(x.mean((2, 3)))\n"


def checkpoint() -> bytes:
    stream = io.BytesIO()
    torch.save(STATE, stream)
    return stream.getvalue()


COMPARE = ["compare-torchvision", "--checks", "parameters"]
# File, the command that reads it, and a whole one.
READ: dict[str, tuple[list[str], Callable[[], bytes]]] = {
    "bench.json": (["report", "bench.json", "-o", "x.html"], lambda: to_json(one_batch()).encode()),
    "a.pth": (["summary", "--weights", "a.pth"], checkpoint),
    "a.safetensors": (["summary", "--weights", "a.safetensors"], lambda: save(STATE)),
    "map.toml": ([*COMPARE, "--map", "map.toml"], lambda: b'[parameters]\n"head.conv.weight" = "conv1.weight"\n'),
    "intended.toml": ([*COMPARE, "--expect", "intended.toml"], lambda: b'expected = ["setting conv.stride a = 2"]\n'),
    "net.py": (["summary", "--model", "net.py:Net", "--image-size", "4"], lambda: NET),
}


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes with a few places cut, changed, repeated or put in."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, max(0, len(content) - 1))), draw(st.integers(1, 40))
        kind = draw(st.sampled_from(["cut", "flip", "insert", "remove", "repeat"]))
        if kind == "cut":
            del content[at:]
        elif kind == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            content[at:at] = draw(st.binary(min_size=1, max_size=20))
        elif kind == "remove":
            del content[at : at + length]
        else:
            content[at:at] = content[at : at + length] * draw(st.integers(1, 50))
    return bytes(content)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", READ)
def test_a_damaged_file_is_read_or_refused(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line, make = READ[name]
    whole, path = make(), folder / name
    stop_before_measuring(monkeypatch)
    path.write_bytes(whole)
    assert check(line) in OK

    @fuzzed(CASES // 6)
    @given(damaged(whole))
    def every(content: bytes) -> None:
        note(repr(content[:2000]))
        path.write_bytes(content)
        check(line)
        assert path.read_bytes() == content

    every()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


FORWARD = NET[: NET.index(b"        return")]
HOSTILE: dict[str, list[bytes]] = {
    "bench.json": [
        b'{"schema": "resnet-cli/bench/2", "network": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
        b'{"schema": ' + b"9" * 10**5 + b"}",
        b'{"schema": "resnet-cli/bench/2", "a": 1e999}',
        b"\xff\xfe{}",
        b'{"schema": "\\ud800\\u001b[2J"}',
    ],
    "map.toml": [
        b"a." * 10_000 + b"b = 1",
        b"a = " + b"[" * 10**5,
        b"[parameters]\na = 1979-05-27",
        b'[parameters]\n"\\u001b[2J" = "x"',
        b"x = " + b"9" * 10_000,
        b"parameters = 1",
    ],
    "intended.toml": [b"expected = [1]", b"expected = {}"],
    "a.pth": [b"PK\x03\x04" + bytes(1000), b"\x80\x02cos\nsystem\n.", b"\x80\x02" + b"(" * 10**5],
    "a.safetensors": [
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 10**5) + b"[" * 10**5,
        struct.pack("<Q", 64) + b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_off',
    ],
    "net.py": [
        b"raise SystemExit('\x1b[2J')",
        b"raise BaseException",
        b"input()",
        b"def Net(): return Net()",
        b"def Net(): raise KeyError('\x1b[2J' * 1000)",
        b"class E(Exception):\n def __str__(self): raise ValueError\nraise E",
        b"Net = " + b"(" * 5000,
        b"# coding: nothing\n",
        b"\xff\xfe",
        b"Net = None",
        b"import os; os.chdir('/'); raise ValueError",
        b"import sys; sys.stdout = None; raise ValueError",
        FORWARD + b"        raise SystemExit(1)",
        FORWARD + b"        return self.forward(x)",
        FORWARD + b"        raise type('\\x1b[2J', (Exception,), {})",
    ],
}


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, content) for name, contents in HOSTILE.items() for content in contents],
    ids=lambda value: repr(value)[:30],
)
def test_a_hostile_file_is_refused(name: str, content: bytes, folder: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (folder / name).write_bytes(content)
    assert check(READ[name][0]) == 2
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 300


def test_a_picture_of_a_few_bytes_that_claims_to_be_large_is_refused(folder: Path) -> None:
    from resnet_cli.errors import ResnetCliError
    from resnet_cli.measure.models.torchvision_models import _picture

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**15, 2**15, 8, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    (folder / "bomb.png").write_bytes(png)
    with pytest.raises(ResnetCliError):
        _picture("bomb.png")
