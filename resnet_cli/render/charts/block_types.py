"""The types of blocks of a network: identical blocks are one type."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_cli.render.charts.layer_roles import blocks_of, stages
from resnet_cli.render.pages.layer_tree import signature, span
from resnet_cli.results.summary import Layer, SummaryResult


@dataclass(slots=True)
class BlockType:
    """Identical blocks."""

    key: str
    members: list[Layer]  # in the order in which they run

    @property
    def layer(self) -> Layer:
        """The first of them."""
        return self.members[0]

    @property
    def title(self) -> str:
        """The path of the only block, or the first and last path with the count."""
        if len(self.members) == 1:
            return self.layer.path or self.layer.name
        return f"{span(self.layer.path, self.members[-1].path)} ×{len(self.members)}"


def block_types(summary: SummaryResult, prefix: str) -> tuple[BlockType, ...]:
    """The types of blocks in the order in which they first run, single layers left out.

    Args:
        summary: the layers.
        prefix: of the keys.
    """
    types: dict[object, BlockType] = {}
    for stage in stages(summary.root):
        for block in blocks_of(stage):
            if not block.children:
                continue
            identity = (block.layer_type, signature(block))
            if identity in types:
                types[identity].members.append(block)
            else:
                types[identity] = BlockType(f"{prefix}{len(types)}", [block])
    return tuple(types.values())
