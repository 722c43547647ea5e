"""The catalog of faults that people build into a ResNet, for fault injection into the user's own network.

A fault of a block class (a stride in the wrong convolution) or of a constructor's argument (an eps) is injected
wherever it fits, any other once, in the middle of the network, where it is hardest to detect.

To add one, write a function and give it a row here, with the diagnosis that proves it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from resnet_cli.measure.faults import layers, weights, wiring
from resnet_cli.measure.faults.op_capture import NotApplicableError, check_it_runs

__all__ = ["FAULTS", "Fault", "NotApplicableError"]

Inject = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Args:
        key: its name in results.
        group: heading in the table of the self-test.
        title: its name in tables.
        inject: changes a network that is a deep copy, and returns it; raises NotApplicableError where the network
            has no place for the fault.
        expected: keys of diagnoses, or "category subject" of differences, of which any is the right diagnosis.
    """

    key: str
    group: str
    title: str
    inject: Inject
    expected: frozenset[str]

    def apply(self, network: nn.Module) -> nn.Module:
        """Inject the fault and make sure that the network still runs.

        Raises:
            NotApplicableError: the network has no place for the fault, or does not run with it.
        """
        faulty = self.inject(network)
        check_it_runs(faulty)
        return faulty


def _group(group: str, *rows: tuple[str, str, Inject, str] | tuple[str, str, Inject, str, str]) -> tuple[Fault, ...]:
    return tuple(Fault(key, group, title, inject, frozenset(expected)) for key, title, inject, *expected in rows)


FAULTS: tuple[Fault, ...] = (
    *_group(
        "convolution and pooling",
        (
            "stride-in-1x1",
            "ResNet v1: the stride in the first 1×1 of every bottleneck",
            layers.stride_in_1x1,
            "resnet-v1",
        ),
        (
            "stride-moved",
            "the stride in the second convolution of every basic block",
            layers.stride_moved,
            "stride-moved",
        ),
        (
            "stem-padding",
            "one pixel less padding in the stem's convolution",
            layers.stem_padding,
            "setting conv.padding",
        ),
        (
            "pool-padding",
            "the max pool with ceil_mode in place of padding, as in Caffe",
            layers.pool_padding,
            "caffe-pool",
        ),
        (
            "conv-padding",
            "a 3×3 without padding, the next convolution with one pixel more",
            layers.conv_padding,
            "setting conv.padding",
        ),
        ("ceil-mode", "the max pool's other ceil_mode", layers.ceil_mode, "setting max_pool.ceil_mode"),
        ("reflect", "a 3×3 padded by reflection", layers.reflect, "padding-mode"),
        ("kernel", "a 5×5 in place of a 3×3", layers.kernel, "setting conv.kernel"),
        ("dilation", "a 3×3 with a dilation of 2", layers.dilation, "setting conv.dilation"),
        ("groups", "a convolution with other groups", layers.groups, "setting conv.groups"),
        (
            "average-pool-stem",
            "an average pool in place of the stem's max pool",
            wiring.average_pool_stem,
            "average-pool-stem",
        ),
    ),
    *_group(
        "batch norm",
        ("missing-bn", "a block without one of its batch norms", layers.missing_bn, "missing-bn"),
        (
            "missing-projection-bn",
            "a projection without its batch norm",
            layers.missing_projection_bn,
            "missing-projection-bn",
        ),
        ("eps-1e-3", "eps of 1e-3 in every batch norm", partial(layers.every_norm, "eps", 1e-3), "keras-eps"),
        ("eps-1e-6", "eps of 1e-6 in one batch norm", partial(layers.one_norm, "eps", 1e-6), "setting batch_norm.eps"),
        (
            "eps-1.001e-5",
            "eps of 1.001e-5 in every batch norm, as in Keras",
            partial(layers.every_norm, "eps", 1.001e-5),
            "keras-eps",
        ),
        (
            "momentum",
            "momentum of 0.01 in every batch norm",
            partial(layers.every_norm, "momentum", 0.01),
            "setting batch_norm.momentum",
        ),
        ("affine-off", "a batch norm without weight and bias", layers.affine_off, "setting batch_norm.affine"),
        (
            "no-running-statistics",
            "a batch norm without running statistics",
            layers.no_running_statistics,
            "setting batch_norm.track_running_stats",
        ),
        (
            "biased-running-variance",
            "a batch norm by hand whose running variance is biased",
            layers.biased_running_variance,
            "biased-running-variance",
        ),
    ),
    *_group(
        "wiring",
        ("bn-relu-swapped", "ReLU before batch norm, in one block", wiring.bn_relu_swapped, "bn-relu-swapped"),
        ("relu-before-add", "ReLU before the addition, in one block", wiring.relu_before_add, "relu-before-add"),
        (
            "missing-last-relu",
            "no ReLU behind the addition, in one block",
            wiring.missing_last_relu,
            "missing-relu",
            "missing-last-relu",
        ),
        ("missing-stem-relu", "no ReLU in the stem", wiring.missing_stem_relu, "missing-stem-relu"),
        (
            "missing-inner-relu",
            "no ReLU between two convolutions, in one block",
            wiring.missing_inner_relu,
            "missing-inner-relu",
        ),
        ("gelu", "GELU for every ReLU", wiring.gelu, "activation-gelu"),
        ("resnet-d", "ResNet-D: an average pool in every shortcut that strides", wiring.resnet_d, "resnet-d"),
        ("squeeze-excite", "squeeze and excitation in one block", wiring.squeeze_excite, "squeeze-excite"),
        (
            "pre-activation",
            "ResNet v2: batch norm and ReLU before the convolutions",
            wiring.pre_activation,
            "pre-activation",
        ),
        ("block-fewer", "one block fewer", wiring.block_fewer, "block-fewer"),
        ("block-more", "one block more", wiring.block_more, "block-more"),
        ("dropped-identity", "a block without its shortcut", wiring.dropped_identity, "dropped-identity"),
        ("scaled-identity", "a block with half its shortcut", wiring.scaled_identity, "scaled-identity"),
        ("dropout", "dropout before the linear layer", wiring.dropout, "dropout"),
        (
            "input-normalization",
            "the image normalized inside the network",
            wiring.input_normalization,
            "input-normalization",
        ),
    ),
    *_group(
        "weights",
        ("conv-bias", "a convolution with a bias", layers.conv_bias, "conv-bias"),
        ("no-head-bias", "the linear layer without its bias", layers.no_head_bias, "no-head-bias"),
        ("one-weight", "one weight off by a thousandth of the largest", weights.one_weight, "weight-values"),
        ("one-buffer", "one running mean off by a thousandth of the largest", weights.one_buffer, "buffer-values"),
        (
            "swapped-convs",
            "the weights of two convolutions of one shape exchanged",
            weights.swapped_convs,
            "swapped-weights",
        ),
        ("frozen-parameter", "a parameter that is not trained", weights.frozen_parameter, "frozen-parameter"),
        ("nan", "one weight is NaN", weights.nan, "nan"),
    ),
)
