"""A result as JSON, whole and exact, and back again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from resnet_cli.errors import ResnetCliError
from resnet_cli.results.flops import FlopsResult, ModuleFlops
from resnet_cli.results.registry import KINDS, kind_of, result_type
from resnet_cli.results.report import ReportResult
from resnet_cli.results.summary import Layer, SummaryResult

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

_VERSION = 2
_LARGEST_TEXT = 64 * 10**6  # a summary of ResNet-152 has 0.6 MB
_DEEPEST = 200  # modules within modules; pages and charts recurse over them
_LARGEST_NUMBER = 1e30  # beyond every count and rate
_DIGITS = bytes.maketrans(b"012345678E", b"999999999e")
_HINT = "give a file that `format=json` wrote"


@dataclass(frozen=True, slots=True)
class _Header:
    schema: str | None = None


def to_json(result: Result) -> str:
    """The result with every value in full, in plain ASCII.

    Raises:
        ValueError: a number is not finite.
    """
    document = {"schema": f"resnet-cli/{kind_of(result)}/{_VERSION}", **msgspec.to_builtins(result)}
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
        text = json.dumps(value, allow_nan=False)
        yield json.dumps(_without_surrogates(value)) if "\\ud" in text else text


def _without_surrogates(value: Any) -> Any:
    """The same with lone surrogates, which stand in names of files that are not text, spelled out."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return [_without_surrogates(item) for item in value] if isinstance(value, (list, tuple)) else value


def from_json(text: str | bytes) -> Result:
    """A result that `to_json` wrote. Unknown keys are passed over; where a key is there twice, the last one counts.

    All that pages and charts rely on is checked here: types, that numbers are finite and of a possible size, and that a
    tree is at most 200 levels deep and has no negative counts.

    Raises:
        ResnetCliError: it is damaged, something else, or of another version.
    """
    content = (text.encode("utf-8", "replace") if isinstance(text, str) else text).removeprefix(b"\xef\xbb\xbf")
    if len(content) > _LARGEST_TEXT:
        raise ResnetCliError(f"the JSON is larger than {_LARGEST_TEXT // 10**6} MB", _HINT)
    kind = _kind(_decoded(content, _Header).schema)
    result: Result = _decoded(content, result_type(kind))
    if _may_be_huge(content):
        _check_numbers(msgspec.to_builtins(result), "")
    for held in result.results if isinstance(result, ReportResult) else (result,):
        if isinstance(held, (SummaryResult, FlopsResult)):
            _check_tree(held.root, 0)
    return result


def _kind(schema: str | None) -> str:
    """The kind of result that a schema names."""
    if schema is None:
        raise ResnetCliError("not a result of resnet-cli: it has no schema", _HINT)
    match = re.fullmatch(r"resnet-cli/([a-z-]+)/([0-9]{1,9})", schema)
    if match is None:
        raise ResnetCliError(f"not a result of resnet-cli: its schema is {schema[:60]!r}", _HINT)
    kind, version = match[1], int(match[2])
    if version > _VERSION:
        raise ResnetCliError(
            f"schema {schema[:60]} is newer than this resnet-cli, which reads version {_VERSION}",
            "upgrade it: pip install --upgrade resnet-cli",
        )
    if version < _VERSION:
        raise ResnetCliError(
            f"schema {schema[:60]} is of an older resnet-cli; this one reads version {_VERSION}", "measure again"
        )
    if kind not in KINDS:
        raise ResnetCliError(f"schema {schema[:60]!r} is unknown", _HINT)
    return kind


def _decoded(content: bytes, kind: type[Any]) -> Any:
    """An object of a dataclass, or an error with the place of what is wrong."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$")
        where = place.rstrip("`").lstrip(".")
        raise ResnetCliError(f"invalid result: {where + ': ' if where else ''}{problem}", _HINT) from None
    except msgspec.DecodeError as error:
        raise ResnetCliError(f"invalid JSON: {error}", _HINT) from None
    except UnicodeDecodeError as error:
        raise ResnetCliError(f"the file is not UTF-8 text (byte {error.start})", _HINT) from None
    except RecursionError:
        raise ResnetCliError("the JSON is nested too deeply", _HINT) from None


def _may_be_huge(content: bytes) -> bool:
    """Whether a number may be out of range; far cheaper than looking at each one."""
    digits = content.translate(_DIGITS)
    return any(pattern in digits for pattern in (b"9" * 31, b"9e99", b"9e+99"))


def _check_numbers(value: Any, where: str) -> None:
    """Refuse numbers that are out of range."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_numbers(item, f"{where}.{key}" if where else key)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_numbers(item, f"{where}[{index}]")
    elif isinstance(value, (int, float)) and abs(value) > _LARGEST_NUMBER:
        raise ResnetCliError(f"invalid result: {where}: the number is out of range", _HINT)


def _check_tree(node: Layer | ModuleFlops, depth: int) -> None:
    """Refuse a tree that is too deep to be drawn or has negative counts."""
    if depth > _DEEPEST:
        raise ResnetCliError("the JSON is nested too deeply", _HINT)
    if min(node.macs, node.flops, node.ops) < 0:
        raise ResnetCliError(f"invalid result: {node.path[:60]!r} has a negative count", _HINT)
    for child in node.children:
        _check_tree(child, depth + 1)
