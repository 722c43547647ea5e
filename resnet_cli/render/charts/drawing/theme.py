"""Roles and their colours, on light paper and on dark; the one place where a colour is named."""

from __future__ import annotations

# Of each: on light paper, on dark paper. Fills are pale or deep enough for ink to be read on them (contrast over 4.5).
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
    "conv": ("#bcd3fb", "#2a4f8f"),
    "norm": ("#b8e3d9", "#1f5f56"),
    "activation": ("#fbe2b0", "#6b5017"),
    "pool": ("#dccdf4", "#523c7a"),
    "linear": ("#f7c6cc", "#7c303d"),
    "merge": ("#c9d1dc", "#475364"),
    "other": ("#e5e8ec", "#2d3540"),
    "container": ("#eef1f5", "#20262f"),
    "series0": ("#1f5fd0", "#7db0ff"),
    "series1": ("#c2410c", "#ff9d66"),
    "series2": ("#0f766e", "#4fd1c1"),
    "series3": ("#8b3fc7", "#cf9dff"),
    "series4": ("#9a6700", "#e3b341"),
    "series5": ("#b0256a", "#ff8fc0"),
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
SERIES = 6

# Rules of a drawing; {name} is a colour. `text` has its size here too, since a width was reckoned with it.
_RULES = """\
text { font: 12px %s; fill: {ink}; }
text.small { font-size: 10.5px; }
text.title { font-size: 16px; font-weight: 600; }
text.strong { font-weight: 600; }
text.faint { fill: {faint}; }
text.accent { fill: {accent}; }
text.good { fill: {good}; }
text.bad { fill: {bad}; }
text.warning { fill: {warning}; }
rect, circle { fill: {other}; }
rect.paper { fill: {paper}; }
rect.panel { fill: {panel}; }
.conv { fill: {conv}; } .norm { fill: {norm}; } .activation { fill: {activation}; } .pool { fill: {pool}; }
.linear { fill: {linear}; } .merge { fill: {merge}; } .other { fill: {other}; } .container { fill: {container}; }
rect.node { stroke: {faint}; stroke-width: 0.75; }
rect.frame { fill: none; stroke: {hair}; }
rect.cell { stroke: {paper}; stroke-width: 0.6; }
rect.band { fill: {accent}; opacity: 0.16; }
rect.bar { fill: {accent}; opacity: 0.75; }
rect.rise { fill: {warning}; opacity: 0.8; }
rect.fall { fill: {good}; opacity: 0.8; }
rect.figure { fill: {accent}; opacity: 0.75; }
line, path { fill: none; stroke: {faint}; }
line.grid { stroke: {hair}; }
line.axis { stroke: {faint}; }
line.mark { stroke: {ink}; stroke-width: 1.5; }
line.limit { stroke: {warning}; stroke-dasharray: 5 4; }
line.here { stroke: {bad}; stroke-width: 1.5; }
path.edge { stroke: {faint}; stroke-width: 1.2; }
path.skip { stroke: {accent}; stroke-width: 1.6; }
path.project { stroke: {warning}; stroke-width: 1.6; }
path.arrow { fill: {faint}; stroke: none; } path.arrow.skip { fill: {accent}; } path.arrow.project { fill: {warning}; }
path.area { fill: {accent}; stroke: none; opacity: 0.2; }
path.trend { stroke: {accent}; stroke-width: 1.5; }
path.roof { stroke: {ink}; stroke-width: 1.8; }
circle.dot { stroke: {ink}; stroke-width: 0.6; fill-opacity: 0.85; }
circle.equal { fill: {good}; } circle.rounding { fill: {warning}; } circle.different { fill: {bad}; }
circle.isolated { fill: none; stroke: {bad}; stroke-width: 1.4; }
circle.one { fill: {accent}; }
path.grid { stroke: {hair}; }
path.whisker { stroke: {ink}; stroke-width: 1.3; }
path.thread { stroke: {faint}; stroke-width: 0.8; }
path.points { stroke-width: 4.5; stroke-linecap: round; }
path.equal { stroke: {good}; } path.rounding { stroke: {warning}; } path.different { stroke: {bad}; }
path.isolated { stroke: {bad}; stroke-width: 3; opacity: 0.55; } path.near { stroke: {warning}; }
circle.near { stroke: {warning}; }
rect.floor { fill: {good}; opacity: 0.12; }
rect.unknown { fill: {faint}; opacity: 0.18; }
rect.good { fill: {good}; } rect.bad { fill: {bad}; } rect.warning { fill: {warning}; }
circle.good { fill: {good}; } circle.bad { fill: {bad}; } circle.warning { fill: {warning}; }
circle.plain { fill: {faint}; }
text.halo { stroke: {paper}; stroke-width: 3px; stroke-linejoin: round; paint-order: stroke; }
path.tear { stroke: {paper}; stroke-width: 2.5; }
rect.memory { fill: {ink}; opacity: 0.035; }
"""


def rules(prefix: str, colour: dict[str, str]) -> str:
    """CSS of drawings below a selector.

    Args:
        prefix: the selector, such as ".drawing".
        colour: what stands for each name of `COLOURS`: a colour, or a variable of the page.
    """
    text = _RULES.replace("%s", FONT)
    for index in range(SERIES):
        text += f"path.series{index} {{ stroke: {{series{index}}}; stroke-width: 1.8; }}\n"
        text += f".series{index} {{ fill: {{series{index}}}; }} path.series{index} {{ fill: none; }}\n"
    found = []
    for line in text.splitlines():
        for rule in line.split("} "):
            selectors, _, body = rule.partition("{")
            whole = ", ".join(f"{prefix} {selector.strip()}" for selector in selectors.split(","))
            found.append(f"{whole} {{{body.rstrip().removesuffix('}').rstrip()} }}")
    drawn = "\n".join(found)
    for name, value in colour.items():
        drawn = drawn.replace(f"{{{name}}}", value)
    return drawn


def palette(dark: bool) -> dict[str, str]:
    """The colours themselves."""
    return {name: pair[dark] for name, pair in COLOURS.items()}


def variables() -> dict[str, str]:
    """Variables of a page, which its theme sets."""
    return {name: f"var(--{name})" for name in COLOURS}
