"""Removes user name, host name and home folders from texts."""

from __future__ import annotations

import getpass
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

# Any home folder, also of other users.
_ANY_HOME = re.compile(r"([/\\](?:home|Users)[/\\])[^/\\\s'\"):,;]+", re.IGNORECASE)
_ENDS = r"(?=$|[/\\\s'\"):,;])"


@dataclass(frozen=True)
class Identity:
    """What must not appear in an issue report.

    Args:
        homes: home folders of the user.
        user: user name.
        host: host name.
    """

    homes: tuple[str, ...]
    user: str
    host: str

    def scrub(self, text: str) -> str:
        """The text without home folders, the user's name as part of a path, and the name of the machine."""
        for pattern, instead in self._rules:
            text = pattern.sub(instead, text)
        return text

    @cached_property
    def _rules(self) -> list[tuple[re.Pattern[str], str]]:
        rules = [(re.compile(re.escape(home) + _ENDS), "~") for home in sorted(self.homes, key=len, reverse=True)]
        rules.append((_ANY_HOME, r"\1<user>"))
        if self.user:
            rules.append((re.compile(r"(?<=[/\\])" + re.escape(self.user) + _ENDS), "<user>"))
        if self.host not in ("", "localhost"):
            rules.append((re.compile(rf"(?<![\w.-]){re.escape(self.host)}(?![\w-])"), "<host>"))
        return rules


def identity() -> Identity:
    """The user of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user ID without a name
        user = ""
    return Identity(tuple(dict.fromkeys(_homes())), user, platform.node())


def _homes() -> Iterator[str]:
    for home in (os.environ.get("HOME", ""), os.path.expanduser("~"), _recorded_home()):  # noqa: PTH111
        for path in (home, os.path.realpath(home)) if home else ():
            plain = path.rstrip("/\\")
            if os.path.isabs(plain):  # noqa: PTH117  # nothing is left of "/", which would make every path look like home
                yield plain


def _recorded_home() -> str:
    try:
        import pwd  # noqa: PLC0415  # not on Windows

        return pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError):
        return ""
