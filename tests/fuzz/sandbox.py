"""A folder with everything that a path can lead to, and whether it has stayed as it was."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import torch
from safetensors.torch import save, save_file

from resnet_cli.network.architectures import resolve
from resnet_cli.network.resnet import build
from resnet_cli.results.serialization import to_json
from tests.helpers.results_summary_flops import flops_result, summary_result

STATE = {"conv1.weight": torch.arange(24.0).reshape(4, 6), "bn1.running_var": torch.ones(4)}

NETWORK = """
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.lin = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.lin(self.conv(x).mean((2, 3)))


def wrong():
    return Net(3).forward("\\x1b[2J")
"""

# What the folder has under each name; a case names them as they are.
PLACES = (
    "saved.json", "bench.json", "flops.json", "weights.pth", "weights.safetensors", "map.toml", "intended.toml",
    "net.py", "photo.png", "folder", "empty", "link", "dangling", "loop", "pipe", "socket", "readonly.json",
    "text.txt", "odd\x1b[2J\n\u202e.json", "\udcff.json",
)  # fmt: skip
DEVICES = ("/dev/null", "/dev/full", "/dev/zero", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd/0", "/dev/fd/99")
NOWHERE = (
    "missing.json", "missing.pth", "no/such/x.json", "empty/x.json", "folder/", ".", "..", "/", "", " ", "-", "~",
    "x" * 300 + ".json", "new.json", "new.csv", "new.md", "new.svg", "new.txt", "new.pth", "new.safetensors",
    "/proc/self/mem", "/proc/self/fd/", "net.py:Net", "net.py:wrong", "net.py:", "folder:Net", "pipe:Net",
    "/dev/zero:Net", "os:path", "no.such.module:x", ":", "IMAGENET1K_V1", "DEFAULT",
)  # fmt: skip


# The places that most often mean a wait without end, memory without end, or a name that is none.
SPECIAL = (
    "pipe", "socket", "loop", "dangling", "folder", "folder/", "empty", "/", "", "odd\x1b[2J\n\u202e.json",
    "\udcff.json", "x" * 300 + ".json", "no/such/x.json", "pipe:Net", "/dev/zero:Net", "/proc/self/mem", *DEVICES,
)  # fmt: skip


@functools.cache
def weights() -> dict[str, bytes]:
    stream, picture = io.BytesIO(), io.BytesIO()
    torch.save(STATE, stream)
    PIL.Image.new("RGB", (8, 8), (200, 100, 50)).save(picture, "PNG")
    return {"weights.pth": stream.getvalue(), "weights.safetensors": save(STATE), "photo.png": picture.getvalue()}


def fill(folder: Path, bench: str) -> None:
    """Make what PLACES names."""
    written = {
        "saved.json": to_json(summary_result()),
        "bench.json": bench,
        "flops.json": to_json(flops_result()),
        "map.toml": '[parameters]\n"0.weight" = "0.weight"\n',
        "intended.toml": 'expected = ["setting:conv.stride"]\n',
        "net.py": NETWORK,
        "empty": "",
        "readonly.json": "precious",
        "text.txt": "text\n" * 100,
        "odd\x1b[2J\n\u202e.json": to_json(summary_result()),
        "\udcff.json": to_json(summary_result()),
    }
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, content in weights().items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    (folder / "folder" / "inside.json").write_text("kept", encoding="utf-8")
    (folder / "link").symlink_to("saved.json")
    (folder / "dangling").symlink_to("nothing-yet.json")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
    (folder / "readonly.json").chmod(0o444)


def fill_beside(folder: Path) -> None:
    """What is too large to be made for each case: weights of the smallest network that `convert` knows."""
    network = build(resolve(18, num_classes=1)).to(torch.bfloat16)
    save_file(network.state_dict(), folder / "resnet18.safetensors")


@dataclass(frozen=True)
class Thing:
    mode: int
    content: str  # a hash, or where a link leads


Snapshot = dict[str, Thing]


def snapshot(folder: Path) -> Snapshot:
    """What there is, by its path; what Python leaves beside a network's source aside."""
    found: Snapshot = {}
    for path in sorted(folder.rglob("*")):
        if "__pycache__" in path.parts:
            continue
        mode = path.lstat().st_mode
        content = ""
        if stat.S_ISLNK(mode):
            content = str(path.readlink())
        elif stat.S_ISREG(mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[os.fspath(path.relative_to(folder))] = Thing(mode, content)
    return found


def changed(before: Snapshot, after: Snapshot) -> set[str]:
    """Paths that are new, gone or another thing."""
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
