"""Every built page in a browser, in the sizes of a desktop and a phone, light and dark."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest

SITE = Path(os.environ["SITE"])
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
PAGES = [page for page in PAGES if not page.startswith(("_static/", "_downloads/"))]
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
LOOK = Path(__file__).with_name("look.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tab(browser, site):
    """Return a page of the browser that notes what it fails to load."""
    page = browser.new_page()
    page.failures = []
    page.on("pageerror", lambda error: page.failures.append(f"script: {error}"))
    page.on("requestfailed", lambda request: page.failures.append(f"failed: {request.url}"))

    def note(response):
        if response.status >= 400 or not response.url.startswith((site, "data:")):
            page.failures.append(f"{response.status}: {response.url}")

    page.on("response", note)
    yield page
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_page(tab, site, name):
    tab.failures.clear()
    tab.set_viewport_size(SIZES["desktop"])
    tab.goto(site + name)
    tab.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise")
    problems = {}
    for size, viewport in SIZES.items():
        tab.set_viewport_size(viewport)
        for theme in ("light", "dark"):
            tab.emulate_media(color_scheme=theme, reduced_motion="reduce")
            tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            problems[f"{size}, {theme}"] = tab.evaluate(LOOK)
    problems["loading"] = tab.failures
    assert {case: found for case, found in problems.items() if found} == {}


class _Links(HTMLParser):
    """The anchors of a page, and where it links to."""

    def __init__(self, page):
        super().__init__()
        self.anchors, self.links = set(), set()
        self.feed((SITE / page).read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs.get("id"), attrs.get("name") if tag == "a" else None}
        self.links |= {attrs.get("href"), attrs.get("src")} - {None}


def test_links():
    parsed = {page: _Links(page) for page in PAGES}
    dead = []
    for page, found in parsed.items():
        for link in sorted(found.links):
            url, anchor = urldefrag(urljoin(f"http://site/{page}", link))
            parts = urlparse(url)
            if parts.scheme == "mailto":
                dead.append((page, link))
            if parts.netloc != "site":
                continue
            target = unquote(parts.path).strip("/") or page
            if not (SITE / target).is_file():
                dead.append((page, link))
            elif target in parsed and anchor and unquote(anchor) not in parsed[target].anchors:
                dead.append((page, link))
    assert dead == []
