"""A result as JSON, whole and exact, and back again."""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from resnet_cli.errors import ResnetCliError
from resnet_cli.results.registry import KINDS, kind_of, result_type

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

_VERSION = 2
_LARGEST_TEXT = 64 * 10**6  # a summary of ResNet-152 has 0.6 MB
_DEEPEST = 200  # modules within modules; to draw more, Python's own stack is too short
_LARGEST_NUMBER = 2**100  # beyond every count, and still a float
_HINT = "give a file that `--format json` wrote"


def to_json(result: Result) -> str:
    """The result with every figure in full, in plain ASCII.

    Raises:
        ValueError: a figure is not finite.
    """
    document = {"schema": f"resnet-cli/{kind_of(result)}/{_VERSION}", **dataclasses.asdict(result)}
    return "".join(_pieces(document, "\n")) + "\n"


def _pieces(value: Any, line: str) -> Iterator[str]:
    """JSON with a line for each key, and a list of plain values on one line."""
    if isinstance(value, dict) and value:
        deeper = line + "  "
        for index, (key, item) in enumerate(value.items()):
            yield f"{',' if index else '{'}{deeper}{json.dumps(key)}: "
            yield from _pieces(item, deeper)
        yield line + "}"
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (dict, list, tuple)) for item in value):
        deeper = line + "  "
        for index, item in enumerate(value):
            yield f"{',' if index else '['}{deeper}"
            yield from _pieces(item, deeper)
        yield line + "]"
    else:
        yield json.dumps(value, allow_nan=False)


def from_json(text: str | bytes) -> Result:
    """A result that `to_json` wrote.

    Raises:
        ResnetCliError: it is damaged, something else, or of a newer resnet-cli.
    """
    document = _document(text)
    schema = document.pop("schema", None)
    if not isinstance(schema, str):
        raise ResnetCliError("this is no result of resnet-cli: it has no schema", _HINT)
    tool, _, rest = schema.partition("/")
    kind, _, version = rest.partition("/")
    if tool != "resnet-cli" or not version.isdecimal() or len(version) > 9:
        raise ResnetCliError(f"this is no result of resnet-cli: its schema is {schema[:60]!r}", _HINT)
    if int(version) > _VERSION:
        raise ResnetCliError(
            f"schema {schema[:60]} is newer than this resnet-cli, which reads version {_VERSION}",
            "upgrade it: pip install --upgrade resnet-cli",
        )
    if int(version) < _VERSION:
        raise ResnetCliError(
            f"schema {schema[:60]} is of an older resnet-cli; this one reads version {_VERSION}", "measure again"
        )
    if kind not in KINDS:
        raise ResnetCliError(f"schema {schema[:60]!r} is unknown", _HINT)
    try:
        result: Result = _object(document, result_type(kind), "")
    except RecursionError:
        raise ResnetCliError("the JSON is nested too deeply", _HINT) from None
    return result


def _document(text: str | bytes) -> dict[str, Any]:
    """The outermost object of a JSON text, or an error that names what is wrong with the text."""
    if len(text) > _LARGEST_TEXT:
        raise ResnetCliError(f"the JSON is larger than {_LARGEST_TEXT // 10**6} MB", _HINT)
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ResnetCliError(f"the file is not UTF-8 text (byte {error.start})", _HINT) from None
    try:
        document = json.loads(decoded, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ResnetCliError(f"this is no JSON: {error.msg} ({where})", _HINT) from None
    except RecursionError:
        raise ResnetCliError("the JSON is nested too deeply", _HINT) from None
    except ValueError as error:  # an integer of thousands of digits, NaN, a key twice
        raise ResnetCliError(f"the JSON cannot be read: {error}", _HINT) from None
    if not isinstance(document, dict):
        raise ResnetCliError(f"the JSON is a {type(document).__name__} where an object is expected", _HINT)
    return document


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:60]!r} is there twice")
    return found


def _object(value: Any, kind: Any, where: str) -> Any:
    """A dataclass from an object; keys that it does not know are passed over."""
    if where.count(".") > _DEEPEST:
        raise ResnetCliError("the JSON is nested too deeply", _HINT)
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    hints = _hints(kind)
    filled = {}
    for each in dataclasses.fields(kind):
        inside = f"{where}.{each.name}" if where else each.name
        if each.name in value:
            filled[each.name] = _typed(value[each.name], hints[each.name], inside)
        elif each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            raise ResnetCliError(f"the result lacks {inside}", _HINT)
    return kind(**filled)


_known_hints: dict[Any, dict[str, Any]] = {}


def _hints(kind: Any) -> dict[str, Any]:
    if kind not in _known_hints:
        _known_hints[kind] = get_type_hints(kind)
    return _known_hints[kind]


def _typed(value: Any, kind: Any, where: str) -> Any:
    """A value of the type that the result declares, or an error that says where it is not."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        if value is None and types.NoneType in arguments:
            return None
        return _typed(value, next(one for one in arguments if one is not types.NoneType), where)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            raise _wrong(where, f"a list of {len(kinds)}", value)
        return tuple(_typed(item, one, f"{where}[{i}]") for i, (item, one) in enumerate(zip(value, kinds, strict=True)))
    if dataclasses.is_dataclass(kind):
        return _object(value, kind, where)
    return _plain(value, kind, where)


def _plain(value: Any, kind: Any, where: str) -> Any:
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise _wrong(
            where, {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[kind], value
        )
    if isinstance(value, (int, float)) and not (abs(value) <= _LARGEST_NUMBER and math.isfinite(value)):
        raise ResnetCliError(f"{where} is out of range", _HINT)
    return value


def _wrong(where: str, expected: str, value: Any) -> ResnetCliError:
    found = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return ResnetCliError(f"{where} should be {expected} and is {found.get(type(value), 'a number')}", _HINT)
