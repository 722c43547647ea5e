"""Files of maps and of intended changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.parity.map_files import check_map, expectations_text, map_text, read_expectations, read_map

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("maps")


@given(pairs=st.dictionaries(NAMES, NAMES, min_size=1, max_size=5), ours=NAMES, theirs=NAMES)
def test_maps_come_back_as_they_went(folder: Path, pairs: dict[str, str], ours: str, theirs: str) -> None:
    path = folder / "map.toml"
    path.write_bytes(map_text(pairs, ours, theirs).encode())
    assert read_map(str(path)) == pairs


@given(keys=st.lists(NAMES, unique=True, max_size=5))
def test_expectations_come_back_as_they_went(folder: Path, keys: list[str]) -> None:
    path = folder / "expected.toml"
    path.write_bytes(expectations_text(keys, "ours", "theirs").encode())
    assert read_expectations(str(path)) == tuple(keys)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "x = [", "not valid TOML"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[1]", "not a table"),
        ("a.toml", "", r"no table \[parameters\]"),
        ("a.toml", "[parameters]\nhead.conv.weight = 'conv1.weight'", "is not mapped to a name"),
        ("a.toml", "\x00", "not valid TOML"),
    ],
)
def test_files_that_are_no_map(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ResnetCliError, match=message) as caught:
        read_map(str(path))
    assert caught.value.exit_code == 2


def test_a_map_may_be_json(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text('{"parameters": {"a.b": "c.d"}}', encoding="utf-8")
    assert read_map(str(path)) == {"a.b": "c.d"}


LONG = ".".join("abc" * 15)


def test_a_name_of_many_parts_is_one_text_in_quotes(tmp_path: Path) -> None:
    """Without them TOML makes a table of each part, at a price."""
    toml, js = tmp_path / "map.toml", tmp_path / "map.json"
    toml.write_text(f"[parameters]\n\"{LONG}\" = '{LONG}'\n", encoding="utf-8")
    js.write_text(f'{{"parameters": {{"{LONG}": "{LONG}"}}}}', encoding="utf-8")
    assert read_map(str(toml)) == read_map(str(js)) == {LONG: LONG}
    toml.write_text(f"[parameters]\n{LONG} = 'a'\n", encoding="utf-8")
    with pytest.raises(ResnetCliError, match="a key of more than 32 parts"):
        read_map(str(toml))
    toml.write_text("[parameters]\na.b.c = 'a'\n", encoding="utf-8")
    with pytest.raises(ResnetCliError, match="a is not mapped to a name"):
        read_map(str(toml))


def test_files_that_are_not_there_or_hold_something_else(tmp_path: Path) -> None:
    with pytest.raises(ResnetCliError, match="no such file"):
        read_map(str(tmp_path / "nothing.toml"))
    with pytest.raises(ResnetCliError, match=r"cannot be read: not a regular file$"):
        read_map(str(tmp_path))
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ResnetCliError, match="cannot be read"):
        read_map(str(path))
    path.write_text("expected = [1]", encoding="utf-8")
    with pytest.raises(ResnetCliError, match="no list of texts"):
        read_expectations(str(path))


OURS = {"a.weight": (4, 2), "b.weight": (4,)}
THEIRS = {"x.weight": (4, 2, 1, 1), "y.weight": (3,)}


@pytest.mark.parametrize(
    ("mapping", "message", "hint"),
    [
        ({"a.wieght": "x.weight"}, "a.wieght, which does not exist in the model", "a.weight"),
        ({"a.weight": "x.wieght"}, "x.wieght, which does not exist in the reference", "x.weight"),
        ({"b.weight": "y.weight"}, "cannot be the same tensor", ""),
        ({"a.weight": "x.weight", "b.weight": "x.weight"}, "x.weight to a.weight and b.weight", ""),
    ],
)
def test_maps_that_cannot_be_followed(mapping: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(ResnetCliError, match=message) as caught:
        check_map(mapping, OURS, THEIRS)
    assert hint in (caught.value.hint or "")


def test_a_matrix_may_be_a_convolution_of_one_pixel() -> None:
    check_map({"a.weight": "x.weight"}, OURS, THEIRS)
