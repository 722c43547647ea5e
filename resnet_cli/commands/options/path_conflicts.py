"""Files that a command reads and files that it writes."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from resnet_cli.errors import ResnetCliError
from resnet_cli.files import is_stdout
from resnet_cli.formatting import printable


def check_paths_differ(
    written: Mapping[str, str | None], read: Mapping[str, str | None], renewed: Mapping[str, str] = {}
) -> None:
    """See that no file that is written is one that is read, or is written twice.

    Args:
        written: option → the file that it names, None where it is not given.
        read: the same; a FILE.py:NAME is the file.
        renewed: options that may write what another one has read, since both are the same kind of file.

    Raises:
        ResnetCliError: two options name the same file.
    """
    targets = {option: path for option, path in written.items() if path is not None and not is_stdout(path)}
    for (option, path), (other, again) in combinations(targets.items(), 2):
        if _same(path, again):
            raise ResnetCliError(
                f"{option} and {other} both write {printable(path)}", "name another file for one of them"
            )
    for option, path in targets.items():
        for source, named in read.items():
            if renewed.get(option) == source or named is None:
                continue
            if _same(path, named) or _same(path, named.rpartition(":")[0]):
                raise ResnetCliError(
                    f"{option} would overwrite {printable(path)}, which {source} reads", "name another file to write"
                )


def _same(one: str, other: str) -> bool:
    """Whether two names lead to one regular file, or will do so."""
    try:
        first, second = Path(one).resolve(), Path(other).resolve()
        if first.exists() and second.exists():
            return first.is_file() and first.samefile(second)
        return bool(other) and first == second
    except (OSError, ValueError, RuntimeError):  # what is wrong with a name is told where it is opened
        return False
