"""What `FILE.py:NAME` and `package.module:NAME` refer to: the file or module, found and imported as if it were run."""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import importlib.machinery
import importlib.util
import itertools
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.measure.models.user_errors import frames_of, is_users, users_code

_EXAMPLE = "write FILE.py:NAME or PACKAGE.MODULE:NAME, such as --model my_resnet.py:ResNet18"

_number = itertools.count(1)
_siblings: set[str] = set()  # modules that the last load took from the user's folder


@contextlib.contextmanager
def imported(reference: str) -> Iterator[tuple[types.ModuleType, str, str]]:
    """The module that a reference speaks of, the name inside it, and where it is, as the user wrote that.

    Inside the context sys.path, sys.argv and the current folder are as `python FILE` has them.

    Args:
        reference: "my_resnet.py:ResNet18" or "package.module:factory".

    Raises:
        ResnetCliError: there is no such file or module, or the user's code fails.
    """
    where, name = _split(reference)
    file = _file(where, name)
    if file is None and not all(part.isidentifier() for part in where.split(".")):
        raise ResnetCliError(f"{printable(where)} is neither a file nor the name of a module", _EXAMPLE)
    folders = [str(Path.cwd())] if file is None else _folders(file)
    with _python_file_environment(folders, where):
        yield (_import_module(where) if file is None else _import_file(file, where)), name, where


def _split(reference: str) -> tuple[str, str]:
    """File or module, and the name inside it; the last colon divides, since C:\\my_resnet.py has one too."""
    where, colon, name = reference.rpartition(":")
    if not colon or "/" in name or "\\" in name:
        where, name = reference, ""
    elif name and not where:
        raise ResnetCliError(f"{printable(reference)} says not where {printable(name)} is", _EXAMPLE)
    if name:
        return where, name
    path = Path(where)
    inside = _defined_in(path) if is_file(path) else []
    hint = f"write {printable(where)}:NAME; it defines {listed(inside)}" if inside else _EXAMPLE
    raise ResnetCliError(f"{printable(reference) or 'an empty name'} says not which network it means", hint)


def _file(where: str, name: str) -> Path | None:
    """The file, or None where a module is meant."""
    path = Path(where)
    if is_file(path):
        return path.resolve()
    looks_like_path = where.endswith(".py") or "/" in where or "\\" in where
    if not looks_like_path:
        return None
    with contextlib.suppress(OSError, ValueError):
        if path.is_dir():
            inside = sorted(file.name for file in path.glob("*.py"))
            example = printable(str(path / inside[0])) if inside else f"{printable(str(path / 'my_resnet.py'))}"
            raise ResnetCliError(
                f"{printable(where)} is a folder, not a file",
                f"name a file in it, such as {example}:{printable(name)}",
            )
    raise ResnetCliError(f"there is no file {printable(where)}", _near_file(path, name))


def _near_file(path: Path, name: str) -> str | None:
    names: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        names = [file.name for file in path.parent.glob("*.py")]
        if not path.parent.is_dir():
            return f"there is no folder {printable(str(path.parent))} either"
    near = nearest(path.name, names)
    return f"did you mean {printable(str(path.with_name(near)))}:{printable(name)}?" if near else None


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that cannot be one is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False


def _defined_in(path: Path) -> list[str]:
    """Classes and functions of a file, without running it."""
    with contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError):
        body = ast.parse(path.read_bytes()).body
        definitions = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        return [node.name for node in definitions if not node.name.startswith("_")]
    return []


def nearest(word: str, names: list[str]) -> str | None:
    """The name that may have been meant."""
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    return lower[near[0]] if near else None


def listed(names: list[str], most: int = 8) -> str:
    """Names with commas, and how many more there are."""
    return ", ".join(map(printable, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def _folders(file: Path) -> list[str]:
    """What a file may import from: its folder, and the folder that holds the outermost package around it."""
    folder = file.parent
    return list(dict.fromkeys([str(folder), str(_climb(folder, _packages_around(folder)))]))


def _packages_around(folder: Path) -> int:
    around = 0
    while folder.name.isidentifier() and is_file(folder / "__init__.py"):
        around, folder = around + 1, folder.parent
    return around


def _climb(folder: Path, levels: int) -> Path:
    return folder if levels == 0 else _climb(folder.parent, levels - 1)


def _relative_levels(file: Path) -> int:
    """Dots of the file's relative imports; 0: it has none."""
    with contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError):
        imports = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.ImportFrom)]
        return max((node.level for node in imports), default=0)
    return 0


def _import_file(file: Path, where: str) -> types.ModuleType:
    """Run the file under a name of its own, so that it neither hides nor is hidden by another module."""
    root = f"resnet_cli_model_{next(_number)}"
    parent = ""
    with users_code(f"importing {where}"):
        levels = _relative_levels(file)
        if levels:
            parent = _make_package(root, file.parent, max(_packages_around(file.parent), levels - 1))
        name = f"{parent}.{file.stem}" if parent else root
        if name in sys.modules:  # the package's __init__ imports it
            return sys.modules[name]
        loader = importlib.machinery.SourceFileLoader(name, str(file))
        spec = importlib.util.spec_from_file_location(name, file, loader=loader)
        assert spec is not None  # a loader was given
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loader.exec_module(module)
    return module


def _make_package(root: str, folder: Path, levels: int) -> str:
    """A package around a folder that relative imports start from; its name."""
    package = types.ModuleType(root)
    package.__path__ = [str(_climb(folder, levels))]
    sys.modules[root] = package
    inner = [_climb(folder, level).name for level in reversed(range(levels))]
    name = ".".join([root, *inner])
    importlib.import_module(name)
    return name


def _import_module(where: str) -> types.ModuleType:
    try:
        with users_code(f"importing {where}"):
            return importlib.import_module(where)
    except ResnetCliError as error:
        cause = error.__cause__
        lost = cause.name if isinstance(cause, ModuleNotFoundError) and not frames_of(cause) else None
        if lost and f"{where}.".startswith(f"{lost}."):
            raise _no_module(where, lost) from cause
        raise


def _no_module(where: str, missing: str) -> ResnetCliError:
    near = nearest(missing, [file.stem for file in Path.cwd().glob("*.py")])
    hint = f"did you mean {printable(near)}? " if near else ""
    return ResnetCliError(
        f"there is no module {printable(missing)}" + (f", so no {printable(where)}" if missing != where else ""),
        f"{hint}Modules are looked for in the current folder and among those installed; a file is named with its .py",
    )


@contextlib.contextmanager
def _python_file_environment(folders: list[str], where: str) -> Iterator[None]:
    """The surroundings of `python FILE` while the user's code is loaded; afterwards those of before."""
    for name in _siblings:
        sys.modules.pop(name, None)  # another folder may have a module of that name
    _siblings.clear()
    importlib.invalidate_caches()
    before, paths, directory, argv = set(sys.modules), list(sys.path), Path.cwd(), sys.argv
    sys.path[:0] = folders
    sys.argv = [where]
    try:
        yield
    finally:
        sys.argv = argv
        # What the user's code has added stays, after what it must not take away.
        added = [place for place in sys.path if place not in paths and place not in folders]
        sys.path[:] = [*paths, *dict.fromkeys(added)]
        os.chdir(directory)
        for name in set(sys.modules) - before:
            if not _is_from(sys.modules[name], folders) or name.startswith("resnet_cli_model_"):
                continue
            if _is_also_elsewhere(name, folders):
                del sys.modules[name]
            else:
                _siblings.add(name)


def _is_also_elsewhere(name: str, folders: list[str]) -> bool:
    """Whether a module of the user's folder hides one of Python or of a library, which we may still want to import."""
    outermost = name.partition(".")[0]
    if outermost in sys.stdlib_module_names:
        return True
    spec = importlib.machinery.PathFinder.find_spec(outermost)
    place = spec.origin if spec is not None else None
    return place is not None and not any(Path(place).resolve().is_relative_to(folder) for folder in folders)


def _is_from(module: Any, folders: list[str]) -> bool:
    """Whether a module is the user's own, in one of the folders; a virtual environment in there is not."""
    with contextlib.suppress(Exception):  # a module may be an object that answers anything
        place = module.__file__ or next(iter(module.__path__))
        return is_users(place) and any(Path(place).resolve().is_relative_to(folder) for folder in folders)
    return False
