"""What a pattern reads and returns, and questions about graphs that several patterns ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from resnet_cli.measure.graph.diff import GraphDiff, GraphDifference
from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node
from resnet_cli.results.compare import Difference


@dataclass(frozen=True, slots=True)
class Match:
    """One pattern that was recognized.

    Args:
        key: of the diagnosis, such as "resnet-v1".
        text: the diagnosis as a sentence.
        explains: the differences that follow from it.
    """

    key: str
    text: str
    explains: Sequence[Difference]


def match(key: str, text: str, differences: Iterable[GraphDifference]) -> Match:
    """A match that explains differences of the structure."""
    return Match(key, text, [difference.finding for difference in differences])


@dataclass(slots=True)
class DiffContext:
    """The differences of a comparison, as the patterns read them.

    Args:
        structure: both graphs, aligned, and their differences.
        differences: all differences of the comparison.
        biased_variances: running variances that the model updates with the biased variance of the batch.
    """

    structure: GraphDiff
    differences: Sequence[Difference]
    biased_variances: Collection[str]
    readers: dict[int, list[Node]] = field(init=False)  # by the number of the operator whose output they read
    reference_readers: dict[int, list[Node]] = field(init=False)

    def __post_init__(self) -> None:
        """Index the readers of each operator."""
        self.readers, self.reference_readers = _readers(self.model), _readers(self.structure.reference_graph)

    @property
    def model(self) -> Graph:
        """The graph of the model."""
        return self.structure.model

    @property
    def reference(self) -> str:
        """The name of the reference in sentences."""
        return self.structure.reference

    def of(self, category: str, subject: str | None = None) -> list[GraphDifference]:
        """Differences of the structure in a category."""
        return [
            difference
            for difference in self.structure.differences
            if difference.finding.category == category and subject in (None, difference.finding.subject)
        ]

    def extra(self, *operators: str) -> list[tuple[GraphDifference, Node]]:
        """Operators that only the model has, of these kinds."""
        return [
            (difference, difference.model_node)
            for difference in self.of("extra")
            if difference.model_node is not None and difference.model_node.operator in operators
        ]

    def settings(self, subject: str) -> list[tuple[GraphDifference, Node, Node]]:
        """Differences of a setting, with the operators of model and reference."""
        return [
            (difference, difference.model_node, difference.reference_node)
            for difference in self.of("setting", subject)
            if difference.model_node is not None and difference.reference_node is not None
        ]


Pattern = Callable[[DiffContext], Iterator[Match]]


def _readers(graph: Graph) -> dict[int, list[Node]]:
    readers: dict[int, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for number in set(node.inputs):
            readers[number].append(node)
    return readers


def place(difference: GraphDifference) -> str:
    """Where a difference is, in words."""
    return difference.finding.model_path or difference.finding.reference_path or "the network"


def operators_before(graph: Graph, node: Node) -> set[str]:
    """Operators whose outputs an operator reads; "image" for the network's input."""
    above = {number: graph.by_number.get(number) for number in node.inputs}
    return {"image" if number == IMAGE else node.operator if node else "" for number, node in above.items()}


def operators_after(readers: dict[int, list[Node]], node: Node) -> set[str]:
    """Operators that read the output of an operator."""
    return {reader.operator for reader in readers.get(node.number, [])}


def path_to_image(graph: Graph, node: Node) -> list[Node] | None:
    """An operator and those above it up to the image; None where one of them has several inputs."""
    nodes = []
    number = node.number
    while number in graph.by_number:
        nodes.append(graph.by_number[number])
        if len(nodes[-1].inputs) != 1:
            return None
        number = nodes[-1].inputs[0]
    return nodes if number == IMAGE else None
