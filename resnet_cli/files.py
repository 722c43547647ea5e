"""Files that the user names, and standard output.

Only regular files are read and written. Files are written atomically; a closed pipe is no error.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TextIO

from resnet_cli.errors import ResnetCliError

STDOUT = "-"
_PREFIX = ".resnet-cli-"


def is_stdout(output: str | None) -> bool:
    """Whether an output means standard output; opening /dev/stdout would empty a file that it leads to."""
    return output in (None, STDOUT, "/dev/stdout")


def exists(path: str) -> bool:
    """Whether there is such a file; False for a name that is too long or has a NUL."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def read_bytes(path: str, limit: int) -> bytes:
    """The content of a regular file.

    Args:
        path: its name.
        limit: bytes that it may have.

    Raises:
        OSError: it cannot be read, is larger, or is no regular file.
        ValueError: the path has a NUL.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  # a NUL has to raise
        raise OSError(errno.EINVAL, "not a regular file")
    with open(path, "rb") as file:  # noqa: PTH123
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit // 10**6} MB")
    return content


def check_file(output: str) -> None:
    """Find out before any work is done whether a file can be written.

    Raises:
        ResnetCliError: it cannot.
    """
    with _as_error(output):
        target = _target(output)
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=target.parent)
        os.close(descriptor)
        Path(name).unlink()


def write_file(output: str, content: bytes) -> None:
    """Write a file in one step: until then, and after any failure, what was there stays.

    Raises:
        ResnetCliError: it cannot be written.
    """
    write_through(output, lambda path: Path(path).write_bytes(content))


def write_through(output: str, write: Callable[[str], object]) -> int:
    """Let a function write a temporary file beside a file, then put it in its place in one step.

    Args:
        output: the file.
        write: writes to the path that it is given.

    Returns:
        The size in bytes.

    Raises:
        ResnetCliError: it cannot be written.
    """
    with _as_error(output):
        target = _target(output)
        with _temporary(target) as temporary:
            write(str(temporary))
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
                return os.fstat(file.fileno()).st_size


def write_stdout(content: bytes, stream: TextIO | None = None) -> None:
    """Write bytes to standard output, past the stream's encoding, and see that they arrive.

    Args:
        content: the bytes; a stream that takes text alone gets them as UTF-8.
        stream: where to; None: sys.stdout.

    Raises:
        ResnetCliError: they cannot be written, because the disk is full for example.
        SystemExit: 0, the reader has closed the pipe.
    """
    with guarded(sys.stdout if stream is None else stream) as out:
        buffer = getattr(out, "buffer", None)
        if buffer is None:
            out.write(content.decode("utf-8", "backslashreplace"))
            return
        out.flush()
        rest = memoryview(content)
        while rest:  # where Python runs unbuffered, one write may take a part
            rest = rest[buffer.write(rest) :]


def check_stdout() -> None:
    """Find out before any work is done whether there is a standard output at all.

    Raises:
        ResnetCliError: it is closed.
    """
    _open(sys.stdout)


def drop_unwritten() -> None:
    """Discard what standard output could not take; Python would try, and complain, once more as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_buffer(sys.stdout)


@contextlib.contextmanager
def guarded(stream: TextIO | None) -> Iterator[TextIO]:
    """Standard output, flushed at the end; a failure is reported once, and not again when Python closes it.

    Raises:
        ResnetCliError: it cannot be written to.
        SystemExit: 0, the reader has closed the pipe.
    """
    stream = _open(stream)
    try:
        yield stream
        stream.flush()
    except BrokenPipeError:
        _discard_buffer(stream)
        raise SystemExit(0) from None
    except OSError as error:
        _discard_buffer(stream)
        raise ResnetCliError(
            f"cannot write to standard output: {error.strerror or error}", "write to a file with `output`"
        ) from None


def _open(stream: TextIO | None) -> TextIO:
    if stream is None or stream.closed:
        raise ResnetCliError("standard output is closed", "write to a file with `output`")
    return stream


def _discard_buffer(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def _as_error(output: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _refuse(output, error.strerror or str(error))
    except ValueError as error:  # a NUL in the name
        _refuse(output, str(error))


def _refuse(output: str, reason: str) -> NoReturn:
    raise ResnetCliError(
        f"cannot write {output}: {reason[:1].lower()}{reason[1:]}",
        "name a regular file in an existing, writable folder",
    )


def _target(output: str) -> Path:
    """The file behind the name, links followed."""
    if not output:
        _refuse(output, "the name is empty")
    target = Path(os.path.realpath(output))
    if target.is_dir() or output.endswith(("/", os.sep)):
        _refuse(output, "it is a folder")
    if not target.parent.is_dir():
        _refuse(output, f"there is no folder {target.parent}")
    if target.is_symlink() or (target.exists() and not target.is_file()):  # still a link: it leads back to itself
        _refuse(output, "it is not a regular file")
    if target.exists() and not os.access(target, os.W_OK):
        _refuse(output, "it is write-protected")
    return target


@contextlib.contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """An empty file beside a file, put in its place at the end: readers see the old file or the new one."""
    descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=target.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(_mode(target))
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _mode(target: Path) -> int:
    """The permissions of the file that is replaced, or those that a new file would get."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
