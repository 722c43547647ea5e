"""Networks by call, by revision of git, and of libraries."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.user_model import load_model, load_subject

FILE = """
from torch import nn
from blocks import WIDTH

class Block(nn.Module):
    pass

class Net(nn.Module):
    def __init__(self, block=Block, widths=(3,), num_classes=7):
        super().__init__()
        self.block, self.lin = block, nn.Linear(sum(widths) * WIDTH, num_classes)

def nothing(block):
    return block

def broken(block):
    return missing
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    modules = set(sys.modules)
    (folder / "net.py").write_text(FILE)
    (folder / "blocks.py").write_text("WIDTH = 1\n")
    yield folder
    for name in (set(sys.modules) - modules) & {"net", "blocks"}:
        del sys.modules[name]


def weight(reference: str) -> tuple[int, ...]:
    linear = load_model(reference)[0].get_submodule("lin")
    assert isinstance(linear, nn.Linear)
    return tuple(linear.weight.shape)


def refused(reference: str) -> ResnetCliError:
    with pytest.raises(ResnetCliError) as caught:
        load_model(reference)
    return caught.value


def test_a_call_is_evaluated_with_the_names_of_its_module() -> None:
    assert weight("net.py:Net(Block, [2, WIDTH + 1], num_classes=4)") == (4, 4)
    assert weight("net.py:Net()") == (7, 3)
    assert load_subject("net.py:Net(Block)").name == "Net"


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        ("Net(Blok)", "Blok", "Block"),
        ("Nett(Block)", "Nett", "Net"),
        ("nothing(Block)", "not a network", "nn.Module"),
        ("broken(Block)", "missing", ""),
        ("Net(widths=1 / 0)", "ZeroDivisionError", ""),
    ],
)
def test_calls_that_lead_nowhere(call: str, message: str, hint: str) -> None:
    error = refused(f"net.py:{call}")
    assert message in str(error)
    assert hint in (error.hint or "")


def test_arguments_are_given_once() -> None:
    with pytest.raises(ResnetCliError, match="num_classes"):
        load_model("net.py:Net(Block)", given={"num_classes": 3})
    assert load_model("net.py:Net(Block)", {"num_classes": 3})[0].get_submodule("lin").out_features == 7


def git(*arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def history(project: Path) -> Path:
    """Two revisions: one of width 1, and one of width 2. The working tree has width 5, and a folder `sub`."""
    git("init")
    for width in (1, 2):
        (project / "blocks.py").write_text(f"WIDTH = {width}\n")
        git("add", ".")
        git("commit", "-m", f"width {width}")
    git("tag", "v2")
    (project / "blocks.py").write_text("WIDTH = 5\n")
    (project / "late.py").write_text(FILE)
    return project


def state(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_revision_is_the_file_and_what_it_imports_as_they_were(history: Path) -> None:
    before = state(history)
    assert [weight(f"net.py:Net{place}")[1] for place in ("@HEAD~1", "", "@HEAD", "@v2", "(widths=[9])@HEAD~1")] == [
        3,
        15,
        6,
        6,
        9,
    ]
    assert weight("net:Net@HEAD~1") == (7, 3)
    assert load_subject("net.py:Net@HEAD~1").name == "Net@HEAD~1"
    assert state(history) == before


def test_a_file_that_was_deleted_is_still_in_its_revision(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (history / "net.py").unlink()
    monkeypatch.chdir(history.parent)
    assert weight("project/net.py:Net@HEAD") == (7, 6)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("net.py:Net@nowhere", "no revision 'nowhere'"),
        ("net.py:Net@--all", "no revision"),
        ("late.py:Net@HEAD", "late.py is not in revision HEAD"),
        ("net.py:Nett@HEAD", "no Nett"),
        ("../net.py:Net@HEAD", "not in a git repository"),
    ],
)
@pytest.mark.usefixtures("history")
def test_revisions_that_lead_nowhere(reference: str, message: str) -> None:
    assert message in str(refused(reference))


def test_errors_in_a_revision_are_at_the_users_file(history: Path) -> None:
    (history / "net.py").write_text("import nowhere\n")
    git("commit", "-am", "broken")
    (history / "net.py").write_text(FILE)
    error = refused("net.py:Net@HEAD")
    assert "net.py@HEAD:1" in str(error) + (error.detail or "")
    assert "submodule" not in (error.hint or "")
    (history / ".gitmodules").touch()
    git("add", ".")
    git("commit", "-m", "submodules")
    (history / "net.py").write_text("import nowhere\n")
    git("commit", "-am", "broken again")
    assert "submodule" in (refused("net.py:Net@HEAD").hint or "")


def test_without_git_a_revision_is_refused(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(history))
    assert "git, which is not installed" in str(refused("net.py:Net@HEAD"))


def test_networks_of_torchvision() -> None:
    model = load_model("torchvision:resnet18(num_classes=4, in_channels=1)")[0]
    assert model.get_parameter("conv1.weight").shape == (64, 1, 7, 7)
    assert model.get_parameter("fc.weight").shape == (4, 512)
    assert all(bool(torch.isfinite(value).all()) for value in model.parameters())
    for wrong in ("resnet81", "resnet18(width=3)", "resnet18(3)"):
        assert "resnet" in str(refused(f"torchvision:{wrong}"))


def test_networks_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.ModuleType("timm")
    library.__dict__.update(
        __spec__=types.SimpleNamespace(),
        is_model=lambda name: name == "net",
        list_models=lambda: ["net"],
        create_model=lambda name, pretrained, in_chans=3: nn.Conv2d(in_chans, 1 + pretrained, 1),
    )
    monkeypatch.setitem(sys.modules, "timm", library)
    conv = load_model("timm:net", given={"in_channels": 2})[0]
    assert isinstance(conv, nn.Conv2d)
    assert tuple(conv.weight.shape) == (1, 2, 1, 1)
    assert "timm:net" in (refused("timm:nett").hint or "")
    assert "cannot build" in str(refused("timm:net(depth=3)"))


def test_timm_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert refused("timm:resnet50").hint == "pip install timm"


def test_built_in_names_have_a_spec() -> None:
    subject = load_subject("resnet18(num_classes=10)")
    assert subject.spec is not None
    assert subject.spec.num_classes == 10
    assert load_model("resnet18")[0].get_submodule("tail") is not None
