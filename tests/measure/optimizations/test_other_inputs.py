"""Optimizations of a network whose input is not one image: tokens, several tensors, dictionaries, given values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.bench.timing.sampling import Limits
from resnet_cli.measure.bench.workloads.workload import Workload, all_finite
from resnet_cli.measure.models.inputs.model_inputs import ModelInputs, given
from resnet_cli.measure.models.inputs.specs import parse_arguments
from resnet_cli.measure.optimizations.comparison import compare_optimizations
from resnet_cli.measure.optimizations.compiled.cuda_graph import capture_graph
from resnet_cli.measure.optimizations.variant import Variant
from resnet_cli.measure.parity.tensor_error import relative_error
from resnet_cli.measure.system.devices.cpu import CpuBackend
from resnet_cli.results.bench import OptimizationResult

LIMITS = Limits(max_time_s=0.01, min_time_s=0.0)
EAGERLY = ("channels-last", "folded", "channels-last-folded", "bfloat16")
CPU = CpuBackend(torch.device("cpu"))


def compared(
    model: nn.Module, inputs: ModelInputs, chosen: tuple[str, ...] = EAGERLY, batch_size: int = 2
) -> dict[str, OptimizationResult]:
    result = compare_optimizations(
        Workload(model, inputs=inputs, device=CPU.device, dtype=torch.float32, fresh=False),
        batch_size,
        backend=CPU,
        limits=LIMITS,
        chosen=chosen,
    )
    return {row.key: row for row in result.rows}


def described(*texts: str) -> ModelInputs:
    return ModelInputs(*parse_arguments(texts))


class MaskedImage(nn.Module):
    """An image, the tokens beside it and a mask by name only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.words = nn.Embedding(9, 4)
        self.head = nn.Linear(4, 5)

    def forward(self, image: Tensor, tokens: Tensor, *, mask: Tensor) -> Tensor:
        pixels = self.norm(self.conv(image)).mean((2, 3))
        words = torch.where(mask.unsqueeze(2), self.words(tokens), 0.0).sum(1)
        logits: Tensor = self.head(pixels + words)
        return logits


MIXED = ("float[1,3,6,6]", "int64[1,7]", "mask=bool[1,7]")


def test_tokens_stay_integers_and_have_no_channels_last() -> None:
    rows = compared(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3)), described("int64[1,5]"))
    assert {key: row.status for key, row in rows.items()} == {
        "eager": "measured",
        "channels-last": "unavailable",
        "folded": "unavailable",
        "channels-last-folded": "unavailable",
        "bfloat16": "measured",
    }
    assert rows["channels-last"].reason == "channels_last is a format of images"
    assert rows["eager"].top1_agreement is None  # (N, tokens, values) are no classes


def test_an_image_with_tokens_and_a_mask_by_name() -> None:
    rows = compared(MaskedImage(), described(*MIXED))
    assert {row.status for row in rows.values()} == {"measured"}
    differences = [row.logit_difference for row in rows.values()]
    assert all(difference is not None and difference < 0.05 for difference in differences)
    assert rows["folded"].top1_agreement == 1.0


def test_values_of_a_file_or_of_examples_are_what_is_compared_and_timed() -> None:
    seen: list[float] = []

    class Notes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, batch: dict[str, Tensor]) -> Any:
            seen.append(float(batch["x"].sum()))
            return self.head(batch["x"])

    rows = compared(Notes(), given(({"x": torch.ones(2, 4)},), "x.pt"), ("bfloat16",))
    assert {row.status for row in rows.values()} == {"measured"}
    assert set(seen) == {8.0}


def test_a_tensor_without_batch_axis_is_compared_whole() -> None:
    rows = compared(nn.Linear(4, 2), described("float[4]"), ("bfloat16",), batch_size=1)
    assert rows["bfloat16"].status == "measured"
    assert rows["bfloat16"].top1_agreement is None


def test_complex_outputs_are_compared_as_pairs() -> None:
    class Spectrum(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return torch.fft.fft(super().forward(x).float())

    rows = compared(Spectrum(4, 4), described("float[1,4]"), ("bfloat16",))
    assert rows["bfloat16"].logit_difference is not None
    assert 0 < rows["bfloat16"].logit_difference < 0.05


def test_weights_of_another_dtype_are_compared_in_float32() -> None:
    assert compared(nn.Linear(4, 3).double(), described("float[1,4]"), ())["eager"].status == "measured"


def test_weights_of_five_axes_beside_images_stay_as_they_are() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flat, self.deep = nn.Conv2d(3, 4, 3), nn.Conv3d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            deep: Tensor = self.deep(self.flat(x).unsqueeze(1))
            return deep

    assert compared(Both(), described("float[1,3,8,8]"), ("channels-last",))["channels-last"].status == "measured"


def test_a_network_that_returns_no_tensor_is_named() -> None:
    class Nothing(nn.Linear):
        def forward(self, x: Tensor) -> Any:
            return None

    with pytest.raises(Exception, match="the network returns no tensor"):
        compared(Nothing(4, 3), described("float[1,4]"))


def test_a_graph_reads_every_tensor_of_a_call() -> None:
    model = MaskedImage().eval()
    first, second = (described(*MIXED).random(seed, torch.float32) for seed in (1, 2))

    class Replayed:
        """What was recorded, run again on the same memory."""

        def warm_up(self, call: Any, times: int) -> None: ...

        def record(self, call: Any) -> Any:
            output = call()
            return lambda: output.copy_(call()), output

    with torch.inference_mode():
        run = capture_graph(Variant(model, first), Replayed())
        torch.testing.assert_close(second.call(run), second.call(model))


def test_sparse_outputs_are_compared_by_their_values() -> None:
    class Sparse(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).to_sparse()

    model = Sparse(4, 3)
    assert compared(model, described("float[1,4]"), ())["eager"].logit_difference == 0
    output = model(torch.ones(2, 4)).detach()
    assert all_finite(output)
    assert not all_finite(output * torch.inf)
    assert relative_error(output, output.to_dense()) == 0
