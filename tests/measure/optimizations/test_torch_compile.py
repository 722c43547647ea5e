"""What surrounds a compilation: nothing of earlier ones is states in it, and nothing of it is left."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.models.inputs.model_inputs import Arguments
from resnet_cli.measure.optimizations.compiled import torch_compile
from resnet_cli.measure.optimizations.compiled.torch_compile import build, compile_for
from resnet_cli.measure.optimizations.registry import OPTIMIZATIONS
from resnet_cli.measure.optimizations.variant import UnavailableError, build_variant
from resnet_cli.measure.system.devices.registry import device_backend
from tests.helpers.fake_clock import SimulatedBackend

IMAGE = torch.zeros(1)


def compiled(what: Callable[[Tensor], Tensor]) -> Callable[[Tensor], object]:
    return compile_for(nn.Identity(), Arguments((IMAGE,), {}), on_host=True, compiler=lambda model: what).run


def test_the_set_up_is_that_of_a_machine_that_has_compiled_nothing_yet() -> None:
    from torch._inductor import config

    before = config.force_disable_caches, config.cpp_cache_precompile_headers
    states = []

    def run(image: Tensor) -> Tensor:
        states.append((config.force_disable_caches, config.cpp_cache_precompile_headers))
        return image

    compiled(run)
    assert states == [(True, False)]
    assert (config.force_disable_caches, config.cpp_cache_precompile_headers) == before


def test_the_ninth_network_of_a_class_is_compiled_like_the_first() -> None:
    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        built.append(graph)
        return graph.forward

    built: list[object] = []
    with torch.inference_mode():
        for _ in range(9):
            net = nn.Linear(1, 1)
            run = compile_for(
                net,
                Arguments((IMAGE,), {}),
                on_host=True,
                compiler=lambda model: torch.compile(model, dynamic=False, backend=backend),
            ).run
            assert run(IMAGE) == net.bias
    assert len(built) == 9


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
    states = []

    def run(image: Tensor) -> Tensor:
        warnings.warn("look at me", stacklevel=1)
        logging.getLogger("torch").critical("look at me")
        now = state(folder)
        states.append((now.variables["TORCHINDUCTOR_CACHE_DIR"], now.variables["TRITON_CACHE_DIR"], now.freezing))
        assert all(path.is_dir() for path in now.files)
        return image

    compile_for(nn.Identity(), Arguments((torch.zeros(1),), {}), on_host=True, compiler=compiler(run))
    assert len(states) == 1
    inductor_s, triton_s, freezing = states[0]
    assert inductor_s.startswith(str(folder))
    assert triton_s.startswith(str(folder))
    assert freezing
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_all_in_cpp_is_compiled_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    tried = []

    def run(image: Tensor) -> Tensor:
        tried.append((config.cpp_wrapper, config.freezing))
        now[0] += 30.0
        if config.cpp_wrapper:
            raise RuntimeError("not in C++")
        return image

    now = [0.0]
    monkeypatch.setattr(torch_compile, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(torch_compile, "inductor", compiler(run))
    clock = SimulatedBackend(queued=False)
    clock.now = lambda: now[0]  # type: ignore[method-assign]
    image = torch.zeros(1, 3, 4, 4)
    built = build_variant(OPTIMIZATIONS["compile"], nn.Identity().eval(), Arguments((image,), {}), clock)
    assert tried[:2] == [(True, True), (False, True)]
    # The set-up is that of the compilation that a user makes, and of the first call: not that of the one that failed.
    assert built.setup_s == pytest.approx(60.0)


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
        compile_for(nn.Identity(), Arguments((torch.zeros(1),), {}), on_host=True, compiler=compiler(run))


def test_the_compiled_network_is_folded_and_in_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[nn.Module, Tensor]] = []

    def compiler(model: nn.Module) -> Callable[[Tensor], object]:
        def run(images: Tensor) -> object:
            calls.append((model, images))
            return model(images)

        return run

    monkeypatch.setattr(torch_compile, "inductor", compiler)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    image = torch.ones(2, 3, 5, 5)
    expected = model(image)
    variant = build(model, Arguments((image,), {}), device_backend(torch.device("cpu")))
    torch.testing.assert_close(variant.call(), expected)
    compiled_model, images = calls[-1]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in compiled_model.modules())
    assert images.is_contiguous(memory_format=torch.channels_last)
