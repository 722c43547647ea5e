"""GPUs by their compute capability, as NVIDIA's tables have it, and the versions of what runs on them."""

from __future__ import annotations

import pytest

from resnet_cli.measure.doctor.evidence import Evidence
from resnet_cli.results.doctor import NO, NOT_TRIED, YES
from tests.helpers.results_doctor import GOOD, H100, row, with_facts

ROCM = with_facts("torch", cuda=None, hip="6.4")


def with_gpu(capability: tuple[int, int], evidence: Evidence = GOOD) -> Evidence:
    return with_facts("cuda", evidence, gpus=[{**H100, "capability": [*capability]}])


@pytest.mark.parametrize(
    ("capability", "has_them"),
    [((7, 0), False), ((7, 5), False), ((8, 0), True), ((8, 9), True), ((12, 0), True)],
    ids=["V100", "T4", "A100", "L4", "RTX 5090"],
)
def test_bfloat16_and_tf32_begin_with_ampere(capability: tuple[int, int], has_them: bool) -> None:
    evidence = with_gpu(capability)
    assert row(evidence, "tf32").status == (YES if has_them else NO)
    assert row(evidence, "gpu-bfloat16").status == YES
    assert row(evidence, "gpu-bfloat16").reason.startswith("convolution tested" if has_them else "emulated")
    assert row(evidence, "gpu-float16").reason.startswith("convolution tested")  # in hardware since Pascal


def test_the_numbers_of_amds_gpus_are_no_compute_capabilities() -> None:
    evidence = with_gpu((6, 1), ROCM)
    assert row(evidence, "gpu-bfloat16").reason.startswith("convolution tested")
    assert row(evidence, "compile-gpu").status == NOT_TRIED
    assert (row(evidence, "cuda").name, row(GOOD, "cuda").name) == ("ROCm", "CUDA")


def test_triton_begins_with_volta() -> None:
    assert row(with_gpu((7, 0)), "compile-gpu").status == NOT_TRIED
    assert row(with_gpu((6, 2)), "compile-gpu").status == NO


@pytest.mark.parametrize(
    ("number", "version"), [(7605, "7.6.5"), (8907, "8.9.7"), (90000, "9.0.0"), (90100, "9.1.0"), (91002, "9.10.2")]
)
def test_versions_of_cudnn_as_its_header_writes_them(number: int, version: str) -> None:
    """Thousands of the major version up to 8, ten thousands from 9 on."""
    assert row(with_facts("cudnn", version=number), "cudnn").reason == version


def test_the_first_gpu_says_what_is_computed_in_and_a_broken_one_behind_it_is_named() -> None:
    broken = {**H100, "name": "GTX 1080", "failure": "AcceleratorError: no kernel image"}
    evidence = with_facts("cuda", gpus=[H100, broken])
    assert (row(evidence, "cuda").status, row(evidence, "tf32").status) == (NO, YES)
    assert "GTX 1080" in row(evidence, "cuda").reason
    evidence = with_facts("cuda", gpus=[broken, H100])
    assert (row(evidence, "cuda").status, row(evidence, "tf32").status) == (NO, NO)


def test_a_long_warning_of_torchs_does_not_fill_the_screen() -> None:
    evidence = with_facts("cuda", available=False, gpus=[], warnings=["CUDA initialization: " + "x" * 10_000])
    assert row(evidence, "cuda").reason.startswith("torch: CUDA initialization: xxx")
    assert len(row(evidence, "cuda").reason) < 240
