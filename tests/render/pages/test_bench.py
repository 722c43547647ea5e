"""What is drawn of a benchmark: figures that stay whole, and everything that a reader has to know about them."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli.errors import ResnetCliError
from resnet_cli.formatting import width
from resnet_cli.render.document import Cell, Document, Fields, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.formats.terminal import to_text
from resnet_cli.render.output import render
from resnet_cli.render.pages import PAGES, page, validate_view
from resnet_cli.render.pages.bench.sparkline import LEVELS, blocks, course, histogram, within_fences
from resnet_cli.render.progress import progress
from resnet_cli.render.text.encoding import wrap
from resnet_cli.results.bench import BenchResult, LayerTimes
from resnet_cli.results.common import Note
from resnet_cli.results.serialization import from_json, to_json
from tests.helpers import results_bench
from tests.helpers.results_bench import (
    BARE,
    climbed,
    compared,
    comparison,
    everything,
    layered,
    on_cuda,
    one_batch,
    replicated,
    sweep,
    timing,
    without_memory,
)
from tests.helpers.results_bench import distribution as described
from tests.render.text.test_terminal import assert_figures_are_whole

SAMPLES: dict[str, Callable[[], BenchResult]] = {
    "one": one_batch,
    "sweep": sweep,
    "cuda": on_cuda,
    "compared": compared,
    "ladder": climbed,
    "layers": layered,
    "replicas": replicated,
    "everything": everything,
    "bare": lambda: BARE,
    "interrupted": lambda: replace(one_batch(), interrupted=True),
}
NAMES = list(SAMPLES)
PLAIN = ViewOptions()
HOSTILE = "\x1b[31m[red]<b>"
SHOWN = r"\x1b[31m[red]<b>"


def drawn(result: BenchResult, key: str, view: ViewOptions = PLAIN) -> Table:
    return next(part for part in page(result, view).elements if isinstance(part, Table) and part.key == key)


def said(result: BenchResult, view: ViewOptions = PLAIN) -> str:
    return "\n".join(part.text for part in page(result, view).elements if isinstance(part, Paragraph))


def column(table: Table, key: str) -> list[str]:
    return [row.cells[key].text if key in row.cells else "" for row in table.rows]


def listed(result: BenchResult) -> dict[str, dict[str, str]]:
    parts = page(result, ViewOptions()).elements
    return {p.title: {label: cell.text for label, cell in p.items} for p in parts if isinstance(p, Fields)}


# How it looks


@pytest.mark.parametrize("room", [80, 120])
@pytest.mark.parametrize("name", ["one", "sweep", "cuda", "compared", "ladder", "layers", "replicas"])
def test_golden(name: str, room: int, golden: Callable[[str, str], None]) -> None:
    golden(f"bench-{name}-{room}.txt", to_text(page(SAMPLES[name](), ViewOptions()), room))


def test_golden_ascii(golden: Callable[[str, str], None]) -> None:
    text = to_text(page(everything(), ViewOptions()), 80, "ascii")
    assert text.isascii()
    assert "?" not in text.replace("? UNCLEAR", "")
    golden("bench-80-ascii.txt", text)


@pytest.mark.parametrize("name", NAMES)
def test_no_figure_is_cut_at_any_width(name: str) -> None:
    for view in (ViewOptions(), ViewOptions(sections=PAGES["bench"].sections)):
        for part in page(SAMPLES[name](), view).elements:
            if isinstance(part, Table) and not wraps(part):
                for room in (40, 80, 120, 200):
                    assert_figures_are_whole(part, room)


def wraps(table: Table) -> bool:
    return any(each.wrap for each in table.columns)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "cp437"])
@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_wider_than_the_terminal(name: str, encoding: str) -> None:
    whole = page(SAMPLES[name](), ViewOptions())
    for room in (40, 60, 80, 120, 200):
        text = to_text(whole, room, encoding)
        assert max(map(width, text.splitlines())) <= room
        text.encode(encoding)


@pytest.mark.parametrize("room", [40, 80])
def test_facts_are_whole_where_room_is_short(room: int) -> None:
    lists = listed(on_cuda_alone())
    text = to_text(page(on_cuda_alone(), ViewOptions()), room)
    for title, items in lists.items():
        for label, figure in items.items():
            assert re.search(re.escape(figure).replace(r"\ ", " +"), text), (title, label)


def on_cuda_alone() -> BenchResult:
    return replace(on_cuda(), timings=on_cuda().timings[:1])


def test_what_comes_from_outside_is_spelled_out() -> None:
    note = Note("warning", HOSTILE)
    hostile = replace(
        everything(),
        network=replace(BARE.network, name=HOSTILE),
        timings=(*sweep().timings, replace(without_memory(512), status=HOSTILE, reason=HOSTILE, notes=(note,))),
        versus=(comparison(1, HOSTILE, 0.9, 1.0, 1.1, model=HOSTILE, reference=HOSTILE, notes=(note,)),),
        conditions=replace(
            BARE.conditions, mode=HOSTILE, precision=HOSTILE, instructions=HOSTILE, libraries=(HOSTILE,),
            throttled=(HOSTILE,),
        ),
        notes=(note,),
    )  # fmt: skip
    for view in (ViewOptions(), ViewOptions(collapse=False), ViewOptions(sections=PAGES["bench"].sections)):
        text = to_text(page(hostile, view))
        assert all(character.isprintable() or character == "\n" for character in text)
    assert to_text(page(hostile, ViewOptions())).startswith(f"bench: {SHOWN}\n{SHOWN} · {SHOWN} · image")
    assert "\x1b" not in render(hostile, "markdown") + render(hostile, "csv") + render(hostile, "svg")
    assert "<b>" not in render(hostile, "markdown") + render(hostile, "svg")


# One batch size and several


def test_one_batch_size_is_a_list_of_facts() -> None:
    facts = listed(one_batch())
    assert list(facts) == ["batch 1", "throughput", "sampling"]
    assert facts["batch 1"]["median"] == "14.73 ms"
    assert facts["batch 1"]["95 % interval"] == "±0.4 %"
    assert facts["throughput"]["of the ceiling"] == "56.1 %"
    assert facts["sampling"]["× median"] == "2.5×"
    assert facts["sampling"]["stopped when"] == "sharp"


def test_on_an_accelerator_a_request_stands_beside_the_device() -> None:
    facts = listed(on_cuda_alone())
    assert list(facts)[:2] == ["batch 1, a request", "on the device"]
    assert facts["on the device"]["median"] == "1.24 ms"
    assert facts["on the device"]["enqueue"] == "93.0 %"
    assert column(drawn(on_cuda(), "timings"), "device_median_s") == ["1.24 ms", "30.93 ms"]
    assert "device_median_s" not in [each.key for each in drawn(sweep(), "timings").columns]


def test_several_batch_sizes_are_a_row_each() -> None:
    table = drawn(sweep(), "timings")
    assert column(table, "batch_size") == ["1", "8", "32", "256"]
    assert column(table, "knee") == ["", "◀", "", ""]
    assert column(table, "median_s")[-1] == "out of memory"
    assert "batch 256: out of memory: needs 12.3 GB where 7.9 GB are free" in said(sweep())
    assert column(drawn(sweep(), "spread"), "batch_size") == ["1", "8", "32"]


def test_a_percentile_without_enough_samples_is_a_dash() -> None:
    spreads = drawn(sweep(), "spread")
    assert column(spreads, "p99_s") == ["15.76 ms", "–", "–"]
    assert column(spreads, "p90_s")[2] == "–"


def test_at_80_columns_the_essentials_stay() -> None:
    for result in (sweep(), on_cuda()):
        header = next(
            line for line in to_text(page(result, ViewOptions()), 80).splitlines() if line.startswith("batch ")
        )
        for title in ("median", "±", "images/s", "FLOP/s", "ceiling", "knee"):
            assert title in header


def test_a_network_that_no_batch_size_ran_of() -> None:
    result = replace(BARE, timings=(without_memory(8),))
    assert column(drawn(result, "timings"), "median_s") == ["out of memory"]
    assert [part.key for part in page(result, ViewOptions()).elements if isinstance(part, Table)] == ["timings"]


def test_one_sample_is_enough_to_draw() -> None:
    wall = replace(
        described((0.1, 0.2)),
        samples_s=(0.1,),
        std_s=None,
        autocorrelation=None,
        effective_samples=1.0,
    )
    result = replace(BARE, timings=(timing(1, wall, start=None, stopped="interrupted"),), interrupted=True)
    facts = listed(result)
    assert (facts["batch 1"]["std"], facts["sampling"]["correlation"]) == ("–", "–")
    assert "first call" not in facts["sampling"]


def test_a_clock_that_stood_still_can_be_drawn() -> None:
    wall = described((0.0,) * 12)
    stopped = timing(2, described((0.1,) * 12), images_per_s=0.0)
    result = replace(BARE, timings=(replace(stopped, wall=wall), replace(stopped, wall=wall, batch_size=4)))
    assert column(drawn(result, "timings"), "interval") == ["–", "–"]
    assert column(drawn(result, "sampling"), "first_call_ratio") == ["–", "–"]
    assert column(drawn(result, "spread"), "distribution") == ["█" + "▁" * 21] * 2


# What is said


@pytest.mark.parametrize(
    ("changes", "drift", "level", "sentence"),
    [
        ({"stopped": "time"}, None, "note", r"time was up after 20 s .* 3\.0 % wide instead of 1 %.*--max-time"),
        ({"stopped": "interrupted"}, None, "note", r"interrupted with the interval 3\.0 % wide"),
        ({}, 0.031, "warning", r"the times rose by 3\.1 %"),
        ({}, -0.02, "warning", r"the times fell by 2\.0 %"),
        ({"ceiling_share": 1.04}, None, "warning", r"104\.0 % of the ceiling is an error of measurement"),
        ({"device": True, "enqueue": 0.9}, None, "note", r"launch-bound: .* 90\.0 % .*CUDA graph"),
    ],
)
def test_what_is_out_of_the_ordinary_is_a_sentence(
    changes: dict[str, object], drift: float | None, level: str, sentence: str
) -> None:
    wall = described(results_bench.series(0.02, 100), 0.03, drift=drift)
    if "device" in changes:
        changes = {**changes, "device": wall}
    result = replace(BARE, timings=(timing(4, wall, **changes),))  # type: ignore[arg-type]
    remarks = [part for part in page(result, ViewOptions()).elements if isinstance(part, Paragraph)]
    found = [remark for remark in remarks if re.match(f"batch 4: {sentence}", remark.text)]
    assert [remark.level for remark in found] == [level]


def test_nothing_is_said_of_what_is_as_it_should_be() -> None:
    sharp_at_the_end = replace(one_batch().timings[0], stopped="time", launch_overhead=0.9, ceiling_share=1.0)
    for row in (one_batch().timings[0], sharp_at_the_end):
        assert "batch 1:" not in said(replace(one_batch(), timings=(row,)))


def test_notes_are_drawn_once_each() -> None:
    text = said(sweep())
    assert text.count("did not stand still") == 1
    assert text.count("0.4 processors busy") == 1


def test_an_interrupted_run_says_so_at_the_top() -> None:
    first = page(replace(one_batch(), interrupted=True), ViewOptions()).elements[0]
    assert isinstance(first, Paragraph)
    assert (first.level, first.text[:11]) == ("warning", "interrupted")
    assert "interrupted" not in said(one_batch())


def test_conditions_are_told_where_they_are_known() -> None:
    assert "2 threads in an operator" in said(one_batch())
    assert "oneDNN 3.11.0 · MKL 2024.2 · other load 0.0 processors · stolen 0.1 %" in said(one_batch())
    text = said(on_cuda())
    assert "clock 1.98 GHz · throttled: power cap" in text
    assert "other load" not in text


# Side by side


def test_every_verdict_reads_without_colour() -> None:
    tables = [part for part in page(compared(), ViewOptions()).elements if isinstance(part, Table)]
    assert [table.title for table in tables] == [
        "resnet18 against torchvision resnet18, in turn call by call",
        "this run against the baseline",
    ]
    verdicts = [row.cells["verdict"] for table in tables for row in table.rows]
    assert [(cell.text, cell.style) for cell in verdicts] == [
        ("✓ FASTER", "good"), ("≈ SAME", "good"), ("? UNCLEAR", "warning"), ("✗ SLOWER", "bad"),
        ("? UNCLEAR", "warning"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "figures", "sentence"),
    [
        ("FASTER", (0.957, 0.968, 0.979), "batch 1: a takes 3.2 % less time than b (2.1 % to 4.3 % less)"),
        ("SLOWER", (1.02, 1.03, 1.04), "batch 1: a takes 3.0 % more time than b (2.0 % to 4.0 % more)"),
        ("SAME", (0.996, 0.999, 1.003), "batch 1: no difference beyond 1 % (0.4 % less to 0.3 % more)"),
        (
            "UNCLEAR",
            (0.98, 1.0, 1.02),
            "batch 1: a takes 2.0 % less to 2.0 % more time than b: too wide to tell",
        ),
        ("UNCLEAR", (0.98, 0.988, 1.0), "batch 1: a takes 0.0 % to 2.0 % less time than b: too wide to tell at 1 %"),
    ],
)
def test_a_verdict_in_words(verdict: str, figures: tuple[float, float, float], sentence: str) -> None:
    result = replace(BARE, versus=(comparison(1, verdict, *figures, model="a", reference="b"),))
    assert sentence in said(result)
    assert ("--max-time" in said(result)) == (verdict == "UNCLEAR")


def test_whether_the_run_has_failed() -> None:
    baseline = compared().versus[3:]
    unclear = replace(BARE, versus=baseline[1:], fail_above=0.05)
    assert "✗ failed: surely slower than the baseline by more than 5 %" in said(compared())
    assert "? unclear, so it passes" in said(unclear)
    assert "✓ passed" in said(replace(unclear, fail_above=0.08))
    assert "passe" not in said(replace(unclear, fail_above=None))


# The ladder


def test_the_ladder_has_a_row_for_every_rung_and_ends_with_advice() -> None:
    ladder = climbed().optimizations
    assert ladder is not None
    table, missing = drawn(climbed(), "ladder"), drawn(climbed(), "missing")
    assert column(table, "title") + column(missing, "title") == [one.title for one in ladder.rows]
    assert column(table, "best") == ["", "", "", "", "", "◀"]
    assert column(table, "interval") == ["–", *["±1.2 %"] * 5]
    assert column(table, "pays_after") == ["–", "1", "never", "5", "3,010", "5"]
    assert [row.cells["gain"].style for row in table.rows] == ["", "good", "bad", "good", "good", "good"]
    assert column(missing, "reason")[0].startswith("only on CUDA")
    *_, time, advice, _, _ = said(climbed()).splitlines()
    assert time.startswith("time was up")
    assert advice == f"→ {ladder.recommendation}"


def test_a_gain_that_may_be_none_has_no_colour() -> None:
    ladder = climbed().optimizations
    assert ladder is not None
    unsure = replace(ladder.rows[1], speedup=1.003, ci_low=0.99, ci_high=1.02)
    result = replace(BARE, optimizations=replace(ladder, rows=(ladder.rows[0], unsure), stopped="sharp"))
    assert drawn(result, "ladder").rows[1].cells["gain"].style == ""
    assert "time was up" not in said(result)


# Layers


def names(table: Table) -> list[str]:
    return ["  " * row.depth + row.cells["layer"].text for row in table.rows]


def test_layers_are_a_tree_with_wrappers_joined() -> None:
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


def test_levels_cut_the_tree_of_layers() -> None:
    assert names(drawn(layered(), "layers", ViewOptions(levels=1))) == [
        "head",
        "l0.block.ResIdentity0",
        "lin",
        "forward",
    ]
    assert len(drawn(layered(), "layers", ViewOptions(levels=2)).rows) == 10


def test_a_layer_without_its_parent_is_drawn_all_the_same() -> None:
    layers = layered().layers
    assert layers is not None
    orphan = replace(layers, layers=layers.layers[2:4])
    assert names(drawn(replace(BARE, layers=orphan), "layers")) == ["conv", "bn", "forward"]
    empty = LayerTimes(1, 0.01, 0.01, 0.01, 20, ())
    assert names(drawn(replace(BARE, layers=empty), "layers")) == ["forward"]


def test_time_by_kind_adds_up_to_the_forward() -> None:
    *rows, total = drawn(layered(), "kinds").rows
    assert [row.cells["kind"].text for row in rows] == [
        "Conv2d", "ReLU", "BatchNorm2d", "add", "Linear", "outside of layers",
    ]  # fmt: skip
    for key in ("time_s", "share"):
        values = [row.cells[key].value for row in rows]
        assert sum(v for v in values if isinstance(v, float)) == pytest.approx(total.cells[key].value)
    assert total.cells["macs_share"].value == pytest.approx(1.0)


def test_memory_bound_layers_stand_out() -> None:
    bounds = {row.cells["layer"].text: row.cells.get("bound") for row in drawn(layered(), "layers").rows}
    bn, conv = bounds["bn"], bounds["conv"]
    assert bn is not None
    assert conv is not None
    assert (bn.text, bn.style, conv.text, conv.style) == ("memory", "warning", "compute", "")


# Replicas and the ceiling


def test_replicas_have_a_row_each_and_the_slowest_is_marked() -> None:
    table = drawn(replicated(), "replicas")
    assert column(table, "rank") == ["0", "1", "2", "3", "all", "alone"]
    assert column(table, "slowest") == ["", "", "◀ slowest", "", "", ""]
    assert column(table, "images_per_s")[4:] == ["376.4", "107.8"]
    assert "4 processes together give 3.49 times the images/s of one alone: 87.3 % efficient" in said(replicated())


def test_hosts_are_named_where_there_are_several() -> None:
    tables = [part for part in page(replicated(), ViewOptions()).elements if isinstance(part, Table)]
    assert [any(each.key == "host" for each in table.columns) for table in tables] == [False, True]


def test_the_ceiling_is_a_line_until_it_is_asked_for() -> None:
    assert "430.0 GFLOP/s (conv 3×3 256→256" in said(one_batch())
    table = drawn(one_batch(), "ceiling", ViewOptions(sections=("ceiling",)))
    assert column(table, "share") == ["100.0 %", "92.6 %", "47.4 %", "100.0 %", "77.8 %"]


# Sections


def test_sections_are_drawn_alone() -> None:
    for section, key in zip(
        PAGES["bench"].sections, ("timings", "comparison", "ladder", "layers", "replicas", "ceiling"), strict=True
    ):
        parts = page(everything(), ViewOptions(sections=(section,))).elements
        keys = {part.key for part in parts if isinstance(part, Table)}
        assert key in keys
        assert keys <= {
            "timings": {"timings", "spread", "sampling"},
            "ladder": {"ladder", "missing"},
            "layers": {"layers", "kinds"},
        }.get(section, {key})
        assert "conditions: " in said(everything(), ViewOptions(sections=(section,)))


def test_an_unknown_section_is_an_error() -> None:
    with pytest.raises(ResnetCliError, match="there is no section layer"):
        validate_view("bench", ViewOptions(sections=("layer",)))
    validate_view("bench", ViewOptions(sections=PAGES["bench"].sections, levels=3))


@pytest.mark.parametrize("name", ["compared", "ladder", "layers", "replicas", "bare"])
def test_a_result_of_one_part_draws_that_part_alone(name: str) -> None:
    text = to_text(page(SAMPLES[name](), ViewOptions()), 100)
    assert text.startswith("bench: resnet18\ninference · float32 · image 3×224×224 · cpu · 2 threads\n\n")
    assert "\n\n\n" not in text
    assert "median_s" not in text


# JSON, CSV, Markdown, SVG


@pytest.mark.parametrize("name", NAMES)
def test_json_reads_back_as_it_was(name: str) -> None:
    result = SAMPLES[name]()
    text = to_json(result)
    assert from_json(text) == result
    assert '"schema": "resnet-cli/bench/2"' in text


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_markdown_and_svg(golden: Callable[[str, str], None]) -> None:
    golden("bench.md", render(everything(), "markdown"))
    for name in NAMES:
        for block in render(SAMPLES[name](), "markdown").split("\n\n"):
            lines = [line for line in block.splitlines() if line.startswith("|")]
            assert len({len(re.split(r"(?<!\\)\|", line)) for line in lines}) <= 1
        ET.fromstring(render(SAMPLES[name](), "svg"))


def test_a_histogram_of_a_picture_has_a_rectangle_for_each_block() -> None:
    wall = one_batch().timings[0].wall
    assert wall is not None
    one = Table("t", "", drawn(one_batch(), "spread").columns, drawn(one_batch(), "spread").rows)
    from resnet_cli.render.formats.svg import to_svg

    tree = ET.fromstring(to_svg(Document("", (one,))))
    bars = [each for each in tree.iter() if each.get("class") == "bar"]
    heights = [float(each.get("height", "0")) for each in bars]
    text = one.rows[0].cells["distribution"].text + one.rows[0].cells["course"].text
    assert len(bars) == len(text)
    assert heights.index(max(heights)) == text.index("█")


# The histogram


TIMES = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60)


@given(TIMES, st.integers(1, 40))
def test_a_histogram_counts_every_sample_that_is_no_outlier(samples: list[float], bins: int) -> None:
    counts = histogram(samples, bins)
    low, high = within_fences(samples)
    assert len(counts) == bins
    assert sum(counts) == sum(low <= one <= high for one in samples)
    assert min(samples) <= low <= high <= max(samples)
    drawing = blocks(counts)
    assert len(drawing) == bins
    assert LEVELS[-1] in drawing
    assert [block == LEVELS[0] for block in drawing] == [count == 0 for count in counts]


def test_an_outlier_does_not_squash_a_histogram() -> None:
    samples = [float(one) for one in range(100, 120)]
    assert histogram([*samples, 10_000.0], 4) == histogram(samples, 4) == (5, 5, 5, 5)
    assert within_fences([*samples, 10_000.0]) == (100.0, 119.0)


def test_few_samples_have_no_outlier_and_equal_ones_one_bin() -> None:
    assert within_fences([1.0, 1.1, 50.0]) == (1.0, 50.0)
    assert histogram([2.0] * 9, 3) == (9, 0, 0)
    assert blocks((0, 1, 100)) == "▁▂█"
    # Where more than half are one time, nothing says what is far from it.
    assert within_fences([1.0] * 9 + [2.0]) == (1.0, 2.0)


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=200), st.integers(1, 40))
def test_a_course_has_a_block_for_each_group(samples: list[float], groups: int) -> None:
    drawing = course(samples, groups)
    assert len(drawing) == min(groups, len(samples))
    assert set(drawing) <= set(LEVELS)
    assert LEVELS[0] in drawing
    assert (LEVELS[-1] in drawing) == (len(set(drawing)) > 1)


def test_drift_shows_in_a_course() -> None:
    rising = [1 + index / 100 + 0.3 * (index % 2) for index in range(160)]
    assert course(rising, 8) == "▁▂▃▄▅▆▇█"
    assert course(rising[::-1], 8) == "█▇▆▅▄▃▂▁"
    one_slow = [1.0] * 20 + [9.0] + [1.0] * 19
    assert course(one_slow, 4) == "▁▁▁▁", "a median has no ear for one slow call"
    with pytest.raises(ValueError, match="samples"):
        course([], 4)


def test_a_histogram_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        histogram([], 3)


# What the other pages share


def test_a_figure_and_its_unit_stay_on_one_line() -> None:
    assert list(wrap("the interval is 1 %; more", 17)) == ["the interval is", "1 %; more"]
    assert list(wrap("take 14.72 ms of 2 miles", 10)) == ["take", "14.72 ms", "of 2 miles"]
    assert list(wrap("take 2 miles", 7)) == ["take 2", "miles"]


def test_figures_after_a_sign_stand_above_each_other() -> None:
    items = (("a", Cell("±0.4 %", 0.004)), ("b", Cell("14.72 ms", 0.01472)), ("c", Cell("512", 512)))
    for encoding in ("utf-8", "ascii"):
        lines = to_text(Document("", (Fields("t", items),)), 40, encoding).splitlines()[-3:]
        assert lines[0].index("%") == lines[1].index("ms") == lines[2].index("2") + 2


def test_a_remark_may_stand_apart() -> None:
    page_ = Document("t", (Paragraph("plain", "a"), Paragraph("plain", "b", apart=True), Paragraph("plain", "c")))
    assert to_text(page_) == "t\n\na\n\nb\nc\n"
    assert to_text(Document("t", (Paragraph("plain", "a", apart=True),))) == "t\n\na\n"


# Progress


def test_progress_shows_a_long_text_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "40")
    with progress() as tell:
        tell("batch 8: 120 samples, interval 1.2 % wide, at most 12 s left")
    shown, *left = screen.getvalue().replace("\r", "").split("\x1b[K")[1:]
    assert shown == "batch 8: 120 samples, interval 1.2 % wi"
    assert "".join(left) == ""


def test_rows_of_one_table_have_cells_of_its_columns() -> None:
    for name in NAMES:
        for view in (ViewOptions(), ViewOptions(collapse=False)):
            for part in page(SAMPLES[name](), view).elements:
                if isinstance(part, Table):
                    keys = [each.key for each in part.columns]
                    assert len(keys) == len(set(keys)), part.key
                    assert all(has_name(row, part) for row in part.rows), part.key


def has_name(row: Row, table: Table) -> bool:
    return table.columns[0].key in row.cells
