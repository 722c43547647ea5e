"""A benchmark as plain data, which can be sent to a fresh process, and its execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.benchmark import bench
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.timing.sampling import Progress
from resnet_cli.measure.bench.workloads.models import OtherModel, build, give_weights, torchvision, users_own
from resnet_cli.measure.models.inputs.model_inputs import EXAMPLE, ModelInputs
from resnet_cli.measure.models.model import ModelUnderTest
from resnet_cli.measure.ops.user_formulas import register_formulas
from resnet_cli.network.architectures import ModelSpec
from resnet_cli.results.bench import BenchResult

SELF, TORCHVISION = "self", "torchvision"


@dataclass(frozen=True, slots=True)
class BenchTask:
    """A network, what it is compared with, and what to measure.

    Args:
        config: what to measure.
        spec: of the built-in network.
        model: FILE.py:NAME or module:NAME of the user's network, None for the built-in one.
        arguments: of the user's class or function.
        op_flops: FLOP formulas for operators of the user's, as text.
        weights: a weight file; None: random weights.
        against: the reference: "self", "torchvision", the name of a torchvision model, or any name with a colon or
            a call (`naming.grammar`); None: none.
        takes_examples: the inputs are those of the user's example_inputs(), and not those of the configuration.
    """

    config: BenchmarkConfig
    spec: ModelSpec
    model: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    op_flops: tuple[str, ...] = ()
    weights: str | None = None
    against: str | None = None
    takes_examples: bool = False

    def for_process(self) -> BenchTask:
        """The task for another process, which calls example_inputs() itself: its objects are known to no other."""
        if self.config.inputs.source != EXAMPLE:
            return self
        return replace(self, config=replace(self.config, inputs=ModelInputs(())), takes_examples=True)

    def build(self) -> ModelUnderTest:
        """The network with its weights.

        Raises:
            ResnetCliError: the user's code or the weights do not allow it.
        """
        seed = self.config.seed
        network = build(self.spec, seed) if self.model is None else users_own(self.model, self.arguments, seed)
        if self.op_flops:
            register_formulas(self.op_flops)  # the operators exist once the user's code has run
        if self.weights is not None:
            give_weights(network, self.weights)
        return network

    def build_reference(self) -> OtherModel | None:
        """What it is compared with.

        Raises:
            ResnetCliError: torchvision does not work or has no such model.
        """
        if self.against is None:
            return None
        name = self.against.strip().lower()
        if name == SELF:
            twin = replace(self, weights=None).build()
            return OtherModel(twin.model, f"{twin.name} again", takes_image=False)
        if name == TORCHVISION and self.model is not None:
            raise ResnetCliError(
                "`against=torchvision` cannot be combined with `model`", "name the architecture: `against=resnet50`"
            )
        if ":" in self.against or "(" in self.against:
            other = users_own(self.against, {}, self.config.seed)
            return OtherModel(other.model, other.name, takes_image=False)
        return torchvision(self.against, self.spec, self.config.seed)


def run_task(task: BenchTask, model: ModelUnderTest | None = None, *, progress: Progress) -> BenchResult:
    """Measure in this process.

    Args:
        task: what to measure.
        model: that `task.build` made; None: make it.
        progress: called with a line of text.

    Raises:
        ResnetCliError: a network cannot be built, or nothing could be measured.
        KeyboardInterrupt: before anything was measured.
    """
    progress("building")
    reference = task.build_reference() if task.config.reference_first else None
    model = model or task.build()
    reference = reference or task.build_reference()
    config = task.config
    if task.takes_examples and model.example_inputs is not None:
        config = replace(config, inputs=model.example_inputs())
    return bench(model, config, reference=reference, progress=progress)
