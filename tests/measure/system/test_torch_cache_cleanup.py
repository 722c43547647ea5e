"""The folder that an import of torch makes, taken away again where it is new and empty."""

from __future__ import annotations

import atexit
import getpass
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from resnet_cli.measure.system.torch_cache_cleanup import cleanup_temp_dirs


@pytest.fixture
def at_exit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What is left for the exit of a process that has not imported torch; its temporary folder is the test's."""
    later: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", lambda do, *arguments: later.append(lambda: do(*arguments)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch")
    return later


@pytest.mark.parametrize("user", ["joe", 'DOMAIN\\joe:of/"all"', None])
def test_an_empty_folder_goes_whatever_the_user_is_called(
    user: str | None, at_exit: list[Callable[[], None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name() -> str:
        if user is None:
            raise KeyError("uid not found")  # in a container, say
        return user

    monkeypatch.setattr(getpass, "getuser", name)
    cleanup_temp_dirs()
    try:
        folder = Path(default_cache_dir())
    except KeyError:
        pytest.skip("this torch cannot be imported by a user without a name")
    assert folder.parent == tmp_path
    folder.mkdir()
    (leave,) = at_exit
    leave()
    assert not folder.exists()
    leave()  # it may be gone already


def test_what_somebody_uses_stays(at_exit: list[Callable[[], None]]) -> None:
    cleanup_temp_dirs()
    folder = Path(default_cache_dir())
    folder.mkdir()
    (folder / "compiled").touch()
    (leave,) = at_exit
    leave()
    assert (folder / "compiled").exists()
    at_exit.clear()
    (folder / "compiled").unlink()
    cleanup_temp_dirs()  # it was there before
    assert at_exit == []


def test_torch_that_is_imported_already_leaves_nothing_new(
    at_exit: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    cleanup_temp_dirs()
    assert at_exit == []


def test_a_machine_without_a_place_for_temporary_files_has_none_to_tidy(
    at_exit: list[Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    cleanup_temp_dirs()
    assert at_exit == []
