"""The best float32 rung of the ladder against ONNX Runtime and OpenVINO.

    python tests/tools/other_runtimes.py [seconds] [depths]

Same network, same weights, same threads, one process, blocks of calls in turn: not call by call, because the threads
of each runtime spin for a while after a call, at the next one's cost. Run by hand on a quiet machine, never in CI,
after: pip install onnx onnxscript onnxruntime openvino
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnet_cli.measure.bench.device_timer import timed
from resnet_cli.measure.bench.sampling import Limits, warm_up
from resnet_cli.measure.bench.stats.ratios import paired_ratio, verdict
from resnet_cli.measure.bench.workload import Workload
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.measure.optimizations.registry import EAGER, OPTIMIZATIONS
from resnet_cli.measure.optimizations.variant import build_variant
from resnet_cli.measure.system.devices.cpu import CpuBackend
from resnet_cli.network.resnet import build

CHOSEN = ("channels-last-folded", "compile")
CLOSE = 1e-4  # of the largest logit
BLOCK_S = 0.3
DROPPED = 3  # calls at the start of a block


def exported(model: nn.Module, image: Tensor, folder: Path) -> Path:
    """The network as an ONNX file."""
    path = folder / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        torch.onnx.export(model, (image,), path, dynamo=True, external_data=False, verbose=False)
        logging.disable(logging.NOTSET)
    return path


def onnx_runtime(path: Path, image: Tensor, threads: int) -> Callable[[], Any]:
    """A call of ONNX Runtime's processor kernels."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: image.numpy()}
    return lambda: session.run(None, inputs)[0]


def openvino(path: Path, image: Tensor, threads: int) -> Callable[[], Any]:
    """A call of OpenVINO's processor kernels, in float32 and for latency."""
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
    array = image.numpy()
    return lambda: request.infer({0: array})[0]


def blocks(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """Medians of blocks of calls in seconds, the runtimes in turn, each round in the other direction."""
    clock, order = CpuBackend(torch.device("cpu")), list(calls)
    medians: dict[str, list[float]] = {name: [] for name in calls}
    end = clock.now() + seconds * len(calls)
    while clock.now() < end:
        for name in order:
            taken: list[float] = []
            begin = clock.now()
            while clock.now() - begin < BLOCK_S or len(taken) <= DROPPED:
                taken.append(timed(clock, calls[name]).wall_s)
            medians[name].append(statistics.median(taken[DROPPED:]))
        order.reverse()
    return medians


def compare(depth: int, batch_size: int, seconds: float) -> None:
    """Print a row for each way to run a network."""
    work = Workload(build(depth), inputs=images((3, 224, 224)), device=torch.device("cpu"))
    image, threads, clock = work.input(batch_size).args[0], torch.get_num_threads(), CpuBackend(torch.device("cpu"))
    with work.running(), tempfile.TemporaryDirectory() as folder:
        rows = (EAGER, *(OPTIMIZATIONS[key] for key in CHOSEN))
        variants = {row.key: build_variant(row, work.model, image, clock).variant for row in rows}
        path = exported(work.model, image, Path(folder))
        calls: dict[str, Callable[[], Any]] = {
            **{key: variant.call for key, variant in variants.items()},
            "ONNX Runtime": onnx_runtime(path, image, threads),
            "OpenVINO": openvino(path, image, threads),
        }
        expected = work.model(image)
        for name, call in calls.items():
            logits = torch.as_tensor(call())
            difference = float((logits - expected).abs().max() / expected.abs().max())
            if difference > CLOSE:
                sys.exit(f"{name} gives other logits: {difference:.1e} of the largest")
            warm_up(clock, call, Limits(max_time_s=seconds))
        times = blocks(calls, seconds)
    best = min(CHOSEN, key=lambda key: statistics.median(times[key]))
    for name, medians in times.items():
        ratio, low, high = paired_ratio(times[best], medians)
        row = {
            "depth": depth,
            "batch": batch_size,
            "threads": threads,
            "runs": name,
            "median_ms": round(1000 * statistics.median(medians), 3),
            "best": best,
            "best / this": [round(value, 3) for value in (ratio, low, high)],
            "best is": "" if name == best else verdict(low, high, 0.01),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    for network in map(int, sys.argv[2].split(",")) if len(sys.argv) > 2 else (18, 50):
        for batch in (1, 8):
            compare(network, batch, limit)
