"""Every file that the tool reads, damaged and hostile: read, or refused in a sentence; never a traceback or a hang."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import resource
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image
import pytest
import torch
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.weights.conversion import convert
from resnet_cli.measure.weights.tensor_statistics import view_weights
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.formats import RESULT_FORMATS
from resnet_cli.render.output import render
from resnet_cli.results.serialization import from_json, to_json
from tests.fuzz.mutations import damaged, reworked, written
from tests.fuzz.runner import RAN, check, run
from tests.fuzz.sandbox import NETWORK, fill_beside, weights
from tests.fuzz.seam import compared, family, nothing_is_downloaded, nothing_is_measured, saved_bench, self_test, tiny
from tests.helpers.results_bench import everything
from tests.helpers.results_summary_flops import flops_result, summary_result

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

ASKED = os.environ.get("FUZZ_CASES")
CASES = int(ASKED or 200)


def fuzzed(share: int) -> settings:
    return settings(
        max_examples=max(1, CASES // share),
        derandomize=ASKED is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    before = Path.cwd()
    made = tmp_path_factory.mktemp("fuzz") / "here"
    made.mkdir()
    fill_beside(made.parent)
    for name, content in weights().items():
        (made / name).write_bytes(content)
    save_file(tiny().state_dict(), made / "tiny.safetensors")
    os.chdir(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("cache")))
        yield made
    os.chdir(before)


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Result]:
    """One of each kind, as the tool writes it."""
    return {
        "summary": summary_result(),
        "flops": flops_result(),
        "bench": everything(),
        "parity": compared(),
        "family": family(),
        "self-test": self_test(),
        "weights": view_weights("weights.pth")[0],
        "convert": convert("../resnet18.safetensors", "x.pth", format="torch").result,
    }


KINDS = ("summary", "flops", "bench", "parity", "family", "self-test", "weights", "convert")


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_result_that_is_read_can_be_drawn(kind: str, results: dict[str, Result]) -> None:
    """What `from_json` lets in has figures of the right type, and nothing else is certain of them."""
    whole = json.loads(to_json(results[kind]))

    @fuzzed(16)
    @given(reworked(whole), st.sampled_from([20, 80, None]))
    def every(document: dict[str, Any], room: int | None) -> None:
        with contextlib.suppress(ResnetCliError):
            result = from_json(written(document))
            for medium in RESULT_FORMATS:
                text = render(result, medium)
                assert "\x1b" not in text
            from resnet_cli.render.formats.terminal import to_text
            from resnet_cli.render.pages import page

            to_text(
                page(
                    result, ViewOptions(levels=3, collapse=False) if kind in ("summary", "weights") else ViewOptions()
                ),
                room,
            )

    every()


def tried(line: list[str], path: Path, content: bytes, *, real: bool = False) -> int:
    """A command that reads a file, which stays as it is; what it measures is replaced unless it is real."""
    path.write_bytes(content)
    with nothing_is_downloaded() if real else nothing_is_measured():
        outcome = run(line)
    check(outcome)
    assert path.read_bytes() == content
    return outcome.code


def saved(state: dict[str, torch.Tensor]) -> bytes:
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def picture(form: str) -> bytes:
    stream = io.BytesIO()
    image = PIL.Image.new("RGB", (24, 16), (200, 100, 50))
    image.putpixel((3, 3), (0, 255, 0))
    image.save(stream, form)
    return stream.getvalue()


TRAINED = ["--weights", "tiny.safetensors", "--against", "resnet18"]
# File, the command that reads it, and what a whole one holds.
READ: dict[str, tuple[list[str], Callable[[], bytes]]] = {
    "bench.json": (["bench", "--baseline", "bench.json"], lambda: to_json(saved_bench()).encode()),
    "a.pth": (["summary", "--weights", "a.pth"], lambda: weights()["weights.pth"]),
    "a.safetensors": (["summary", "--weights", "a.safetensors"], lambda: weights()["weights.safetensors"]),
    "b.pth": (
        ["compare-torchvision", "--weights", "b.pth", "--against", "resnet18"],
        lambda: saved(tiny().state_dict()),
    ),
    "map.toml": (
        ["compare-torchvision", "--map", "map.toml"],
        lambda: b'# a map\n[parameters]\n"0.weight" = "0.weight"\n"0.bias" = "0.bias"\n',
    ),
    "map.json": (["compare-torchvision", "--map", "map.json"], lambda: b'{"parameters": {"0.weight": "0.weight"}}'),
    "intended.toml": (
        ["compare-torchvision", "--expect", "intended.toml"],
        lambda: b'expected = [\n  "setting batch_norm.eps 1 = 0.001",\n]\n',
    ),
    "net.py": (["summary", "--model", "net.py:Net"], lambda: NETWORK.encode()),
    **{
        f"photo.{form}": (
            ["compare-torchvision", *TRAINED, "--image", f"photo.{form}"],
            functools.partial(picture, form),
        )
        for form in ("png", "jpeg", "gif", "bmp", "tiff", "webp")
    },
}


@pytest.mark.parametrize("name", READ)
def test_a_damaged_file_is_read_or_refused(name: str, folder: Path) -> None:
    line, make = READ[name]
    whole = make()
    assert tried(line, folder / name, whole) in RAN

    @fuzzed(20)
    @given(damaged(whole))
    def every(content: bytes) -> None:
        note(repr(content[:2000]))
        tried(line, folder / name, content)

    every()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be large."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def deep(levels: int) -> bytes:
    return b'{"schema": "resnet-cli/bench/2", "network": ' + b"[" * levels + b"]" * levels + b"}"


NET = b"from torch import nn\nclass Net(nn.Module):\n"
NET += b" def __init__(self):\n  super().__init__()\n  self.l = nn.Linear(2, 2)\n"
FORWARD = NET + b" def forward(self, x):\n  "
HOSTILE: dict[str, list[bytes]] = {
    "photo.png": [
        bomb(10_000, 10_000),
        bomb(2**31 - 1, 2**31 - 1),
        bomb(0, 0),
        b"",
        b"<svg/>",
        b"GIF89a",
        bytes(10**6),
        b"P6 99999 99999 255\n",
        b"BM" + b"\xff" * 60,
        b"II*\0" + b"\x08\0\0\0" + b"\xff" * 200,
    ],
    "bench.json": [
        deep(10**5),
        b"[" * 10**6,
        b'{"schema": ' + b"9" * 10**5 + b"}",
        b'{"schema": "resnet-cli/bench/2", "a": 1e999}',
        b"\xff\xfe{}",
        b"\0" * 1000,
        b'{"schema": "\\ud800\\u001b[2J"}',
        b'"' + b"x" * 10**6,
        b"NaN",
    ],
    "map.toml": [
        b"a." * 10_000 + b"b = 1",
        b"[" + b'"a" . ' * 10_000 + b"b]",
        b"x = {" + b"'a'." * 10_000 + b"b = 1}",
        b"a = " + b"[" * 10**5,
        b"a = " + b"{b = " * 5000,
        b"[parameters]\n" + b"".join(b'"k%d" = "v"\n' % i for i in range(20_000)),
        b"[parameters]\na = 1979-05-27",
        b'[parameters]\n"\\u001b[2J" = "x"',
        b"x = " + b"9" * 10_000,
        b"\xff",
        b"\0",
        b"9" * 10**6,
        b'"' * 10**6,
        b"[parameters]\n\x1b = 1",
        b"parameters = 1",
    ],
    "map.json": [b"[" * 10**5, b"{}", b'{"parameters": {"\\ud800": "\\ud800"}}', b"9" * 10**5, b"\xef\xbb\xbf{}"],
    "intended.toml": [b"expected = [1]", b"expected = [" + b'"x",' * 10**5 + b"]", b"expected = {}"],
    "a.pth": [
        b"PK\x03\x04" + bytes(1000),
        b"\x80\x02}q\x00.",
        b"\x80\x02cos\nsystem\n.",
        b"\x80\x02" + b"(" * 10**5,
        b"\x80\x04\x95" + b"\xff" * 8,
        b"\x80\x02]" + b"]a" * 10**4 + b".",
    ],
    "a.safetensors": [
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 10**5) + b"[" * 10**5,
        struct.pack("<Q", 64) + b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_off',
        struct.pack("<Q", 74) + b'{"\\u001b[2J":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(74) + bytes(4),
    ],
    "net.py": [
        b"import sys; sys.exit(0)",
        b"raise SystemExit('\x1b[2J')",
        b"raise BaseException",
        b"raise GeneratorExit",
        b"raise StopIteration",
        b"input()",
        b"raise MemoryError",
        b"def Net(): return Net()",
        b"def Net(): raise KeyError('\x1b[2J' * 1000)",
        b"class Net:\n def __new__(cls): raise RecursionError",
        b"class E(Exception):\n def __str__(self): raise ValueError\nraise E",
        b"Net = " + b"(" * 5000,
        b"Net = " + b"-" * 50_000 + b"1",
        b"# coding: nothing\n",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbfraise ValueError",
        b"Net = None",
        b"Net = object()",
        b"import os; os.chdir('/'); raise ValueError",
        b"import sys; sys.stdout = None; raise ValueError",
        b"import sys; sys.path.clear(); raise ValueError",
        b"def __getattr__(name): raise SystemExit(name)",
        b"x = 1\n" * 10_000 + b"raise ValueError",
        FORWARD + b"raise SystemExit(1)",
        FORWARD + b"return None",
        FORWARD + b"return self.forward(x)",
        FORWARD + b"return x.tolist()[0]",
        FORWARD + b"return self.l(x)",
        FORWARD + b"self.l = None; return x",
        FORWARD + b"raise type('\\x1b[2J', (Exception,), {})",
        FORWARD + b"import torch; return torch.empty(2**40, 2**40, device=x.device)",
        NET,
        NET + b"Net.__repr__ = None\nNet.parameters = None\n",
        NET + b" state_dict = property(lambda self: 1 / 0)\n",
    ],
}  # fmt: skip


# Odd, and all the same right.
HARMLESS = {
    ("intended.toml", HOSTILE["intended.toml"][1]),
    ("a.safetensors", HOSTILE["a.safetensors"][-1]),
}


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, each) for name, all_ in HOSTILE.items() for each in all_],
    ids=lambda value: repr(value)[:30],
)
def test_a_hostile_file_is_refused(name: str, content: bytes, folder: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    is_network = name == "net.py"  # what is odd about one may show when it runs
    line = ["flops", "--model", "net.py:Net", "--image-size", "4"] if is_network else READ[name][0]
    code = tried(line, folder / name, content, real=is_network)
    assert code == 2 or is_network or (name, content) in HARMLESS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 300, f"{grown:.0f} MB for a file of {len(content)} bytes"
