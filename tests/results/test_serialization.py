"""Results as JSON: written whole, read back as they were, and refused with the place of what is wrong."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.output import render
from resnet_cli.results import serialization
from resnet_cli.results.registry import KINDS, kind_of
from resnet_cli.results.serialization import from_json, to_json
from resnet_cli.results.summary import Layer, SummaryResult
from tests.helpers.results import SAMPLES, checkpoint_result


def test_golden(golden: Callable[[str, str], None]) -> None:
    golden("summary.json", to_json(SAMPLES["summary"]()))
    golden("flops.json", to_json(SAMPLES["flops"]()))


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_kind_reads_back_as_it_was(kind: str) -> None:
    result = SAMPLES[kind]()
    text = to_json(result)
    assert kind_of(result) == kind
    assert text.isascii()
    assert json.loads(text)["schema"] == f"resnet-cli/{kind}/2"
    assert from_json(text) == from_json(b"\xef\xbb\xbf" + text.encode()) == result
    assert set(SAMPLES) == set(KINDS) - {"report"}


def test_a_number_that_is_not_finite_is_not_written(summary: SummaryResult) -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json(replace(summary, assertions=(replace(summary.assertions[0], value=float("inf")),)))


def test_a_file_name_that_is_not_text_is_written_and_read() -> None:
    result = replace(checkpoint_result(), path="\udcff.pth")
    assert from_json(to_json(result)) == replace(result, path="\\udcff.pth")


def document(result: SummaryResult) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(to_json(result))
    return read


def refusal(text: str | bytes) -> str:
    with pytest.raises(ResnetCliError) as caught:
        from_json(text)
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid JSON"),
        ("{", "invalid JSON"),
        ("[]", "Expected `object`"),
        ("{}", "no schema"),
        ('{"schema": 1}', "schema"),
        ('{"schema": "x/summary/1"}', "schema"),
        ('{"schema": "resnet-cli/summary/3"}', "newer"),
        ('{"schema": "resnet-cli/summary/1"}', "older"),
        ('{"schema": "resnet-cli/other/2"}', "unknown"),
        ('{"schema": "resnet-cli/summary/2"}', "`network`"),
        ('{"schema": NaN}', "invalid JSON"),
        ('{"a": ' * 100_000, "nested too deeply"),
        (b"\xff\xfe{", "invalid JSON"),
    ],
)
def test_what_is_not_a_result_is_refused(text: str | bytes, message: str) -> None:
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("macs",), "7", "macs"),
        (("macs",), 7.5, "macs"),
        (("macs",), True, "macs"),
        (("macs",), None, "macs"),
        (("macs",), 10**31, "macs"),
        (("network",), [], "network"),
        (("network", "name"), {}, "network.name"),
        (("root", "children", 0, "receptive_field"), [1], "root.children[0].receptive_field"),
        (("root", "children", 0, "macs"), -1, "negative"),
        (("assertions", 0, "limit"), "x", "assertions[0].limit"),
        (("assertions", 0, "limit"), 1e30 * 10, "assertions[0].limit"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    summary: SummaryResult, path: tuple[str | int, ...], value: object, place: str
) -> None:
    read = document(summary)
    inner: Any = read
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert place in refusal(json.dumps(read))


def test_a_number_too_large_for_a_float_is_refused(summary: SummaryResult) -> None:
    assert "limit" in refusal(to_json(summary).replace('"limit": 4200000000.0', '"limit": 1e999'))


def test_a_huge_file_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialization, "_LARGEST_TEXT", 10)
    assert "larger than" in refusal(" " * 11)


def test_unknown_keys_are_passed_over(summary: SummaryResult) -> None:
    assert from_json(json.dumps({**document(summary), "new": {"x": [1]}})) == summary


def nested(summary: SummaryResult, depth: int) -> SummaryResult:
    layer: Layer = summary.root.children[0]
    for _ in range(depth):
        layer = replace(layer, path="a", name="a", children=(layer,))
    return replace(summary, root=layer)


def test_a_tree_is_read_as_deep_as_it_can_be_drawn(summary: SummaryResult) -> None:
    deep = nested(summary, 150)
    assert from_json(to_json(deep)) == deep
    for collapse in (True, False):
        render(deep, "terminal", ViewOptions(collapse=collapse))
    text = json.dumps(document(summary)["root"]["children"][0])
    head, tail = text.split('"children": []')
    too_deep = (head + '"children": [') * 240 + text + ("]" + tail) * 240
    assert "nested too deeply" in refusal(
        to_json(summary).replace('"root": {', f'"root": {too_deep}, "old": {{', 1).replace('"old"', '"root2"')
    )


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from(["network", "root", "macs", "memory", "assertions", "environment", "notes"]), ANYTHING)
def test_no_value_in_any_place_brings_it_down(summary: SummaryResult, place: str, value: object) -> None:
    with contextlib.suppress(ResnetCliError):
        from_json(json.dumps({**document(summary), place: value}))
