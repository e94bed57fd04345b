"""Settings of every test: one thread a process, figures without a screen."""

import os

import pytest
from playwright.sync_api import sync_playwright

from tools import browser

# Before numpy and torch are imported: two pytest workers share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture(scope="session")
def chromium():
    """A running Chromium; one for all tests, as playwright wants it."""
    path = browser.find()
    if not path:
        pytest.fail("no Chromium found: `make test` installs one")
    arguments = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=arguments)
        yield running
        running.close()
