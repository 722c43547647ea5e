"""A form of a network that can be timed, and why there is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

_PATH = re.compile(r"(?<![\w/])(?:[A-Za-z]:[\\/]|~?/)[^\s'\",;:()]*[^\s'\",;:().]")
_LONGEST = 160  # characters: a row of a table has to hold it


class UnavailableError(Exception):
    """A form that cannot be made here; the message says why, in one line."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A network, made ready for one shape of input.

    Args:
        run: images as `image` is to logits; what it gave may change when it is called again.
        image: the input that it is timed with, in its dtype and memory format already.
        remark: what the reader of its figures should know.
    """

    run: Callable[[Tensor], object]
    image: Tensor
    remark: str | None = None

    def call(self) -> object:
        """One request."""
        return self.run(self.image)


def in_one_line(error: BaseException) -> str:
    """What an error says at first, without the paths of this machine."""
    for line in str(error).splitlines():
        text = _PATH.sub("…", " ".join(line.split())).rstrip(" :")
        if text:
            return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return type(error).__name__
