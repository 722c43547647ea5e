"""Every lever: what it makes of a network, why it cannot, and that it leaves nothing behind."""

# What a network of any kind calls returns Any:
# mypy: no-warn-return-any

from __future__ import annotations

import gc
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from resnet_cli.measure.bench.device_timer import HostClock
from resnet_cli.measure.bench.workload import Workload
from resnet_cli.measure.optimizations.conv_bn_fusion import fuse_conv_bn
from resnet_cli.measure.optimizations.cuda_graph import WARM_UPS
from resnet_cli.measure.optimizations.registry import (
    BY_KEY,
    EAGER_OPTIMIZATION,
    Machine,
    Optimization,
    build_variant,
    machine,
)
from resnet_cli.measure.optimizations.torch_compile import compile_for
from resnet_cli.measure.optimizations.variant import UnavailableError, Variant, in_one_line
from resnet_cli.measure.system.precision import in_precision
from resnet_cli.network.resnet import ResNet, build
from resnet_cli.results.bench import OPTIMIZATIONS
from tests.helpers.fake_clock import SimulatedClock

CPU = torch.device("cpu")
GPU = torch.device("cuda")  # a name; nothing is put there


def calibrated(model: nn.Module, size: int = 32) -> tuple[nn.Module, Tensor]:
    work = Workload(model, image=(3, size, size), device=CPU)
    return work.model, work.input(2)


def tiny(block: Any = "basic") -> ResNet:
    return ResNet(3, 7, [2, 1, 1, 1], block=block, stem="cifar")


def make(key: str, model: nn.Module, image: Tensor, on: Machine | None = None) -> Variant:
    with torch.inference_mode():
        return build_variant(BY_KEY[key], model, image, Machine(CPU) if on is None else on, HostClock()).form


def difference(form: Variant, model: nn.Module, image: Tensor) -> float:
    """Relative to the largest logit."""
    with torch.inference_mode():
        logits, truth = form.run(form.image), model(image)
        assert isinstance(logits, Tensor)
        assert logits.shape == truth.shape
        return float((logits.float() - truth).abs().max() / truth.abs().max())


def test_every_lever_has_a_way_to_be_made() -> None:
    assert tuple(BY_KEY) == OPTIMIZATIONS
    assert {lever.key for lever in BY_KEY.values() if not lever.keeps_precision} == {"bfloat16", "float16", "tf32"}


@pytest.mark.parametrize("key", ["channels-last", "folded", "channels-last-folded"])
@pytest.mark.parametrize("size", [32, 64])
def test_resnet_18_gives_the_same_logits(key: str, size: int) -> None:
    model, image = calibrated(build(18), size)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert difference(make(key, model, image), model, image) < 1e-5
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(tensor.is_contiguous() for tensor in model.state_dict().values())


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_all_norms_of_ours_are_folded(block: str) -> None:
    model, image = calibrated(tiny(block))
    with torch.inference_mode():
        truth = model(image)
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        assert fuse_conv_bn(model) == norms
        assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        torch.testing.assert_close(model(image), truth, rtol=1e-5, atol=1e-5)


def test_channels_last_is_the_format_of_weights_and_input() -> None:
    model, image = calibrated(tiny())
    form = make("channels-last", model, image)
    assert form.image.is_contiguous(memory_format=torch.channels_last)
    assert isinstance(form.run, nn.Module)
    assert all(
        parameter.is_contiguous(memory_format=torch.channels_last)
        for parameter in form.run.parameters()
        if parameter.dim() == 4
    )


class Pair(nn.Module):
    """A convolution and a norm, joined by a function."""

    def __init__(self, join: Callable[[Any, Tensor], Tensor], **norm: Any) -> None:
        super().__init__()
        self.conv, self.norm, self.join = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **norm), join
        self.other = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self, x)


def plain(net: Any, x: Tensor) -> Tensor:
    return net.other(net.norm(net.conv(x)))


def output_twice(net: Any, x: Tensor) -> Tensor:
    out = net.conv(x)
    return net.norm(out) + out


def conv_twice(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + net.conv(x)


def norm_twice(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.other(net.norm(net.conv(x))))


def between(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x).relu())


def weight_read(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) * net.conv.weight.abs().sum()


def norm_read(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.conv(x)) + net.norm.bias.sum()


def hooked(net: Pair) -> None:
    net.conv.register_forward_hook(lambda module, args, output: output * 2)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def parametrised(net: Pair) -> None:
    parametrize.register_parametrization(net.conv, "weight", Doubled())


def as_it_is(net: Pair) -> None: ...


def randomised(net: Pair) -> Pair:
    torch.manual_seed(0)
    for tensor in (net.norm.weight, net.norm.bias, net.norm.running_mean, net.norm.running_var):
        if tensor is not None:
            nn.init.uniform_(tensor, 0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize(
    ("join", "change", "options"),
    [
        (output_twice, as_it_is, {}),
        (conv_twice, as_it_is, {}),
        (norm_twice, as_it_is, {}),
        (between, as_it_is, {}),
        (weight_read, as_it_is, {}),
        (norm_read, as_it_is, {}),
        (plain, hooked, {}),
        (plain, parametrised, {}),
        (plain, as_it_is, {"track_running_stats": False}),
    ],
)
def test_nothing_is_folded_that_may_not_be(
    join: Callable[[Any, Tensor], Tensor], change: Callable[[Pair], None], options: dict[str, Any]
) -> None:
    net = randomised(Pair(join, **options))
    change(net)
    image = torch.randn(2, 3, 8, 8)
    truth = net(image)
    with pytest.raises(UnavailableError, match="batch norm"):
        fuse_conv_bn(net)
    assert torch.equal(net(image), truth)


def test_a_norm_in_train_mode_is_left() -> None:
    net = randomised(Pair(plain))
    net.norm.train()
    with pytest.raises(UnavailableError):
        fuse_conv_bn(net)


@pytest.mark.parametrize("options", [{}, {"affine": False}])
def test_a_pair_in_the_middle_of_anything_is_folded(options: dict[str, Any]) -> None:
    net = randomised(Pair(plain, **options))
    image = torch.randn(2, 3, 8, 8)
    truth = net(image)
    assert fuse_conv_bn(net) == 1
    assert isinstance(net.norm, nn.Identity)
    torch.testing.assert_close(net(image), truth, rtol=1e-5, atol=1e-5)


def test_a_module_with_two_names_is_replaced_under_both() -> None:
    net = randomised(Pair(lambda net, x: net.again(net.conv(x))))
    net.again = net.norm
    image = torch.randn(2, 3, 8, 8)
    truth = net(image)
    assert fuse_conv_bn(net) == 1
    assert net.again is net.norm
    torch.testing.assert_close(net(image), truth, rtol=1e-5, atol=1e-5)


def test_a_network_that_goes_by_its_data_says_why_it_is_not_folded() -> None:
    net = randomised(Pair(lambda net, x: plain(net, x) if x.sum() > 0 else net.conv(x)))
    with pytest.raises(UnavailableError, match=r"cannot be traced: .+") as caught:
        fuse_conv_bn(net)
    assert "\n" not in str(caught.value)


def test_bfloat16_moves_the_logits_a_little() -> None:
    model, image = calibrated(tiny())
    form = make("bfloat16", model, image)
    assert form.image.dtype == torch.bfloat16
    assert form.remark is None
    assert 0 < difference(form, model, image) < 0.1


def test_emulated_bfloat16_says_so() -> None:
    model, image = calibrated(tiny())
    remark = make("bfloat16", model, image, Machine(CPU, emulates_bfloat16=True)).remark
    assert remark is not None
    assert "this processor has no bfloat16 arithmetic" in remark


@pytest.mark.parametrize("key", ["float16", "tf32", "cuda-graph"])
def test_what_needs_a_gpu_says_so(key: str) -> None:
    model, image = calibrated(tiny())
    with pytest.raises(UnavailableError, match="needs a CUDA device"):
        make(key, model, image, machine(CPU))


def precisions(conv: str = "tf32", matmul: str = "none") -> tuple[Any, Any]:
    return SimpleNamespace(fp32_precision=conv), SimpleNamespace(fp32_precision=matmul)


def seen(parts: tuple[Any, Any]) -> tuple[str, str]:
    return parts[0].fp32_precision, parts[1].fp32_precision


class Watching(nn.Module):
    """Notes which precisions its forward finds."""

    def __init__(self, parts: tuple[Any, Any]) -> None:
        super().__init__()
        self.parts: list[Any] = list(parts)
        self.found: list[tuple[str, str]] = []
        self.fails = False

    def forward(self, x: Tensor) -> Tensor:
        self.found.append((self.parts[0].fp32_precision, self.parts[1].fp32_precision))
        if self.fails:
            raise RuntimeError("no kernel")
        return x


def test_tf32_is_on_in_the_call_alone() -> None:
    parts = precisions()
    net = Watching(parts)
    image = torch.zeros(1, 3, 4, 4)
    form = BY_KEY["tf32"].make(net, image, Machine(GPU, (9, 0), precisions=parts))
    form.call()
    assert net.found == [("tf32", "tf32")]
    assert seen(parts) == ("tf32", "none")
    assert form.remark == "already on for convolutions in plain eager"
    net.fails = True
    with pytest.raises(RuntimeError):
        form.call()
    assert seen(parts) == ("tf32", "none")


@pytest.mark.parametrize(
    ("parts", "capability", "reason"),
    [
        (precisions("tf32", "tf32"), (9, 0), "already on for convolutions and matrix products"),
        (precisions(), (7, 5), "needs compute capability 8.0, and this GPU has 7.5"),
    ],
)
def test_tf32_that_cannot_be_turned_on(parts: tuple[Any, Any], capability: tuple[int, int], reason: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        BY_KEY["tf32"].make(nn.Identity(), torch.zeros(1), Machine(GPU, capability, precisions=parts))
    assert str(caught.value) == reason


def test_torch_s_own_precisions_are_put_back() -> None:
    on = machine(CPU)
    before = seen(on.precisions)
    allowed = torch.backends.cuda.matmul.allow_tf32
    with in_precision(on.precisions):
        assert seen(on.precisions) == ("ieee", "ieee")
    assert seen(on.precisions) == before
    assert torch.backends.cuda.matmul.allow_tf32 == allowed


@dataclass
class Recorder:
    """A GPU's graphs on the CPU: what is recorded runs again on the same memory."""

    fails: bool = False
    reads_input: bool = True
    log: list[str] = field(default_factory=list)

    def warm_up(self, call: Callable[[], object], times: int) -> None:
        for _ in range(times):
            call()
            self.log.append("warm")

    def record(self, call: Callable[[], object]) -> tuple[Callable[[], None], object]:
        assert not gc.isenabled()
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        output = call()
        assert isinstance(output, Tensor)
        self.log.append("record")

        def replay() -> None:
            self.log.append("replay")
            if self.reads_input:
                output.copy_(call())  # type: ignore[arg-type]

        return replay, output


def test_a_graph_is_warmed_up_recorded_and_replayed_on_new_input() -> None:
    model, image = calibrated(tiny())
    recorder = Recorder()
    form = make("cuda-graph", model, image, Machine(GPU, (9, 0), capture=recorder))
    assert recorder.log == ["warm"] * WARM_UPS + ["record", "replay"]
    assert gc.isenabled()
    with torch.inference_mode():
        other = torch.randn_like(form.image)
        torch.testing.assert_close(form.run(other), model(other), rtol=1e-4, atol=1e-4)
    assert recorder.log[-1] == "replay"


def test_what_cannot_be_captured_raises_and_the_collector_goes_on() -> None:
    model, image = calibrated(tiny())
    with pytest.raises(RuntimeError, match="capturing"):
        make("cuda-graph", model, image, Machine(GPU, (9, 0), capture=Recorder(fails=True)))
    assert gc.isenabled()


def test_the_setup_lasts_until_the_first_result() -> None:
    clock = SimulatedClock()

    def made(model: nn.Module, image: Tensor, on: Machine) -> Variant:
        clock.run(device_s=2.0)
        return Variant(lambda images: clock.run(device_s=0.5), image)

    clock.run(device_s=3.0)  # what went before does not count
    assert (
        build_variant(Optimization("x", "x", made), nn.Identity(), torch.zeros(1), Machine(CPU), clock).setup_s == 2.5
    )


def test_plain_eager_is_a_copy_of_the_network_itself() -> None:
    model, image = calibrated(tiny())
    with torch.inference_mode():
        form = build_variant(EAGER_OPTIMIZATION, model, image, Machine(CPU), HostClock()).form
    assert form.run is not model
    assert difference(form, model, image) == 0


@dataclass
class State:
    """What a compilation may change."""

    variables: dict[str, str]
    files: list[Path]
    disabled: int
    freezing: bool
    filters: int
    depth: int


def state(folder: Path) -> State:
    from torch._inductor import config

    return State(
        variables={name: value for name, value in os.environ.items() if re.search("TORCH|TRITON", name)},
        files=sorted(folder.rglob("*")),
        disabled=logging.root.manager.disable,
        freezing=config.freezing,
        filters=len(warnings.filters),
        depth=sys.getrecursionlimit(),
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where all temporary files go; nothing is left in it, or changed elsewhere."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "own"))
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    before = state(temporary)
    yield temporary
    assert state(temporary) == before
    assert before.files == []


def compiler(what: Callable[[Tensor], Tensor]) -> Callable[[nn.Module], Callable[[Tensor], object]]:
    return lambda model: what


def test_a_compiler_finds_empty_caches_of_its_own(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = []

    def run(image: Tensor) -> Tensor:
        warnings.warn("look at me", stacklevel=1)
        logging.getLogger("torch").critical("look at me")
        now = state(folder)
        found.append((now.variables["TORCHINDUCTOR_CACHE_DIR"], now.variables["TRITON_CACHE_DIR"], now.freezing))
        assert all(path.is_dir() for path in now.files)
        return image

    compile_for(nn.Identity(), torch.zeros(1), compiler=compiler(run))
    assert len(found) == 1
    inductor_s, triton_s, freezing = found[0]
    assert inductor_s.startswith(str(folder))
    assert triton_s.startswith(str(folder))
    assert freezing
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_all_in_cpp_is_compiled_without(folder: Path) -> None:
    from torch._inductor import config

    tried = []

    def run(image: Tensor) -> Tensor:
        tried.append((config.cpp_wrapper, config.freezing))
        if config.cpp_wrapper:
            raise RuntimeError("not in C++")
        return image

    compile_for(nn.Identity(), torch.zeros(1), compiler=compiler(run))
    assert tried == [(True, True), (False, True)]


class InvalidCxxCompiler(RuntimeError):  # noqa: N818 (torch's name)
    pass


class BackendFailed(RuntimeError):  # noqa: N818 (as torch wraps what its compiler raises)
    def __init__(self, inner: Exception) -> None:
        super().__init__("backend='inductor' raised:\n…")
        self.inner_exception = inner


@pytest.mark.parametrize(
    ("raised", "expected", "text"),
    [
        (BackendFailed(InvalidCxxCompiler("none found")), UnavailableError, "needs a C\\+\\+ compiler"),
        (BackendFailed(NotImplementedError("no lowering")), NotImplementedError, "no lowering"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
        (ValueError("odd"), ValueError, "odd"),
    ],
)
def test_a_compilation_that_ends_early_leaves_nothing(
    folder: Path, raised: BaseException, expected: type[BaseException], text: str
) -> None:
    def run(image: Tensor) -> Tensor:
        Path(os.environ["TORCHINDUCTOR_CACHE_DIR"], "half.so").parent.mkdir(parents=True, exist_ok=True)
        Path(os.environ["TORCHINDUCTOR_CACHE_DIR"], "half.so").touch()
        raise raised

    with pytest.raises(expected, match=text):
        compile_for(nn.Identity(), torch.zeros(1), compiler=compiler(run))


def test_a_real_compilation(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net, image = calibrated(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()), 8)
    try:
        form = make("compile", net, image)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert form.run is not net
    assert difference(form, net, image) < 1e-5
    assert capfd.readouterr() == ("", "")


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
def test_every_lever_on_a_gpu(key: str) -> None:
    on = machine(torch.device("cuda", 0))
    work = Workload(build(18), image=(3, 64, 64), device=on.device)
    image = work.input(2)
    with torch.inference_mode(), in_precision(on.precisions):
        truth = work.model(image)
    with torch.inference_mode():
        try:
            form = build_variant(BY_KEY[key], work.model, image, on, HostClock()).form
        except UnavailableError as error:
            pytest.skip(str(error))
        for _ in range(3):
            logits = form.run(form.image)
            assert isinstance(logits, Tensor)
            assert float((logits.float() - truth).abs().max() / truth.abs().max()) < 0.05
