"""Checks of names that a user typed, with suggestions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from resnet_cli.errors import ResnetCliError


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like one that was typed, in whatever case."""
    by_lower_case = {each.lower(): each for each in known}
    return next((by_lower_case[near] for near in difflib.get_close_matches(name.lower(), by_lower_case, n=1)), None)


def validate_names(noun: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Check names that a user typed.

    Raises:
        ResnetCliError: there are none, one is unknown, or one is repeated.
    """
    if not names:
        raise ResnetCliError(f"no {noun} was named", f"the {noun}s are {', '.join(known)}")
    for name in names:
        if name not in known:
            suggestion = nearest(name, known)
            meant = f"did you mean {suggestion}? " if suggestion else ""
            raise ResnetCliError(f"there is no {noun} {name}", f"{meant}the {noun}s are {', '.join(known)}")
    if len(set(names)) < len(names):
        repeated = next(name for name in names if list(names).count(name) > 1)
        raise ResnetCliError(f"{noun} {repeated} is repeated", "name each once")
