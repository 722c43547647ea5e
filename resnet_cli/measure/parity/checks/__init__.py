"""The checks of a comparison, in the order in which they are made and shown.

To add one, write a function that takes a `ParityRun` and returns a `CheckOutcome`, and give it a row here: the option
`--checks`, the tables and the tests are made from these rows. Nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from resnet_cli.results.compare import Check

if TYPE_CHECKING:
    from resnet_cli.measure.parity.setup import ParityRun


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """The result of a check function; the fields are those of `Check`, `error` may be infinite or NaN."""

    verdict: str
    text: str
    error: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One check.

    Args:
        key: its name for `--checks` and in results.
        title: its name in tables.
        function: "module:name" within this package; imported when the check is made, since it needs torch.
        progress: text shown while it is made; "" for a check that takes no time.
    """

    key: str
    title: str
    function: str
    progress: str = ""

    def make(self, run: ParityRun) -> Check:
        """Make the check; differences and notes that it finds are added to the run."""
        if self.progress:
            run.progress(self.progress)
        module, _, name = self.function.partition(":")
        function: Callable[[ParityRun], CheckOutcome] = getattr(import_module(f"{__name__}.{module}"), name)
        outcome = function(run)
        error = outcome.error if outcome.error is not None and math.isfinite(outcome.error) else None
        return Check(self.key, self.title, outcome.verdict, error, outcome.limit, outcome.text)


SPECS = (
    CheckSpec("parameters", "parameters and buffers", "static:parameters"),
    CheckSpec("settings", "settings and structure", "static:settings"),
    CheckSpec("eval", "forward, eval mode", "forward:eval_mode", "comparing every operator"),
    # These four share one training step.
    CheckSpec("train", "forward, train mode", "training:train_mode", "training one step in float64"),
    CheckSpec("statistics", "running statistics", "training:statistics"),
    CheckSpec("gradients", "gradients", "training:gradients"),
    CheckSpec("step", "a step of SGD", "training:step"),
    CheckSpec("shapes", "other sizes", "shapes:other_shapes", "trying other sizes"),
)
CHECKS = tuple(spec.key for spec in SPECS)
