"""Names that a reader typed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable


def validate_names(noun: str, asked: Sequence[str], known: Sequence[str]) -> None:
    """Check names that a reader typed.

    Raises:
        ResnetCliError: none was given, one is unknown, or one is there twice.
    """
    if not asked:
        raise ResnetCliError(f"no {noun} was named", f"the {noun}s are {', '.join(known)}")
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise ResnetCliError(f"there is no {noun} {printable(name)}", f"{meant}the {noun}s are {', '.join(known)}")
    if len(set(asked)) < len(asked):
        twice = next(name for name in asked if list(asked).count(name) > 1)
        raise ResnetCliError(f"{noun} {twice} is named twice", "name each once")
