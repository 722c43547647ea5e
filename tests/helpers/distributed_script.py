"""What torchrun starts: a process of several, which prints what it found as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from resnet_cli.measure.bench.sampling import Limits
from resnet_cli.measure.distributed.launcher import launched_by_torchrun, run_here
from resnet_cli.measure.distributed.replicas import ReplicaConfig
from resnet_cli.network.architectures import resolve

assert launched_by_torchrun()
found = run_here(
    ReplicaConfig(
        image=(3, 32, 32),
        batch_sizes=(2,),
        spec=resolve(repeat="1,1,1,1", num_classes=10),
        mode="train",
        limits=Limits(max_time_s=0.4, min_time_s=0.1),
    )
)
if found is not None:
    print(json.dumps([asdict(row) for row in found]))
