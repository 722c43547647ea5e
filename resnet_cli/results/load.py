"""A saved result on its way in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_cli.errors import ResnetCliError
from resnet_cli.files import read_bytes
from resnet_cli.formatting import printable
from resnet_cli.results.serialization import from_json

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

_LARGEST_FILE = 65 * 10**6  # `from_json` refuses what is larger than 64 MB


def read_result(option: str, path: str) -> Result:
    """The result that a file holds.

    Args:
        option: that named it, for the error.
        path: of the file.

    Raises:
        ResnetCliError: it cannot be read, is damaged, something else, or of a newer resnet-cli.
    """
    shown = printable(path)
    try:
        content = read_bytes(path, _LARGEST_FILE)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ResnetCliError(
            f"{option} {shown} cannot be read: {reason[:1].lower()}{reason[1:]}",
            "name a file that `format=json` or `save` wrote",
        ) from None
    try:
        return from_json(content)
    except ResnetCliError as error:
        raise ResnetCliError(f"{option} {shown}: {error.message}", error.hint) from None
