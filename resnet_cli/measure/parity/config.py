"""The configuration of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
from resnet_cli.measure.parity.checks import CHECKS
from resnet_cli.results.common import Shape

TORCHVISION = "torchvision"


@dataclass(frozen=True, slots=True)
class ParityConfig:
    """How two networks are compared.

    Args:
        shape: of the image in eval mode, (N, C, H, W); the only input of the reference.
        reference: its name in sentences.
        seed: of random weights and inputs.
        device: where the networks run; in float64 on the CPU where this device has none.
        checks: keys of the checks that are made.
        rtol: tolerance relative to the largest |reference|; None: ten times the measured noise floor.
        atol: absolute tolerance, added to it.
        key_map: name in the model → name in the reference, in place of the alignment.
        map_source: the file that it was read from.
        weights: the file that was loaded into both networks; None: they get random weights.
        transfer: "to model": copy the reference's values into the model; "to reference": the other way round;
            "none": each network keeps its own.
        keep: the model is as it was afterwards, at the cost of memory for a second set of weights.
        inputs: of the model, the image among others or under a name; None: the image alone.
    """

    shape: Shape = (2, 3, 224, 224)
    reference: str = TORCHVISION
    seed: int = 0
    device: torch.device = torch.device("cpu")  # noqa: RUF009
    checks: tuple[str, ...] = CHECKS
    rtol: float | None = None
    atol: float | None = None
    key_map: Mapping[str, str] | None = None
    map_source: str = "alignment"
    weights: str | None = None
    transfer: str = "to model"
    keep: bool = True
    inputs: ModelInputs | None = None

    def for_inputs(self, inputs: ModelInputs) -> ParityConfig:
        """The same with the inputs of the model.

        Raises:
            ResnetCliError: there is no image among them, or several are.
        """
        image = inputs.image_only().args[0]
        return replace(self, shape=tuple(image.shape), inputs=None if inputs.is_image else inputs)

    @property
    def calibration_shape(self) -> Shape:
        """Shape of the batch whose statistics become the running statistics of random weights."""
        return (4, self.shape[1], *(min(side, 64) for side in self.shape[2:]))

    @property
    def training_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the input in train mode, the first that both networks take: small, since the step is in float64."""
        small = (4, self.shape[1], *(min(side, 40) for side in self.shape[2:]))
        return small, (2, *self.shape[1:])

    @property
    def other_shapes(self) -> tuple[Shape, ...]:
        """An odd and oblong image, which shows how sizes are rounded, a small one, and a single one."""
        channels = self.shape[1]
        if self.inputs is not None and self.inputs.image_shape is None:
            return ((1, *self.shape[1:]),)  # sizes of the others may have to fit the image's
        return (self.shape[0], channels, 97, 161), (self.shape[0], channels, 32, 32), (1, *self.shape[1:])
