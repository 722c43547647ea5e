"""One replica per process: what each reaches, what all reach together, and how well that scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from resnet_cli.formatting import percent
from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table
from resnet_cli.render.pages.cells import counted, factor, rate, relative_ci, seconds, share, text_cell
from resnet_cli.results.bench import Distribution, Replicas

_COLUMNS = (
    Column("rank", "rank", numeric=False),
    Column("host", "host", numeric=False, minimum=6, comfort=12, priority=1),
    Column("device", "device", numeric=False, minimum=6, comfort=8, priority=2),
    Column("median_s", "median"),
    Column("interval", "±"),
    Column("images_per_s", ""),
    Column("relative_rate", "of single", bar=True),
    Column("slowest", "", numeric=False),
)


def replicas(results: Sequence[Replicas], unit: str) -> list[Element]:
    """A table for each batch size, and its efficiency.

    Args:
        results: of each batch size.
        unit: of the throughput: "images" or "inputs".
    """
    return [element for result in results for element in _one_batch_size(result, unit)]


def _one_batch_size(result: Replicas, unit: str) -> Iterator[Element]:
    # One host, or one kind of device, is named elsewhere.
    places = {"host": {rank.host for rank in result.ranks}, "device": {rank.device for rank in result.ranks}}
    columns = tuple(
        _of_unit(column, unit) for column in _COLUMNS if column.key not in places or len(places[column.key]) > 1
    )
    count = len(result.ranks)
    processes = "1 process" if count == 1 else f"{count:,} processes"
    setting = f"{result.wrapper} · {result.backend} · {counted(result.threads, 'thread')} each"
    title = f"batch {result.batch_size:,} in each of {processes} · {setting}"
    yield Table("replicas", title, columns, tuple(_rows(result)))
    single = result.single_process_images_per_s
    speedup = factor(result.images_per_s / single if single else None).text
    yield Paragraph(
        "plain",
        f"batch {result.batch_size:,}: {processes} reach {speedup} the {unit}/s of a single process "
        f"({percent(result.efficiency)} efficiency)",
    )


def _of_unit(column: Column, unit: str) -> Column:
    if column.key == "images_per_s":
        return replace(column, title=f"{unit}/s")
    if column.key == "relative_rate":
        return replace(column, legend=f"{unit}/s relative to a single process")
    return column


def _rows(result: Replicas) -> Iterator[Row]:
    single = result.single_process_images_per_s
    for rank in result.ranks:
        is_slowest = len(result.ranks) > 1 and rank.rank == result.slowest_rank
        yield Row(
            {
                "rank": Cell(str(rank.rank), rank.rank),
                "host": text_cell(rank.host),
                "device": text_cell(rank.device),
                **_time(rank.time),
                "images_per_s": rate(rank.images_per_s),
                "relative_rate": share(rank.images_per_s / single if single else None),
                "slowest": Cell("◀ slowest" if is_slowest else "", is_slowest, "warning"),
            }
        )
    together = {
        "rank": Cell("all", "all", "strong"),
        "images_per_s": rate(result.images_per_s),
        "relative_rate": share(result.images_per_s / single if single else None),
    }
    alone = {
        "rank": Cell("single process", "single process", "strong"),
        **_time(result.single_process),
        "images_per_s": rate(single),
    }
    yield Row(together, style="total")
    yield Row(alone, style="total")


def _time(time: Distribution) -> dict[str, Cell]:
    return {"median_s": seconds(time.median_s), "interval": relative_ci(time.ci_low_s, time.median_s, time.ci_high_s)}
