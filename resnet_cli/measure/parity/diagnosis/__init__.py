"""Recognizes well-known mistakes and variants in the differences: ResNet v1, pre-activation, Keras's eps.

To recognize one more mistake, write a pattern in one of the modules here, give it a row in `PATTERNS`, and add a
fault that proves it to `faults.catalog`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from resnet_cli.measure.graph.diff import GraphDiff
from resnet_cli.measure.parity.diagnosis import blocks, layers, order, values
from resnet_cli.measure.parity.diagnosis.context import DiffContext, Pattern
from resnet_cli.results.compare import Diagnosis, Difference

__all__ = ["PATTERNS", "diagnose"]

# Diagnoses are shown in this order.
PATTERNS: tuple[Pattern, ...] = (
    blocks.number_of_blocks,
    order.pre_activation,
    layers.stride_position,
    layers.max_pool,
    layers.keras_eps,
    layers.momentum_convention,
    order.swapped_activations,
    order.missing_activations,
    order.replaced_activations,
    layers.missing_norms,
    blocks.dropped_shortcut,
    blocks.scaled_shortcut,
    blocks.resnet_d,
    blocks.squeeze_excite,
    layers.dropout,
    blocks.input_normalization,
    blocks.deep_stem,
    layers.biases,
    layers.padding_mode,
    values.wiring,
    values.random_path,
    values.biased_variances,
    values.tensor_values,
)


def diagnose(
    structure: GraphDiff, differences: Sequence[Difference], biased_variances: Collection[str] = ()
) -> list[Diagnosis]:
    """Every pattern that is recognized, with the differences that it explains.

    Args:
        structure: both graphs and their differences.
        differences: all differences of the comparison; those of the structure are the same objects.
        biased_variances: running variances that the model updates with the biased variance of the batch.
    """
    context = DiffContext(structure, differences, biased_variances)
    indices = {id(difference): index for index, difference in enumerate(differences)}
    diagnoses = []
    for pattern in PATTERNS:
        for match in pattern(context):
            explained = sorted(indices[id(difference)] for difference in match.explains if id(difference) in indices)
            diagnoses.append(Diagnosis(match.key, match.text, tuple(explained)))
    return diagnoses
