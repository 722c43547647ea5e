"""Rates of several processes, added up by hand."""

from __future__ import annotations

from resnet_cli.measure.distributed.efficiency import DDP, REPLICAS, combined, notes
from resnet_cli.measure.distributed.synchronized_sampling import RankSamples

SINGLE = RankSamples(samples_s=[0.1, 0.1], calls=20, seconds=2.0)


def rank(samples: list[float], calls: int, seconds: float) -> tuple[str, str, RankSamples]:
    return "here", "cpu", RankSamples(samples, calls, seconds)


def test_rates_add_up_and_the_slowest_is_named() -> None:
    ranks = [rank([0.125], 16, 2.0), rank([0.25], 10, 2.5), rank([0.2], 10, 2.0)]
    row = combined(4, "gloo", REPLICAS, 2, SINGLE, ranks)
    assert [rank.images_per_s for rank in row.ranks] == [32, 16, 20]
    assert (row.images_per_s, row.single_process_images_per_s) == (68, 40)
    assert row.efficiency == 68 / (3 * 40)
    assert row.slowest_rank == 1
    assert row.single_process.median_s == 0.1
    assert len(notes([row])) == 1


def test_of_equal_rates_the_one_with_slower_calls_is_the_slowest() -> None:
    row = combined(1, "gloo", DDP, 1, SINGLE, [rank([0.1], 10, 1.0), rank([0.11], 10, 1.0)])
    assert row.slowest_rank == 1
    assert len(notes([row])) == 2  # training: every step waits for the slowest
