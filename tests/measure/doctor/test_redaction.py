"""Who is not to be recognised: where the user of this process lives, and what is left of a path."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from resnet_cli.measure.doctor.redaction import Identity, identity

pwd = pytest.importorskip("pwd")


def nobody(_: object = None) -> SimpleNamespace:
    raise KeyError("uid not found")


def test_of_a_home_within_a_home_nothing_is_left() -> None:
    who = Identity(("/data", "/data/jd42", "/srv"), "joe", "")
    assert who.scrub("/data/jd42/torch and /data/torch and /srv/jd42") == "~/torch and ~/torch and ~/jd42"


def test_the_user_has_the_homes_of_the_environment_and_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("USER", "joe")
    monkeypatch.setenv("HOME", f"{tmp_path}/link/")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_dir="/srv/recorded"))
    assert set(identity().homes) == {f"{tmp_path}/link", f"{tmp_path}/real", "/srv/recorded"}
    monkeypatch.setenv("HOME", "/r")
    assert "/r" in identity().homes
    assert identity().scrub("/r/x") == "~/x"


def test_the_folder_that_one_happens_to_be_in_is_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for home in ("", "a/relative/one"):
        monkeypatch.setenv("HOME", home)
        assert str(tmp_path) not in identity().homes
        assert "a/relative/one" not in identity().homes


def test_a_user_whom_the_system_does_not_know_lives_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setenv("HOME", "/srv/joe")
    assert identity().homes == ("/srv/joe",)


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_machine_without_a_name_of_its_own_hides_no_words(host: str) -> None:
    text = "localhost:29500 in C:/x"
    assert Identity((), "", host).scrub(text) == text
    assert Identity((), "", "box").scrub("box:29500 in /box/x, sandbox, box.lan, a-box") == (
        "<host>:29500 in /<host>/x, sandbox, <host>.lan, a-box"
    )
