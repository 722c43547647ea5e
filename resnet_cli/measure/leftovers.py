"""What torch leaves behind just by being imported."""

from __future__ import annotations

import atexit
import contextlib
import getpass
import re
import sys
import tempfile
from pathlib import Path


def tidy_at_exit() -> None:
    """Take away torch's folder for compiled code, which an import makes, where it is new and has stayed empty."""
    folder = None if "torch" in sys.modules else _cache_folder()
    if folder is not None and not folder.exists():
        atexit.register(_remove, folder)


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it is not there, or not empty
        folder.rmdir()


def _cache_folder() -> Path | None:
    """Where torch puts it unless it is told otherwise; None where nobody knows who we are."""
    try:
        user = re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())
    except (KeyError, OSError):
        return None
    return Path(tempfile.gettempdir(), f"torchinductor_{user}")
