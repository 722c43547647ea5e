"""One section of a result as CSV: a row for each item, a column for each of its values under its key in the JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import types
import typing
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import printable
from resnet_cli.render.pages import PAGES, validate_view
from resnet_cli.results.registry import kind_of

if TYPE_CHECKING:
    from resnet_cli.render.document import ViewOptions
    from resnet_cli.results.registry import Result

_FORMULA = ("=", "+", "-", "@")  # a spreadsheet would evaluate a text that begins with one
_PAIR = ("model", "reference")  # of names in a mapping
_INDICES = "sources"  # of layers, which mean nothing in a table

Columns = dict[str, Callable[[Any], Any]]  # a key, and the value of an item that stands below it
Table = tuple[tuple[str, ...], list[dict[str, Any]]]  # keys, and a row for each item


def to_csv(result: Result, view: ViewOptions) -> str:
    """A header of keys, then a line for each row; what is not known is empty.

    A value within an object has its path as key (`wall.median_s`), a shape reads `1x64x56x56`, and lists of numbers
    such as samples are left out. A tree is written from the root down; the values of a row include those below it.

    Raises:
        ResnetCliError: there is no such column or section, or the result has no rows there.
    """
    kind = kind_of(result)
    validate_view(kind, view)
    spec = PAGES[kind]
    default = spec.tree if view.columns is not None else spec.csv or next(iter(spec.rows))
    section = view.sections[0] if view.sections else default
    keys: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = []
    for path in spec.rows[section].split():
        keys, more = _table(result, path.split("."), view.levels)
        rows += more
    if not rows:
        raise ResnetCliError(f"the result has no {section} to write as CSV", "choose another section, or use JSON")
    if view.columns is not None and section == spec.tree:
        keys = ("path", "depth", *spec.column_fields(view.columns))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(keys)
    writer.writerows([_text(row[key]) for key in keys] for row in rows)
    return out.getvalue()


def _table(owner: Any, path: list[str], levels: int | None) -> Table:
    """The items at a path of fields. Those of a list in a list also have the values of the outer item."""
    value = getattr(owner, path[0])
    item_type, is_list = _type(type(owner), path[0])
    items = value if is_list else () if value is None else (value,)
    if len(path) == 1:
        return _rows(item_type, items, levels)
    if not is_list:
        return _table(items[0], path[1:], levels) if items else ((), [])
    outer = _columns(item_type)
    inner = _columns(_type(item_type, path[1])[0], f"{path[1]}.")
    rows = [_row(outer, item) | _row(inner, within) for item in items for within in getattr(item, path[1])]
    return (*outer, *inner), rows


def _rows(item_type: Any, items: tuple[Any, ...], levels: int | None) -> Table:
    if get_origin(item_type) is tuple:
        return _PAIR, [dict(zip(_PAIR, item, strict=True)) for item in items]
    columns = _columns(item_type)
    if "children" in get_type_hints(item_type):
        return _tree_rows(columns, items[0], levels) if items else ((), [])
    shown = [item for item in items if levels is None or getattr(item, "depth", 0) <= levels]
    return tuple(columns), [_row(columns, item) for item in shown]


def _tree_rows(columns: Columns, root: Any, levels: int | None) -> Table:
    """A row for each node, with its depth and its share of the root's MACs."""
    rows = [
        {**_row(columns, node), "depth": depth, "macs_share": node.macs / root.macs if root.macs else None}
        for depth, node in _nodes(root, 0, levels)
    ]
    return tuple(dict.fromkeys(("path", "depth", *columns, "macs_share"))), rows


def _nodes(node: Any, depth: int, levels: int | None) -> Iterator[tuple[int, Any]]:
    yield depth, node
    if levels is None or depth < levels:
        for child in node.children:
            yield from _nodes(child, depth + 1, levels)


def _row(columns: Columns, item: Any) -> dict[str, Any]:
    return {key: value(item) for key, value in columns.items()}


def _columns(item_type: Any, prefix: str = "") -> Columns:
    """The values of a dataclass that fit a cell, then those that it derives; those of an object in it among them."""
    columns: Columns = {}
    for name in get_type_hints(item_type):
        value_type, is_list = _type(item_type, name)
        if dataclasses.is_dataclass(value_type):
            if not is_list:
                inner = _columns(value_type, f"{prefix}{name}.")
                columns |= {key: _value_within(name, value) for key, value in inner.items()}
        elif name != _INDICES and (not is_list or value_type in (int, str)):
            columns[f"{prefix}{name}"] = _value(name)
    derived = [name for name, member in vars(item_type).items() if isinstance(member, property)]
    return columns | {f"{prefix}{name}": _value(name) for name in derived}


def _value(name: str) -> Callable[[Any], Any]:
    return lambda item: getattr(item, name)


def _value_within(name: str, value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda item: None if getattr(item, name) is None else value(getattr(item, name))


def _type(owner: Any, name: str) -> tuple[Any, bool]:
    """The type of a field without its None, or of the items of a list; and whether it is a list."""
    hint = get_type_hints(owner)[name]
    if get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(each for each in get_args(hint) if each is not types.NoneType)
    return (get_args(hint)[0], True) if get_origin(hint) is tuple else (hint, False)


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return _text(";".join(value) if value and isinstance(value[0], str) else "x".join(map(str, value)))
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
