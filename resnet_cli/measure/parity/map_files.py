"""Files of a comparison: which parameter is which, and which changes are intended. TOML, or JSON to read."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from resnet_cli.errors import ResnetCliError
from resnet_cli.files import read_bytes
from resnet_cli.formatting import dimensions, printable
from resnet_cli.results.common import Shape
from resnet_cli.suggest import nearest

_MAX_KEY_PARTS = 32
_QUOTED = re.compile(r""" "(?:[^"\\\n]|\\.)*" | '[^'\n]*' """, re.VERBOSE)
_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]++|"")[ \t]*+\.[ \t]*+){{{_MAX_KEY_PARTS}}}""")
_MAX_BYTES = 16 * 10**6  # a map of ResNet-152 has 40 kB


def _read(path: str) -> dict[str, Any]:
    try:
        text = read_bytes(path, _MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise ResnetCliError(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ResnetCliError(f"{path} cannot be read: it is not UTF-8 text (byte {error.start})") from None
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ResnetCliError(f"{path} cannot be read: {reason[:1].lower() + reason[1:]}") from None
    is_json = path.lower().endswith(".json")
    # tomllib takes memory that grows with the square of the length of a key.
    if not is_json and _LONG_KEY.search(_QUOTED.sub('""', text)):
        raise ResnetCliError(f"{path} has a key of more than {_MAX_KEY_PARTS} parts", "names with dots stand in quotes")
    try:
        content = json.loads(text) if is_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # both decoders' errors are ValueErrors
        raise ResnetCliError(f"{path} is not valid {'JSON' if is_json else 'TOML'}: {error}") from None
    if not isinstance(content, dict):
        raise ResnetCliError(f"{path} is not a table")
    return content


def read_map(path: str) -> dict[str, str]:
    """Name in the model → name in the reference, from the table `parameters`.

    Raises:
        ResnetCliError: no such file, or no such table in it.
    """
    table = _read(path).get("parameters")
    if not isinstance(table, dict) or not table:
        raise ResnetCliError(f"{path} has no table [parameters]", 'write "model.name" = "reference.name" in it')
    for name, target in table.items():
        if not isinstance(target, str):
            raise ResnetCliError(
                f"{path}: {name} is not mapped to a name",
                "names with dots stand in quotes, on both sides",
            )
    return dict(table)


def map_text(pairs: Mapping[str, str], model: str, reference: str) -> str:
    """A map as a file."""
    lines = [f"# {_comment(model)} and {_comment(reference)}: which parameter or buffer is which", "[parameters]"]
    return "\n".join(lines + [f"{_quoted(a)} = {_quoted(b)}" for a, b in pairs.items()]) + "\n"


def _comment(name: str) -> str:
    # TOML does not allow control characters in a comment.
    return printable(name).replace("\n", " ")


def _quoted(name: str) -> str:
    # A JSON string is a TOML string once astral characters are no pairs of surrogates, and DEL is escaped.
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")


def check_map(mapping: Mapping[str, str], model: Mapping[str, Shape], reference: Mapping[str, Shape]) -> None:
    """Whether a map can be followed.

    Raises:
        ResnetCliError: a name is unknown or named twice, or two tensors have another number of values.
    """
    seen: dict[str, str] = {}
    for name, target in mapping.items():
        for mapped, known, network in ((name, model, "the model"), (target, reference, "the reference")):
            if mapped not in known:
                suggestion = nearest(mapped, known)
                hint = None if suggestion is None else f"did you mean {suggestion}?"
                raise ResnetCliError(f"the map names {mapped}, which does not exist in {network}", hint)
        if target in seen:
            raise ResnetCliError(f"the map gives {target} to {seen[target]} and {name}")
        seen[target] = name
        if prod(model[name]) != prod(reference[target]):
            shapes = f"{dimensions(model[name]) or 'a scalar'} and {dimensions(reference[target]) or 'a scalar'}"
            raise ResnetCliError(f"{name} and {target} are {shapes}: they cannot be the same tensor")


def read_expectations(path: str) -> tuple[str, ...]:
    """The keys of intended changes, from the list `expected`.

    Raises:
        ResnetCliError: no such file, or no such list in it.
    """
    keys = _read(path).get("expected")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ResnetCliError(f"{path} has no list of texts called expected", "`save_expect` writes one")
    return tuple(keys)


def expectations_text(keys: Iterable[str], model: str, reference: str) -> str:
    """Intended changes as a file."""
    lines = [f"# changes of {_comment(model)} against {_comment(reference)} that are intended", "expected = ["]
    return "\n".join([*lines, *(f"  {_quoted(key)}," for key in dict.fromkeys(keys)), "]"]) + "\n"
