"""Headless Chromium for tests. Without Chromium they are skipped; with DWNET_REQUIRE_BROWSER=1 they fail.

DWNET_CHROMIUM names the browser if it is not `chromium` on the path.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Any]:
    """Yields a running Chromium of Playwright."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("DWNET_CHROMIUM") or shutil.which("chromium")
    if not path:
        message = "there is no Chromium (set DWNET_CHROMIUM)"
        if os.environ.get("DWNET_REQUIRE_BROWSER") == "1":
            pytest.fail(f"DWNET_REQUIRE_BROWSER=1, but {message}")
        pytest.skip(message)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
