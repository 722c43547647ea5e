"""Two networks made ready to be compared: graphs, alignment, map of the keys, and the same weights in both."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.graph import alignment, diff
from resnet_cli.measure.graph.nodes import Graph
from resnet_cli.measure.graph.operator_graph import record
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.copies import meta_copy
from resnet_cli.measure.models.user_errors import user_error
from resnet_cli.results.common import Note, Shape
from resnet_cli.results.compare import CHECKS, Check, Diagnosis, Difference

REFERENCE = "torchvision"  # what sentences call the other network


@dataclass(frozen=True, slots=True)
class ParityConfig:
    """What is asked of two networks.

    Args:
        shape: of the input in eval mode, (N, C, H, W).
        seed: of the weights and the inputs.
        device: where the forward in eval mode runs.
        checks: those of `CHECKS` that are made.
        rtol: tolerance relative to the largest |reference|; None: ten times the measured noise floor.
        atol: absolute tolerance, added to it.
        key_map: our name → the reference's, instead of the alignment.
        map_source: the file that it came from.
        weights: the file that both sides have loaded; None: the probe draws weights at random.
        transfer: "to ours": give ours the reference's values; "to theirs": the other way about; "none": each side
            keeps its own.
        keep: leave our network as it is, at the price of a copy.
    """

    shape: Shape = (2, 3, 224, 224)
    seed: int = 0
    device: torch.device = torch.device("cpu")  # noqa: RUF009
    checks: tuple[str, ...] = CHECKS
    rtol: float | None = None
    atol: float | None = None
    key_map: Mapping[str, str] | None = None
    map_source: str = "alignment"
    weights: str | None = None
    transfer: str = "to ours"
    keep: bool = True

    @property
    def training_shape(self) -> Shape:
        """Of the step in train mode: small, for it is made in double precision."""
        return (4, self.shape[1], *(min(side, 40) for side in self.shape[2:]))

    @property
    def other_shapes(self) -> tuple[Shape, ...]:
        """An odd and oblong image, where rounding of sizes shows, and a small one."""
        channels = self.shape[1]
        return (self.shape[0], channels, 97, 161), (self.shape[0], channels, 32, 32)


@dataclass(slots=True)
class ParityRun:
    """Everything that the checks share."""

    question: ParityConfig
    ours: nn.Module  # a copy, its weights those of the probe
    theirs: nn.Module
    name: str
    reference: str
    graphs: tuple[Graph, Graph]  # in train mode
    structure: diff.GraphDiff
    pairs: dict[str, str]
    clashes: tuple[tuple[str, str], ...]
    used: tuple[tuple[str, ...], tuple[str, ...]]  # parameters and buffers that the forwards read
    checks: list[Check] = field(default_factory=list)
    findings: list[Difference] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def unmapped(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Tensors that are read and have no counterpart: ours, theirs."""
        taken = set(self.pairs.values())
        return (
            tuple(name for name in self.used[0] if name not in self.pairs),
            tuple(name for name in self.used[1] if name not in taken),
        )

    @property
    def unused(self) -> tuple[str, ...]:
        """Tensors of ours that no forward reads, counters of batches aside: they belong to norms that are read."""
        owners = {name.rpartition(".")[0] for name in self.used[0]}
        return tuple(
            name
            for name, tensor in random_init.tensors(self.ours).items()
            if name not in self.used[0] and not (tensor.dim() == 0 and name.rpartition(".")[0] in owners)
        )


def graph_of(model: nn.Module, shape: Shape, *, training: bool, name: str, real: bool = False) -> Graph:
    """The graph of a network, without arithmetic where that is possible.

    Raises:
        ResnetCliError: its forward fails.
    """
    if not real:
        with contextlib.suppress(Exception):  # it looks at values: then with real ones
            return record(meta_copy(model), (torch.empty(shape, device="meta"),), training=training)
    try:
        with random_init.seeded(0):
            return record(copy.deepcopy(model), (random_init.image(shape, 0),), training=training)
    except ResnetCliError:
        raise
    except Exception as error:
        raise user_error(error, f"the forward of {name}") from error


def prepare(
    ours: nn.Module,
    theirs: nn.Module,
    question: ParityConfig,
    *,
    names: tuple[str, str],
    progress: Callable[[str], None] = lambda _: None,
) -> ParityRun:
    """Align both networks and give them the same weights.

    Args:
        ours: left as it is.
        theirs: the reference, with real tensors; its weights are drawn anew unless the question says that both
            sides have loaded theirs.
        question: what is asked.
        names: of ours and of the reference.
        progress: told what is going on.

    Raises:
        ResnetCliError: a forward fails, or no parameter of the one has a counterpart in the other.
    """
    progress("aligning")
    graphs = (
        graph_of(ours, question.shape, training=True, name=names[0]),
        graph_of(theirs, question.shape, training=True, name=names[1]),
    )
    shapes = [
        {name: tuple(tensor.shape) for name, tensor in random_init.tensors(model).items()} for model in (ours, theirs)
    ]
    pairs = alignment.align_graphs(*graphs, question.key_map)
    found = alignment.key_map(pairs, *shapes)
    keys = found.pairs
    if question.key_map is not None:
        taken = set(question.key_map.values())
        keys = {a: b for a, b in keys.items() if a not in question.key_map and b not in taken} | dict(question.key_map)
    used = tuple(_used(model, graph) for model, graph in ((ours, graphs[0]), (theirs, graphs[1])))
    if not keys:
        raise ResnetCliError(
            f"no parameter of {names[0]} has a counterpart in {names[1]}: these are not the same kind of network",
            "name the network to compare with by --against, or say which parameter is which by --map",
        )
    structure = diff.diff_graphs(*graphs, pairs, REFERENCE)
    comparison = ParityRun(
        question=question,
        ours=ours,
        theirs=theirs,
        name=names[0],
        reference=names[1],
        graphs=graphs,
        structure=structure,
        pairs=keys,
        clashes=found.clashes,
        used=(used[0], used[1]),
    )
    comparison.findings += [one.finding for one in structure.differences]
    progress("preparing the probe")
    if question.keep:
        comparison.ours = copy.deepcopy(ours)
    if question.transfer == "none":
        return comparison
    if question.weights is None or question.transfer == "to theirs":
        random_init.randomize_parameters(theirs, question.seed)
    if comparison.unmapped[0] and question.weights is None:
        random_init.randomize_parameters(comparison.ours, question.seed + 1)
    if question.transfer == "to theirs":
        random_init.transfer(random_init.tensors(comparison.ours), theirs, {b: a for a, b in keys.items()})
    else:
        random_init.transfer(random_init.tensors(theirs), comparison.ours, keys)
    return comparison


def _used(model: nn.Module, graph: Graph) -> tuple[str, ...]:
    """What the forward reads, in the order of the state."""
    return tuple(name for name in random_init.tensors(model) if name in graph.used)


def counts(model: nn.Module, names: Sequence[str]) -> tuple[int, int]:
    """Values of the named parameters, and of the named buffers."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    return (
        sum(parameters[name].numel() for name in names if name in parameters),
        sum(buffers[name].numel() for name in names if name in buffers),
    )
