"""The page of a report in a real browser: no complaint, no request, and all that can be clicked does its work."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from resnet_cli.cli import main
from resnet_cli.render.report.html import to_html
from resnet_cli.results.summary import Layer
from tests.helpers import results_bench, results_summary_flops
from tests.helpers import results_compare as parity

if TYPE_CHECKING:
    from resnet_cli.results.registry import Result

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason=f"there is no browser: none of {', '.join(NAMES)} is on the PATH"),
    # Playwright's own event loop is closed after the last test.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOSTILE = "</script><img src=/steal onerror=window.owned=1><svg onload=window.owned=1>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, list[str]]]:
    """A web server on this machine: its address, its folder, and what it was asked for."""
    folder = tmp_path_factory.mktemp("site")
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", folder, asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def measured(site: tuple[str, Path, list[str]]) -> str:
    """Two networks that were really measured, and what a benchmark of one of them found."""
    url, folder, _ = site
    page = folder / "measured.html"
    arguments = ["--depth", "18", "--depth", "50", "--image-size", "64", "--max-time", "0.2", "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        # Half a minute of kernels, which tests of the ceiling measure.
        patch.setattr("resnet_cli.measure.bench.benchmark.measure_ceiling", lambda *_, **__: results_bench.CEILING)
        assert main(["report", *arguments, "--measure", "summary,flops,layers", "-o", str(page)]) == 0
    return f"{url}/measured.html"


class Opened:
    """A page with all that a browser says of it."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1240, "height": 900}, **options})
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def boxes(page: Page) -> int:
    return int(page.locator("#icicle-0 rect").count())


def test_it_opens_without_a_complaint_and_asks_for_nothing(
    browser: Browser, site: tuple[str, Path, list[str]], measured: str
) -> None:
    asked = site[2]
    asked.clear()
    for scheme in ("light", "dark"):
        with Opened(browser, measured, color_scheme=scheme) as opened:
            opened.page.mouse.wheel(0, 5000)
            assert opened.complaints == []
            assert opened.requests == [measured]
    assert asked == ["/measured.html", "/measured.html"]


def test_the_switch_changes_the_measure(browser: Browser, measured: str) -> None:
    with Opened(browser, measured) as opened:
        figure = opened.page.locator("figure.zoomable").first
        widths = "els => els.map(e => [e.getAttribute('data-n'), e.getAttribute('width')])"
        seen = set()
        for measure in ("MACs", "parameters", "activation memory", "time"):
            button = figure.get_by_role("button", name=measure, exact=True)
            button.click()
            assert button.get_attribute("aria-pressed") == "true"
            assert figure.locator("button[aria-pressed=true]").count() == 1
            seen.add(str(figure.locator("rect").evaluate_all(widths)))
        assert len(seen) == 4
        figure.get_by_role("button", name="MACs", exact=True).click()
        # ResNet-18 at 64 pixels, counted by hand from the paper's table: (64 / 224) ** 2 of what is convolution.
        assert "148.6 MMAC" in figure.locator(".breadcrumbs").inner_text()
        assert opened.complaints == []


def test_the_drawing_is_the_same_before_and_after_the_script(browser: Browser, measured: str) -> None:
    shares = """svg => [...svg.querySelectorAll('rect')].map(one =>
        [one.getAttribute('data-n'), one.getAttribute('width') / svg.viewBox.baseVal.width])"""
    drawn = {}
    for script in (True, False):
        with Opened(browser, measured, java_script_enabled=script) as opened:
            drawn[script] = opened.page.locator("#icicle-0").evaluate(shares)
    assert [number for number, _ in drawn[True]] == [number for number, _ in drawn[False]]
    assert [share for _, share in drawn[True]] == pytest.approx([share for _, share in drawn[False]], abs=1e-3)


def test_a_click_zooms_in_and_the_way_leads_back(browser: Browser, measured: str) -> None:
    with Opened(browser, measured) as opened:
        page, figure = opened.page, opened.page.locator("figure.zoomable").first
        whole = boxes(page)
        page.locator("#icicle-0 rect.container").nth(1).click(position={"x": 3, "y": 3})
        assert figure.locator(".breadcrumbs button").all_inner_texts() == ["resnet18", "head"]
        assert boxes(page) < whole
        assert "6.5% of MACs" in figure.locator(".breadcrumbs").inner_text()  # 9.63 of 148.6 million
        figure.get_by_role("button", name="resnet18").click()
        assert boxes(page) == whole
        page.locator("#icicle-0 rect.container").nth(1).click(position={"x": 3, "y": 3})
        figure.get_by_role("button", name="resnet18").focus()
        page.keyboard.press("Escape")
        assert boxes(page) == whole
        assert opened.complaints == []


def test_pointing_at_a_layer_says_what_it_is(browser: Browser, measured: str) -> None:
    with Opened(browser, measured) as opened:
        opened.page.locator("#icicle-0 rect.conv").first.hover()
        tip = opened.page.locator("#tip")
        assert tip.is_visible()
        said = tip.inner_text()
        assert said.startswith("head.conv")
        assert "Conv2d" in said
        assert "parameters: 9.41 k" in said  # 7 x 7 x 3 x 64
        opened.page.locator("h1").hover()
        assert not tip.is_visible()


def test_a_click_on_a_block_opens_it_and_closes_the_other(browser: Browser, measured: str) -> None:
    with Opened(browser, measured) as opened:
        page = opened.page
        figure = page.locator("#architecture figure").first
        assert figure.locator("details[open]").count() == 0
        links = figure.locator("a.block")
        assert links.count() == 10
        links.nth(3).click()
        assert figure.locator("details[open] .name").all_inner_texts() == ["l1.block.ResSkip"]
        assert figure.locator("details[open] svg").is_visible()
        links.nth(1).click()
        assert figure.locator("details[open] .name").all_inner_texts() == ["l0.block.ResIdentity0…1 ×2"]
        links.nth(1).click()
        assert figure.locator("details[open]").count() == 0
        links.nth(4).focus()
        page.keyboard.press("Enter")
        assert figure.locator("details[open]").count() == 1
        assert opened.complaints == []


@pytest.mark.parametrize("width", [320, 390, 768])
def test_it_fits_a_phone(width: int, browser: Browser, measured: str) -> None:
    with Opened(browser, measured, viewport={"width": width, "height": 800}) as opened:
        page = opened.page
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        drawn = page.locator("#icicle-0").evaluate("svg => svg.viewBox.baseVal.width")
        assert drawn <= width, "it was drawn anew for the narrow page, so that its words keep their size"
        place = page.locator("#icicle-0").bounding_box()
        assert place is not None
        assert place["width"] == pytest.approx(drawn, abs=1)
        assert place["height"] == pytest.approx(page.locator("#icicle-0").evaluate("svg => svg.viewBox.baseVal.height"))
        page.set_viewport_size({"width": 1100, "height": 800})
        playwright.expect(page.locator("#icicle-0")).to_have_attribute("viewBox", re.compile("^0 0 (9|10)[0-9]{2,3} "))
        assert opened.complaints == []


def test_without_script_tables_and_drawings_are_there(browser: Browser, measured: str) -> None:
    with Opened(browser, measured, java_script_enabled=False) as opened:
        page = opened.page
        assert page.locator("#icicle-0 rect").count() > 30
        assert not page.locator(".controls").first.is_visible()
        tables = page.locator("details.tables").first
        tables.locator("summary").click()
        assert tables.locator("table").first.is_visible()
        assert opened.complaints == []


def test_paper_shows_what_is_closed(browser: Browser, measured: str, tmp_path: Path) -> None:
    with Opened(browser, measured) as opened:
        page = opened.page
        before = page.locator("details[open]").count()
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert page.locator("details:not([open])").count() == 0
        assert not page.locator(".controls").first.is_visible()
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert colour == "rgb(255, 255, 255)"
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == before
        page.emulate_media(media="screen")
        assert len(page.pdf()) > 10_000


def test_dark_is_dark(browser: Browser, measured: str) -> None:
    with Opened(browser, measured, color_scheme="dark") as opened:
        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 19, 24)"


def test_hostile_names_do_nothing(browser: Browser, site: tuple[str, Path, list[str]]) -> None:
    url, folder, asked = site
    summary = results_summary_flops.summary_result()

    def renamed(layer: Layer) -> Layer:
        return replace(layer, name=HOSTILE, layer_type=HOSTILE, children=tuple(map(renamed, layer.children)))

    evil = replace(summary, root=renamed(summary.root), network=replace(summary.network, name=HOSTILE))
    results: list[Result] = [evil, replace(parity.missing(), network=evil.network), results_bench.everything()]
    (folder / "hostile.html").write_text(to_html(results), encoding="utf-8")
    asked.clear()
    with Opened(browser, f"{url}/hostile.html") as opened:
        page = opened.page
        page.locator("#icicle-0 rect").first.hover()
        page.locator("#icicle-0 rect").nth(1).click(position={"x": 2, "y": 2})
        assert page.evaluate("window.owned") is None
        assert HOSTILE in (page.locator("#tip").text_content() or "")
        assert opened.complaints == []
    assert asked == ["/hostile.html"]


def test_the_policy_holds_even_where_a_page_was_tampered_with(
    browser: Browser, site: tuple[str, Path, list[str]]
) -> None:
    """What a careless edit might let in, the policy keeps out: this is the test that the policy is at work."""
    url, folder, asked = site
    page = to_html([results_summary_flops.summary_result()]).replace(
        "<main>", f"<main>{HOSTILE.removeprefix('</script>')}", 1
    )
    (folder / "tampered.html").write_text(page, encoding="utf-8")
    asked.clear()
    with Opened(browser, f"{url}/tampered.html") as opened:
        assert opened.page.evaluate("window.owned") is None
        assert any("Content Security Policy" in one for one in opened.complaints)
    assert asked == ["/tampered.html"]
