"""Bytes on their way out: a file is there whole or not at all, and a closed pipe is no error."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn, TextIO

from resnet_cli import signals
from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.user_files import PATIENCE_S

STDOUT = "-"
_PREFIX = ".resnet-cli-"
_LOOK_AGAIN_S = 0.02


def is_stdout(output: str | None) -> bool:
    """Whether an `--output` means standard output; opening /dev/stdout would empty a file that it leads to."""
    return output in (None, STDOUT) or _descriptor(output) == 1


def check_file(output: str) -> None:
    """Find out before any work is done whether a file can be written.

    Raises:
        ResnetCliError: it cannot.
    """
    with _as_error(output):
        number = _descriptor(output)
        if number is not None:
            os.fstat(number)
            return
        target = _target(output)
        if _is_special(target):
            _check_special(output, target)
        else:
            with signals.deferred():
                descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=target.parent)
                os.close(descriptor)
                Path(name).unlink()


def write_file(output: str, content: bytes) -> None:
    """Write a whole file in one step: until then, and after any failure, what was there stays.

    Raises:
        ResnetCliError: it cannot be written.
    """
    with _as_error(output):
        number = _descriptor(output)
        if number is not None:
            _write_into(os.dup(number), content)
            return
        target = _target(output)
        if _is_special(target):
            _check_special(output, target)
            _write_into(_opened(target), content)
        else:
            _replace(target, content)


def write_through(output: str, write: Callable[[str], None]) -> int:
    """Let something else write a file, beside its place and then into it in one step.

    Args:
        output: the file; a device or a pipe will not do.
        write: writes to the path that it is given.

    Returns:
        Its size in bytes.

    Raises:
        ResnetCliError: it cannot be written.
    """
    with _as_error(output):
        target = _target(output)
        if _descriptor(output) is not None or _is_special(target):
            _refuse(output, "it is no regular file")
        with _beside(target) as temporary:
            write(str(temporary))
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
                return os.fstat(file.fileno()).st_size


def write_stdout(text: str, stream: TextIO | None = None, *, encoding: str | None = None) -> None:
    """Write to standard output and see that it arrives.

    Args:
        text: what to write.
        stream: where to; None: sys.stdout.
        encoding: that of the format; None: that of the stream.

    Raises:
        ResnetCliError: it cannot be written, because the disk is full for example.
        SystemExit: 0, the reader has closed the pipe.
    """
    if encoding is not None:
        write_bytes(text.encode(encoding, "backslashreplace"), stream)
        return
    with guarded(sys.stdout if stream is None else stream) as out:
        out.write(text)


def write_bytes(content: bytes, stream: TextIO | None = None) -> None:
    """The same with bytes, past the stream's own encoding; a stream that takes text alone gets them as UTF-8.

    Raises:
        ResnetCliError: they cannot be written.
        SystemExit: 0, the reader has closed the pipe.
    """
    with guarded(sys.stdout if stream is None else stream) as out:
        buffer = getattr(out, "buffer", None)
        if buffer is None:
            out.write(content.decode("utf-8", "backslashreplace"))
        else:
            out.flush()
            _write_all(buffer, content)


def check_stdout() -> None:
    """Find out before any work is done whether there is a standard output at all.

    Raises:
        ResnetCliError: it is closed.
    """
    _open(sys.stdout)


def drop_unwritten() -> None:
    """What standard output could not take goes nowhere, or Python would try it again, and complain, as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        _turn_away(sys.stdout)


def _open(stream: TextIO | None) -> TextIO:
    if stream is None or stream.closed:
        raise ResnetCliError("standard output is closed", "write to a file with --output")
    return stream


@contextlib.contextmanager
def guarded(stream: TextIO | None) -> Iterator[TextIO]:
    """Standard output, flushed at the end; a failure is told once, and not again when Python closes it."""
    stream = _open(stream)
    try:
        yield stream
        stream.flush()
    except BrokenPipeError:
        _turn_away(stream)
        raise SystemExit(0) from None
    except OSError as error:
        _turn_away(stream)
        raise ResnetCliError(
            f"cannot write to standard output: {error.strerror or error}", "write elsewhere with --output"
        ) from None


def _turn_away(stream: TextIO) -> None:
    """Let what is still in the stream's buffer go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _write_all(buffer: BinaryIO, content: bytes) -> None:
    """All of it, also where Python runs unbuffered and one write may take a part."""
    rest = memoryview(content)
    while rest:
        rest = rest[buffer.write(rest) :]


@contextlib.contextmanager
def _as_error(output: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _refuse(output, error.strerror or str(error))
    except ValueError as error:  # a NUL in the name
        _refuse(output, str(error))


def _refuse(output: str, why: str) -> NoReturn:
    why = why[:1].lower() + why[1:]
    raise ResnetCliError(
        f"cannot write {printable(output)}: {why}",
        "name a file in a folder that exists and that you may write to, or - for standard output",
    )


def _target(output: str) -> Path:
    """The file behind the name, links followed."""
    if not output:
        _refuse(output, "the name is empty")
    target = Path(os.path.realpath(output))
    if target.is_symlink():
        _refuse(output, "it is a link that leads back to itself")
    if target.is_dir() or output.endswith(("/", os.sep)):
        _refuse(output, "it is a folder")
    if not target.parent.is_dir():
        _refuse(output, f"there is no folder {printable(str(target.parent))}")
    if target.exists() and not os.access(target, os.W_OK):
        _refuse(output, "it may not be written to")
    return target


def _is_special(target: Path) -> bool:
    """Whether it is a device, a pipe or the like, which another file must not take the place of."""
    return target.exists() and not target.is_file()


def _check_special(output: str, target: Path) -> None:
    if stat.S_ISSOCK(target.stat().st_mode):
        _refuse(output, "it is a socket")


def _opened(target: Path) -> int:
    """A device or a pipe, open for writing; a pipe is given some time to find a reader."""
    if not stat.S_ISFIFO(target.stat().st_mode):
        return os.open(target, os.O_WRONLY)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() >= deadline:
                raise OSError(errno.ENXIO, "nobody reads from this pipe") from None
            time.sleep(_LOOK_AGAIN_S)
        else:
            os.set_blocking(descriptor, True)
            return descriptor


def _write_into(descriptor: int, content: bytes) -> None:
    """Write into a device, a named pipe or an open descriptor; a reader that has gone away is no error."""
    with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "wb", buffering=0) as raw:
        _write_all(raw, content)


def _descriptor(output: str | None) -> int | None:
    """The descriptor that a name such as /dev/stdout stands for."""
    named = {"/dev/stdout": 1, "/dev/stderr": 2}
    match = re.fullmatch(r"/(?:dev|proc/self)/fd/([0-9]{1,6})", output or "")
    return int(match[1]) if match else named.get(output or "")


def _replace(target: Path, content: bytes) -> None:
    with _beside(target) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """An empty file beside a file, put in its place at the end: readers see the old file or the new one."""
    temporary: Path | None = None
    try:
        with signals.deferred():
            descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=target.parent)
            temporary = Path(name)
            os.close(descriptor)
        yield temporary
        temporary.chmod(_mode(target))
        temporary.replace(target)
    except BaseException:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise


def _mode(target: Path) -> int:
    """The rights of the file that is replaced, or those that a new file would get."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
