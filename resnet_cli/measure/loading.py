"""The user's own network, from a file or a module: whatever goes wrong in there is told in the user's own lines."""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import importlib.machinery
import importlib.util
import inspect
import itertools
import os
import sys
import sysconfig
import traceback
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.quantities import printable

_OURS = Path(__file__).resolve().parents[1]
_TORCH = Path(torch.__file__).resolve().parent
_PYTHON = tuple(
    Path(folder).resolve()
    for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(os.__file__).parent)}
)
_INSTALLED = ("site-packages", "dist-packages")
_LONGEST_SAYING, _LONGEST_LINE = 300, 160
_FIRST_FRAMES, _LAST_FRAMES = 3, 6
_EXAMPLE = "write FILE.py:NAME or PACKAGE.MODULE:NAME, such as --model my_resnet.py:ResNet18"

_number = itertools.count(1)
_siblings: set[str] = set()  # modules that the last load took from the user's folder


def load_model(reference: str, arguments: Mapping[str, Any] = {}) -> tuple[nn.Module, str]:
    """The network that a reference names, and what to call it.

    Args:
        reference: "my_resnet.py:ResNet18" or "package.module:factory", the latter as seen from the current folder;
            it names a network, a class of networks, or a callable that returns one.
        arguments: such as num_classes; a class or callable is given those that its signature takes.

    Raises:
        ResnetCliError: it names no network, or the user's code fails.
    """
    where, name = _split(reference)
    file = _file(where, name)
    if file is None and not all(part.isidentifier() for part in where.split(".")):
        raise ResnetCliError(f"{printable(where)} is neither a file nor the name of a module", _EXAMPLE)
    folders = [str(Path.cwd())] if file is None else _folders(file)
    with _as_if_run(folders, where), prints_to_stderr():
        module = _import_module(where) if file is None else _import_file(file, where)
        found = _attribute(module, name, where)
        return _network(found, name, where, arguments), name.rpartition(".")[2]


def user_error(error: BaseException, what: str) -> ResnetCliError:
    """A failure in the user's code as one sentence, and the user's own lines that led to it.

    Args:
        error: what was raised.
        what: what failed, such as "the forward of ResNet18".
    """
    frames = _frames(error)
    place = f"{_shown(frames[-1].filename)}:{frames[-1].lineno}: " if frames else ""
    return ResnetCliError(f"{what} failed: {place}{_said(error)}", _advice(error), detail=_detail(frames))


@contextlib.contextmanager
def prints_to_stderr() -> Iterator[None]:
    """While the user's code runs: what it prints, and what its child processes print, goes to standard error."""
    saved = None
    _flush()
    with contextlib.suppress(OSError):  # a standard stream may be closed
        saved = os.dup(1)
        os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _flush()
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


def _flush() -> None:
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()


# What the reference names


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
    inside = _defined_in(path) if _is_file(path) else []
    hint = f"write {printable(where)}:NAME; it defines {_listed(inside)}" if inside else _EXAMPLE
    raise ResnetCliError(f"{printable(reference) or 'an empty name'} says not which network it means", hint)


def _file(where: str, name: str) -> Path | None:
    """The file, or None where a module is meant."""
    path = Path(where)
    if _is_file(path):
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
    near = _nearest(path.name, names)
    return f"did you mean {printable(str(path.with_name(near)))}:{printable(name)}?" if near else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False


def _attribute(module: types.ModuleType, name: str, where: str) -> Any:
    found: Any = module
    reached = where
    for part in name.split("."):
        with _users_code(f"reading {part} of {reached}"):
            missing = False
            try:
                found = getattr(found, part)
            except AttributeError:
                missing = True
        if missing:
            raise ResnetCliError(
                f"there is no {printable(part) or 'empty name'} in {printable(reached)}",
                _hint_for_missing(found, part, where),
            )
        reached = part
    return found


def _hint_for_missing(owner: Any, part: str, where: str) -> str | None:
    if isinstance(owner, types.ModuleType):
        here = Path(*where.split(".")).with_suffix(".py")
        known = getattr(owner, "__file__", None)
        is_another = known and not where.endswith(".py") and _is_file(here)
        if is_another and here.resolve() != Path(str(known)).resolve():
            other = "of Python or of a library"
            return f"{where} is also the name of a module {other}; for yours write ./{here.as_posix()}:{part}"
    names = _makers(owner)
    near = _nearest(part, names) or _nearest(part, [name for name in _vars(owner) if not name.startswith("_")])
    if near:
        others = [name for name in names if name != near]
        return f"did you mean {near}?" + (f" There are also {_listed(others)}" if others else "")
    return f"there is {_listed(names)}" if names else f"{printable(where)} defines no network and no function"


def _vars(owner: Any) -> dict[str, Any]:
    names = getattr(owner, "__dict__", {})
    return {name: value for name, value in names.items() if isinstance(name, str)}


def _makers(owner: Any) -> list[str]:
    """Names of networks, classes of networks and functions; the owner's own, or what it imports where it has none."""
    found: dict[str, str] = {}
    for name, value in _vars(owner).items():
        is_class = isinstance(value, type) and issubclass(value, nn.Module)
        if not name.startswith("_") and (is_class or isinstance(value, nn.Module | types.FunctionType)):
            instance = isinstance(value, nn.Module)
            found[name] = getattr(owner, "__name__", "") if instance else str(value.__module__)
    own = [name for name, home in found.items() if home == getattr(owner, "__name__", None)]
    return own or [name for name, home in found.items() if home.partition(".")[0] != "torch"]


def _defined_in(path: Path) -> list[str]:
    """Classes and functions of a file, without running it."""
    with contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError):
        body = ast.parse(path.read_bytes()).body
        definitions = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        return [node.name for node in definitions if not node.name.startswith("_")]
    return []


def _nearest(word: str, names: list[str]) -> str | None:
    lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), lower, n=1)
    return lower[near[0]] if near else None


def _listed(names: list[str], most: int = 8) -> str:
    return ", ".join(map(printable, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")


def _network(found: Any, name: str, where: str, arguments: Mapping[str, Any]) -> nn.Module:
    named = f"{printable(name)} in {printable(where)}"
    hint = "name an nn.Module, a class of them, or a function that returns one"
    with _users_code(f"calling {name}"):
        if isinstance(found, nn.Module):
            return found
        made = _call(found, named, arguments) if callable(found) else None
        if isinstance(made, nn.Module):
            return made
    if not callable(found):
        raise ResnetCliError(f"{named} is {_kind(found)}, not a network", hint)
    raise ResnetCliError(f"{named} returns {_kind(made)}, not a network", hint)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    kind = printable(type(value).__name__)
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _call(maker: Any, named: str, arguments: Mapping[str, Any]) -> Any:
    """Call with those arguments that it takes."""
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):  # written in C
        return maker()
    by_name = {item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}
    takes_any = any(item.kind is item.VAR_KEYWORD for item in parameters)
    known = {key: value for key, value in arguments.items() if key in by_name}
    required = [
        item.name
        for item in parameters
        if item.default is item.empty
        and item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD)
        and item.name not in known
    ]
    if required:
        raise ResnetCliError(
            f"{named} needs arguments that nobody gives it: {_listed(required)}",
            f"name a function that needs none, such as def net(): return {named.partition(' ')[0]}(…)",
        )
    rest = {key: value for key, value in arguments.items() if key not in known} if takes_any else {}
    try:
        return maker(**known, **rest)
    except TypeError as error:
        # **kwargs may lead to a callable that takes less.
        if any(f"unexpected keyword argument '{key}'" in str(error) for key in rest):
            return maker(**known)
        raise


# Importing


def _folders(file: Path) -> list[str]:
    """What a file may import from: its folder, and the folder that holds the outermost package around it."""
    folder = file.parent
    return list(dict.fromkeys([str(folder), str(_climb(folder, _packages_around(folder)))]))


def _packages_around(folder: Path) -> int:
    around = 0
    while folder.name.isidentifier() and _is_file(folder / "__init__.py"):
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
    with _users_code(f"importing {where}"):
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
        with _users_code(f"importing {where}"):
            return importlib.import_module(where)
    except ResnetCliError as error:
        cause = error.__cause__
        lost = cause.name if isinstance(cause, ModuleNotFoundError) and not _frames(cause) else None
        if lost and f"{where}.".startswith(f"{lost}."):
            raise _no_module(where, lost) from cause
        raise


def _no_module(where: str, missing: str) -> ResnetCliError:
    near = _nearest(missing, [file.stem for file in Path.cwd().glob("*.py")])
    hint = f"did you mean {printable(near)}? " if near else ""
    return ResnetCliError(
        f"there is no module {printable(missing)}" + (f", so no {printable(where)}" if missing != where else ""),
        f"{hint}Modules are looked for in the current folder and among those installed; a file is named with its .py",
    )


@contextlib.contextmanager
def _as_if_run(folders: list[str], where: str) -> Iterator[None]:
    """The surroundings of `python FILE` while the user's code is loaded; afterwards those of before."""
    for name in _siblings:
        sys.modules.pop(name, None)  # another folder may have a module of that name
    _siblings.clear()
    importlib.invalidate_caches()
    before, directory, argv = set(sys.modules), Path.cwd(), sys.argv
    sys.path[:0] = folders
    sys.argv = [where]
    try:
        yield
    finally:
        sys.argv = argv
        for folder in folders:
            with contextlib.suppress(ValueError):  # the user's code may have changed it
                sys.path.remove(folder)
        os.chdir(directory)
        for name in set(sys.modules) - before:
            if _is_from(sys.modules[name], folders) and not name.startswith("resnet_cli_model_"):
                _siblings.add(name)


def _is_from(module: Any, folders: list[str]) -> bool:
    """Whether a module is the user's own, in one of the folders; a virtual environment in there is not."""
    with contextlib.suppress(Exception):  # a module may be an object that answers anything
        place = module.__file__ or next(iter(module.__path__))
        return _is_users(place) and any(Path(place).resolve().is_relative_to(folder) for folder in folders)
    return False


# Failures


@contextlib.contextmanager
def _users_code(what: str) -> Iterator[None]:
    """Failures of the user's code as errors; Ctrl-C and SIGTERM, and errors that are ours, as they are."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        raised_by_us = bool(frames) and Path(frames[-1].filename).is_relative_to(_OURS)
        if raised_by_us and isinstance(error, ResnetCliError | SystemExit):
            raise
        raise user_error(error, printable(what)) from error


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The user's frames, outermost first; where there are none, those of libraries other than torch."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.lineno]
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        line = (error.text or "").strip()
        frames.append(traceback.FrameSummary(error.filename, error.lineno, "", lookup_line=False, line=line))
    users = [frame for frame in frames if _is_users(frame.filename)]
    return users or [frame for frame in frames if _is_library(frame.filename)]


def _is_users(filename: str) -> bool:
    return _is_library(filename) and not set(_INSTALLED) & set(Path(filename).parts)


def _is_library(filename: str) -> bool:
    """Whether a file is neither ours, nor torch's, nor Python's own."""
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    if any(path.is_relative_to(folder) for folder in (_OURS, _TORCH)):
        return False
    return bool(set(_INSTALLED) & set(path.parts)) or not any(path.is_relative_to(folder) for folder in _PYTHON)


def _said(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({printable(repr(error.code))})"
    try:
        text = error.msg if isinstance(error, SyntaxError) and error.msg else str(error)
    except Exception:  # its __str__ is the user's code too
        text = ""
    text = " ".join(text.split())
    text = text if len(text) <= _LONGEST_SAYING else f"{text[: _LONGEST_SAYING - 1]}…"
    name = type(error).__name__
    return printable(f"{name}: {text}" if text else name)


def _advice(error: BaseException) -> str | None:
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = printable(error.name.partition(".")[0])
        return f"install {package} where resnet-cli is installed, or put it beside the file"
    return None


def _detail(frames: list[traceback.FrameSummary]) -> str | None:
    """Where each frame is, and its source line."""
    shown = [_frame(frame) for frame in frames]
    if len(shown) > _FIRST_FRAMES + _LAST_FRAMES:
        left_out = len(shown) - _FIRST_FRAMES - _LAST_FRAMES
        shown[_FIRST_FRAMES:-_LAST_FRAMES] = [f"  … {left_out} calls more"]
    return "\n".join(shown) or None


def _frame(frame: traceback.FrameSummary) -> str:
    inside = f" in {printable(frame.name)}" if frame.name not in ("", "<module>") else ""
    line = printable((frame.line or "").replace("\t", " "))
    line = line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"
    place = f"  {_shown(frame.filename)}:{frame.lineno}{inside}"
    return f"{place}\n      {line}" if line else place


def _shown(filename: str) -> str:
    """A path as seen from the current folder, if it lies in there."""
    path = Path(filename).resolve()
    return printable(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))
