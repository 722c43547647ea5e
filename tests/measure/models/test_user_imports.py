"""What a reference names, and the surroundings that a user's file is run in: those of `python FILE`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.naming.grammar import parse
from resnet_cli.measure.models.user_imports import imported


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to be in; everything is as before afterwards."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path, modules = list(sys.path), set(sys.modules)
    yield folder
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def lay(name: str, text: str = "") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
    return name


def load(reference: str) -> ModuleType:
    with imported(parse(reference)) as module:
        return module


def run(name: str, text: str) -> ModuleType:
    """The module of a file of that text."""
    return load(f"{lay(name, text)}:Net")


def refused(reference: str) -> ResnetCliError:
    with pytest.raises(ResnetCliError) as caught:
        load(reference)
    return caught.value


def test_a_file_is_run_as_if_by_python(project: Path) -> None:
    lay("nets/mine.py", "import sys\nargv = list(sys.argv)\nfirst = sys.path[0]\n")
    path, argv = list(sys.path), list(sys.argv)
    with imported(parse("nets/mine.py:Net")) as module:
        assert (module.argv, module.first) == (["nets/mine.py"], str(project / "nets"))
        assert sys.path[1:] == path
    assert (sys.path, sys.argv) == (path, argv)


def test_a_module_is_looked_for_in_the_current_folder_first(project: Path) -> None:
    lay("mine_alone.py", "import sys\nargv = list(sys.argv)\nfirst = sys.path[0]\n")
    module = load("mine_alone:Net")
    assert (module.argv, module.first, module.__name__) == (["mine_alone"], str(project), "mine_alone")


def test_a_file_in_packages_may_import_from_the_outermost(project: Path) -> None:
    for folder in ("outer", "outer/inner"):
        lay(f"src/{folder}/__init__.py")
    lay("src/outer/blocks.py", "WIDTH = 9\n")
    lay("src/outer/inner/near.py", "DEPTH = 4\n")
    lay(
        "src/outer/inner/net.py",
        "import sys\nfrom outer.blocks import WIDTH\nfrom near import DEPTH\np = sys.path[:2]\n",
    )
    module = load("src/outer/inner/net.py:Net")
    assert (module.WIDTH, module.DEPTH) == (9, 4)
    assert module.p == [str(project / "src/outer/inner"), str(project / "src")]


@pytest.mark.parametrize("packages", [(), ("a",), ("a", "a/b")])
def test_relative_imports_reach_as_far_up_as_they_ask(packages: tuple[str, ...]) -> None:
    """With or without the files that make a folder a package."""
    for folder in packages:
        lay(f"{folder}/__init__.py")
    lay("a/width.py", "WIDTH = 9\n")
    lay("a/b/depth.py", "DEPTH = 4\n")
    module = run("a/b/net.py", "from ..width import WIDTH\nfrom .depth import DEPTH\n")
    assert (module.WIDTH, module.DEPTH) == (9, 4)


def test_packages_around_a_file_are_run_once_and_before_it() -> None:
    lay("pack/__init__.py")
    lay("pack/order.py", "order = []\n")
    lay("pack/inner/__init__.py", "from ..order import order\norder.append('package')\nfrom .net import order\n")
    lay("pack/inner/net.py", "from ..order import order\norder.append('net')\n")
    assert load("pack/inner/net.py:order").order == ["package", "net"]
    lay("pack/inner/__init__.py", "from ..order import order\norder.append('package')\n")
    assert load("pack/inner/net.py:order").order == ["package", "net"]


def test_a_file_that_asks_for_no_package_is_run_without_it() -> None:
    """So does `python pack/net.py`."""
    lay("pack/__init__.py", "raise ValueError('only for the whole of it')\n")
    assert run("pack/net.py", "NUMBER = 3\n").NUMBER == 3
    assert run("pack/other.py", "import os\nfrom json import loads\nNUMBER = 4\n").NUMBER == 4


@pytest.mark.parametrize("on_the_path", [True, False])
@pytest.mark.parametrize("packages", [(), ("nets",)])
def test_what_lies_beside_a_file_is_still_there_while_its_network_runs(
    packages: tuple[str, ...], on_the_path: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if on_the_path:  # as it is for `python -m resnet_cli`
        monkeypatch.syspath_prepend(project)
    for folder in packages:
        lay(f"{folder}/__init__.py")
    lay("beside_them.py" if packages else "nets/beside_them.py")
    text = "import beside_them as first\ndef forward():\n    import beside_them\n    return beside_them\n"
    module = run("nets/net.py", text)
    assert module.forward() is module.first


def test_two_projects_of_one_layout_do_not_mix() -> None:
    for number, project in enumerate(("one", "two")):
        lay(f"{project}/nets/__init__.py")
        lay(f"{project}/beside_them.py", f"NUMBER = {number}\n")
        lay(f"{project}/nets/net.py", "from beside_them import NUMBER\n")
    assert [load(f"{project}/nets/net.py:Net").NUMBER for project in ("one", "two", "one")] == [0, 1, 0]


def test_both_of_two_networks_can_still_be_looked_up() -> None:
    """Dataclasses, pickles and the source lines of a class go by the name of its module."""
    text = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Net:\n    x: int\n"
    first, second = run("first.py", text), run("second.py", text)
    for module in (first, second):
        assert sys.modules[module.Net.__module__] is module


def test_a_neighbour_named_like_a_library_hides_it_from_the_users_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made_up_library.py").write_text("whose = 'the library'\n", encoding="utf-8")
    for name in ("colorsys", "made_up_library"):
        lay(f"{name}.py", "whose = 'mine'\n")
    module = run("net.py", "import colorsys, made_up_library\n")
    assert (module.colorsys.whose, module.made_up_library.whose) == ("mine", "mine")
    assert importlib.import_module("made_up_library").whose == "the library"
    assert not hasattr(importlib.import_module("colorsys"), "whose")


def test_libraries_of_an_environment_within_the_folder_are_not_imported_again() -> None:
    site = Path(".venv/lib/site-packages").absolute()
    lay(f"{site}/made_up_dependency.py")
    text = f"import sys\nsys.path.append({str(site)!r})\nimport made_up_dependency\n"
    first = run("net.py", text).made_up_dependency
    assert load("net.py:Net").made_up_dependency is first
    assert sys.path.count(str(site)) == 1  # what the user's code adds stays, after what was there
    assert sys.path[-1] == str(site)


def test_the_users_code_may_go_elsewhere_and_we_do_not_follow(project: Path) -> None:
    run("net.py", "import os, sys\nos.chdir('/')\nsys.argv = []\nsys.path.clear()\n")
    assert Path.cwd() == project
    assert sys.argv
    assert len(sys.path) > 1


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("my net:Net", "my net is neither a file nor a module name", "FILE.py:NAME"),
        ("nets\\net:Net", "file nets\\net does not exist", None),
        ("net.py", "net.py does not name a network", "use net.py:NAME; it defines Net, make"),
        ("broken.py", "broken.py does not name", "use FILE.py:NAME"),
        ("odd:folder/net.py", "odd:folder/net.py does not name", "use odd:folder/net.py:NAME; it defines Net"),
        ("", "an empty name does not name", "FILE.py:NAME"),
        (":Net", ":Net names no file or module", "FILE.py:NAME"),
        ("folder/thing:Net", "file folder/thing does not exist", None),
        ("C:\\nets\\net.py:Net", "file C:\\nets\\net.py does not exist", "did you mean net.py:Net?"),
        ("none/net.py:Net", "file none/net.py does not exist", "none does not exist either"),
        ("Nett.py:Net", "file Nett.py does not exist", "did you mean net.py:Net?"),
        ("folder/frist.py:Net", "file folder/frist.py does not exist", "did you mean folder/first.py:Net?"),
        ("brokn:Net", "no module named brokn", "did you mean broken? Modules are searched for in the current folder"),
    ],
)
def test_what_a_reference_lacks_and_what_may_have_been_meant(reference: str, message: str, hint: str | None) -> None:
    lay("net.py", "class Net: ...\ndef make(): ...\ndef _inside(): ...\nx = 1\n")
    lay("broken.py", "def (\n")
    lay("odd:folder/net.py", "class Net: ...\n")
    lay("folder/second.py")
    lay("folder/first.py")
    Path("empty").mkdir()
    error = refused(reference)
    assert message in error.message
    assert error.hint is None if hint is None else hint in (error.hint or "")
    assert "_inside" not in (error.hint or "")


def test_a_module_that_lacks_another_is_there_itself() -> None:
    lay("lacking.py", "import no_such_thing_at_all\n")
    error = refused("lacking:Net")
    assert error.message.startswith("importing lacking failed: lacking.py:1: ModuleNotFoundError")
    assert "no_such_thing_at_all" in (error.hint or "")
    lay("half/__init__.py", "import half.other\n")
    assert refused("half:Net").message.startswith("importing half failed: half/__init__.py:1")
