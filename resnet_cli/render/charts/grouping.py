"""Results by the network that they are about, so that a report shows what belongs together side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from resnet_cli.results.bench import BenchResult
from resnet_cli.results.checkpoint import CheckpointResult
from resnet_cli.results.common import Environment, Network
from resnet_cli.results.compare import CompareResult
from resnet_cli.results.doctor import DoctorResult
from resnet_cli.results.flops import FlopsResult
from resnet_cli.results.summary import SummaryResult

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

_SLOTS = {SummaryResult: "summary", FlopsResult: "flops", CompareResult: "compare", BenchResult: "bench"}


@dataclass(slots=True)
class NetworkResults:
    """The results of one network: one of each kind that charts are made of, and all others."""

    network: Network
    label: str = ""
    summary: SummaryResult | None = None
    flops: FlopsResult | None = None
    compare: CompareResult | None = None
    bench: BenchResult | None = None
    others: list[Result] = field(default_factory=list)

    @property
    def results(self) -> Iterator[Result]:
        """All of them, in the order of a report."""
        slots = (self.summary, self.flops, self.compare, self.bench)
        yield from (result for result in slots if result is not None)
        yield from self.others


def group_by_network(results: Sequence[Result]) -> tuple[tuple[NetworkResults, ...], tuple[Result, ...]]:
    """Results by network in the order of their first appearance, and those that are not about a single network.

    A second result of the same kind and network (of another device or an earlier run, say) begins a new group.
    """
    groups: list[NetworkResults] = []
    ungrouped: list[Result] = []
    for result in results:
        network = getattr(result, "network", None)
        if network is None:
            ungrouped.append(result)
            continue
        slot = _SLOTS.get(type(result))
        group = next((each for each in groups if each.network == network and _has_room(each, slot)), None)
        if group is None:
            group = NetworkResults(network)
            groups.append(group)
        if slot is not None:
            setattr(group, slot, result)
            continue
        group.others.append(result)
        if isinstance(result, CheckpointResult) and group.summary is None:
            group.summary = result.summary
    _set_labels(groups)
    return tuple(groups), tuple(ungrouped)


def _has_room(group: NetworkResults, slot: str | None) -> bool:
    return slot is None or getattr(group, slot) is None


def _set_labels(groups: Sequence[NetworkResults]) -> None:
    """Label each group with its network's name; groups of the same name also with the facts that they differ in."""
    for group in groups:
        name = group.network.name
        namesakes = [each for each in groups if each.network.name == name]
        group.label = name
        if len(namesakes) == 1:
            continue
        facts = [_facts(each) for each in namesakes]
        index = namesakes.index(group)
        differing = [fact for fact, *values in zip(facts[index], *facts, strict=True) if fact and len(set(values)) > 1]
        is_unique = facts.count(facts[index]) == 1 and differing
        group.label = f"{name} ({', '.join(differing)})" if is_unique else f"{name} #{index + 1}"


def _facts(group: NetworkResults) -> tuple[str, ...]:
    """Texts that may tell two groups of the same name apart."""
    network, result = group.network, next(group.results)
    model_input, environment = getattr(result, "input", None), environment_of(result)
    where = ("", "", "")
    if environment is not None:
        where = (environment.device, environment.device_name, f"torch {environment.torch}")
    return (
        f"stem {network.stem}" if network.stem else "",
        f"{network.num_classes:,} classes" if network.num_classes else "",
        f"{network.in_channels} channels" if network.in_channels else "",
        "" if model_input is None else model_input.dtype,
        "" if model_input is None else "×".join(map(str, model_input.shape)),
        *where,
    )


def environment_of(result: Result) -> Environment | None:
    """Where a result was measured; None for one that is about a machine itself."""
    return None if isinstance(result, DoctorResult) else result.environment
