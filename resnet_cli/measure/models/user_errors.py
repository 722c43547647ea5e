"""The user's own code: what it raises, told in its own lines, and what it prints, kept off the results."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable

_OURS = Path(__file__).resolve().parents[2]
_TORCH = Path(torch.__file__).resolve().parent
_PYTHON = tuple(
    Path(folder).resolve()
    for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(os.__file__).parent)}
)
_INSTALLED = ("site-packages", "dist-packages")
_LONGEST_SAYING, _LONGEST_LINE = 300, 160
_FIRST_FRAMES, _LAST_FRAMES = 3, 6


def user_error(error: BaseException, what: str) -> ResnetCliError:
    """A failure in the user's code as one sentence, and the user's own lines that led to it.

    Args:
        error: what was raised.
        what: what failed, such as "the forward of ResNet18".
    """
    frames = frames_of(error)
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


@contextlib.contextmanager
def users_code(what: str) -> Iterator[None]:
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


def frames_of(error: BaseException) -> list[traceback.FrameSummary]:
    """The user's frames, outermost first; where there are none, those of libraries other than torch."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.lineno]
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        line = (error.text or "").strip()
        frames.append(traceback.FrameSummary(error.filename, error.lineno, "", lookup_line=False, line=line))
    users = [frame for frame in frames if is_users(frame.filename)]
    return users or [frame for frame in frames if _is_library(frame.filename)]


def is_users(filename: str) -> bool:
    """Whether a file is the user's own, and no library's."""
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
