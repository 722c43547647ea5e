"""What a pattern reads and returns, and questions about graphs that several patterns ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from resnet_cli.measure.graph.diff import GraphDiff, GraphDifference
from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node
from resnet_cli.measure.parity.diagnosis.residual_blocks import ResidualBlock, ResidualBlocks, residual_blocks
from resnet_cli.results.compare import Difference


@dataclass(frozen=True, slots=True)
class Match:
    """One pattern that was recognized.

    Args:
        key: of the diagnosis, such as "resnet-v1".
        text: the diagnosis as a sentence.
        explains: the differences that follow from it; patterns that come later do not see them.
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
    explained: set[int] = field(default_factory=set)  # ids of differences that a pattern has explained
    readers: dict[int, list[Node]] = field(init=False)  # by the number of the operator whose output they read
    reference_readers: dict[int, list[Node]] = field(init=False)
    blocks: ResidualBlocks = field(init=False)
    reference_blocks: ResidualBlocks = field(init=False)

    def __post_init__(self) -> None:
        """Index the readers of each operator, and the residual blocks."""
        self.readers, self.reference_readers = _readers(self.model), _readers(self.structure.reference_graph)
        self.blocks = residual_blocks(self.model)
        self.reference_blocks = residual_blocks(self.structure.reference_graph)

    @property
    def model(self) -> Graph:
        """The graph of the model."""
        return self.structure.model

    @property
    def reference(self) -> str:
        """The name of the reference in sentences."""
        return self.structure.reference

    def of(self, category: str, subject: str | None = None) -> list[GraphDifference]:
        """Differences of the structure in a category that no pattern has explained yet."""
        return [
            difference
            for difference in self.structure.differences
            if difference.finding.category == category
            and subject in (None, difference.finding.subject)
            and id(difference.finding) not in self.explained
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

    def paired_blocks(self) -> list[tuple[ResidualBlock, ResidualBlock]]:
        """Residual blocks of model and reference in their order; none where their numbers differ."""
        pairs = self.blocks.blocks, self.reference_blocks.blocks
        return list(zip(*pairs, strict=True)) if len(pairs[0]) == len(pairs[1]) else []

    def displaced_blocks(self) -> int:
        """How many residual blocks the alignment pairs otherwise than in their order."""
        partners = self.structure.partner
        return sum(
            partners.get(block.addition.number, reference.addition.number) != reference.addition.number
            for block, reference in self.paired_blocks()
        )

    def within(self, nodes: Iterable[Node], reference_nodes: Iterable[Node], *categories: str) -> list[GraphDifference]:
        """Differences at some operators of the model or of the reference, in some categories or in all."""
        numbers, reference_numbers = ({node.number for node in group} for group in (nodes, reference_nodes))
        return [
            difference
            for difference in self.structure.differences
            if id(difference.finding) not in self.explained
            and (not categories or difference.finding.category in categories)
            and (
                (difference.model_node is not None and difference.model_node.number in numbers)
                or (difference.reference_node is not None and difference.reference_node.number in reference_numbers)
            )
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


def places(labels: Sequence[str], total: int | None = None) -> str:
    """Where something is that may be in several places: "at a", "at a and b", "at 5 places (a, …)".

    Args:
        labels: the places.
        total: how many such places there are.
    """
    if len(labels) < 3:
        return f"at {' and '.join(labels)}"
    return f"at all {total} places" if len(labels) == total else f"at {len(labels)} places ({labels[0]}, …)"


def in_blocks(labels: Sequence[str], total: int) -> str:
    """In which residual blocks something is: "in a", "in 3 of 16 blocks (a, …)", "in all 16 blocks"."""
    if len(labels) == total > 1:
        return f"in all {total} blocks"
    return f"in {labels[0]}" if len(labels) == 1 else f"in {len(labels)} of {total} blocks ({labels[0]}, …)"


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
