"""Which results a report draws together."""

from __future__ import annotations

from dataclasses import replace

from resnet_cli.render.charts.grouping import entries
from tests.helpers import results_bench, results_summary_flops
from tests.render.pages.test_compare import family, same


def test_results_of_one_network_are_one_entry() -> None:
    summary, flops = results_summary_flops.summary_result(), results_summary_flops.flops_result()
    parity = replace(same(), network=summary.network)
    bench = replace(results_bench.one_batch(), network=summary.network)
    found, loose = entries([bench, parity, flops, summary])
    assert len(found) == 1
    assert list(found[0].results) == [summary, flops, parity, bench]
    assert found[0].label == "résnet[red]tiny"
    assert loose == ()


def test_other_networks_are_other_entries_in_their_order() -> None:
    summary = results_summary_flops.summary_result()
    other = replace(summary, network=replace(summary.network, name="b"))
    found, _ = entries([other, summary])
    assert [entry.label for entry in found] == ["b", "résnet[red]tiny"]


def test_a_second_result_of_a_kind_is_a_second_entry_that_says_how_it_differs() -> None:
    first = results_bench.one_batch()
    second = replace(first, environment=replace(first.environment, device="cuda:0", device_name="GPU <b>"))
    found, _ = entries([first, second])
    assert [entry.label for entry in found] == ["resnet18 (cpu)", "resnet18 (cuda:0, GPU <b>)"]


def test_what_nothing_tells_apart_has_numbers() -> None:
    first = results_bench.one_batch()
    found, _ = entries([first, replace(first, seed=1)])
    assert [entry.label for entry in found] == ["resnet18 #1", "resnet18 #2"]


def test_what_is_about_no_single_network_is_loose() -> None:
    found, loose = entries([family()])
    assert found == ()
    assert loose == (family(),)


def test_a_hostile_name_is_spelled_out() -> None:
    summary = results_summary_flops.summary_result()
    evil = replace(summary, network=replace(summary.network, name="\x1b[2J<b>"))
    assert entries([evil])[0][0].label == "\\x1b[2J<b>"
