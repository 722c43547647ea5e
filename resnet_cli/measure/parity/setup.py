"""Two networks prepared for a comparison: graphs, alignment, key map, and the same weights in both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.graph import alignment, diff
from resnet_cli.measure.graph.nodes import Graph, Node
from resnet_cli.measure.models import random_init
from resnet_cli.measure.models.hidden_weights import hidden_weights
from resnet_cli.measure.parity.config import TORCHVISION, ParityConfig
from resnet_cli.measure.parity.graphs import graph_of, training_graph
from resnet_cli.measure.parity.nearest import nearest_network
from resnet_cli.measure.parity.rewriting import judge, rewritten
from resnet_cli.measure.parity.rewriting.layouts import Layouts, to_model, to_reference
from resnet_cli.measure.parity.rewriting.region_pair import Mapped
from resnet_cli.results.common import Note, Shape
from resnet_cli.results.compare import Check, Difference

if TYPE_CHECKING:
    from resnet_cli.measure.parity.checks.forward import Forward
    from resnet_cli.measure.parity.checks.training import TrainingStep

_ODD_SIDE = 97  # pixels, of a square image


@dataclass(slots=True)
class ParityRun:
    """Both networks of a comparison, aligned, and what the checks have found so far."""

    config: ParityConfig
    model: nn.Module  # with the same weights as the reference, as far as they have counterparts
    reference: nn.Module
    model_name: str
    reference_name: str
    graphs: tuple[Graph, Graph]  # of model and reference, in train mode; in eval mode where a path is random
    structure: diff.GraphDiff
    pairs: dict[str, str]  # tensor of the model → tensor of the reference
    layouts: Layouts  # order of the reference's axes in the model, where it is another
    rewritings: list[tuple[list[Node], list[Node]]]  # operators of either side that compute the same
    clashes: tuple[tuple[str, str], ...]
    used: tuple[tuple[str, ...], tuple[str, ...]]  # parameters and buffers that the forwards read
    progress: Callable[[str], None] = lambda _: None
    checks: list[Check] = field(default_factory=list)
    findings: list[Difference] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    forward: Forward | None = None  # of the check "eval"
    training_step: TrainingStep | None = None  # made by the first check that needs it
    random_paths: tuple[str, ...] = ()  # names of the networks whose path in train mode is drawn at random
    biased_variances: frozenset[str] = frozenset()  # running variances that the model updates without n / (n - 1)

    @property
    def reference_tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers of the reference by name, with their axes in the model's order."""
        tensors = random_init.tensors(self.reference)
        return tensors | {
            self.pairs[name]: to_model(tensors[self.pairs[name]], layout) for name, layout in self.layouts.items()
        }

    @property
    def unmapped(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Tensors of model and reference that a forward reads and that have no counterpart."""
        mapped = set(self.pairs.values())
        return (
            tuple(name for name in self.used[0] if name not in self.pairs),
            tuple(name for name in self.used[1] if name not in mapped),
        )

    @property
    def unused(self) -> tuple[str, ...]:
        """Tensors of the model that no forward reads, except the batch counters of batch norms that run."""
        tensors = random_init.tensors(self.model)
        owners = {name.rpartition(".")[0] for name in self.used[0]}
        # Also under other names, where a module has several; a forward may delete what it has read.
        used = [tensors[name] for name in self.used[0] if name in tensors]
        used += [tensor for name, tensor in tensors.items() if not tensor.dim() and name.rpartition(".")[0] in owners]
        kept = {id(tensor) for tensor in used}
        return tuple(name for name, tensor in tensors.items() if id(tensor) not in kept)


def prepare(
    model: nn.Module,
    reference: nn.Module,
    config: ParityConfig,
    *,
    names: tuple[str, str],
    progress: Callable[[str], None] = lambda _: None,
) -> ParityRun:
    """Align two networks and give them the same weights.

    Args:
        model: with real tensors; gets weights.
        reference: with real tensors; gets random weights unless the configuration says that weights were loaded.
        config: how they are compared.
        names: of model and reference.
        progress: called with the name of each stage.

    Raises:
        ResnetCliError: a forward fails, or no parameter of the model has a counterpart in the reference.
    """
    progress("aligning")
    networks = (model, names[0]), (reference, names[1])
    trained = [training_graph(network, config.shape, name) for network, name in networks]
    random_paths = tuple(name for graph, (_, name) in zip(trained, networks, strict=True) if graph is None)
    model_graph, reference_graph = (
        graph_of(network, config.shape, training=False, name=name) if graph is None or random_paths else graph
        for graph, (network, name) in zip(trained, networks, strict=True)
    )
    graphs = model_graph, reference_graph
    aligned = alignment.align_graphs(*graphs, config.key_map)
    key_map = alignment.key_map(aligned, shapes(model), shapes(reference))
    mapped = Mapped(_overridden(key_map.pairs, config.key_map))
    structure = diff.diff_graphs(*graphs, aligned, config.reference)
    aligned_names = set(mapped.pairs)
    rewritings = _judge(model, reference, config, structure, mapped, modes=(False,) if random_paths else (True, False))
    by_value = mapped.pairs.keys() - aligned_names
    if not mapped.pairs:
        raise _nothing_in_common(model, names, config)
    run = ParityRun(
        config=config,
        model=model,
        reference=reference,
        model_name=names[0],
        reference_name=names[1],
        graphs=graphs,
        structure=structure,
        pairs=mapped.pairs,
        layouts=mapped.layouts,
        rewritings=rewritings,
        clashes=key_map.clashes,
        used=(_used(model, graphs[0].used | by_value), _used(reference, graphs[1].used)),
        progress=progress,
        findings=[difference.finding for difference in structure.differences],
        random_paths=random_paths,
    )
    if run.random_paths:
        text = f"{' and '.join(run.random_paths)} draws its path at random in train mode, so settings and structure"
        run.notes.append(Note("note", f"{text} are those of eval mode", "random-path"))
    progress("preparing weights and inputs")
    _share_weights(run)
    return run


def _nothing_in_common(model: nn.Module, names: tuple[str, str], config: ParityConfig) -> ResnetCliError:
    """No parameter has a counterpart: why, as far as it is known."""
    reason = next((note.text for note in hidden_weights(model)), None)
    if reason is None:
        reason = "these are not the same kind of network"
        reason += f"; {nearest_network(model)}" if config.reference == TORCHVISION else ""
    return ResnetCliError(
        f"no parameter of {names[0]} has a counterpart in {names[1]}: {reason}",
        "choose another reference (`against`) or map the parameters by hand (`key_map`)",
    )


def _judge(
    model: nn.Module,
    reference: nn.Module,
    config: ParityConfig,
    structure: diff.GraphDiff,
    mapped: Mapped,
    *,
    modes: Sequence[bool],
) -> list[tuple[list[Node], list[Node]]]:
    """Set aside the differences of regions that compute the same; adds parameters that correspond through them.

    Args:
        model: the network.
        reference: what it is compared with.
        config: of the comparison.
        structure: both graphs.
        mapped: parameters that correspond.
        modes: train mode, eval mode or both, in which regions must compute the same.
    """
    if not structure.differences and not judge.doubtful(structure, mapped):
        return []
    batch, channels = config.shape[:2]
    square = (batch, channels, _ODD_SIDE, _ODD_SIDE)
    regions = judge.Judge(model, reference, mapped, config.reference)
    for training in modes:
        candidates = config.training_shapes if training else (config.other_shapes[0], square, config.shape)
        graphs = _both_graphs(model, reference, candidates, training=training)
        if graphs is None:
            return []
        regions.judge(*graphs)
        if not regions.equal:  # in one mode at least: the other one cannot change that
            return []
    return rewritten.set_aside(structure, regions.rewritten)


def _both_graphs(
    model: nn.Module, reference: nn.Module, candidates: Sequence[Shape], *, training: bool
) -> tuple[Graph, Graph] | None:
    """Both graphs with real tensors, at the first of these shapes that both networks take."""
    for shape in candidates:
        try:
            graphs = [graph_of(network, shape, training=training, name="", real=True) for network in (model, reference)]
        except ResnetCliError:
            continue
        return graphs[0], graphs[1]
    return None


def shapes(model: nn.Module) -> dict[str, Shape]:
    """Shape of every parameter and buffer."""
    return {name: tuple(tensor.shape) for name, tensor in random_init.tensors(model).items()}


def _overridden(pairs: Mapping[str, str], by_hand: Mapping[str, str] | None) -> dict[str, str]:
    """Pairs of the alignment, those of a user's map in their place."""
    by_hand = by_hand or {}
    taken = set(by_hand.values())
    return {a: b for a, b in pairs.items() if a not in by_hand and b not in taken} | dict(by_hand)


def _share_weights(run: ParityRun) -> None:
    """Random weights where none were loaded, and the same values in both networks."""
    config = run.config
    if config.transfer == "none":
        return
    if config.weights is None or config.transfer == "to reference":
        random_init.randomize_parameters(run.reference, config.seed, config.calibration_shape)
    if run.unmapped[0] and config.weights is None:
        random_init.randomize_parameters(run.model, config.seed + 1, config.calibration_shape)
    if config.transfer == "to reference":
        values = random_init.tensors(run.model)
        for name, layout in run.layouts.items():
            values[name] = to_reference(values[name], layout, shapes(run.reference)[run.pairs[name]])
        random_init.transfer(values, run.reference, {b: a for a, b in run.pairs.items()})
    else:
        random_init.transfer(run.reference_tensors, run.model, run.pairs)


def _used(model: nn.Module, names: AbstractSet[str]) -> tuple[str, ...]:
    """Those of the named parameters and buffers that the model has, in the order of the state dict."""
    return tuple(name for name in random_init.tensors(model) if name in names)


def counts(model: nn.Module, names: Sequence[str]) -> tuple[int, int]:
    """Number of values in the named parameters, and in the named buffers."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    return (
        sum(parameters[name].numel() for name in names if name in parameters),
        sum(buffers[name].numel() for name in names if name in buffers),
    )
