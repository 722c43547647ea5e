"""Where in the user's files the cause of a difference is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from torch import nn

from resnet_cli.measure.graph.diff import GraphDiff, GraphDifference, resolve
from resnet_cli.measure.graph.nodes import IMAGE, Graph, Node
from resnet_cli.measure.graph.source_lines import Line, constructor_lines, statement_at
from resnet_cli.measure.models.user_errors import is_users
from resnet_cli.results.compare import Diagnosis, Difference

# Categories of differences whose cause is a statement of a `forward`; that of all others is a module as it was built.
_IN_FORWARD = {"missing", "extra", "moved", "replaced", "operator", "wiring", "output", "shape", "gradients", "step"}
_OF_OUTPUTS = {"output", "shape"}


def with_lines(
    differences: Iterable[Difference], structure: GraphDiff, model: nn.Module, reference: nn.Module
) -> list[Difference]:
    """Differences with their lines.

    Args:
        differences: of a comparison; those of the structure are the same objects.
        structure: both graphs.
        model: the network.
        reference: what it is compared with.
    """
    rows = {id(row.finding): row for row in structure.differences}
    side = _Side(structure.model, model, structure.partner)
    reference_side = _Side(structure.reference_graph, reference, structure.partner_of)
    located = []
    for difference in differences:
        node, reference_node = _operators(rows.get(id(difference)), structure)
        lines = side.lines(difference, difference.model_path, node)
        reference_lines = reference_side.lines(difference, difference.reference_path, reference_node)
        line, reference_line = _first_unlike(lines, reference_lines, is_setting=difference.category == "setting")
        located.append(
            replace(
                difference,
                model_line=None if line is None else str(line),
                reference_line=None if reference_line is None else str(reference_line),
            )
        )
    return located


def with_first_line(diagnosis: Diagnosis, differences: Sequence[Difference]) -> Diagnosis:
    """A diagnosis with the line of the first of its differences that has one."""
    lines = [differences[index].model_line for index in diagnosis.differences]
    return replace(diagnosis, line=next(filter(None, lines), None))


def _operators(row: GraphDifference | None, structure: GraphDiff) -> tuple[Node | None, Node | None]:
    """The operators of a difference; where one network has none, what the other's counterpart would read there."""
    if row is None or row.finding.category == "shared":  # which is about a module
        return None, None
    node, reference_node = row.model_node, row.reference_node
    if node is None and reference_node is not None:
        node = _above(structure.reference_graph, reference_node, structure.partner_of, structure.model)
    elif reference_node is None and node is not None:
        reference_node = _above(structure.model, node, structure.partner, structure.reference_graph)
    return node, reference_node


def _above(graph: Graph, node: Node, partners: Mapping[int, int], other: Graph) -> Node | None:
    """What an operator would read in the other network; the first operator there where it would read the image."""
    numbers = [number for number in resolve(graph, node, partners) if number in other.by_number]
    if numbers:
        return other.by_number[numbers[0]]
    return next((first for first in other.nodes if IMAGE in first.inputs), None)


def _first_unlike(
    lines: Sequence[Line], reference_lines: Sequence[Line], *, is_setting: bool
) -> tuple[Line | None, Line | None]:
    """The innermost calls; for a setting, which a call around them may pass, the innermost that are not the same."""
    if is_setting and lines and reference_lines:
        for place in range(max(len(lines), len(reference_lines))):
            # Where the calls around one of them end, a longer chain goes on with a call that the other has not.
            line, reference_line = (side[min(place, len(side) - 1)] for side in (lines, reference_lines))
            if statement_at(line) != statement_at(reference_line):
                return line, reference_line
    return next(iter(lines), None), next(iter(reference_lines), None)


class _Side:
    """One of the networks."""

    def __init__(self, graph: Graph, network: nn.Module, partners: Mapping[int, int]) -> None:
        self._graph, self._partners = graph, partners
        self._modules = dict(network.named_modules(remove_duplicate=False))

    def lines(self, difference: Difference, path: str | None, node: Node | None) -> tuple[Line, ...]:
        """The line of a difference, then those of the calls around it where they are known.

        Args:
            difference: found by any check.
            path: of a module or a tensor of this network.
            node: its operator, where it is one of the structure.
        """
        if difference.category in _IN_FORWARD:
            node = node or self._operator(difference, path)
            return () if node is None else self._run_by(node)
        if node is not None:
            return self._built_for(node)
        if path is None:
            return ()
        return self._constructor(path if path in self._modules else path.rpartition(".")[0])

    def _operator(self, difference: Difference, path: str | None) -> Node | None:
        """An operator by the path or the tensor that a difference names; for outputs, that of the first one."""
        if difference.category in _OF_OUTPUTS:
            return next((self._graph.by_number[number] for number in self._graph.ends), None)
        here = [
            node
            for node in self._graph.nodes
            if node.label == path or any(leaf.name == path for leaf in node.leaves.values())
        ]
        return next((node for node in here if node.operator == difference.subject), next(iter(here), None))

    def _run_by(self, node: Node) -> tuple[Line, ...]:
        """The statement that runs an operator.

        It is a constructor where the other network lacks a whole module, and where an `nn.Sequential` calls a module of
        a library.
        """
        if node.number not in self._partners and (whole := self._without_counterpart(node)):
            return whole
        container = self._modules.get(node.path.rpartition(".")[0])
        is_listed = isinstance(container, nn.Sequential) and not _has_users_forward(container)
        constructor = self._constructor(node.path)
        if is_listed and not _has_users_forward(self._modules.get(node.path)):
            return constructor or _statement(node)
        return _statement(node) or constructor

    def _without_counterpart(self, node: Node) -> tuple[Line, ...]:
        """The constructor of the outermost module of several operators of which none has a counterpart."""
        names = node.path.split(".")
        for depth in range(1, len(names) + 1):
            path = ".".join(names[:depth])
            inside = [each.number for each in self._graph.nodes if f"{each.path}.".startswith(f"{path}.")]
            if len(inside) > 1 and self._partners.keys().isdisjoint(inside):
                return self._constructor(path)
        return ()

    def _built_for(self, node: Node) -> tuple[Line, ...]:
        """Where the settings of an operator are written.

        That is a statement if the user's own `forward` calls a function of torch, else the module's constructor.
        """
        path = node.path if node.composite is None else node.composite
        constructor = self._constructor(path)
        is_function = node.composite is None and _has_users_forward(self._modules.get(path))
        return (_statement(node) or constructor) if is_function else (constructor or _statement(node))

    def _constructor(self, path: str) -> tuple[Line, ...]:
        module = self._modules.get(path)
        return () if module is None else constructor_lines(module)


def _statement(node: Node) -> tuple[Line, ...]:
    return () if node.line is None else (node.line,)


def _has_users_forward(module: nn.Module | None) -> bool:
    forward = getattr(module, "forward", None)  # one that was put on the instance is a function
    code = getattr(getattr(forward, "__func__", forward), "__code__", None)
    return code is not None and is_users(code.co_filename)
