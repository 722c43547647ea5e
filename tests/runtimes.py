"""The best float32 rung of the ladder against ONNX Runtime and OpenVINO: python tests/runtimes.py [seconds] [depths].

Same network, same weights, same threads, one process, call by call in turn. Run by hand on a quiet machine, never in
CI, after: pip install onnx onnxscript onnxruntime openvino
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnet_cli.measure.latency.clocks import HostClock
from resnet_cli.measure.latency.levers import BY_KEY, EAGER_LEVER, machine, pull
from resnet_cli.measure.latency.sampling import Limits, sample, warm_up
from resnet_cli.measure.latency.statistics import describe, paired_ratio, verdict
from resnet_cli.measure.latency.workload import Workload
from resnet_cli.resnet import build

RUNGS = ("channels-last-folded", "compile")
CLOSE = 1e-4  # of the largest logit
REST_S = 0.01


class RestingClock(HostClock):
    """Stands still for a moment before and after each call.

    The threads of each runtime go on spinning for a while when they have nothing to do; on the same processors that is
    the next one's loss.
    """

    rested_s = 0.0

    def now(self) -> float:
        return time.perf_counter() - self.rested_s

    def wait(self) -> None:
        begin = time.perf_counter()
        time.sleep(REST_S)
        self.rested_s += time.perf_counter() - begin


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
    options.add_session_config_entry("session.force_spinning_stop", "1")  # when a run is over
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


def compare(depth: int, batch_size: int, seconds: float) -> None:
    """Print a row for each way to run a network."""
    work = Workload(build(depth), image=(3, 224, 224), device=torch.device("cpu"))
    image, threads, clock = work.input(batch_size), torch.get_num_threads(), RestingClock()
    with work.running(), tempfile.TemporaryDirectory() as folder:
        forms = {key: pull(BY_KEY[key], work.model, image, machine(work.device), clock).form for key in RUNGS}
        forms = {"eager": pull(EAGER_LEVER, work.model, image, machine(work.device), clock).form, **forms}
        path = exported(work.model, image, Path(folder))
        calls: dict[str, Callable[[], Any]] = {
            **{key: form.call for key, form in forms.items()},
            "ONNX Runtime": onnx_runtime(path, image, threads),
            "OpenVINO": openvino(path, image, threads),
        }
        truth = work.model(image)
        for name, call in calls.items():
            logits = torch.as_tensor(call())
            difference = float((logits - truth).abs().max() / truth.abs().max())
            if difference > CLOSE:
                sys.exit(f"{name} gives other logits: {difference:.1e} of the largest")
            warm_up(clock, call, Limits(max_time_s=seconds))
        taken = sample(clock, list(calls.values()), Limits(max_time_s=seconds, min_time_s=seconds))
    walls = dict(zip(calls, taken.walls, strict=True))
    best = min(RUNGS, key=lambda key: describe(walls[key]).median_s)
    for name, samples in walls.items():
        ratio, low, high = paired_ratio(walls[best], samples)
        figures = {
            "depth": depth,
            "batch": batch_size,
            "threads": threads,
            "runs": name,
            "median_ms": round(1000 * describe(samples).median_s, 3),
            "best": best,
            "best / this": [round(value, 3) for value in (ratio, low, high)],
            "best is": "" if name == best else verdict(low, high, 0.01),
        }
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    for network in map(int, sys.argv[2].split(",")) if len(sys.argv) > 2 else (18, 50):
        for batch in (1, 8):
            compare(network, batch, limit)
