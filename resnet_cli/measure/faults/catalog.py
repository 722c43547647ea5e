"""Faults that people build into a ResNet, each planted in the user's own network to see whether it is found.

Where a fault is one of a block class (a stride in the wrong convolution) or of a constructor's argument (an eps), it
is planted wherever it fits; every other sits in one place, in the middle of the network: the hardest case to see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from resnet_cli.measure.faults import layers, weights, wiring
from resnet_cli.measure.faults.op_capture import NotApplicableError, check_it_runs

__all__ = ["MUTATIONS", "Fault", "NotApplicableError"]

Inject = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    `plant` gets a deep copy, changes it and returns the faulty network, which runs on a small image.
    It raises NotApplicableError where the network has no place for the fault.
    """

    key: str  # "stride-in-1x1"
    group: str  # "convolution and pooling"
    title: str
    plant: Inject


def _running(plant: Inject, network: nn.Module) -> nn.Module:
    faulty = plant(network)
    check_it_runs(faulty)
    return faulty


def _group(group: str, *rows: tuple[str, str, Inject]) -> tuple[Fault, ...]:
    return tuple(Fault(key, group, title, partial(_running, plant)) for key, title, plant in rows)


MUTATIONS: tuple[Fault, ...] = (
    *_group(
        "convolution and pooling",
        ("stride-in-1x1", "ResNet v1: the stride in the first 1×1 of every bottleneck", layers.stride_in_1x1),
        ("stride-moved", "the stride in the second convolution of every basic block", layers.stride_moved),
        ("stem-padding", "one pixel less padding in the stem's convolution", layers.stem_padding),
        ("pool-padding", "the max pool with ceil_mode in place of padding, as in Caffe", layers.pool_padding),
        ("conv-padding", "a 3×3 without padding, the next convolution with one pixel more", layers.conv_padding),
        ("ceil-mode", "the max pool's other ceil_mode", layers.ceil_mode),
        ("reflect", "a 3×3 padded by reflection", layers.reflect),
        ("kernel", "a 5×5 in place of a 3×3", layers.kernel),
        ("dilation", "a 3×3 with a dilation of 2", layers.dilation),
        ("groups", "a convolution with other groups", layers.groups),
        ("average-pool-stem", "an average pool in place of the stem's max pool", wiring.average_pool_stem),
    ),
    *_group(
        "batch norm",
        ("missing-bn", "a block without one of its batch norms", layers.missing_bn),
        ("missing-projection-bn", "a projection without its batch norm", layers.missing_projection_bn),
        ("eps-1e-3", "eps of 1e-3 in every batch norm", partial(layers.every_norm, "eps", 1e-3)),
        ("eps-1e-6", "eps of 1e-6 in one batch norm", partial(layers.one_norm, "eps", 1e-6)),
        (
            "eps-1.001e-5",
            "eps of 1.001e-5 in every batch norm, as in Keras",
            partial(layers.every_norm, "eps", 1.001e-5),
        ),
        ("momentum", "momentum of 0.01 in every batch norm", partial(layers.every_norm, "momentum", 0.01)),
        ("affine-off", "a batch norm without weight and bias", layers.affine_off),
        ("no-running-statistics", "a batch norm without running statistics", layers.no_running_statistics),
        (
            "biased-running-variance",
            "a batch norm by hand that remembers the biased variance",
            layers.biased_running_variance,
        ),
    ),
    *_group(
        "wiring",
        ("bn-relu-swapped", "ReLU before batch norm, in one block", wiring.bn_relu_swapped),
        ("relu-before-add", "ReLU before the addition, in one block", wiring.relu_before_add),
        ("missing-last-relu", "no ReLU behind the addition, in one block", wiring.missing_last_relu),
        ("missing-stem-relu", "no ReLU in the stem", wiring.missing_stem_relu),
        ("missing-inner-relu", "no ReLU between two convolutions, in one block", wiring.missing_inner_relu),
        ("gelu", "GELU for every ReLU", wiring.gelu),
        ("resnet-d", "ResNet-D: an average pool in every shortcut that strides", wiring.resnet_d),
        ("squeeze-excite", "squeeze and excitation in one block", wiring.squeeze_excite),
        ("pre-activation", "ResNet v2: batch norm and ReLU before the convolutions", wiring.pre_activation),
        ("block-fewer", "one block fewer", wiring.block_fewer),
        ("block-more", "one block more", wiring.block_more),
        ("dropped-identity", "a block without its shortcut", wiring.dropped_identity),
        ("scaled-identity", "a block with half its shortcut", wiring.scaled_identity),
        ("dropout", "dropout before the linear layer", wiring.dropout),
        ("input-normalisation", "the image normalised inside the network", wiring.input_normalisation),
    ),
    *_group(
        "weights",
        ("conv-bias", "a convolution with a bias", layers.conv_bias),
        ("no-head-bias", "the linear layer without its bias", layers.no_head_bias),
        ("one-weight", "one weight off by a thousandth of the largest", weights.one_weight),
        ("one-buffer", "one running mean off by a thousandth of the largest", weights.one_buffer),
        ("swapped-convs", "the weights of two convolutions of one shape exchanged", weights.swapped_convs),
        ("frozen-parameter", "a parameter that is not trained", weights.frozen_parameter),
        ("nan", "one weight is NaN", weights.nan),
    ),
)
