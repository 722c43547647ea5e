"""The page of a benchmark: every batch size, comparison, optimization, layer and replica, and notes on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from resnet_cli.render.document import Fields, Paragraph, Table, ViewOptions
from resnet_cli.render.formats.terminal import to_text
from resnet_cli.render.pages import PAGES, page
from resnet_cli.results.bench import BenchResult
from tests.helpers import results_bench
from tests.helpers.results_bench import (
    BARE,
    compared,
    everything,
    layered,
    on_cuda,
    one_batch,
    optimized,
    planned,
    repeated,
    replicated,
    sweep,
    timing,
    trained,
    without_memory,
)
from tests.helpers.results_bench import distribution as described

SAMPLES: dict[str, Callable[[], BenchResult]] = {
    "one": one_batch,
    "sweep": sweep,
    "cuda": on_cuda,
    "versus": compared,
    "optimizations": optimized,
    "layers": layered,
    "replicas": replicated,
    "runs": repeated,
    "plan": planned,
    "trained": trained,
    "everything": everything,
    "bare": lambda: BARE,
    "interrupted": lambda: replace(one_batch(), interrupted=True),
}
PLAIN = ViewOptions()


def drawn(result: BenchResult, key: str, view: ViewOptions = PLAIN) -> Table:
    return next(part for part in page(result, view).elements if isinstance(part, Table) and part.key == key)


def paragraphs(result: BenchResult, view: ViewOptions = PLAIN) -> list[Paragraph]:
    return [part for part in page(result, view).elements if isinstance(part, Paragraph)]


def column(table: Table, key: str) -> list[str]:
    return [row.cells[key].text if key in row.cells else "" for row in table.rows]


def fields(result: BenchResult) -> dict[str, dict[str, object]]:
    parts = page(result, PLAIN).elements
    return {part.title: {label: cell.value for label, cell in part.items} for part in parts if isinstance(part, Fields)}


# Several processes


def test_each_process_has_a_row_and_what_they_differ_by_a_sentence() -> None:
    table = drawn(repeated(), "runs")
    assert column(table, "process") == ["1", "2", "3", "1", "2", "3"]
    assert column(table, "ratio")[:3] == ["–", "–", "–"]
    assert column(table, "ratio")[3:] == ["1.001", "0.998", "1.004"]
    text = " ".join(paragraph.text for paragraph in paragraphs(repeated()))
    assert "5.5% between 3 runs" in text
    assert "0.2% within" in text


def test_a_plan_says_the_options_or_that_it_is_out_of_reach() -> None:
    out_of_reach, reached = (part for part in paragraphs(planned()) if "a gate of 2%" in part.text)
    assert "out of reach" in out_of_reach.text
    assert "2.5%" in out_of_reach.text
    assert "--runs 4 --max-time 2, 18.40 s" in reached.text
    assert column(drawn(planned(), "plan"), "runs") == ["–", "4"]


def test_the_lines_that_give_the_best_one_follow_the_recommendation() -> None:
    lines = ("model = model.to(memory_format=torch.channels_last)", "logits = model(image)")
    result = optimized()
    assert result.optimizations is not None
    rows = tuple(replace(row, code=(row.key, *lines)) for row in result.optimizations.rows)
    with_code = replace(result, optimizations=replace(result.optimizations, rows=rows))
    texts = [part.text.strip() for part in paragraphs(with_code)]
    start = next(index for index, text in enumerate(texts) if text.startswith("→ take bfloat16"))
    assert texts[start + 1 : start + 4] == ["bfloat16", *lines]


# Training


def test_a_training_step_is_shown_by_phase() -> None:
    table = drawn(trained(), "phases")
    assert column(table, "name") == ["forward", "backward", "optimizer"]
    assert column(table, "share") == ["30.0%", "60.0%", "10.0%"]
    assert "train with adamw" in page(trained(), PLAIN).subtitle


def test_the_largest_batch_stands_beside_the_predicted_one() -> None:
    (row,) = drawn(trained(), "batch-limit").rows
    assert [row.cells[key].text for key in ("batch_size", "predicted", "difference")] == ["412", "398", "-3.4%"]


# Batch sizes


def test_one_batch_size_is_a_list_of_fields() -> None:
    result = one_batch()
    lists, wall = fields(result), result.timings[0].wall
    assert wall is not None
    assert list(lists) == ["batch 1", "throughput", "sampling"]
    assert lists["batch 1"]["median"] == wall.median_s
    assert lists["batch 1"]["CI low"] == wall.ci_low_s
    assert lists["throughput"]["of measured peak"] == result.timings[0].ceiling_share
    assert lists["sampling"]["samples"] == len(wall.samples_s)


def test_on_an_accelerator_wall_time_stands_beside_device_time() -> None:
    single = replace(on_cuda(), timings=on_cuda().timings[:1])
    row = single.timings[0]
    assert row.device is not None
    assert fields(single)["device time"]["median"] == row.device.median_s
    assert fields(single)["device time"]["launch overhead"] == row.launch_overhead
    assert column(drawn(on_cuda(), "timings"), "device_s") == ["1.24 ms", "30.93 ms"]
    assert "device_s" not in [each.key for each in drawn(sweep(), "timings").columns]


def test_several_batch_sizes_are_a_row_each() -> None:
    table = drawn(sweep(), "timings")
    assert column(table, "batch_size") == ["1", "8", "32", "256"]
    assert column(table, "knee") == ["", "◀", "", ""]
    assert column(table, "median_s")[-1] == "out of memory"
    assert column(drawn(sweep(), "distribution"), "batch_size") == ["1", "8", "32"]


def test_a_percentile_without_enough_samples_is_a_dash() -> None:
    table = drawn(sweep(), "distribution")
    assert column(table, "p99_s") == ["15.76 ms", "–", "–"]
    assert column(table, "p90_s")[2] == "–"


def test_a_network_that_ran_at_no_batch_size() -> None:
    result = replace(BARE, timings=(without_memory(8),))
    assert column(drawn(result, "timings"), "median_s") == ["out of memory"]
    assert [part.key for part in page(result, PLAIN).elements if isinstance(part, Table)] == ["timings"]


def test_one_sample_is_enough_to_draw() -> None:
    wall = replace(described((0.1, 0.2)), samples_s=(0.1,), std_s=None, autocorrelation=None, effective_samples=1.0)
    row = replace(timing(1, wall, stopped="interrupted"), warm_up=None)
    lists = fields(replace(BARE, timings=(row,), interrupted=True))
    assert lists["batch 1"]["std"] is None
    assert "first call" not in lists["sampling"]


def test_a_clock_that_is_too_coarse_can_be_drawn() -> None:
    wall = described((0.0,) * 12)
    stopped = timing(2, described((0.1,) * 12), images_per_s=0.0)
    result = replace(BARE, timings=(replace(stopped, wall=wall), replace(stopped, wall=wall, batch_size=4)))
    assert column(drawn(result, "timings"), "interval") == ["–", "–"]
    assert column(drawn(result, "sampling"), "first_call_ratio") == ["–", "–"]


# Notes


@pytest.mark.parametrize(
    ("changes", "drift", "level", "numbers"),
    [
        ({"stopped": "time"}, None, "note", ("20 s", "3.0", "1%")),
        ({"stopped": "interrupted"}, None, "note", ("3.0",)),
        ({}, 0.031, "warning", ("rose", "3.1")),
        ({}, -0.02, "warning", ("fell", "2.0")),
        ({"ceiling_share": 1.04}, None, "warning", ("104.0",)),
        ({"launch_overhead": 0.9}, None, "note", ("host takes 18.", "device 20.")),
    ],
)
def test_what_is_out_of_the_ordinary_is_a_note(
    changes: dict[str, object], drift: float | None, level: str, numbers: tuple[str, ...]
) -> None:
    wall = described(results_bench.series(0.02, 100), 0.03, drift=drift)
    row = replace(timing(4, wall), ceiling_share=None, device=wall if "launch_overhead" in changes else None)
    row = replace(row, **changes)  # type: ignore[arg-type]
    (note,) = (each for each in paragraphs(replace(BARE, timings=(row,))) if each.text.startswith("batch 4: "))
    assert note.level == level
    assert all(number in note.text for number in numbers)


def test_there_is_no_note_on_what_is_as_it_should_be() -> None:
    narrow_at_the_end = replace(one_batch().timings[0], stopped="time", launch_overhead=0.9, ceiling_share=1.0)
    for row in (one_batch().timings[0], narrow_at_the_end):
        result = replace(one_batch(), timings=(row,))
        assert not [each for each in paragraphs(result) if each.text.startswith("batch 1:")]


def test_notes_of_the_result_are_drawn_once_each() -> None:
    texts = [each.text for each in paragraphs(sweep())]
    for note in (*sweep().notes, *(note for row in sweep().timings for note in row.notes)):
        assert texts.count(note.text) == 1


def test_an_interrupted_run_says_so_at_the_top() -> None:
    first = page(SAMPLES["interrupted"](), PLAIN).elements[0]
    assert isinstance(first, Paragraph)
    assert (first.level, first.text[:11]) == ("warning", "interrupted")


def test_conditions_that_are_unknown_are_left_out() -> None:
    text = to_text(page(one_batch(), PLAIN))
    assert "background load 0.0 cores" in text
    assert "GPU clock" not in text
    assert "background load" not in to_text(page(on_cuda(), PLAIN))


# Versus


def test_every_verdict_reads_without_colour() -> None:
    tables = [part for part in page(compared(), PLAIN).elements if isinstance(part, Table)]
    verdicts = [row.cells["verdict"] for table in tables for row in table.rows]
    assert [(cell.text, cell.style) for cell in verdicts] == [
        ("✓ FASTER", "good"), ("≈ SAME", "good"), ("? UNCLEAR", "warning"), ("✗ SLOWER", "bad"),
        ("? UNCLEAR", "warning"),
    ]  # fmt: skip


def test_fail_above_has_a_verdict() -> None:
    unclear = replace(BARE, versus=compared().versus[4:], fail_above=0.05)
    for result, sign in ((compared(), "✗"), (unclear, "?"), (replace(unclear, fail_above=0.08), "✓")):
        assert [each.text[0] for each in paragraphs(result) if each.text[0] in "✓✗?"] == [sign]
    assert not [each for each in paragraphs(replace(unclear, fail_above=None)) if each.text[0] in "✓✗?"]


# Optimizations


def test_optimizations_have_a_row_each_and_end_with_the_recommendation() -> None:
    result = optimized().optimizations
    assert result is not None
    table, missing = drawn(optimized(), "optimizations"), drawn(optimized(), "not_measured")
    assert column(table, "title") + column(missing, "title") == [row.title for row in result.rows]
    assert column(table, "best") == ["", "", "", "", "", "◀"]
    assert column(table, "interval")[0] == "–"
    assert column(table, "break_even_calls") == ["–", "1", "never", "5", "3,010", "5"]
    assert [row.cells["speedup"].style for row in table.rows] == ["", "good", "bad", "good", "good", "good"]
    stopped, recommendation = [each for each in paragraphs(optimized()) if each.level in ("note", "strong")][-2:]
    assert "--max-time" in stopped.text
    assert recommendation.text == f"→ {result.recommendation}"


def test_a_speed_up_that_may_be_none_has_no_colour() -> None:
    result = optimized().optimizations
    assert result is not None
    unsure = replace(result.rows[1], speedup=1.003, ci_low=0.99, ci_high=1.02)
    changed = replace(BARE, optimizations=replace(result, rows=(result.rows[0], unsure)))
    assert drawn(changed, "optimizations").rows[1].cells["speedup"].style == ""


# Layers


def names(table: Table) -> list[str]:
    return ["  " * row.depth + row.cells["layer"].text for row in table.rows]


def test_layers_are_the_same_tree_as_in_a_summary() -> None:
    assert names(drawn(layered(), "layers")) == [
        "head",
        "  conv",
        "  bn",
        "l0.block.ResIdentity0",
        "  conv1",
        "  relu",
        "  relu #2",
        "  add",
        "lin",
        "forward",
    ]
    assert names(drawn(layered(), "layers", ViewOptions(levels=1))) == [
        "head", "l0.block.ResIdentity0", "lin", "forward",
    ]  # fmt: skip


def test_layers_of_training_have_their_backward_pass_and_no_rates() -> None:
    result = layered()
    assert result.layers is not None
    rows = tuple(
        replace(row, backward_s=row.time_s / 2, flops_per_s=None, bytes_per_s=None) for row in result.layers.layers
    )
    trained = replace(result, layers=replace(result.layers, layers=rows, method="operators"))
    for section in ("layers", "layer_types"):
        table = drawn(trained, section)
        keys = [column.key for column in table.columns]
        assert "backward_s" in keys
        assert not {"flops_per_s", "bytes_per_s", "arithmetic_intensity"} & set(keys)
        total = table.rows[-1].cells
        assert total["backward_s"].value == pytest.approx(rows[0].backward_s)
    assert "backward_s" not in [column.key for column in drawn(result, "layers").columns]


def test_time_by_layer_type_adds_up_to_the_forward() -> None:
    *rows, total = drawn(layered(), "layer_types").rows
    types = [row.cells["layer_type"].text for row in rows]
    assert types == ["Conv2d", "ReLU", "BatchNorm2d", "add", "Linear", "not in any layer"]
    for key in ("time_s", "share"):
        values = [row.cells[key].value for row in rows]
        assert sum(v for v in values if isinstance(v, float)) == pytest.approx(total.cells[key].value)
    assert total.cells["macs_share"].value == pytest.approx(1.0)


# Replicas and the ceiling


def test_replicas_have_a_row_each_and_the_slowest_is_marked() -> None:
    table = drawn(replicated(), "replicas")
    assert column(table, "rank") == ["0", "1", "2", "3", "all", "single process"]
    assert column(table, "slowest") == ["", "", "◀ slowest", "", "", ""]
    rates = [row.cells["images_per_s"].value for row in table.rows[4:]]
    first = replicated().replicas[0]
    assert rates == [first.images_per_s, first.single_process_images_per_s]


@pytest.mark.parametrize("make", [one_batch, sweep, replicated])
def test_the_throughput_of_what_is_no_image_is_in_inputs(make: Callable[[], BenchResult]) -> None:
    of_images, of_inputs = (to_text(page(replace(make(), image=image), PLAIN)) for image in ((3, 8, 8), None))
    assert "images/s" in of_images
    assert "images/s" not in of_inputs
    assert "inputs/s" in of_inputs


def test_the_ceiling_is_a_line_until_it_is_asked_for() -> None:
    assert "430.0 GFLOP/s (conv 3×3 256→256" in to_text(page(one_batch(), PLAIN))
    table = drawn(one_batch(), "ceiling", ViewOptions(sections=("ceiling",)))
    assert [row.cells["share"].value for row in table.rows] == pytest.approx([1.0, 0.926, 0.474, 1.0, 0.778], abs=1e-3)


# Sections


@pytest.mark.parametrize("section", PAGES["bench"].sections)
def test_sections_are_drawn_alone(section: str) -> None:
    with_others = {
        "timings": {"timings", "distribution", "sampling"},
        "optimizations": {"optimizations", "not_measured"},
        "layers": {"layers", "layer_types"},
    }
    parts = page(everything(), ViewOptions(sections=(section,))).elements
    assert {part.key for part in parts if isinstance(part, Table)} == with_others.get(section, {section})
    assert any(part.text.startswith("conditions: ") for part in parts if isinstance(part, Paragraph))
