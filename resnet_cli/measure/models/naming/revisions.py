"""Files as they were in a revision of git, beside the working tree, which stays as it is."""

from __future__ import annotations

import functools
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from resnet_cli.errors import ResnetCliError

_SECONDS = 120  # no git command takes so long, unless it waits for something


class Origin(NamedTuple):
    """Where a file of a revision belongs."""

    file: Path  # in the working tree, whether it is there or not
    revision: str  # as the user wrote it


_origins: dict[Path, Origin] = {}  # by folder with the files of a revision: the top folder of the working tree


def file_at(file: Path, revision: str) -> Path:
    """A file as it was in a revision, among all other files of its repository as they were then.

    Args:
        file: in a working tree of git; it need not exist there any more.
        revision: anything that git understands, such as HEAD~1, a tag or a hash.

    Raises:
        ResnetCliError: no git, no repository, no such revision, or the file is not in it.
    """
    folder = next(parent for parent in file.absolute().parents if parent.is_dir())
    top = Path(_git(folder, "rev-parse", "--show-toplevel", failure=f"{file} is not in a git repository"))
    commit = _git(
        folder,
        *("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"),
        failure=f"the repository of {file.name} has no revision {revision!r}",
        hint="git log --oneline lists them",
    )
    inside = (folder.resolve() / file.absolute().relative_to(folder)).relative_to(top.resolve())
    tree = _tree(top, commit)
    _origins.setdefault(tree.resolve(), Origin(top, revision))
    found = tree / inside
    if not found.is_file():
        raise ResnetCliError(
            f"{inside.as_posix()} is not in revision {revision}",
            "git log --follow -- FILE lists the revisions that changed a file",
        )
    return found


def origin_of(file: Path) -> Origin | None:
    """Where a file belongs; None where it is none that `file_at` returned, or beside such a file."""
    path = file.resolve()
    for tree, (top, revision) in _origins.items():
        if path.is_relative_to(tree):
            return Origin(top / path.relative_to(tree), revision)
    return None


def has_submodules(file: Path) -> bool:
    """Whether files of the tree that `file_at` returned are missing, since git keeps them in other repositories."""
    return any((parent / ".gitmodules").is_file() for parent in file.parents)


@functools.cache
def _folder(top: Path, commit: str) -> tempfile.TemporaryDirectory[str]:
    """All files of a commit; the folder lives as long as the process, since a forward may import from it later."""
    content = _output(top, "archive", "--format=tar", commit)
    folder = tempfile.TemporaryDirectory(prefix="resnet-cli-", ignore_cleanup_errors=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder.name)
    return folder


def _tree(top: Path, commit: str) -> Path:
    try:
        return Path(_folder(top, commit).name)
    except (OSError, tarfile.TarError) as error:
        raise ResnetCliError(f"the files of {commit[:10]} cannot be read: {error}") from error
    except subprocess.CalledProcessError as error:
        raise ResnetCliError(f"git archive failed: {_reason(error)}") from error


def _git(folder: Path, *arguments: str, failure: str, hint: str | None = None) -> str:
    try:
        return _output(folder, *arguments).decode(errors="replace").strip()
    except FileNotFoundError as error:
        raise ResnetCliError("a revision needs git, which is not installed") from error
    except subprocess.CalledProcessError as error:
        raise ResnetCliError(f"{failure}{': ' if (reason := _reason(error)) else ''}{reason}", hint) from error
    except subprocess.TimeoutExpired as error:
        raise ResnetCliError(f"git {arguments[0]} does not end") from error


def _output(folder: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS).stdout


def _reason(error: subprocess.CalledProcessError) -> str:
    lines = bytes(error.stderr or b"").decode(errors="replace").strip().splitlines()
    reason = lines[-1].removeprefix("fatal: ")[:200] if lines else ""
    return "" if reason.startswith("not a git repository") else reason
