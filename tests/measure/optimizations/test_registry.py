"""Every optimization: its variant gives the logits of the network, or says why it is unavailable."""

# What a network of any kind calls returns Any:
# mypy: no-warn-return-any

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.bench.workloads.workload import Workload
from resnet_cli.measure.models.inputs.model_inputs import Arguments, images
from resnet_cli.measure.optimizations.compiled import torch_compile
from resnet_cli.measure.optimizations.conv_bn_fusion import fuse_conv_bn
from resnet_cli.measure.optimizations.registry import EAGER, OPTIMIZATIONS
from resnet_cli.measure.optimizations.runtimes import tensorrt
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant, build_variant, in_one_line
from resnet_cli.measure.system.devices.backend import DeviceBackend
from resnet_cli.measure.system.devices.registry import device_backend
from resnet_cli.measure.system.precision import in_precision
from resnet_cli.network.resnet import ResNet, build
from tests.helpers.fake_clock import SimulatedBackend, SimulatedClock, fake_optimization

CPU = torch.device("cpu")


def calibrated(model: nn.Module, size: int = 32) -> tuple[nn.Module, Tensor]:
    work = Workload(model, inputs=images((3, size, size)), device=CPU)
    return work.model, work.input(2).args[0]


def tiny(block: Any = "basic") -> ResNet:
    return ResNet(3, 7, [2, 1, 1, 1], block=block, stem="cifar")


def variant_of(key: str, model: nn.Module, image: Tensor, backend: DeviceBackend | None = None) -> Variant:
    with torch.inference_mode():
        return build_variant(OPTIMIZATIONS[key], model, Arguments((image,), {}), backend or device_backend(CPU)).variant


def difference(variant: Variant, model: nn.Module, image: Tensor) -> float:
    """Relative to the largest logit."""
    with torch.inference_mode():
        logits, truth = variant.run(variant.inputs.args[0]), model(image)
        assert isinstance(logits, Tensor)
        assert logits.shape == truth.shape
        return float((logits.float() - truth).abs().max() / truth.abs().max())


def test_every_row_has_its_module() -> None:
    for row in (EAGER, *OPTIMIZATIONS.values()):
        assert callable(row.load())
    assert {row.key for row in OPTIMIZATIONS.values() if not row.keeps_precision} == {
        "autocast", "bfloat16", "float16", "tf32", "onnxruntime-int8",
    }  # fmt: skip


@pytest.mark.parametrize("key", ["channels-last", "folded", "channels-last-folded"])
def test_resnet_18_gives_the_same_logits(key: str) -> None:
    model, image = calibrated(build(18))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert difference(variant_of(key, model, image), model, image) < 1e-5
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(tensor.is_contiguous() for tensor in model.state_dict().values())


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_all_norms_of_a_resnet_are_folded(block: str) -> None:
    model, image = calibrated(tiny(block))
    with torch.inference_mode():
        truth = model(image)
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        assert fuse_conv_bn(model) == norms
        assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        torch.testing.assert_close(model(image), truth, rtol=1e-5, atol=1e-5)


def test_channels_last_is_the_format_of_weights_and_input() -> None:
    model, image = calibrated(tiny())
    variant = variant_of("channels-last", model, image)
    assert variant.inputs.args[0].is_contiguous(memory_format=torch.channels_last)
    assert isinstance(variant.run, nn.Module)
    assert all(
        parameter.is_contiguous(memory_format=torch.channels_last)
        for parameter in variant.run.parameters()
        if parameter.dim() == 4
    )


def test_bfloat16_moves_the_logits_a_little() -> None:
    model, image = calibrated(tiny())
    variant = variant_of("bfloat16", model, image)
    assert variant.inputs.args[0].dtype == torch.bfloat16
    assert variant.remark is None
    assert 0 < difference(variant, model, image) < 0.1


def test_autocast_keeps_weights_and_moves_the_logits_a_little() -> None:
    model, image = calibrated(tiny())
    variant = variant_of("autocast", model, image)
    assert variant.inputs.args[0].dtype == torch.float32
    with torch.inference_mode():
        logits = variant.call()
    assert isinstance(logits, Tensor)
    assert logits.dtype == torch.bfloat16
    assert 0 < difference(variant, model, image) < 0.1


@pytest.mark.parametrize("key", ["bfloat16", "autocast"])
def test_emulated_bfloat16_says_so(key: str) -> None:
    model, image = calibrated(tiny())
    remark = variant_of(key, model, image, SimulatedBackend(emulates_bfloat16=True)).remark
    assert remark is not None
    assert "has no bfloat16 arithmetic" in remark


@pytest.mark.parametrize("key", ["float16", "tf32", "cuda-graph", "compile-reduce-overhead", "tensorrt"])
def test_what_needs_a_gpu_says_so(key: str) -> None:
    model, image = calibrated(tiny())
    with pytest.raises(UnavailableError, match="needs a GPU"):
        variant_of(key, model, image)


def test_the_setup_lasts_until_the_first_result() -> None:
    clock = SimulatedClock()

    def build(model: nn.Module, inputs: Arguments, backend: DeviceBackend) -> Variant:
        clock.run(device_s=2.0)
        return Variant(lambda images: clock.run(device_s=0.5), inputs)

    clock.run(device_s=3.0)  # earlier work does not count
    backend = SimulatedBackend(clock)
    inputs = Arguments((torch.zeros(1),), {})
    assert build_variant(fake_optimization("x", build), nn.Identity(), inputs, backend).setup_s == 2.5


def test_plain_eager_is_a_copy_of_the_network_itself() -> None:
    model, image = calibrated(tiny())
    with torch.inference_mode():
        variant = build_variant(EAGER, model, Arguments((image,), {}), device_backend(CPU)).variant
    assert variant.run is not model
    assert difference(variant, model, image) == 0


def test_tensorrt_is_given_the_network_and_its_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def compile_network(module: nn.Module, ir: str, inputs: list[Tensor], **more: Any) -> nn.Module:
        seen.append((ir, inputs, more, torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
        return module

    model, image = calibrated(tiny())
    backend = SimulatedBackend()
    with torch.inference_mode(), pytest.raises(UnavailableError, match="pip install torch-tensorrt"):
        tensorrt.build(model, Arguments((image,), {}), backend)
    fake: Any = ModuleType("torch_tensorrt")
    fake.compile, fake.__spec__ = compile_network, ModuleSpec("torch_tensorrt", None)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", fake)
    with torch.inference_mode():
        variant = tensorrt.build(model, Arguments((image,), {"scale": 2.0}), backend)
    assert variant.run is model
    assert seen == [("dynamo", [image], {"kwarg_inputs": {"scale": 2.0}}, False, False)]


def test_a_network_is_exported_before_it_is_compiled_ahead_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the C++ compiler, which takes half a minute: the exported program itself runs."""
    programs: dict[str, torch.export.ExportedProgram] = {}

    def compile_and_package(program: torch.export.ExportedProgram, package_path: str) -> str:
        programs[package_path] = program
        return package_path

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", compile_and_package)
    monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda path: programs[path].module())
    model, image = calibrated(tiny())
    variant = variant_of("aot-inductor", model, image)
    assert len(programs) == 1
    assert difference(variant, model, image) < 1e-5
    assert not any(Path(path).parent.exists() for path in programs)


def test_the_kernels_that_autotuning_tries_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import select_algorithm

    printed = []

    def compile_network(model: nn.Module, **options: Any) -> nn.Module:
        printed.append((options["mode"], select_algorithm.PRINT_AUTOTUNE))
        return model

    monkeypatch.setattr(torch, "compile", compile_network)
    model, image = calibrated(tiny())
    assert difference(variant_of("compile-max-autotune", model, image), model, image) < 1e-5
    assert printed == [("max-autotune", False)]
    assert select_algorithm.PRINT_AUTOTUNE


def test_a_real_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without vector instructions and C++ wrapper, which take half a minute to detect and to compile."""
    from torch._inductor import config

    def inductor(model: nn.Module) -> Any:
        if config.cpp_wrapper:
            raise NotImplementedError
        return torch.compile(model, dynamic=False)

    monkeypatch.setattr(torch_compile, "inductor", inductor)
    monkeypatch.setattr(config.cpp, "vec_isa_ok", False)
    net, image = calibrated(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()), 8)
    try:
        variant = variant_of("compile", net, image)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert variant.run is not net
    assert difference(variant, net, image) < 1e-5


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n  first:\nsecond", "first"),
        ("cannot open /home/someone/cache/a.cpp, sorry", "cannot open …, sorry"),
        ("File 'C:\\Users\\x\\y.dll' is missing", "File '…' is missing"),
        ("3/4 of it, and/or more", "3/4 of it, and/or more"),
        ("", "ValueError"),
        ("x" * 160, "x" * 160),
        ("x" * 500, "x" * 159 + "…"),
    ],
)
def test_an_error_in_one_line(text: str, line: str) -> None:
    assert in_one_line(ValueError(text)) == line


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("key", OPTIMIZATIONS)
def test_every_optimization_on_a_gpu(key: str) -> None:
    backend = device_backend(torch.device("cuda", 0))
    work = Workload(build(18), inputs=images((3, 64, 64)), device=backend.device)
    image = work.input(2).args[0]
    with torch.inference_mode(), in_precision(backend.fp32_settings()):
        expected = work.model(image)
    with torch.inference_mode():
        try:
            variant = build_variant(OPTIMIZATIONS[key], work.model, image, backend).variant
        except UnavailableError as error:
            pytest.skip(str(error))
        for _ in range(3):
            logits = variant.run(variant.inputs.args[0])
            assert isinstance(logits, Tensor)
            assert float((logits.float() - expected).abs().max() / expected.abs().max()) < 0.05
