"""CSV: the data of one section, under the keys of the JSON."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.render.document import ViewOptions
from resnet_cli.render.output import render
from resnet_cli.render.pages import PAGES
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.registry import kind_of
from resnet_cli.results.serialization import to_json
from resnet_cli.results.summary import SummaryResult
from tests.helpers.results import SAMPLES

DERIVED = {"depth", "parameters", "macs_share", "arithmetic_intensity", "model", "reference"}


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def keys_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in keys_in(inner)}
    return {key for inner in value for key in keys_in(inner)} if isinstance(value, list) else set()


@pytest.mark.parametrize("name", SAMPLES)
def test_every_key_is_one_of_the_json(name: str) -> None:
    result = SAMPLES[name]()
    known = keys_in(json.loads(to_json(result))) | DERIVED
    for section in PAGES[kind_of(result)].rows:
        view = ViewOptions(sections=(section,) if PAGES[kind_of(result)].sections else None)
        try:
            header = next(csv.reader(io.StringIO(render(result, "csv", view))))
        except ResnetCliError as error:
            assert "has no" in error.message  # noqa: PT017
            continue
        assert {part for key in header for part in key.split(".")} <= known


def test_a_tree_is_flattened_with_path_and_depth(summary: SummaryResult) -> None:
    table = rows(render(summary, "csv"))
    assert [(row["path"], row["depth"]) for row in table[:5]] == [
        ("", "0"),
        ("head", "1"),
        ("l0", "1"),
        ("l0.block", "2"),
        ("l0.block.ResIdentity0", "3"),
    ]
    assert (table[0]["macs"], table[0]["macs_share"]) == (str(summary.macs), "1.0")
    assert table[1]["kernel_size"] == "3x5"


def test_stages_add_up_to_the_network(summary: SummaryResult) -> None:
    root, *stages = rows(render(summary, "csv", ViewOptions(levels=1)))
    for key in ("parameters", "macs", "activation_bytes", "saved_for_backward_bytes", "bytes_moved"):
        assert sum(int(row[key]) for row in stages) == int(root[key]), key


def test_columns_and_sections_select(summary: SummaryResult, flops: FlopsResult) -> None:
    view = ViewOptions(columns=("macs", "flops"), levels=1)
    assert render(summary, "csv", view).splitlines()[:3] == [
        "path,depth,macs,flops",
        f",0,{summary.macs},{summary.flops}",
        "head,1,884736,1769472",
    ]
    conventions = rows(render(flops, "csv", ViewOptions(sections=("conventions", "modules"))))
    assert (conventions[1]["predicted"], conventions[1]["measured"]) == ("3400750", "3400001")
    assert conventions[3]["measured"] == ""


def test_rows_of_a_list_in_a_list_carry_the_outer_values(flops: FlopsResult) -> None:
    section = next(name for name, path in PAGES["flops"].rows.items() if path == "reconciliations.steps")
    table = rows(render(flops, "csv", ViewOptions(sections=(section,))))
    first = flops.reconciliations[0]
    assert (table[0]["start"], table[0]["steps.symbol"]) == (first.start, first.steps[0].symbol)
    assert {int(row["steps.difference"]) for row in table} >= {-1_200_000}
    with pytest.raises(ResnetCliError, match="has no"):
        render(replace(flops, reconciliations=()), "csv", ViewOptions(sections=(section,)))


@given(text=st.text(st.characters(codec=None)))
def test_no_text_is_a_formula_or_a_control_character(summary: SummaryResult, text: str) -> None:
    table = rows(render(replace(summary, root=replace(summary.root, path=text, children=())), "csv"))
    assert table[0]["path"].isprintable()
    assert not table[0]["path"].startswith(("=", "+", "-", "@"))
