"""A replica per process: what each reaches, what all reach, and how well that scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from resnet_cli.formatting import percent
from resnet_cli.render.document import Cell, Column, Element, Paragraph, Row, Table, ViewOptions
from resnet_cli.render.pages.cells import counted, exact, rate, relative_ci, seconds, share, text_cell
from resnet_cli.results.bench import Distribution, Replicas


def replicas(them: Sequence[Replicas], view: ViewOptions) -> list[Element]:
    """A table for each batch size, and how efficient it is; unfolded one table of all."""
    if not view.collapse:
        rows = tuple(row for one in them for row in _rows(one))
        return [Table("replicas", "", (*_NAMES, *_COLUMNS), rows)] if rows else []
    return [part for one in them for part in _drawn(one)]


_NAMES = (
    Column("batch_size", "batch"),
    Column("backend", "backend", numeric=False),
    Column("wrapper", "wrapper", numeric=False),
    Column("threads", "threads"),
)
_COLUMNS = (
    Column("rank", "process", numeric=False),
    Column("host", "host", numeric=False, minimum=6, comfort=12, priority=1),
    Column("device", "device", numeric=False, minimum=6, comfort=8, priority=2),
    Column("median_s", "median"),
    Column("interval", "±"),
    Column("images_per_s", "images/s"),
    Column("of_alone", "of alone", bar=True),
    Column("slowest", "", numeric=False),
)


def _drawn(one: Replicas) -> Iterator[Element]:
    # Where all are on one host or one kind of device, that is said elsewhere.
    places = {"host": {rank.host for rank in one.ranks}, "device": {rank.device for rank in one.ranks}}
    columns = tuple(column for column in _COLUMNS if len(places.get(column.key, "ab")) > 1)
    yield Table("replicas", f"batch {one.batch_size:,} in each of {_setting(one)}", columns, tuple(_rows(one)))
    times = one.images_per_s / one.single_process_images_per_s if one.single_process_images_per_s else 0.0
    yield Paragraph(
        "plain",
        f"batch {one.batch_size:,}: {_processes(one)} together give {times:.2f} times the images/s of one alone: "
        f"{percent(one.efficiency)} efficient",
    )


def _setting(one: Replicas) -> str:
    parts = (text_cell(one.wrapper).text, text_cell(one.backend).text, f"{counted(one.threads, 'thread')} each")
    return " · ".join((_processes(one), *parts))


def _processes(one: Replicas) -> str:
    return "1 process" if len(one.ranks) == 1 else f"{len(one.ranks):,} processes"


def _rows(one: Replicas) -> Iterator[Row]:
    alone = one.single_process_images_per_s
    several = len(one.ranks) > 1
    shared = {
        "batch_size": exact(one.batch_size),
        "backend": text_cell(one.backend),
        "wrapper": text_cell(one.wrapper),
        "threads": exact(one.threads),
    }
    for rank in one.ranks:
        slowest = several and rank.rank == one.slowest_rank
        yield Row(
            {
                **shared,
                "rank": Cell(str(rank.rank), rank.rank),
                "host": text_cell(rank.host),
                "device": text_cell(rank.device),
                **_time(rank.time),
                "images_per_s": rate(rank.images_per_s),
                "of_alone": share(rank.images_per_s / alone if alone else None),
                "slowest": Cell("◀ slowest" if slowest else "", slowest, "warning"),
            }
        )
    yield Row(
        {
            **shared,
            "rank": Cell("all", "all", "strong"),
            "images_per_s": rate(one.images_per_s),
            "of_alone": share(one.images_per_s / alone if alone else None),
        },
        style="total",
    )
    yield Row(
        {
            **shared,
            "rank": Cell("alone", "alone", "strong"),
            **_time(one.single_process),
            "images_per_s": rate(alone),
        },
        style="total",
    )


def _time(time: Distribution) -> dict[str, Cell]:
    return {"median_s": seconds(time.median_s), "interval": relative_ci(time.ci_low_s, time.median_s, time.ci_high_s)}
