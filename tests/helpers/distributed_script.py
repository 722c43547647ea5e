"""What torchrun starts: a process of several; rank 0 prints its rows as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from resnet_cli.measure.bench.sampling import Limits
from resnet_cli.measure.distributed.replicas import ReplicaConfig, measure_replicas
from resnet_cli.measure.models.inputs.model_inputs import images
from resnet_cli.network.architectures import resolve
from resnet_cli.results.bench import Replicas

rows: list[Replicas] = []
measure_replicas(
    ReplicaConfig(
        inputs=images((3, 32, 32)),
        batch_sizes=(2,),
        spec=resolve(repeat="1,1,1,1", num_classes=10),
        mode="train",
        limits=Limits(max_time_s=0.4, min_time_s=0.1),
    ),
    lambda text: None,
    rows.append,
)
if rows:
    print(json.dumps([asdict(row) for row in rows]))
