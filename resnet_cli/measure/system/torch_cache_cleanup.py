"""What torch leaves behind just by being imported."""

from __future__ import annotations

import atexit
import contextlib
import getpass
import os
import re
import sys
import tempfile
from pathlib import Path

_NO_NAME = r'[\\/:*?"<>|]'  # what torch puts no file under


def cleanup_temp_dirs() -> None:
    """Take away torch's folder for compiled code, which an import makes, where it is new and has stayed empty."""
    folder = None if "torch" in sys.modules else _cache_folder()
    if folder is not None and not folder.exists():
        atexit.register(_remove, folder)


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it is not there, or not empty
        folder.rmdir()


def _cache_folder() -> Path | None:
    """Where torch puts it unless it is told otherwise; None where there is no place for temporary files."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a number that no name belongs to
        user = f"uid_{os.getuid()}" if hasattr(os, "getuid") else "unknown_user"
    try:
        return Path(tempfile.gettempdir(), f"torchinductor_{re.sub(_NO_NAME, '_', user)}")
    except OSError:
        return None
