"""JSON holds all, reads back as it was, and says what is wrong with what it cannot read."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.results import serialization as module
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.serialization import from_json, to_json
from resnet_cli.results.summary import Layer, SummaryResult


def test_golden(summary: SummaryResult, flops: FlopsResult, golden: Callable[[str, str], None]) -> None:
    golden("summary.json", to_json(summary))
    golden("flops.json", to_json(flops))


def test_it_reads_back_as_it_was(summary: SummaryResult, flops: FlopsResult) -> None:
    assert from_json(to_json(summary)) == summary
    assert from_json(to_json(flops).encode()) == flops
    assert from_json("\ufeff" + to_json(flops)) == flops
    assert from_json(b"\xef\xbb\xbf" + to_json(flops).encode()) == flops


def test_it_is_ascii_and_names_its_schema(summary: SummaryResult, flops: FlopsResult) -> None:
    assert to_json(summary).isascii()
    assert json.loads(to_json(summary))["schema"] == "resnet-cli/summary/2"
    assert json.loads(to_json(flops))["schema"] == "resnet-cli/flops/2"


@given(st.integers(0, 10**30), st.text(st.characters(codec=None)), st.floats(-1e30, 1e30))
def test_any_figure_and_any_name_come_through(summary: SummaryResult, figure: int, name: str, limit: float) -> None:
    changed = replace(
        summary,
        macs=figure,
        network=replace(summary.network, name=name),
        assertions=(replace(summary.assertions[0], limit=limit),),
    )
    assert from_json(to_json(changed)) == changed


def test_what_is_not_finite_is_never_written(summary: SummaryResult) -> None:
    broken = replace(summary, assertions=(replace(summary.assertions[0], value=float("nan")),))
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(broken)


def document(summary: SummaryResult) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(to_json(summary))
    return read


def refusal(text: str | bytes) -> str:
    with pytest.raises(ResnetCliError) as caught:
        from_json(text)
    assert caught.value.hint
    assert caught.value.exit_code == 2
    assert caught.value.message.isprintable()
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is no JSON"),
        ("{", "line 1, column 2"),
        ("[]", "is a list where an object is expected"),
        ("7", "is a int"),
        ("{}", "it has no schema"),
        ('{"schema": 1}', "it has no schema"),
        ('{"schema": "x/summary/1"}', "its schema is 'x/summary/1'"),
        ('{"schema": "resnet-cli/summary/x\\u001b"}', "its schema is"),
        ('{"schema": "resnet-cli/summary/3"}', "newer than this resnet-cli"),
        ('{"schema": "resnet-cli/summary/1"}', "older"),
        ('{"schema": "resnet-cli/other/2"}', "is unknown"),
        ('{"schema": "resnet-cli/summary/2"}', "lacks network"),
        ('{"schema": NaN}', "NaN is no JSON number"),
        ('{"a": 1, "a": 2}', "'a' is there twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        (b"\xff\xfe{", "not UTF-8"),
        ('{"a": ' + "9" * 5000 + "}", "cannot be read"),
    ],
)
def test_what_is_no_result_is_refused(text: str | bytes, message: str) -> None:
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("macs",), "7", "macs should be a whole number and is a text"),
        (("macs",), 7.0, "macs should be a whole number and is a number"),
        (("macs",), True, "is true or false"),
        (("macs",), None, "is null"),
        (("macs",), 10**31, "macs is out of range"),
        (("network",), [], "network should be an object and is a list"),
        (("network", "name"), {}, "network.name should be a text and is an object"),
        (("root", "children"), {}, "root.children should be a list and is an object"),
        (("root", "children", 0, "receptive_field"), [1], "root.children[0].receptive_field should be a list of 2"),
        (("root", "children", 0, "is_operator"), 0, "should be true or false"),
        (("assertions", 0, "limit"), "x", "assertions[0].limit should be a number"),
    ],
)
def test_a_wrong_type_is_named_with_its_place(
    summary: SummaryResult, path: tuple[str | int, ...], value: object, message: str
) -> None:
    read = document(summary)
    inner: Any = read
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert message in refusal(json.dumps(read))


def test_a_number_too_large_for_a_float_is_refused(summary: SummaryResult) -> None:
    text = to_json(summary).replace('"limit": 4200000000.0', '"limit": 1e999')
    assert "assertions[0].limit is out of range" in refusal(text)


def test_a_huge_file_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST_TEXT", 10)
    assert "larger than" in refusal(" " * 11)


def test_keys_of_a_later_time_are_passed_over(summary: SummaryResult) -> None:
    assert from_json(json.dumps({**document(summary), "new": {"x": [1]}})) == summary


@pytest.mark.parametrize("limit", [1000, 2000])
def test_a_tree_too_deep_is_refused(summary: SummaryResult, limit: int) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, limit))  # as libraries do
    try:
        _refuses_deep_trees(summary)
    finally:
        sys.setrecursionlimit(before)


def _refuses_deep_trees(summary: SummaryResult) -> None:
    leaf = document(summary)["root"]["children"][0]
    text = json.dumps(leaf)
    head, tail = text.split('"children": []')
    deep = (head + '"children": [') * 240 + text + ("]" + tail) * 240
    assert (
        refusal(to_json(summary).replace('"root": {', f'"root": {deep}, "old": {{', 1))
        == "the JSON is nested too deeply"
    )


def test_as_deep_as_it_reads_it_draws(summary: SummaryResult) -> None:
    from resnet_cli.render.document import ViewOptions
    from resnet_cli.render.formats.terminal import to_text
    from resnet_cli.render.pages import page

    layer: Layer = summary.root.children[0]
    for _ in range(100):
        layer = replace(layer, path="a", name="a", children=(layer,))
    deep = replace(summary, root=layer)
    assert from_json(to_json(deep)) == deep
    for fold in (True, False):
        to_text(page(deep, ViewOptions(collapse=fold)), 80)


@given(st.text() | st.binary())
def test_no_text_brings_it_down(text: str | bytes) -> None:
    with pytest.raises(ResnetCliError):
        from_json(text)


PLACES = st.sampled_from(
    ["network", "input", "root", "macs", "memory", "witnesses", "assertions", "environment", "notes"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLACES, ANYTHING)
def test_no_value_in_any_place_brings_it_down(summary: SummaryResult, place: str, value: object) -> None:
    with contextlib.suppress(ResnetCliError):
        from_json(json.dumps({**document(summary), place: value}))
