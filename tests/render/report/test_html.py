"""The page of a report as text: what it may never hold, and what it must."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from resnet_cli.render.document import ViewOptions
from resnet_cli.render.output import render
from resnet_cli.render.report.html import to_html
from resnet_cli.render.report.sections import SECTIONS
from resnet_cli.results.common import Note
from resnet_cli.results.summary import Layer
from tests.helpers import results_bench, results_summary_flops
from tests.helpers import results_compare as parity

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

VOID = {"meta", "link", "br", "rect", "circle", "line", "path"}
HOSTILE = "</script><img src=x onerror=alert(1)>[red]&lt;\x1b[2J\u202e\"'"


class Page(HTMLParser):
    """What a browser would see, as far as tags, attributes and texts go."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.raw:
            self.raw[self.open[-1]].append(data)
        else:
            self.texts.append(data)


def everything() -> list[Result]:
    summary = results_summary_flops.summary_result()
    return [
        summary,
        replace(results_summary_flops.flops_result(), network=summary.network),
        replace(parity.missing(), network=summary.network),
        replace(results_bench.everything(), network=summary.network),
        parity.family(),
        parity.self_test(),
    ]


PAGES: dict[str, Sequence[Result]] = {
    "everything": everything(),
    "summary": [results_summary_flops.summary_result()],
    "flops": [results_summary_flops.flops_result()],
    "one batch": [results_bench.one_batch()],
    "layers alone": [results_bench.layered()],
    "cuda": [results_bench.on_cuda()],
    "replicas": [results_bench.replicated()],
    **{name: [make()] for name, make in parity.RESULTS.items()},
    "family": [parity.family()],
    "two": [
        results_summary_flops.summary_result(),
        replace(results_summary_flops.summary_result(), network=results_bench.BARE.network),
    ],
}


@functools.cache
def page_of(name: str) -> str:
    return to_html(PAGES[name])


@pytest.mark.parametrize("name", PAGES)
def test_every_tag_is_closed_and_every_key_is_one(name: str) -> None:
    page = Page(page_of(name))
    assert page.open == []
    keys = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(keys)) == len(keys)
    for tag, attributes in page.tags:
        link = attributes.get("href") or ""
        if tag == "a":
            assert link.startswith("#")
            assert link[1:] in keys


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_fetched_and_nothing_runs_but_our_own_script(name: str) -> None:
    text = page_of(name)
    page = Page(text)
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv"))
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    style, script = re.findall(r"<style>(.*?)</style>", text, re.S), re.findall(r"<script>(.*?)</script>", text, re.S)
    assert [rules["style-src"]] == [f"'sha256-{sha256(content)}'" for content in style]
    assert [rules["script-src"]] == [f"'sha256-{sha256(content)}'" for content in script]
    for tag, attributes in page.tags:
        assert not {key for key in attributes if key.startswith("on") or key in ("style", "src", "srcset", "action")}
        assert tag not in ("img", "iframe", "object", "embed", "form", "base", "image", "use")
        if tag == "link":
            assert attributes == {"rel": "icon", "href": "data:,"}
    elsewhere = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|url\(|@import", elsewhere)


def sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def hostile() -> list[Result]:
    summary = results_summary_flops.summary_result()

    def renamed(layer: Layer) -> Layer:
        path = f"{layer.path}.{HOSTILE}" if layer.path else ""
        children = tuple(map(renamed, layer.children))
        return replace(layer, name=HOSTILE, layer_type=HOSTILE, path=path, children=children)

    network = replace(summary.network, name=HOSTILE)
    comparison = parity.missing()
    lines = tuple(
        replace(line, model_path=HOSTILE, reference_path=HOSTILE, model_settings=HOSTILE)
        for line in comparison.aligned_ops
    )
    bench = results_bench.everything()
    assert bench.layers is not None
    times = replace(
        bench.layers, layers=tuple(replace(layer, name=HOSTILE, layer_type=HOSTILE) for layer in bench.layers.layers)
    )
    return [
        replace(
            summary,
            network=network,
            root=renamed(summary.root),
            notes=(Note(HOSTILE, HOSTILE, HOSTILE),),
            environment=replace(summary.environment, device_name=HOSTILE, torch=HOSTILE),
        ),
        replace(results_summary_flops.flops_result(), network=network),
        replace(comparison, network=network, aligned_ops=lines, reference=HOSTILE),
        replace(bench, network=network, layers=times),
    ]


def test_hostile_names_are_text() -> None:
    text = to_html(hostile(), [Note("warning", HOSTILE, "hostile")])
    page = Page(text)
    assert page.open == []
    assert "<img" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("<script") == 2  # the tree's data, and ours
    assert len(page.raw["script"]) == 2
    escaped = HOSTILE.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert any(escaped in text for text in page.texts)
    data = json.loads(page.raw["script"][0])
    assert data["nodes"][0][1] == escaped
    assert escaped in data["types"]


def test_the_data_of_an_icicle_is_the_result() -> None:
    summary = results_summary_flops.summary_result()
    data = json.loads(Page(to_html([summary])).raw["script"][0])
    assert [key for key, _, _ in data["measures"]] == ["macs", "parameters", "activation"]
    assert data["nodes"][0][4:] == [summary.macs, summary.parameters, summary.root.activation_bytes]
    assert max(node[0] for node in data["nodes"]) <= 3


def test_figures_stand_on_the_page_in_full() -> None:
    text = " ".join(Page(page_of("everything")).texts)
    summary = results_summary_flops.summary_result()
    assert f"{summary.parameters:,}" in text
    assert f"{summary.macs:,}" in text
    for _, title, _ in SECTIONS:
        assert title in text


@pytest.mark.parametrize(("name", "level"), [("same", "good"), ("stride", "bad")])
def test_the_verdict_stands_before_the_charts(name: str, level: str) -> None:
    text = page_of(name)
    verdict = re.search(r'<p class="verdict (good|bad)">', text)
    assert verdict is not None
    assert verdict[1] == level
    assert verdict.start() < text.index("<figure")


def test_drawings_say_what_they_show() -> None:
    for tag, attributes in Page(page_of("everything")).tags:
        if tag == "svg" and attributes.get("aria-hidden") != "true":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]


def tables(text: str) -> list[list[str]]:
    """The column titles of each table of a page."""
    return [re.findall(r"<th[^>]*>([^<]*)</th>", head) for head in re.findall(r"<thead>(.*?)</thead>", text, re.S)]


def rows(text: str) -> int:
    return len(re.findall(r"<tr", text.partition('<details class="tables"')[2]))


def test_a_page_of_one_command_respects_the_view() -> None:
    """`summary --columns macs --levels 1 -o x.html` once wrote all columns and levels."""
    result = results_summary_flops.summary_result()
    everything, narrow = (render(result, "html", view) for view in (ViewOptions(), ViewOptions(columns=("macs",))))
    assert sum(map(len, tables(narrow))) < sum(map(len, tables(everything)))
    levels = [rows(render(result, "html", ViewOptions(levels=count, collapse=False))) for count in (1, 2, 3)]
    assert levels == sorted(set(levels))
    flops = results_summary_flops.flops_result()
    chosen = render(flops, "html", ViewOptions(sections=("conventions",)))
    assert len(tables(chosen)) < len(tables(render(flops, "html")))


def test_the_same_results_give_the_same_page() -> None:
    assert to_html(everything()) == to_html(everything())
