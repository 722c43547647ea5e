"""Imports what `FILE.py:NAME` and `package.module:NAME` refer to, in the environment of `python FILE.py`."""

from __future__ import annotations

import ast
import contextlib
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
from resnet_cli.measure.models.naming.grammar import FORMS, NetworkName
from resnet_cli.measure.models.naming.revisions import file_at, has_submodules
from resnet_cli.measure.models.user_errors import frames_of, is_users, users_code
from resnet_cli.suggest import nearest

_EXAMPLE = f"use {FORMS}"

_number = itertools.count(1)
_user_modules: set[str] = set()  # modules that the last load imported from the user's folder


@contextlib.contextmanager
def imported(network: NetworkName) -> Iterator[types.ModuleType]:
    """The module that the name of a network leads to.

    Inside the context, sys.path, sys.argv and the current folder are as `python FILE` has them.

    Args:
        network: of the kind "python".

    Raises:
        ResnetCliError: no such file, module or revision, or the user's code raises.
    """
    where = network.where
    _check_named(network)
    file = _file_of_revision(network) if network.revision is not None else _file(where, network.name)
    if file is None and not all(part.isidentifier() for part in where.split(".")):
        raise ResnetCliError(f"{where} is neither a file nor a module name", _EXAMPLE)
    folders = [str(Path.cwd())] if file is None else _folders(file)
    with _python_file_environment(folders, where):
        yield _import_module(where) if file is None else _import_file(file, where, in_revision=bool(network.revision))


def _check_named(network: NetworkName) -> None:
    """Check that there is a name behind the file or module."""
    where = network.where
    if network.name and where:
        return
    if network.name:
        raise ResnetCliError(f"{network.text} names no file or module", _EXAMPLE)
    path = Path(where)
    inside = _defined_in(path) if is_file(path) else []
    hint = f"use {where}:NAME; it defines {listed(inside)}" if inside else _EXAMPLE
    raise ResnetCliError(f"{network.text or 'an empty name'} does not name a network", hint)


def _file_of_revision(network: NetworkName) -> Path:
    """The file as it was then; a module is searched for in the current folder alone."""
    where, revision = Path(network.where), str(network.revision)
    if where.suffix == ".py":
        return file_at(where, revision)
    parts = network.where.split(".")
    try:
        return file_at(Path(*parts).with_suffix(".py"), revision)
    except ResnetCliError:
        if not is_file(Path(*parts, "__init__.py")):
            raise
        return file_at(Path(*parts, "__init__.py"), revision)


def _file(where: str, name: str) -> Path | None:
    """The file, or None if the text names a module."""
    path = Path(where)
    if is_file(path):
        return path.resolve()
    looks_like_path = where.endswith(".py") or "/" in where or "\\" in where
    if not looks_like_path:
        return None
    with contextlib.suppress(OSError, ValueError):
        if path.is_dir():
            inside = sorted(file.name for file in path.glob("*.py"))
            example = path / (inside[0] if inside else "my_resnet.py")
            raise ResnetCliError(
                f"{where} is a folder",
                f"name a file in it, such as {example}:{name}",
            )
    raise ResnetCliError(f"file {where} does not exist", _near_file(path, name))


def _near_file(path: Path, name: str) -> str | None:
    names: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        names = [file.name for file in path.parent.glob("*.py")]
        if not path.parent.is_dir():
            return f"folder {path.parent} does not exist either"
    near = nearest(path.name, names)
    return f"did you mean {path.with_name(near)}:{name}?" if near else None


def is_file(path: Path) -> bool:
    """Whether the path is a file; False for names that cannot be paths."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or contains NUL
        return False


def _defined_in(path: Path) -> list[str]:
    """Classes and functions of a file, without running it."""
    with contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError):
        body = ast.parse(path.read_bytes()).body
        definitions = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        return [node.name for node in definitions if not node.name.startswith("_")]
    return []


def listed(names: list[str], limit: int = 8) -> str:
    """Names separated by commas, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _folders(file: Path) -> list[str]:
    """Import path of a file: its folder, and the one that holds the outermost package around it."""
    folder = file.parent
    return list(dict.fromkeys([str(folder), str(_ancestor(folder, _packages_around(folder)))]))


def _packages_around(folder: Path) -> int:
    count = 0
    while folder.name.isidentifier() and is_file(folder / "__init__.py"):
        count, folder = count + 1, folder.parent
    return count


def _ancestor(folder: Path, levels: int) -> Path:
    return folder if levels == 0 else _ancestor(folder.parent, levels - 1)


def _relative_levels(file: Path) -> int:
    """Number of dots in the file's relative imports; 0 if it has none."""
    with contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError):
        imports = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.ImportFrom)]
        return max((node.level for node in imports), default=0)
    return 0


def _import_file(file: Path, where: str, *, in_revision: bool = False) -> types.ModuleType:
    """Run the file under a unique module name, so that it does not collide with another module."""
    try:
        return _run_file(file, where)
    except ResnetCliError as error:
        if not (in_revision and isinstance(error.__cause__, ModuleNotFoundError) and has_submodules(file)):
            raise
        hint = "files in a submodule of git are not part of a revision of this repository"
        raise ResnetCliError(error.message, hint, detail=error.detail) from error.__cause__


def _run_file(file: Path, where: str) -> types.ModuleType:
    root = f"resnet_cli_model_{next(_number)}"
    parent = ""
    with users_code(f"importing {where}"):
        levels = _relative_levels(file)
        if levels:
            parent = _make_package(root, file.parent, max(_packages_around(file.parent), levels - 1))
        name = f"{parent}.{file.stem}" if parent else root
        if name in sys.modules:  # already imported by the __init__ of its package
            return sys.modules[name]
        loader = importlib.machinery.SourceFileLoader(name, str(file))
        spec = importlib.util.spec_from_file_location(name, file, loader=loader)
        assert spec is not None  # a loader was given
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loader.exec_module(module)
    return module


def _make_package(root: str, folder: Path, levels: int) -> str:
    """Make a package for the folder that relative imports start from, and return its name."""
    package = types.ModuleType(root)
    package.__path__ = [str(_ancestor(folder, levels))]
    sys.modules[root] = package
    inner = [_ancestor(folder, level).name for level in reversed(range(levels))]
    name = ".".join([root, *inner])
    importlib.import_module(name)
    return name


def _import_module(where: str) -> types.ModuleType:
    try:
        with users_code(f"importing {where}"):
            return importlib.import_module(where)
    except ResnetCliError as error:
        cause = error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) and not frames_of(cause) else None
        if missing and f"{where}.".startswith(f"{missing}."):
            raise _no_module(where, missing) from cause
        raise


def _no_module(where: str, missing: str) -> ResnetCliError:
    near = nearest(missing, [file.stem for file in Path.cwd().glob("*.py")])
    hint = f"did you mean {near}? " if near else ""
    return ResnetCliError(
        f"no module named {missing}" + (f", needed for {where}" if missing != where else ""),
        f"{hint}Modules are searched for in the current folder and installed packages; name a file with its .py",
    )


@contextlib.contextmanager
def _python_file_environment(folders: list[str], where: str) -> Iterator[None]:
    """Set sys.path, sys.argv and the working directory as `python FILE` does, and restore them afterwards."""
    for name in _user_modules:
        sys.modules.pop(name, None)  # another folder may have modules of these names
    _user_modules.clear()
    importlib.invalidate_caches()
    before, paths, directory, argv = set(sys.modules), list(sys.path), Path.cwd(), sys.argv
    sys.path[:0] = folders
    sys.argv = [where]
    try:
        yield
    finally:
        sys.argv = argv
        # Keep what the user's code added, behind the original entries.
        added = [place for place in sys.path if place not in paths and place not in folders]
        sys.path[:] = [*paths, *dict.fromkeys(added)]
        os.chdir(directory)
        for name in set(sys.modules) - before:
            if not _is_from(sys.modules[name], folders) or name.startswith("resnet_cli_model_"):
                continue
            if _is_also_elsewhere(name, folders):
                del sys.modules[name]
            else:
                _user_modules.add(name)


def _is_also_elsewhere(name: str, folders: list[str]) -> bool:
    """Whether a module of the user's folder shadows one of Python or of a library that may still be needed."""
    outermost = name.partition(".")[0]
    if outermost in sys.stdlib_module_names:
        return True
    spec = importlib.machinery.PathFinder.find_spec(outermost)
    place = spec.origin if spec is not None else None
    return place is not None and not any(Path(place).resolve().is_relative_to(folder) for folder in folders)


def _is_from(module: Any, folders: list[str]) -> bool:
    """Whether a module is the user's own code in one of the folders, not a virtual environment inside."""
    # The dictionary, because sys.modules may hold arbitrary objects, whose attributes are code of their own.
    attributes = module.__dict__ if isinstance(module, types.ModuleType) else {}
    places = [attributes.get("__file__"), *(attributes.get("__path__") or ())]
    place = next(filter(None, places), None)
    if not isinstance(place, str) or not is_users(place):
        return False
    return any(Path(place).resolve().is_relative_to(folder) for folder in folders)
