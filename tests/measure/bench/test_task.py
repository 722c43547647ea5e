"""What a network is benchmarked against."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.bench.config import BenchmarkConfig
from resnet_cli.measure.bench.task import BenchTask
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.network.architectures import resolve

CONFIG = BenchmarkConfig(images((3, 32, 32)), (1,), torch.device("cpu"))
TASK = BenchTask(CONFIG, resolve(18, repeat="1,1,1,1", num_classes=4))


@pytest.mark.parametrize(
    ("against", "name", "parameters"),
    [
        ("torch.nn:Linear(2, 3)", "Linear", 9),
        ("resnet18(repeat=[1, 1, 1, 1], num_classes=2)", "resnet18", 4_906_818),
        ("torchvision:squeezenet1_1(num_classes=2)", "torchvision squeezenet1_1", 723_522),
    ],
)
def test_the_reference_may_be_any_network(against: str, name: str, parameters: int) -> None:
    other = replace(TASK, against=against).build_reference()
    assert other is not None
    assert (other.name, other.takes_image) == (name, False)
    assert sum(parameter.numel() for parameter in other.model.parameters()) == parameters


@pytest.mark.parametrize("against", ["torch.nn:Linear", "torch.nn:Linear(2,", "timm:", "nowhere.py:Net"])
def test_a_reference_that_is_none(against: str) -> None:
    with pytest.raises(ResnetCliError):
        replace(TASK, against=against).build_reference()
