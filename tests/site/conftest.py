"""A browser, and the built pages on a local server."""

from __future__ import annotations

import os
import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Log nothing."""


@pytest.fixture(scope="session")
def site():
    """Return the address of the pages in the folder that SITE names."""
    handler = partial(_Quiet, directory=Path(os.environ["SITE"]))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    """Return the system's Chromium, or skip where it is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `site`")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        # no sandbox: it refuses to run as root
        yield running.chromium.launch(executable_path=program, args=["--no-sandbox"])
