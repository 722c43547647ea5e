"""Which results a report draws together."""

from __future__ import annotations

from dataclasses import replace

from resnet_cli.render.charts.grouping import group_by_network
from tests.helpers import results_bench, results_summary_flops
from tests.helpers.results_compare import family, same


def test_results_of_one_network_are_one_entry() -> None:
    summary, flops = results_summary_flops.summary_result(), results_summary_flops.flops_result()
    parity = replace(same(), network=summary.network)
    bench = replace(results_bench.one_batch(), network=summary.network)
    groups, ungrouped = group_by_network([bench, parity, flops, summary])
    assert len(groups) == 1
    assert list(groups[0].results) == [summary, flops, parity, bench]
    assert groups[0].label == "résnet[red]tiny"
    assert ungrouped == ()


def test_other_networks_are_other_entries_in_their_order() -> None:
    summary = results_summary_flops.summary_result()
    other = replace(summary, network=replace(summary.network, name="b"))
    groups, _ = group_by_network([other, summary])
    assert [group.label for group in groups] == ["b", "résnet[red]tiny"]


def test_a_second_result_of_a_kind_is_a_second_entry_that_says_how_it_differs() -> None:
    first = results_bench.one_batch()
    second = replace(first, environment=replace(first.environment, device="cuda:0", device_name="GPU <b>"))
    groups, _ = group_by_network([first, second])
    assert [group.label for group in groups] == ["resnet18 (cpu)", "resnet18 (cuda:0, GPU <b>)"]


def test_equal_labels_have_numbers() -> None:
    first = results_bench.one_batch()
    groups, _ = group_by_network([first, replace(first, seed=1)])
    assert [group.label for group in groups] == ["resnet18 #1", "resnet18 #2"]


def test_what_is_about_no_single_network_is_loose() -> None:
    groups, ungrouped = group_by_network([family()])
    assert groups == ()
    assert ungrouped == (family(),)
