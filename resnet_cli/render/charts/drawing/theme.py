"""The palette: colours by meaning, in a light and a dark theme, and the CSS rules of drawings.

No other module names a colour. A colour has one meaning in all charts.
"""

from __future__ import annotations

# In the light theme, in the dark theme. Ink on a fill, and texts on paper and panel, have a contrast over 4.5.
COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#0f1318"),
    "panel": ("#f6f7f9", "#171c23"),
    "ink": ("#1a1f27", "#e7ebf2"),
    "faint": ("#5b6472", "#9aa5b4"),
    "hair": ("#d9dde3", "#2c343f"),
    "accent": ("#1f5fd0", "#7db0ff"),
    "good": ("#17703a", "#56c97f"),
    "bad": ("#b3261e", "#ff8a80"),
    "warning": ("#8a5a00", "#f0b849"),
    # Layers.
    "conv": ("#bcd3fb", "#2a4f8f"),
    "norm": ("#b8e3d9", "#1f5f56"),
    "activation": ("#fbe2b0", "#6b5017"),
    "pool": ("#dccdf4", "#523c7a"),
    "linear": ("#f7c6cc", "#7c303d"),
    "merge": ("#c9d1dc", "#475364"),
    "other": ("#e5e8ec", "#2d3540"),
    "container": ("#eef1f5", "#20262f"),
    "block": ("#cfd6ee", "#38426b"),
    # Skip connections.
    "identity": ("#0e7490", "#67d4e8"),
    "projection": ("#c2410c", "#ff9d66"),
    # Operators that two networks do not have in common.
    "setting": ("#a16207", "#fcd34d"),
    "replaced": ("#7e22ce", "#d8b4fe"),
    "missing": ("#be185d", "#f9a8d4"),
    "extra": ("#4338ca", "#a5b4fc"),
    "moved": ("#047857", "#6ee7b7"),
    "rewritten": ("#0369a1", "#7dd3fc"),
    # Networks.
    "series0": ("#2563eb", "#60a5fa"),
    "series1": ("#4d7c0f", "#a3d65c"),
    "series2": ("#0f766e", "#4fd1c1"),
    "series3": ("#8b3fc7", "#cf9dff"),
    "series4": ("#475569", "#cbd5e1"),
    "series5": ("#b0256a", "#ff8fc0"),
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
SERIES = 6
STATUSES = ("setting", "replaced", "missing", "extra", "moved", "rewritten")
LAYERS = ("conv", "norm", "activation", "pool", "linear", "merge", "other", "container", "block")

# Rules of a drawing; {name} is a colour. The font sizes are those of `primitives.SIZES`.
_RULES = """\
text { font: 12px %s; fill: {ink}; }
text.small { font-size: 10.5px; }
text.title { font-size: 16px; font-weight: 600; }
text.strong { font-weight: 600; }
text.faint { fill: {faint}; }
text.identity { fill: {identity}; }
text.good { fill: {good}; }
text.bad { fill: {bad}; }
text.warning { fill: {warning}; }
rect, circle { fill: {other}; }
rect.paper { fill: {paper}; }
rect.panel { fill: {panel}; }
rect.node { stroke: {faint}; stroke-width: 0.75; }
rect.frame { fill: none; stroke: {hair}; }
rect.cell { stroke: {paper}; stroke-width: 0.6; }
rect.band { fill: {accent}; opacity: 0.16; }
rect.bar { fill: {accent}; opacity: 0.75; }
rect.projection { fill: {projection}; }
line, path { fill: none; stroke: {faint}; }
line.grid { stroke: {hair}; }
line.axis { stroke: {faint}; }
line.mark { stroke: {ink}; stroke-width: 1.5; }
line.limit { stroke: {warning}; stroke-dasharray: 5 4; }
line.first-difference { stroke: {bad}; stroke-width: 1.5; }
path.edge { stroke: {faint}; stroke-width: 1.2; }
path.identity, line.identity { stroke: {identity}; stroke-width: 1.6; }
path.projection { stroke: {projection}; stroke-width: 1.6; }
path.arrow { fill: {faint}; stroke: none; }
path.arrow.identity { fill: {identity}; } path.arrow.projection { fill: {projection}; }
path.area { fill: {accent}; stroke: none; opacity: 0.2; }
path.trend { stroke: {accent}; stroke-width: 1.5; }
path.roof { stroke: {ink}; stroke-width: 1.8; }
circle.dot { stroke: {ink}; stroke-width: 0.6; fill-opacity: 0.85; }
circle.equal { fill: {good}; } circle.rounding { fill: {warning}; } circle.different { fill: {bad}; }
circle.isolated { fill: none; stroke: {bad}; stroke-width: 1.4; }
circle.sample { fill: {accent}; }
path.grid { stroke: {hair}; }
path.whisker { stroke: {ink}; stroke-width: 1.3; }
path.thread { stroke: {faint}; stroke-width: 0.8; }
path.points { stroke-width: 4.5; stroke-linecap: round; }
path.equal { stroke: {good}; } path.rounding { stroke: {warning}; } path.different { stroke: {bad}; }
path.isolated { stroke: {bad}; stroke-width: 3; opacity: 0.55; } path.near { stroke: {warning}; }
circle.near { stroke: {warning}; }
rect.floor { fill: {good}; opacity: 0.12; }
rect.unknown { fill: {faint}; opacity: 0.18; }
circle.warning { fill: {warning}; }
text.halo { stroke: {paper}; stroke-width: 3px; stroke-linejoin: round; paint-order: stroke; }
rect.memory { fill: {ink}; opacity: 0.035; }
"""


def rules(prefix: str, colour: dict[str, str]) -> str:
    """CSS of drawings below a selector.

    Args:
        prefix: the selector, such as ".drawing".
        colour: for each name of `COLOURS` a colour, or a CSS variable of the page.
    """
    text = _RULES.replace("%s", FONT)
    for role in LAYERS:
        text += f"rect.{role}, circle.{role} {{ fill: {{{role}}}; }}\n"
    for role in (*STATUSES, *(f"series{index}" for index in range(SERIES))):
        text += f"path.{role} {{ stroke: {{{role}}}; stroke-width: 1.8; }}\n"
        text += f"rect.{role}, circle.{role} {{ fill: {{{role}}}; }}\n"
    rules = []
    for line in text.splitlines():
        for rule in line.split("} "):
            selectors, _, body = rule.partition("{")
            whole = ", ".join(f"{prefix} {selector.strip()}" for selector in selectors.split(","))
            rules.append(f"{whole} {{{body.rstrip().removesuffix('}').rstrip()} }}")
    css = "\n".join(rules)
    for name, value in colour.items():
        css = css.replace(f"{{{name}}}", value)
    return css


def palette(dark: bool) -> dict[str, str]:
    """The colours of one theme."""
    return {name: pair[dark] for name, pair in COLOURS.items()}


def variables() -> dict[str, str]:
    """CSS variables for the colours."""
    return {name: f"var(--{name})" for name in COLOURS}
