"""The network against torchvision's: figures, shapes, logits to the bit, gradients, initialisation."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import resnet_cli
from resnet_cli.errors import ResnetCliError
from resnet_cli.network.architectures import ARCHITECTURES, ModelSpec
from resnet_cli.network.resnet import (
    BottleneckIdentity,
    BottleneckSkip,
    NIdentityBlocks,
    ResIdentity,
    ResNet,
    ResNetHead,
    ResSkip,
    SkipAndNIdentityBlocks,
    build,
)
from resnet_cli.network.torchvision_names import torchvision_names

REPEAT_18 = [2, 2, 2, 2]
ONE_EACH = [1, 1, 1, 1]


@cache
def torchvision_models() -> Any:
    import torchvision

    return torchvision.models


def pair(spec: ModelSpec, dtype: torch.dtype = torch.float32) -> tuple[ResNet, nn.Module]:
    """The built-in network and torchvision's, with the same random weights and statistics."""
    torch.manual_seed(0)
    resnet = torchvision_models().resnet
    block = resnet.BasicBlock if spec.block == "basic" else resnet.Bottleneck
    with torch.device("meta"):
        model = build(spec).to(dtype)
        reference = resnet.ResNet(
            block, list(spec.repeat), groups=spec.groups, width_per_group=spec.width_per_group
        ).to(dtype)
    weights = {key: randomised(key, value) for key, value in reference.state_dict().items()}
    reference.load_state_dict(weights, assign=True)
    names = torchvision_names(spec)
    model.load_state_dict({key: weights[other].clone() for key, other in names.items()}, assign=True)
    for network in (model, reference):
        network.requires_grad_(True)
    return model, reference


def randomised(key: str, like: Tensor) -> Tensor:
    """Weights that keep the activations in range; batch norms that are not the identity."""
    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype)
    if like.dim() > 1:
        return torch.randn(like.shape, dtype=like.dtype) / math.sqrt(like[0].numel())
    noise = torch.rand(like.shape, dtype=like.dtype)
    return noise + 0.5 if key.endswith(("running_var", "weight")) else noise - 0.5


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.fixture(scope="module")
def resnet18() -> ResNet:
    return ResNet(3, 1000, REPEAT_18)


class TestFigures:
    def test_parameters_and_logits_of_resnet18(self, resnet18: ResNet) -> None:
        assert parameters(resnet18) == 11_689_512
        with torch.no_grad():
            assert resnet18(torch.rand(5, 3, 32, 32)).shape == (5, 1000)

    @pytest.mark.parametrize("name", ARCHITECTURES)
    def test_the_published_number_of_parameters(self, name: str) -> None:
        with torch.device("meta"):
            network = build(name)

        for weights in torchvision_models().get_model_weights(name):
            assert parameters(network) == weights.meta["num_params"]

    @pytest.mark.parametrize(
        ("options", "macs"),
        [({}, 4_089_184_256), ({"stride_in_1x1": True}, 3_857_973_248)],
        ids=["v1.5", "v1"],
    )
    def test_macs_of_both_versions_of_resnet50(self, options: dict[str, bool], macs: int) -> None:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            build(50, **options).eval()(torch.empty(1, 3, 224, 224))

        assert counter.get_total_flops() == 2 * macs


class TestVocabulary:
    def test_the_tree(self, resnet18: ResNet) -> None:
        assert [name for name, _ in resnet18.named_children()] == ["head", "l0", "l1", "l2", "l3", "tail"]
        assert [name for name, _ in resnet18.head.named_children()] == ["conv", "bn", "relu", "maxpool"]
        assert [name for name, _ in resnet18.tail.named_children()] == ["avg", "lin"]
        assert [name for name, _ in resnet18.l0.named_children()] == ["block"]

    @pytest.mark.parametrize(
        ("stage", "names"),
        [
            (NIdentityBlocks(8), ["ResIdentity0", "ResIdentity1"]),
            (NIdentityBlocks(8, 3), ["ResIdentity0", "ResIdentity1", "ResIdentity2"]),
            (SkipAndNIdentityBlocks(8, 16), ["ResSkip", "ResIdentity0"]),
            (SkipAndNIdentityBlocks(8, 16, 1), ["ResSkip"]),
            (
                SkipAndNIdentityBlocks(8, 16, 3, skip=BottleneckSkip, identity=BottleneckIdentity),
                ["BottleneckSkip", "BottleneckIdentity0", "BottleneckIdentity1"],
            ),
        ],
    )
    def test_the_blocks_of_a_stage(self, stage: nn.Module, names: list[str]) -> None:
        assert [name for name, _ in stage.get_submodule("block").named_children()] == names

    def test_keys_that_checkpoints_depend_on(self, resnet18: ResNet) -> None:
        assert {
            "head.conv.weight",
            "head.bn.running_mean",
            "l0.block.ResIdentity0.conv1.weight",
            "l0.block.ResIdentity1.bn2.num_batches_tracked",
            "l1.block.ResSkip.conv2.weight",
            "l1.block.ResSkip.skip_conv1.weight",
            "l1.block.ResSkip.skip_bn1.running_var",
            "l3.block.ResIdentity0.bn1.bias",
            "tail.lin.weight",
            "tail.lin.bias",
        } <= set(resnet18.state_dict())
        assert len(resnet18.state_dict()) == 122

    def test_the_first_stage_of_a_bottleneck_projects_at_stride_1(self) -> None:
        with torch.device("meta"):
            network = build("resnet50")

        assert isinstance(network.l0, SkipAndNIdentityBlocks)
        skip = network.get_submodule("l0.block.BottleneckSkip.skip_conv1")
        assert isinstance(skip, nn.Conv2d)
        assert (skip.in_channels, skip.out_channels, skip.stride) == (64, 256, (1, 1))


class TestParity:
    @pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2"])
    def test_logits_are_torchvisions_to_the_bit(self, name: str) -> None:
        model, reference = pair(ARCHITECTURES[name])
        x = torch.rand(2, 3, 64, 64)

        with torch.inference_mode():
            logits, expected = model.eval()(x), reference.eval()(x)

        assert logits.isfinite().all()
        assert logits.std() > 0.01
        assert torch.equal(logits, expected)

    @pytest.mark.parametrize(
        "spec",
        [ModelSpec("basic", "basic", (1, 2, 1, 1)), ModelSpec("narrow", "bottleneck", (1, 2, 1, 1), width_per_group=8)],
    )
    def test_a_training_step_is_torchvisions(self, spec: ModelSpec) -> None:
        model, reference = pair(spec, torch.float64)
        x = torch.rand(2, 3, 40, 40, dtype=torch.float64)
        labels = torch.tensor([3, 141])
        losses = [nn.functional.cross_entropy(network.train()(x), labels) for network in (model, reference)]
        for loss in losses:
            loss.backward()  # type: ignore[no-untyped-call]

        assert torch.equal(*losses)
        names = torchvision_names(spec)
        gradients = {key: parameter.grad for key, parameter in reference.named_parameters()}
        statistics = dict(reference.named_buffers())
        for key, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.grad, gradients[names[key]], rtol=1e-9, atol=1e-12)
        for key, buffer in model.named_buffers():
            torch.testing.assert_close(buffer, statistics[names[key]], rtol=1e-9, atol=1e-12)

    def test_the_same_random_seed_draws_torchvisions_weights(self) -> None:
        torch.manual_seed(7)
        state = build("resnet18", initialization="torchvision").state_dict()
        torch.manual_seed(7)
        expected = torchvision_models().resnet18().state_dict()

        for key, other in torchvision_names(ARCHITECTURES["resnet18"]).items():
            assert torch.equal(state[key], expected[other]), key


class TestBlocks:
    @pytest.mark.parametrize(
        ("block", "before", "after"),
        [
            (ResIdentity(8), (2, 8, 10, 6), (2, 8, 10, 6)),
            (ResSkip(8, 16), (2, 8, 10, 6), (2, 16, 5, 3)),
            (ResSkip(8, 16, 1), (2, 8, 10, 6), (2, 16, 10, 6)),
            (ResSkip(8, 16), (2, 8, 7, 7), (2, 16, 4, 4)),
            (BottleneckIdentity(16), (2, 16, 10, 6), (2, 16, 10, 6)),
            (BottleneckIdentity(128, groups=4, width_per_group=16), (2, 128, 4, 4), (2, 128, 4, 4)),
            (BottleneckSkip(8, 16), (2, 8, 7, 6), (2, 16, 4, 3)),
            (BottleneckSkip(8, 16, stride_in_1x1=True), (2, 8, 7, 6), (2, 16, 4, 3)),
            (BottleneckSkip(8, 16, 1), (2, 8, 10, 6), (2, 16, 10, 6)),
        ],
    )
    def test_shapes(self, block: nn.Module, before: tuple[int, ...], after: tuple[int, ...]) -> None:
        x = torch.rand(before)
        copy = x.clone()

        assert block(x).shape == after
        assert torch.equal(x, copy), "a block must not write to its input"

    def test_an_identity_block_with_gamma_0_is_the_identity(self) -> None:
        block = ResIdentity(4)
        nn.init.zeros_(block.bn2.weight)
        x = torch.rand(2, 4, 5, 5)

        assert torch.equal(block(x), x)

    def test_v1_strides_in_the_first_1x1(self) -> None:
        v1, later = BottleneckSkip(8, 16, stride_in_1x1=True), BottleneckSkip(8, 16)

        assert [v1.conv1.stride, v1.conv2.stride] == [(2, 2), (1, 1)]
        assert [later.conv1.stride, later.conv2.stride] == [(1, 1), (2, 2)]

    def test_numeric_gradient(self) -> None:
        for block in (ResSkip(2, 4), BottleneckSkip(2, 4), ResIdentity(2)):
            x = torch.rand(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)

            assert torch.autograd.gradcheck(block.double(), (x,))


class TestStem:
    def test_imagenet_shrinks_by_4(self) -> None:
        assert ResNetHead(3, 64)(torch.rand(1, 3, 32, 32)).shape == (1, 64, 8, 8)

    def test_cifar_keeps_the_size_into_l0(self) -> None:
        network = ResNet(3, 10, ONE_EACH, stem="cifar").eval()
        seen: list[torch.Size] = []
        network.l0.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))

        with torch.no_grad():
            assert network(torch.rand(1, 3, 32, 32)).shape == (1, 10)
        assert seen == [(1, 64, 32, 32)]
        assert network.head.conv.kernel_size == (3, 3)
        assert network.state_dict().keys() == ResNet(3, 10, ONE_EACH).state_dict().keys()

    @pytest.mark.parametrize(("channels", "classes"), [(1, 2), (4, 1), (12, 37)])
    def test_other_channels_and_classes(self, channels: int, classes: int) -> None:
        network = ResNet(channels, classes, [1, 1, 1, 1]).eval()

        with torch.no_grad():
            assert network(torch.rand(2, channels, 40, 33)).shape == (2, classes)


class TestInitialization:
    def layers(self, network: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
        return (module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear))

    def test_the_default_is_pytorchs(self) -> None:
        torch.manual_seed(0)
        first = nn.Conv2d(3, 64, 7, bias=False)
        torch.manual_seed(0)

        assert torch.equal(ResNet(3, 10, [1, 1, 1, 1]).head.conv.weight, first.weight)

    def test_torchvisions_standard_deviation_follows_the_fan_out(self) -> None:
        torch.manual_seed(0)
        network = build("resnext50_32x4d", repeat=(1, 1, 1, 1), initialization="torchvision")

        for layer in self.layers(network):
            if isinstance(layer, nn.Conv2d):
                # Torch's fan out of a grouped convolution is not divided by the groups.
                fan_out = layer.out_channels * math.prod(map(int, layer.kernel_size))
                assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
                assert abs(layer.weight.mean().item()) < 0.1 * math.sqrt(2 / fan_out)
            else:
                assert layer.weight.abs().max() <= 1 / math.sqrt(layer.in_features)

    def test_kaiming_uniform_keeps_and_reaches_its_bounds(self) -> None:
        torch.manual_seed(0)
        network = ResNet(3, 1000, ONE_EACH, initialization="kaiming-uniform")

        for layer in self.layers(network):
            fan_in = layer.weight[0].numel()
            bound = math.sqrt(3 / (2 * fan_in))
            assert 0.99 * bound < layer.weight.abs().max() <= bound
            if layer.bias is not None:
                assert 0.9 / math.sqrt(fan_in) < layer.bias.abs().max() <= 1 / math.sqrt(fan_in)

    @pytest.mark.parametrize(("name", "last"), [("resnet18", "bn2"), ("resnet50", "bn3")])
    @pytest.mark.parametrize("zero", [False, True])
    def test_zero_gammas_in_the_last_batch_norm_of_each_block(self, name: str, last: str, zero: bool) -> None:
        network = build(name, repeat=(1, 1, 1, 1), zero_init_residual=zero)
        gammas = {
            key: module.weight
            for key, module in network.named_modules()
            if isinstance(module, nn.BatchNorm2d) and key.startswith("l")
        }

        for key, gamma in gammas.items():
            expected = torch.zeros_like(gamma) if zero and key.endswith(f".{last}") else torch.ones_like(gamma)
            assert torch.equal(gamma, expected), key
        assert sum(key.endswith(f".{last}") for key in gammas) == 4


class TestBuild:
    @pytest.mark.parametrize("model", ["ResNet-34", 34, ARCHITECTURES["resnet34"]])
    def test_by_name_depth_and_spec(self, model: ModelSpec | str | int) -> None:
        with torch.device("meta"):
            network = build(model, num_classes=10, in_channels=1)

        assert parameters(network) == 21_797_672 - 64 * 2 * 49 - 990 * 513

    @pytest.mark.parametrize(
        ("arguments", "options", "message"),
        [
            ((3, 10, [2, 2, 2]), {}, "four stages"),
            ((3, 10, [2, 2, 2, 0]), {}, "four stages"),
            ((0, 10, REPEAT_18), {}, "start at 1"),
            ((3, 0, REPEAT_18), {}, "start at 1"),
            ((3, 10, REPEAT_18), {"block": "bottleneck", "groups": 0}, "start at 1"),
            ((3, 10, REPEAT_18), {"groups": 32}, "belong to the bottleneck"),
            ((3, 10, REPEAT_18), {"width_per_group": 128}, "belong to the bottleneck"),
            ((3, 10, REPEAT_18), {"stride_in_1x1": True}, "belong to the bottleneck"),
            ((3, 10, REPEAT_18), {"block": "dense"}, "block is one of basic, bottleneck"),
            ((3, 10, REPEAT_18), {"stem": "deep"}, "stem is one of imagenet, cifar"),
            ((3, 10, REPEAT_18), {"initialization": "zeros"}, "initialization is one of"),
        ],
    )
    def test_wrong_arguments(self, arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
        with torch.device("meta"), pytest.raises(ValueError, match=message):
            ResNet(*arguments, **options)

    def test_unknown_names_and_overrides(self) -> None:
        with pytest.raises(ResnetCliError, match="resnet19"):
            build("resnet19")
        with pytest.raises(TypeError, match="classes"):
            build("resnet18", classes=10)

    def test_blocks_of_the_user(self) -> None:
        class Smooth(ResIdentity):
            def __init__(self, ni: int) -> None:
                super().__init__(ni)
                self.relu = nn.SiLU(inplace=True)  # type: ignore[assignment]

        class Wide(nn.Module):
            expansion = 2

            def __init__(self, ni: int) -> None:
                super().__init__()
                self.mix = nn.Conv2d(ni, ni, 1)

            def forward(self, x: Tensor) -> Tensor:
                y: Tensor = self.mix(x)
                return x + y.relu()

        smooth = ResNet(3, 10, ONE_EACH, block=(Smooth, ResSkip))
        wide = ResNet(3, 10, [2, 1, 1, 2], block=(Wide, ResSkip))

        assert smooth.state_dict().keys() == ResNet(3, 10, ONE_EACH).state_dict().keys()
        assert "l3.block.Wide0.mix.weight" in wide.state_dict()
        assert wide.eval()(torch.rand(1, 3, 32, 32)).shape == (1, 10)
        smooth(torch.rand(2, 3, 64, 64)).sum().backward()

    def test_a_subclassed_bottleneck_gets_the_groups(self) -> None:
        class Mine(BottleneckIdentity):
            pass

        with torch.device("meta"):
            mine = ResNet(3, 10, REPEAT_18, block=(Mine, BottleneckSkip), groups=32, width_per_group=4)

        assert mine.get_submodule("l3.block.BottleneckIdentity0.conv2").groups == 32

    def test_on_meta_nothing_is_allocated(self) -> None:
        with torch.device("meta"):
            network = build("resnet50", initialization="kaiming-uniform", zero_init_residual=True)

        assert all(tensor.is_meta for tensor in network.state_dict().values())


class TestPackage:
    def test_the_names_are_there_and_the_rest_is_not(self) -> None:
        for name in resnet_cli.__all__:
            assert name == "ARCHITECTURES" or getattr(resnet_cli, name).__module__.startswith("resnet_cli.")
        assert set(resnet_cli.__all__) <= set(dir(resnet_cli))
        with pytest.raises(AttributeError, match="ResNot"):
            resnet_cli.ResNot  # noqa: B018

    def test_importing_the_package_imports_no_torch(self) -> None:
        code = (
            "import sys, resnet_cli; from resnet_cli import ModelSpec, resolve, ARCHITECTURES, ResnetCliError\n"
            "import resnet_cli.network.torchvision_names\n"
            "assert not {'torch', 'torchvision'} & set(sys.modules), 'torch came along'\n"
        )

        subprocess.run([sys.executable, "-c", code], check=True)
