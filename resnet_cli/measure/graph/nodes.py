"""What a graph of a network is made of: operators, and the parameters that they read."""

from __future__ import annotations

from dataclasses import dataclass, field

from resnet_cli.measure.graph.source_lines import Line
from resnet_cli.measure.ops.settings import Settings
from resnet_cli.measure.tracing.module_stack import CallSite
from resnet_cli.measure.tracing.trace import Tape

IMAGE = -1  # the number of what goes into the network


@dataclass(frozen=True, slots=True)
class ParameterRef:
    """A parameter or buffer that an operator reads."""

    name: str
    shape: tuple[int, ...]
    computed: tuple[str, ...] = ()  # the operators that made what is read from it (weight normalization, say)
    # Names of all parameters that it is computed from, this one among them; empty where it is the parameter itself.
    sources: tuple[str, ...] = field(default=(), compare=False)
    # Whether an odd number of transpositions is between the parameter and its reader.
    transposed: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Node:
    """One operator."""

    number: int  # the place of its output among all calls of the dispatcher
    operator: str
    settings: Settings
    inputs: tuple[int, ...]
    leaves: dict[str, ParameterRef]  # by role: "weight", "bias", "running_mean", "running_var"
    path: str  # of the module that runs it
    shape: tuple[int, ...]
    slots: tuple[int, ...] = ()  # which of the tensors among its arguments are activations
    composite: str | None = None  # path of the module whose operators were taken together
    site: CallSite | None = None  # of its row in the layer tree of the same network
    line: Line | None = field(default=None, compare=False)  # of the user's file that ran it

    @property
    def label(self) -> str:
        """Where a reader finds it: the module that runs it, or the parameter where that module has several."""
        owners = {leaf.name.rpartition(".")[0] for leaf in self.leaves.values()}
        if not owners or self.path in owners:
            return self.path
        leaf = self.leaves.get("weight", next(iter(self.leaves.values())))
        owner, _, last = leaf.name.rpartition(".")
        return owner if last in ("weight", "bias") else leaf.name


@dataclass(frozen=True, slots=True)
class Graph:
    """The live operators of one forward, in an order that depends on the data flow alone."""

    nodes: tuple[Node, ...]
    outputs: tuple[tuple[int, ...], ...]  # shapes
    ends: tuple[int, ...]  # numbers of the operators whose outputs are returned
    calls: tuple[str, ...]  # every call of the dispatcher, to check another run against
    used: frozenset[str]  # parameters and buffers that a live operator reads
    by_number: dict[int, Node] = field(compare=False, repr=False)
    tape: Tape = field(compare=False, repr=False)  # to run parts of it again
