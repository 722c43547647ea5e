"""Settings of operators as text."""

from __future__ import annotations

from typing import Any

from resnet_cli.measure.graph.nodes import Node


def show(value: Any) -> str:
    """A setting as text: 3×3, 2, on, off."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (tuple, list)):
        if len(value) == 2 and value[0] == value[1]:
            return str(value[0])
        return "×".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def show_setting(key: str, value: Any) -> str:
    """The value of a setting by its key: channels as 3→64, a kernel as 3×3."""
    if key == "kernel":
        return "×".join(map(str, value))
    if key == "channels" and isinstance(value, tuple):
        return "→".join(map(str, value))
    return show(value)


def settings_text(node: Node) -> str:
    """The settings of an operator in a few words, those at their usual value left out."""
    s = node.settings
    parts: list[str] = []
    if node.operator == "conv":
        parts = [show_setting("channels", s["channels"]), show_setting("kernel", s["kernel"])]
        parts += [f"stride {show(s['stride'])}"] if s["stride"] != (1, 1) else []
        parts += [f"padding {show(s['padding'])}"] if s["padding"] != (0, 0) else []
        parts += [f"dilation {show(s['dilation'])}"] if s["dilation"] != (1, 1) else []
        parts += [f"groups {s['groups']}"] if s["groups"] != 1 else []
        parts += ["bias"] if s["bias"] else []
        parts += [str(s["padding_mode"])] if s["padding_mode"] != "zeros" else []
    elif node.operator == "batch_norm":
        parts = [str(s["channels"])]
        parts += [f"eps {show(s['eps'])}"] if s.get("eps", 1e-5) != 1e-5 else []
        parts += [f"momentum {show(s['momentum'])}"] if s.get("momentum", 0.1) != 0.1 else []
        parts += ["no affine"] if not s["affine"] else []
        parts += ["no running statistics"] if not s["track_running_stats"] else []
        parts += ["frozen statistics"] if s.get("batch_statistics") is False else []
    elif node.operator in ("max_pool", "avg_pool"):
        parts = [show_setting("kernel", s["kernel"]), f"stride {show(s['stride'])}"]
        parts += [f"padding {show(s['padding'])}"] if s["padding"] != (0, 0) else []
        parts += ["ceil_mode"] if s["ceil_mode"] else []
    elif node.operator == "linear":
        parts = [show_setting("channels", s["channels"])] + ([] if s["bias"] else ["no bias"])
    else:
        parts = [f"{key} {show(value)}" for key, value in s.items() if value not in (None, "spatial")]
    return " ".join(parts)
