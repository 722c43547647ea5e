"""What surrounds a compilation: nothing of earlier ones is found in it, and nothing of it is left."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from resnet_cli.measure.optimizations.torch_compile import compile_for

IMAGE = torch.zeros(1)


def compiled(what: Callable[[Tensor], Tensor]) -> Callable[[Tensor], object]:
    return compile_for(nn.Identity(), IMAGE, compiler=lambda model: what)


def test_what_was_compiled_is_what_runs() -> None:
    run = compiled(lambda image: image + 1)
    assert run(torch.full((1,), 4.0)) == 5


def test_the_set_up_is_that_of_a_machine_that_has_compiled_nothing_yet() -> None:
    from torch._inductor import config

    before = config.force_disable_caches, config.cpp_cache_precompile_headers
    found = []

    def run(image: Tensor) -> Tensor:
        found.append((config.force_disable_caches, config.cpp_cache_precompile_headers))
        return image

    compiled(run)
    assert found == [(True, False)]
    assert (config.force_disable_caches, config.cpp_cache_precompile_headers) == before


def test_what_tools_leave_among_temporary_files_is_removed_with_the_caches() -> None:
    before = os.environ.get("TMPDIR")
    left = []

    def run(image: Tensor) -> Tensor:
        left.append(Path(os.environ["TMPDIR"], "cc1.s"))
        left[0].touch()
        left.append(Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]))
        return image

    compiled(run)
    assert left[0].parent in left[1].parents
    assert not left[0].parent.exists()
    assert os.environ.get("TMPDIR") == before


def test_the_depth_of_recursion_is_as_before() -> None:
    before = sys.getrecursionlimit()

    def run(image: Tensor) -> Tensor:
        sys.setrecursionlimit(before + 100)  # as freezing does
        return image

    compiled(run)
    assert sys.getrecursionlimit() == before


def test_the_ninth_network_of_a_class_is_compiled_like_the_first() -> None:
    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        built.append(graph)
        return graph.forward

    built: list[object] = []
    with torch.inference_mode():
        for _ in range(9):
            net = nn.Linear(1, 1)
            run = compile_for(net, IMAGE, compiler=lambda model: torch.compile(model, dynamic=False, backend=backend))
            assert run(IMAGE) == net.bias
    assert len(built) == 9


@pytest.mark.parametrize("kind", ["TritonMissing", "GPUTooOldForTriton", "InvalidCxxCompiler"])
def test_a_tool_that_is_missing_is_found_among_the_causes(kind: str) -> None:
    from resnet_cli.measure.optimizations.variant import UnavailableError

    def run(image: Tensor) -> Tensor:
        try:
            raise type(kind, (RuntimeError,), {})("no such tool")
        except RuntimeError as error:
            raise ValueError("lowering failed") from error

    with pytest.raises(UnavailableError, match=r"torch\.compile needs"):
        compiled(run)
