"""What a call asks for, against torch's own counter and against `summary`."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_cli.architectures import resolve
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.latency.demand import demand, layers
from resnet_cli.measure.latency.workload import Workload
from resnet_cli.measure.networks import subject
from resnet_cli.measure.summary import summarize
from resnet_cli.resnet import build

SMALL = resolve(repeat="1,1,1,1", num_classes=10)
CPU = torch.device("cpu")


@pytest.mark.parametrize("batch_size", [1, 8, 1000])
def test_flops_of_an_inference_are_those_that_torch_counts(batch_size: int) -> None:
    asked = demand(subject(resolve(18)), (3, 224, 224), torch.float32, "inference")
    assert asked.flops_at(batch_size) == batch_size * 3_628_146_688  # torch's counter, by hand


@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_flops_of_a_step_are_those_that_torch_counts(batch_size: int) -> None:
    work = Workload(build(SMALL), image=(3, 64, 64), device=CPU, mode="train")
    step = work.call(batch_size)
    with FlopCounterMode(display=False) as counter:
        step()
    asked = demand(subject(SMALL), (3, 64, 64), torch.float32, "train")
    assert asked.flops_at(batch_size) == counter.get_total_flops()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_memory_is_what_summary_says(dtype: torch.dtype) -> None:
    of_summary = summarize(subject(SMALL), shape=(7, 3, 96, 64), dtype=dtype, device=CPU).memory
    assert demand(subject(SMALL), (3, 96, 64), dtype, "inference").bytes_at(7) == of_summary.inference_bytes
    assert of_summary.training_bytes is not None
    needed = demand(subject(SMALL), (3, 96, 64), dtype, "train").bytes_at(7)
    assert needed == pytest.approx(of_summary.training_bytes, rel=0.01)


@pytest.mark.parametrize("mode", ["inference", "train"])
def test_an_image_that_does_not_get_through_is_told(mode: str) -> None:
    with pytest.raises(ResnetCliError, match=r"cannot pass head\."):
        demand(subject(SMALL), (3, 0, 64), torch.float32, mode)


def test_the_layers_are_those_of_the_batch() -> None:
    root = layers(subject(SMALL), (3, 3, 64, 64), torch.float32)
    assert root.output_shape == (3, 10)
    assert 2 * root.macs == demand(subject(SMALL), (3, 64, 64), torch.float32, "inference").flops_at(3)
