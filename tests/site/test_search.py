"""What people search for leads to its page first."""

from __future__ import annotations

import pytest

# the page, and what is typed
FIRST = {
    "cold start": "user_guide/",
    "hyperparameter": "user_guide/searches",
}


@pytest.fixture(scope="module")
def tab(browser):
    page = browser.new_page()
    yield page
    page.close()
