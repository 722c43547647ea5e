"""The page of a comparison: a verdict that reads without colour, a diff that hides nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import width
from resnet_cli.measure.parity.checks import CHECKS
from resnet_cli.render.document import Paragraph, Table, ViewOptions
from resnet_cli.render.formats.terminal import to_text
from resnet_cli.render.pages import PAGES, page, validate_view
from resnet_cli.render.pages.compare.diff_hunks import hunks
from resnet_cli.results.compare import DIFFERENT, SKIPPED, AlignedOp, CompareResult, Difference
from tests.helpers.results_compare import (
    RESULTS,
    checks,
    epsilon,
    family,
    many,
    missing,
    nan,
    rewritten,
    rounding,
    same,
    self_test,
    setting,
    spread,
    stride,
    unable,
)

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

PLAIN = ViewOptions()


def tables(result: Result, view: ViewOptions = PLAIN) -> dict[str, Table]:
    return {part.key: part for part in page(result, view).elements if isinstance(part, Table)}


def texts(table: Table, key: str) -> list[str]:
    return [row.cells[key].text if key in row.cells else "" for row in table.rows]


def verdict(result: Result) -> tuple[str, str]:
    """The sign and the colour of the line that sums it up."""
    line = next(part for part in page(result, PLAIN).elements if isinstance(part, Paragraph) and part.text[0] in "✓✗?")
    return line.text[0], line.level


# The verdict


@pytest.mark.parametrize(
    ("result", "sign", "style"),
    [
        (same(), "✓", "good"),
        (replace(same(), checks=checks(step=(SKIPPED, None, "")), verdict=SKIPPED), "✓", "good"),
        (rounding(), "✓", "good"),
        (epsilon(), "✓", "good"),
        (stride(), "✗", "bad"),
        (nan(), "✗", "bad"),
        (replace(same(), checks=checks(eval=(DIFFERENT, 1.0, "")), verdict=DIFFERENT, same=False), "✗", "bad"),
        (replace(same(), same=False), "✗", "bad"),
        (replace(same(), same=False, interrupted=True), "?", "warning"),
        (unable(), "?", "bad"),
        (replace(same(), checks=checks(**dict.fromkeys(CHECKS, (SKIPPED, None, ""))), verdict=SKIPPED), "?", "bad"),
        (family(), "✗", "bad"),
        (replace(family(), architectures=family().architectures[:1], same=True), "✓", "good"),
        (replace(family(), architectures=()), "?", "bad"),
        (self_test(), "✗", "bad"),
        (
            replace(self_test(), injected=1, detected=1, diagnosed=1, same=True, faults=self_test().faults[:1]),
            "✓",
            "good",
        ),
        (replace(self_test(), injected=0, faults=()), "?", "bad"),
    ],
)
def test_the_verdict_reads_without_colour(result: Result, sign: str, style: str) -> None:
    assert verdict(result) == (sign, style)


def test_the_verdict_counts_differences_and_their_kinds() -> None:
    assert "6 differences of 2 kinds; 1 check skipped" in to_text(page(stride(), PLAIN))
    assert "20 expected differences" in to_text(page(epsilon(), PLAIN))


def test_checks_say_their_verdict_in_words() -> None:
    signs = [text[0] for text in texts(tables(stride())["checks"], "verdict")]
    assert signs == ["✓", "✗", "✗", "✗", "✗", "✗", "–", "?"]
    assert texts(tables(nan())["checks"], "error")[2] == "–"
    assert texts(tables(same())["checks"], "error")[2] == "0"
    assert texts(tables(stride())["checks"], "error")[2] == "3.1e-01"
    assert tables(stride())["diagnoses"].rows[0].cells["differences"].value == 6


# Differences


def test_differences_that_say_the_same_are_one_row() -> None:
    assert texts(tables(stride())["differences"], "places") == ["×3", "×3"]
    assert texts(tables(missing())["differences"], "expected") == ["✗", "✗", "✓"]


def test_rewritings_are_no_differences_and_one_row_for_each_kind() -> None:
    assert verdict(rewritten()) == ("✓", "good")
    drawn = tables(rewritten())
    assert "differences" not in drawn
    assert texts(drawn["rewritings"], "places") == ["×2", ""]
    assert len(tables(rewritten(), ViewOptions(collapse=False))["rewritings"].rows) == 3
    assert not any("is_first_difference" in row.cells for row in drawn["tree"].rows)
    assert "rewritings" not in tables(same())


def test_values_that_differ_from_place_to_place_are_one_kind() -> None:
    places = tuple(
        Difference(
            "gradients", "gradient", "weight", f"l{i}.weight", f"layer{i}.weight", f"0.{i}", "0.9", f"l{i}: 0.{i}"
        )
        for i in range(62)
    )
    result = replace(same(), differences=places, same=False, verdict=DIFFERENT)
    assert texts(tables(result)["differences"], "places") == ["×62"]


def test_of_many_differences_twenty_are_drawn() -> None:
    assert len(tables(many())["differences"].rows) == 20
    assert "980 more differences" in to_text(page(many(), PLAIN))
    assert len(tables(many(), ViewOptions(collapse=False))["differences"].rows) == 1000


# The two networks side by side


@pytest.mark.parametrize("name", RESULTS)
def test_the_first_difference_is_marked_once(name: str) -> None:
    result = RESULTS[name]()
    marked = any(op.is_first_difference for op in result.aligned_ops)
    for view, room in ((PLAIN, 80), (ViewOptions(levels=4), 80), (ViewOptions(collapse=False), None)):
        assert to_text(page(result, view), room).count("◀ HERE") == marked


def test_equal_parts_are_a_row_each() -> None:
    tree = tables(same())["tree"]
    assert texts(tree, "model") == ["head", "l0.block", "l1.block", "l2.block", "l3.block", "tail"]
    assert texts(tree, "reference") == ["conv1…maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool…fc"]


@pytest.mark.parametrize("name", RESULTS)
def test_without_collapsing_every_operator_is_drawn(name: str) -> None:
    result = RESULTS[name]()
    tree = tables(result, ViewOptions(collapse=False)).get("tree")
    drawn = [] if tree is None else [text for text in texts(tree, "status") if text]
    assert len(drawn) == len(result.aligned_ops)


def test_a_block_with_a_difference_is_opened_and_its_neighbours_are_not() -> None:
    tree = tables(stride())["tree"]
    model = texts(tree, "model")
    at = model.index("l1.block.BottleneckSkip")
    assert texts(tree, "status")[at : at + 9] == ["", "~", "=", "=", "~", "=", "=", "=", "="]
    assert model[at + 1 : at + 9] == [
        ".conv1", ".bn1", ".relu", ".conv2", ".bn2", ".relu", ".conv3…relu", "l1.block.BottleneckIdentity0…2",
    ]  # fmt: skip
    assert texts(tree, "reference")[at + 8] == "layer2.1…3"
    assert texts(tree, "model_layer")[at + 1] == "stride 2, conv 256→128 1×1 padding 0"
    assert texts(tree, "reference_layer")[at + 1] == "stride 1"


def test_what_one_network_lacks_is_empty_there() -> None:
    tree = tables(missing())["tree"]
    at = texts(tree, "status").index("-")
    assert [texts(tree, key)[at] for key in ("model", "model_layer", "reference")] == ["", "", ".downsample.1"]
    at = texts(tree, "status").index("+")
    assert [texts(tree, key)[at] for key in ("model", "reference", "reference_layer")] == [".drop", "", ""]


@pytest.mark.parametrize("room", [80, 120])
@pytest.mark.parametrize(
    ("module", "value", "other"),
    [("conv1", "stride 1", "stride 2"), ("bn1", "eps 0.001", "eps 1e-05"), ("bn1", "momentum 0.01", "momentum 0.1")],
)
def test_the_setting_that_differs_is_never_cut(module: str, value: str, other: str, room: int) -> None:
    result = spread(setting(same(), f"l1.block.ResSkip.{module}", value, other))
    (line,) = (line for line in to_text(page(result, PLAIN), room).splitlines() if "HERE" in line)
    assert f" {value}," in line
    assert f" {other} " in line


@pytest.mark.parametrize(
    ("model", "reference", "drawn_as"),
    [
        ("64→64 bias", "64→64", ("bias, conv 64→64", "without bias")),
        ("64→64", "64→64 bias", ("without bias, conv 64→64", "bias")),
        (
            "8 eps 0.1 momentum 0.2",
            "8 eps 0.3 momentum 0.4",
            ("eps 0.1, momentum 0.2, conv 8", "eps 0.3, momentum 0.4"),
        ),
        ("padding_mode reflect", "padding_mode zeros", ("padding_mode reflect, conv", "padding_mode zeros")),
        ("ceil_mode True", "ceil_mode False", ("ceil_mode True, conv", "ceil_mode False")),
        ("1 2", "2 1", ("conv 1 2", "2 1")),
        ("", "groups 2", ("default groups, conv", "groups 2")),
    ],
)
def test_what_differs_between_two_settings_stands_first(model: str, reference: str, drawn_as: tuple[str, str]) -> None:
    op = AlignedOp("a", "b", "conv", "conv", model, reference, "setting", is_first_difference=True)
    tree = tables(replace(same(), aligned_ops=(op,)))["tree"]
    assert (texts(tree, "model_layer")[0], texts(tree, "reference_layer")[0]) == drawn_as


def test_an_operator_with_another_output_does_not_pass_as_equal() -> None:
    ops = [replace(op, isolated=1e-3) if i == 20 else op for i, op in enumerate(same().aligned_ops)]
    tree = tables(replace(same(), aligned_ops=tuple(ops)))["tree"]
    assert texts(tree, "status").count("!") == 1
    ops[20] = replace(ops[20], rounding=True)
    assert "!" not in texts(tables(replace(same(), aligned_ops=tuple(ops)))["tree"], "status")


def test_rounding_is_marked() -> None:
    assert all(text.startswith("≈") for text in texts(tables(rounding())["tree"], "cumulative"))
    assert texts(tables(nan())["tree"], "cumulative")[-1] == "–"


STATUSES = st.sampled_from(["equal"] * 6 + ["setting", "replaced", "missing", "extra", "moved", "of a later version"])
PATHS = st.sampled_from(["a", "b", "b.c", "b.c.0", "b.c.1", "b.c.1.x", "", "b.c.1.y.z", "d0", "d1", "d2", "\x1b[2J"])


@given(st.lists(st.tuples(STATUSES, PATHS, PATHS, st.sampled_from([None, 0.0, 0.5])), max_size=60), st.integers(1, 5))
def test_collapsing_hides_nothing(pairs: list[tuple[str, str, str, float | None]], levels: int) -> None:
    ops = tuple(
        AlignedOp(
            None if status == "missing" else model, None if status == "extra" else reference, "conv", "conv", f"n {i}",
            "", status, None, error,
        )
        for i, (status, model, reference, error) in enumerate(pairs)
    )  # fmt: skip
    drawn = list(hunks(ops, levels, lambda op: op.status != "equal"))
    assert tuple(op for hunk in drawn for op in hunk.ops) == ops
    assert all(op.status == "equal" for hunk in drawn if len(hunk.ops) > 1 for op in hunk.ops)
    result = replace(same(), aligned_ops=ops)
    tree = tables(result, ViewOptions(levels=levels)).get("tree")
    signs = [] if tree is None else [sign for sign in texts(tree, "status") if sign not in ("", "=")]
    assert len(signs) >= sum(op.status != "equal" for op in ops)
    assert max(map(width, to_text(page(result, ViewOptions(levels=levels)), 80).splitlines())) <= 80


# Mapping and sections


def test_tensors_without_a_counterpart_are_named() -> None:
    rows = {row.cells["side"].text: row.cells for row in tables(missing())["mapping"].rows}
    assert {side: cells["count"].value for side, cells in rows.items()} == {
        "only in reference": 2,
        "unused in model": 7,
    }
    assert rows["unused in model"]["names"].text.endswith("spare.3.weight and 3 more")
    assert "mapping" not in tables(same())
    assert len(tables(missing(), ViewOptions(collapse=False))["mapping"].rows) == 62


@pytest.mark.parametrize("section", PAGES["compare-torchvision"].sections)
def test_sections_are_a_choice(section: str) -> None:
    assert set(tables(missing(), ViewOptions(sections=(section,)))) == {section}
    assert verdict(missing()) == ("✗", "bad")


def test_an_unknown_section_is_an_error() -> None:
    with pytest.raises(ResnetCliError, match="trees"):
        validate_view("compare-torchvision", ViewOptions(sections=("trees",)))
    for kind in ("compare-torchvision-all", "self-test"):
        with pytest.raises(ResnetCliError):
            validate_view(kind, ViewOptions(sections=("tree",)))


# All architectures, and the self-test


def test_an_architecture_is_judged_by_the_checks_that_were_run() -> None:
    assert texts(tables(family())["architectures"], "verdict") == ["✓", "≈", "✗", "✓", "✗"]
    expected = replace(family().architectures[2], same=True, checks=epsilon().checks)
    result: CompareResult | Result = replace(family(), architectures=(expected,))
    assert texts(tables(result)["architectures"], "verdict") == ["✓"]
