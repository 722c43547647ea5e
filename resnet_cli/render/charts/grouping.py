"""Results by the network that they are about, so that a report shows what belongs together side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resnet_cli.formatting import printable
from resnet_cli.results.bench import BenchResult
from resnet_cli.results.checkpoint import CheckpointResult
from resnet_cli.results.common import Environment, Network
from resnet_cli.results.compare import CompareResult
from resnet_cli.results.doctor import DoctorResult
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result


@dataclass(slots=True)
class NetworkResults:
    """All that is known of one network. Results that no chart is made of are among the others."""

    network: Network
    label: str = ""
    summary: SummaryResult | None = None
    flops: FlopsResult | None = None
    parity: CompareResult | None = None
    bench: BenchResult | None = None
    others: list[Result] = field(default_factory=list)

    @property
    def results(self) -> Iterator[Result]:
        """All of them, in the order of the page."""
        yield from (one for one in (self.summary, self.flops, self.parity, self.bench) if one is not None)
        yield from self.others


def entries(results: Sequence[Result]) -> tuple[tuple[NetworkResults, ...], tuple[Result, ...]]:
    """Results by network, in the order of their first appearance, and those that are about no single network.

    A second result of a kind that an entry has already, of another device or an earlier run say, begins a new one.
    """
    found: list[NetworkResults] = []
    loose: list[Result] = []
    for result in results:
        network = getattr(result, "network", None)
        if network is None:
            loose.append(result)
            continue
        slot = _slot(result)
        free = (one for one in found if one.network == network and (slot is None or getattr(one, slot) is None))
        entry = next(free, None)
        if entry is None:
            entry = NetworkResults(network)
            found.append(entry)
        _put(entry, slot, result)
    _name(found)
    return tuple(found), tuple(loose)


def _slot(result: Result) -> str | None:
    match result:
        case SummaryResult():
            return "summary"
        case FlopsResult():
            return "flops"
        case CompareResult():
            return "parity"
        case BenchResult():
            return "bench"
    return None


def _put(entry: NetworkResults, slot: str | None, result: Result) -> None:
    if slot is not None:
        setattr(entry, slot, result)
        return
    entry.others.append(result)
    if isinstance(result, CheckpointResult) and entry.summary is None:
        entry.summary = result.summary


def _name(found: Sequence[NetworkResults]) -> None:
    """By the network's name; of several of one name also by what tells them apart."""
    for entry in found:
        name = printable(entry.network.name)
        twins = [one for one in found if one.network.name == entry.network.name]
        entry.label = name
        if len(twins) > 1:
            told = [_facts(one) for one in twins]
            mine = told[twins.index(entry)]
            apart = [fact for index, fact in enumerate(mine) if len({other[index] for other in told}) > 1 and fact]
            unique = sum(one == mine for one in told) == 1 and apart
            entry.label = f"{name} ({', '.join(apart)})" if unique else f"{name} #{twins.index(entry) + 1}"


def _facts(entry: NetworkResults) -> tuple[str, ...]:
    """What may tell two entries of one name apart, in words."""
    network, result = entry.network, next(entry.results)
    given, place = getattr(result, "input", None), environment_of(result)
    return (
        f"stem {network.stem}" if network.stem else "",
        f"{network.num_classes:,} classes" if network.num_classes else "",
        f"{network.in_channels} channels" if network.in_channels else "",
        "" if given is None else given.dtype,
        "" if given is None else "×".join(map(str, given.shape)),
        *(("",) * 3 if place is None else map(printable, (place.device, place.device_name, f"torch {place.torch}"))),
    )


def environment_of(result: Result) -> Environment | None:
    """Where a result comes from; None of one that is about a machine itself."""
    return None if isinstance(result, DoctorResult) else result.environment
