"""Errors raised by the user's code, shown with its own lines; and its prints, kept away from results."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast

import torch

from resnet_cli.errors import ResnetCliError, attempt
from resnet_cli.measure.models.naming.revisions import origin_of
from resnet_cli.suggest import nearest

_PACKAGE = Path(__file__).resolve().parents[2]
_TORCH = Path(torch.__file__).resolve().parent
_PYTHON = tuple(
    Path(folder).resolve()
    for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(os.__file__).parent)}
)
_INSTALLED = ("site-packages", "dist-packages")
_MAX_MESSAGE, _MAX_LINE = 300, 160
_FIRST_FRAMES, _LAST_FRAMES = 3, 6
# Of messages such as "Block.__init__() got …", "Block() takes no arguments" and "'Block' object has no attribute …".
_OF_CLASS = re.compile(r"(\w+)\.__init__\(\)|^(\w+)\(\) takes no arguments|^'(\w+)' object has no attribute")


def user_error(error: BaseException, what: str) -> ResnetCliError:
    """Error message for an exception of the user's code, with the lines of theirs that led to it.

    Args:
        error: the exception.
        what: what failed, such as "the forward of ResNet18".
    """
    frames = frames_of(error)
    place = f"{shown_path(frames[-1].filename)}:{frames[-1].lineno}: " if frames else ""
    return ResnetCliError(f"{what} failed: {place}{_message(error)}", _advice(error), detail=_detail(frames))


@contextlib.contextmanager
def prints_to_stderr() -> Iterator[None]:
    """Redirect standard output to standard error, also for child processes, while the user's code runs."""
    saved = None
    _flush()
    with contextlib.suppress(OSError):  # standard output may be closed
        saved = os.dup(1)
        os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(cast(TextIO, _StandardError())):
            yield
    finally:
        _flush()
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


class _StandardError:
    """Standard error that cannot be closed: a network's code may close what it takes for standard output."""

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def _flush() -> None:
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()


@contextlib.contextmanager
def users_code(what: str) -> Iterator[None]:
    """Turn exceptions of the user's code into errors; signals and this package's own errors pass through."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        is_own = bool(frames) and Path(frames[-1].filename).is_relative_to(_PACKAGE)
        if is_own and isinstance(error, ResnetCliError | SystemExit):
            raise
        raise user_error(error, what) from error


def is_raised_by_user(error: BaseException) -> bool:
    """Whether the user's own code was running when an exception was raised, not this package's."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours = [number for number, name in enumerate(files) if Path(name).resolve().is_relative_to(_PACKAGE)]
    return any(is_users(name) for name in files[ours[-1] + 1 if ours else 0 :])


def frames_of(error: BaseException) -> list[traceback.FrameSummary]:
    """Stack frames in the user's code, outermost first; if there are none, those of libraries other than torch."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.lineno]
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        line = (error.text or "").strip()
        frames.append(traceback.FrameSummary(error.filename, error.lineno, "", lookup_line=False, line=line))
    users = [frame for frame in frames if is_users(frame.filename)]
    return users or [frame for frame in frames if _is_library(frame.filename)]


def is_users(filename: str) -> bool:
    """Whether a file is the user's own code."""
    return _is_library(filename) and not set(_INSTALLED) & set(Path(filename).parts)


def _is_library(filename: str) -> bool:
    """Whether a file belongs neither to this package, nor to torch, nor to Python."""
    if filename.startswith("<"):
        return False
    path = Path(filename).resolve()
    if any(path.is_relative_to(folder) for folder in (_PACKAGE, _TORCH)):
        return False
    return bool(set(_INSTALLED) & set(path.parts)) or not any(path.is_relative_to(folder) for folder in _PYTHON)


def _message(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({error.code!r})"
    text = ""
    with attempt("the text of the user's exception"):  # its __str__ is user code too
        text = error.msg if isinstance(error, SyntaxError) and error.msg else str(error)
    text = " ".join(text.split())
    text = text if len(text) <= _MAX_MESSAGE else f"{text[: _MAX_MESSAGE - 1]}…"
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _advice(error: BaseException) -> str | None:
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return f"install {package} in the environment of resnet-cli, or put it beside the file"
    return _mistyped_init(error)


def _mistyped_init(error: BaseException) -> str | None:
    """A hint where a class has a method like `__int__` in place of `__init__`."""
    match = _OF_CLASS.search(str(error)) if isinstance(error, TypeError | AttributeError) else None
    name = next(filter(None, match.groups()), "") if match else ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for values in (frame.f_locals, frame.f_globals):
            kind = values.get(name, type(values.get("self")))
            if not isinstance(kind, type) or kind.__name__ != name or "__init__" in vars(kind):
                continue
            mistyped = nearest("__init__", [method for method in vars(kind) if method not in vars(object)])
            if mistyped is not None and mistyped.strip("_") != "call":
                return f"{name} defines {mistyped}; did you mean __init__?"
    return None


def _detail(frames: list[traceback.FrameSummary]) -> str | None:
    """File, line number and source line of each frame."""
    shown = [_frame(frame) for frame in frames]
    if len(shown) > _FIRST_FRAMES + _LAST_FRAMES:
        omitted = len(shown) - _FIRST_FRAMES - _LAST_FRAMES
        shown[_FIRST_FRAMES:-_LAST_FRAMES] = [f"  … {omitted} more calls"]
    return "\n".join(shown) or None


def _frame(frame: traceback.FrameSummary) -> str:
    inside = f" in {frame.name}" if frame.name not in ("", "<module>") else ""
    line = (frame.line or "").replace("\t", " ")
    line = line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 1]}…"
    place = f"  {shown_path(frame.filename)}:{frame.lineno}{inside}"
    return f"{place}\n      {line}" if line else place


def shown_path(filename: str) -> str:
    """A path, relative to the current folder if it lies inside; of a file in a revision of git, with the revision."""
    origin = origin_of(Path(filename))
    path = Path(filename).resolve() if origin is None else origin.file
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return str(shown) if origin is None else f"{shown}@{origin.revision}"
