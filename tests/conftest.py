"""Settings of every test: one thread a process, figures without a screen."""

import os

import pytest
from playwright.sync_api import sync_playwright

from tools import browser

# Before numpy and torch are imported: two pytest workers share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"


# The browser finds no host but this machine, and asks for nothing of its own.
ALONE = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-gpu",
    "--no-first-run",
)


@pytest.fixture(scope="session")
def chromium():
    """A running Chromium; one for all tests, as playwright wants it."""
    path = browser.find()
    if not path:
        pytest.fail("no Chromium found: `make test` installs one")
    arguments = [*ALONE]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        arguments.append("--no-sandbox")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=arguments)
        yield running
        running.close()
