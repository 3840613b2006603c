"""What people search for leads to its page first."""

from __future__ import annotations

import pytest

# what is typed, and the start of the page's path
FIRST = {
    "cold start": "user_guide/features",
    "hyperparameter": "user_guide/searches",
    "implicit feedback": "user_guide/counts",
    "negative sampling": "faq",
    "install": "getting_started",
    "LightFM": "coming_from",
    "hit rate": "user_guide/evaluation",
    "confidence interval": "user_guide/evaluation",
    "changelog": "changelog",
}


@pytest.fixture(scope="module")
def tab(browser):
    """Return a page of the browser, for all queries."""
    page = browser.new_page()
    page.set_default_timeout(10_000)  # ms
    yield page
    page.close()


@pytest.mark.parametrize("query", FIRST)
def test_first_result(tab, site, query):
    tab.goto(f"{site}search.html?q={query.replace(' ', '+')}")
    # Sphinx adds one result after the other, the best one first
    tab.wait_for_function("document.querySelector('#search-results .search-summary')?.innerText")
    links = tab.locator("#search-results ul.search li a")
    found = links.evaluate_all("all => all.map(link => new URL(link.href).pathname.slice(1))")
    assert found, "nothing is found"
    assert found[0].startswith(FIRST[query]), found[:5]
