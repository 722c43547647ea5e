"""Recognizes well-known mistakes and variants in the differences: ResNet v1, pre-activation, Keras's eps.

To recognize one more mistake, write a pattern in one of the modules here, give it a row in `PATTERNS`, and add a
fault that proves it to `faults.catalog`. A pattern says nothing that the graphs do not show: it checks each clause of
its sentence against them, and is silent otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from resnet_cli.measure.graph.diff import GraphDiff
from resnet_cli.measure.parity.diagnosis import blocks, head, layers, norms, order, shortcuts, stem, values, variants
from resnet_cli.measure.parity.diagnosis.context import DiffContext, Pattern
from resnet_cli.results.compare import Diagnosis, Difference

__all__ = ["PATTERNS", "diagnose"]

# Diagnoses are shown in this order. What one of them explains, those below it do not see: one cause gives one row.
PATTERNS: tuple[Pattern, ...] = (
    blocks.other_widths,
    blocks.other_block_type,
    blocks.other_architecture,
    blocks.no_shortcuts,
    values.shared_modules,
    variants.attention,
    variants.split_convolutions,
    blocks.number_of_blocks,
    blocks.displaced_additions,
    order.pre_activation,
    order.norms_of_sums,
    norms.instance_norm_on_some_channels,
    norms.replaced_norms,
    norms.plain_statistics,
    norms.frozen_norms,
    norms.no_norms,
    norms.norms_without_weights,
    stem.cifar_stem,
    layers.stride_position,
    layers.stride_in_other_blocks,
    layers.dilated_blocks,
    stem.max_pool,
    layers.keras_eps,
    layers.momentum_convention,
    variants.squeeze_excite,
    order.swapped_activations,
    order.missing_activations,
    order.replaced_activations,
    shortcuts.shortcut_start,
    shortcuts.padded_shortcut,
    shortcuts.projected_identity,
    norms.missing_norms,
    shortcuts.joined_otherwise,
    shortcuts.dropped_shortcut,
    shortcuts.scaled_shortcut,
    shortcuts.resnet_d,
    variants.pooled_stride,
    variants.blur_pool,
    layers.other_strides,
    head.dropout,
    head.head_of_one_size,
    stem.input_normalization,
    stem.reordered_input,
    stem.deep_stem,
    layers.biases,
    layers.computed_weights,
    layers.padding_mode,
    head.final_activation,
    head.deep_head,
    head.normalized_features,
    order.extra_activations,
    values.train_mode_in_eval,
    values.other_dtypes,
    values.other_operators,
    values.wiring,
    values.random_path,
    values.other_inputs,
    values.other_outputs,
    values.cut_gradients,
    values.frozen_parameters,
    values.repeated_norms,
    values.biased_variances,
    values.other_gradients,
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
        for match in list(pattern(context)):
            new = {id(difference) for difference in match.explains} - context.explained
            if not new:
                continue
            context.explained |= new
            explained = sorted(indices[number] for number in new if number in indices)
            diagnoses.append(Diagnosis(match.key, match.text, tuple(explained)))
    return diagnoses
