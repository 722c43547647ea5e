"""The pages of a summary and of a FLOP count: rows that add up, neighbours collapsed, names as they are."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import parse
from resnet_cli.render.document import Fields, Row, Table, ViewOptions
from resnet_cli.render.pages import PAGES, page, validate_view
from resnet_cli.results.common import marked_fields
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import Layer, SummaryResult

ADDITIVE = (
    "parameters", "trainable_parameters", "frozen_parameters", "buffers", "macs", "flops", "ops", "backward_macs", "activation_bytes", "saved_for_backward_bytes",
    "bytes_moved", "macs_share",
)  # fmt: skip
VIEWS = [
    ViewOptions(columns=ADDITIVE, collapse=collapse, levels=levels)
    for collapse, levels in itertools.product((True, False), (None, 1, 2, 3, 9))
]


def table(result: SummaryResult | FlopsResult, view: ViewOptions, key: str) -> Table:
    return next(part for part in page(result, view).elements if isinstance(part, Table) and part.key == key)


def layers(result: SummaryResult, view: ViewOptions) -> Table:
    return table(result, view, "layers")


def names(drawn: Table) -> list[str]:
    return ["  " * row.depth + row.cells[drawn.columns[0].key].text for row in drawn.rows]


def leaves(drawn: Table) -> tuple[list[Row], Row]:
    """The rows with nothing drawn below them, and the closing total."""
    *rows, total = drawn.rows
    assert total.style == "total"
    deeper = [row.depth for row in rows[1:]] + [0]
    return [row for row, after in zip(rows, deeper, strict=True) if after <= row.depth], total


@pytest.mark.parametrize("view", VIEWS)
def test_the_leaf_rows_add_up_to_the_total(summary: SummaryResult, view: ViewOptions) -> None:
    rows, total = leaves(layers(summary, view))
    for key in ADDITIVE:
        values = [row.cells[key].value for row in rows]
        whole = total.cells[key].value
        assert sum(v for v in values if isinstance(v, (int, float))) == pytest.approx(whole, rel=1e-12), key
        assert None not in values


@pytest.mark.parametrize("view", VIEWS)
def test_the_printed_numbers_add_up_within_their_rounding(summary: SummaryResult, view: ViewOptions) -> None:
    rows, total = leaves(layers(summary, view))
    for key in ("parameters", "macs", "activation_bytes"):
        printed = [parse(row.cells[key].text) for row in rows]
        assert sum(printed) == pytest.approx(parse(total.cells[key].text), rel=0.006), key


def test_identical_neighbours_are_one_row_and_their_wrapper_has_none(summary: SummaryResult) -> None:
    assert names(layers(summary, ViewOptions())) == [
        "head",
        "l0.block",
        "  ResIdentity0…2 ×3",
        "    conv1 ×3",
        "    bn1 ×3",
        "    relu ×3",
        "    conv2 ×3",
        "    add ×3",
        "    relu #2 ×3",
        "odd",
        "  frozen",
        "  evil\x1b[2J|<b>[/x]:x:\u202e",
        "  (own)",
        "total",
    ]


def test_a_collapsed_row_has_sums_a_range_of_fields_and_the_highest_peak(summary: SummaryResult) -> None:
    drawn = layers(
        summary, ViewOptions(columns=("macs", "receptive_field", "peak_bytes", "layer_type", "output_shape"))
    )
    row = next(row for row in drawn.rows if row.cells["layer"].text == "conv1 ×3")
    each = summary.root.children[1].children[0].children
    assert row.cells["macs"].value == 3 * each[0].children[0].macs
    assert row.cells["receptive_field"].text == "5–13"
    assert row.cells["peak_bytes"].value == max(block.children[0].peak_bytes for block in each)
    assert (row.cells["layer_type"].text, row.cells["output_shape"].text) == ("Conv2d 3×3", "2×16×32×32")


def test_without_collapsing_every_layer_is_drawn_under_its_own_path(summary: SummaryResult) -> None:
    drawn = layers(summary, ViewOptions(collapse=False))
    paths = [row.cells["layer"].value for row in drawn.rows]
    assert {"l0", "l0.block", "l0.block.ResIdentity2.conv2"} <= set(paths)
    assert paths.count("l0.block.ResIdentity1.relu") == 2  # it is called twice
    assert "relu #2" in [row.cells["layer"].text for row in drawn.rows]


@pytest.mark.parametrize(("levels", "expected"), [(1, ["head", "l0.block", "odd", "total"])])
def test_levels_cut_the_tree(summary: SummaryResult, levels: int, expected: list[str]) -> None:
    assert names(layers(summary, ViewOptions(levels=levels))) == expected


def test_different_neighbours_stay_apart(summary: SummaryResult) -> None:
    stage = summary.root.children[1]
    first, second, third = stage.children[0].children
    changed = replace(second, children=(replace(second.children[0], groups=2), *second.children[1:]))
    block = replace(stage.children[0], children=(first, changed, third))
    root = replace(summary.root, children=(replace(stage, children=(block,)),))
    assert [n for n in names(layers(replace(summary, root=root), ViewOptions(levels=2))) if "Res" in n] == [
        "  ResIdentity0",
        "  ResIdentity1",
        "  ResIdentity2",
    ]


def test_settings_stand_beside_the_class(summary: SummaryResult) -> None:
    assert layers(summary, ViewOptions()).rows[0].cells["layer_type"].text == "Conv2d 3×5 /2×1 d2 g4"


def test_an_empty_network_can_be_drawn(summary: SummaryResult) -> None:
    nothing: dict[str, Any] = dict.fromkeys(marked_fields(Layer, "additive"), 0)
    root = replace(summary.root, children=(), **nothing)
    drawn = layers(replace(summary, root=root, macs=0), ViewOptions(columns=PAGES["summary"].column_names()))
    assert [row.style for row in drawn.rows] == ["total"]
    assert drawn.rows[0].cells["macs_share"].value is None


def test_unknown_numbers_stay_unknown(summary: SummaryResult) -> None:
    head = replace(summary.root.children[0], saved_for_backward_bytes=None, backward_macs=None)
    root = replace(summary.root, saved_for_backward_bytes=None, backward_macs=None, children=(head,))
    drawn = layers(replace(summary, root=root), ViewOptions(columns=("saved_for_backward_bytes", "backward_macs")))
    assert {row.cells["saved_for_backward_bytes"].text for row in drawn.rows} == {"–"}
    assert {row.cells["saved_for_backward_bytes"].value for row in drawn.rows} == {None}


def test_memory_of_each_phase_adds_up(summary: SummaryResult) -> None:
    lists = {part.title: dict(part.items) for part in page(summary, ViewOptions()).elements if isinstance(part, Fields)}
    memory = summary.memory
    weights = memory.parameter_bytes + memory.buffer_bytes + memory.input_bytes
    assert lists["memory, inference"]["total"].value == weights + memory.inference_peak_bytes
    # The peak of a training step holds the gradients of the parameters.
    assert memory.training_peak_bytes is not None
    assert lists["memory, training"]["total"].value == weights + memory.training_peak_bytes + memory.optimizer_bytes


def test_flops_modules_collapse_and_add_up(flops: FlopsResult) -> None:
    for view in (ViewOptions(), ViewOptions(collapse=False, levels=9), ViewOptions(levels=1), ViewOptions(levels=3)):
        rows, total = leaves(table(flops, view, "modules"))
        for key in ("macs", "flops", "ops", "torch_flops", "share"):
            values = [row.cells[key].value for row in rows]
            assert sum(v for v in values if isinstance(v, (int, float))) == pytest.approx(total.cells[key].value), key
    assert names(table(flops, ViewOptions(), "modules"))[:2] == ["l0.block", "  0…2 ×3"]


def test_a_network_that_calls_no_module_is_a_row_of_its_own_work(flops: FlopsResult) -> None:
    drawn = table(replace(flops, root=replace(flops.root, children=())), ViewOptions(), "modules")
    own, total = drawn.rows
    for key in ("macs", "flops", "ops", "torch_flops", "fvcore", "share"):
        assert own.cells[key].value == total.cells[key].value != 0


def test_flops_operators_have_a_total_of_each_phase(flops: FlopsResult) -> None:
    drawn = table(flops, ViewOptions(), "operators")
    forward, backward = drawn.rows[-2:]
    assert (forward.cells["macs"].value, backward.cells["macs"].value) == (flops.macs, flops.backward_macs)
    assert forward.cells["ops"].value == flops.ops
    assert drawn.rows[4].cells["ops"].text == "not counted"


def test_a_reconciliation_arrives_at_the_other_count(flops: FlopsResult) -> None:
    drawn = table(flops, ViewOptions(), "reconciliation")
    counts = [row.cells["count"].value for row in drawn.rows]
    assert counts == [3_400_750, 2_200_750, 1_700_750, 1_700_000, 1_700_000]
    assert [row.cells["coefficient"].text for row in drawn.rows[1:-1]] == ["2 → 1", "2 → 1", "0.5 → 0"]
    assert drawn.rows[1].cells["difference"].text == "-1,200,000"


def test_verdicts_read_without_colour(flops: FlopsResult) -> None:
    drawn = table(flops, ViewOptions(), "conventions")
    texts = [row.cells["verdict"].text for row in drawn.rows]
    assert texts == ["✓ exact", "✗ differs", "✓ to 1.00 M", "not run", "unavailable"]


@pytest.mark.parametrize(
    ("kind", "view", "message", "hint"),
    [
        ("summary", ViewOptions(columns=("mac",)), "column mac", "macs"),
        ("summary", ViewOptions(columns=()), "no column", "layer_type"),
        ("summary", ViewOptions(columns=("macs", "macs")), "macs", ""),
        ("summary", ViewOptions(sections=("x",)), "sections", ""),
        ("summary", ViewOptions(levels=0), "levels=0", "1"),
        ("flops", ViewOptions(sections=("term",)), "section term", "terms"),
        ("flops", ViewOptions(columns=("macs",)), "columns", ""),
    ],
)
def test_a_view_of_what_there_is_not(kind: str, view: ViewOptions, message: str, hint: str) -> None:
    with pytest.raises(ResnetCliError) as caught:
        validate_view(kind, view)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == 2
