"""What torch was built with."""

from __future__ import annotations

import pytest
import torch

from resnet_cli.measure.system import torch_build


@pytest.mark.parametrize(
    ("capability", "expected"),
    [("AVX512", "AVX512"), ("AVX2", "AVX2"), ("DEFAULT", None), ("NO AVX", None), ("", None)],
)
def test_instruction_sets_where_there_are_some(
    capability: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert torch_build.instructions() == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (
            "  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605\n"
            "  - Intel(R) MKL-DNN v3.7.1 (Git Hash 8d263e6)\n",
            ("MKL 2024.2", "oneDNN 3.7.1"),
        ),
        ("  - oneDNN v3.11 (Git Hash 1)\n", ("oneDNN 3.11",)),
        ("PyTorch built with:\n  - OpenMP 201511\n", ()),
    ],
)
def test_libraries_have_their_versions(shown: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.__config__, "show", lambda: shown)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_build.libraries() == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: None)  # as on other makers' GPUs
    assert torch_build.libraries() == expected


def test_the_libraries_of_this_torch_are_named() -> None:
    shown = torch.__config__.show()
    versions = dict(name.split() for name in torch_build.libraries())
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        assert f"v{versions['oneDNN']} " in shown
    assert ("MKL" in versions) == torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    assert torch_build.instructions() == torch.backends.cpu.get_cpu_capability()


@pytest.mark.parametrize(("number", "name"), [(8902, "8.9.2"), (90000, "9.0.0"), (90100, "9.1.0"), (92600, "9.26.0")])
def test_the_version_of_cudnn_as_people_write_it(number: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.backends.cudnn.version", lambda: number)
    assert f"cuDNN {name}" in torch_build.libraries()
