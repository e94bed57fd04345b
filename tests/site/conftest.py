"""The built site on a local server, and a browser that may reach nothing else."""

import functools
import http.server
import threading
from dataclasses import dataclass, field

import pytest

from tools.paths import HTML

WIDE = {"width": 1280, "height": 900}
TABS = 8  # at a time
PATIENCE = 180_000  # milliseconds; a busy machine is slow, not wrong
PHONE = {"width": 390, "height": 844}


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def html():
    """The folder of the built site."""
    if not (HTML / "index.html").exists():
        pytest.fail(f"{HTML} does not hold the site: run `make book` first")
    return HTML


@pytest.fixture(scope="session")
def page_names(html):
    """Every page's path on the site."""
    names = [path.relative_to(html) for path in sorted(html.rglob("*.html"))]
    return [name.as_posix() for name in names if "_static" not in name.parts]


@pytest.fixture(scope="session")
def base_url(html):
    """The address of a local server of the site."""
    handler = functools.partial(QuietHandler, directory=str(html))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@dataclass
class Visit:
    """What happened while a page was open."""

    name: str
    foreign_requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    phone_width: int = 0
    phone_content: int = 0
    unset_formulas: int = 0


@dataclass
class Opener:
    """Opens pages in tabs that reach this site only."""

    context: object
    base: str

    def open(self, name):
        """A tab with the page, once all that it asks for has come."""
        tab = self.start(Visit(name))
        tab.wait_for_load_state("networkidle", timeout=PATIENCE)
        return tab

    def start(self, visit):
        """A tab that begins to load; what happens in it is noted in the visit."""
        tab = self.context.new_page()
        tab.set_viewport_size(WIDE)
        tab.route("**/*", functools.partial(self.answer, visit))
        tab.on("pageerror", lambda error: visit.errors.append(str(error)))
        tab.on("console", functools.partial(note_errors, visit))
        tab.goto(self.base + visit.name, wait_until="commit")
        return tab

    def answer(self, visit, route):
        """Let a request to this site through, note and stop any other."""
        address = route.request.url
        if address.startswith((self.base, "data:", "blob:")):
            route.continue_()
        else:
            visit.foreign_requests.append(address)
            route.abort()


def note_errors(visit, message):
    """Keep the console's errors, with the address that they are about."""
    if message.type == "error":
        visit.errors.append(f"{message.text} {message.location.get('url', '')}")


@pytest.fixture(scope="session", params=["light", "dark"])
def scheme(request):
    """The reader's color scheme."""
    return request.param


@pytest.fixture(scope="session")
def opener(chromium, base_url):
    """Opens pages in the light scheme."""
    context = chromium.new_context(color_scheme="light")
    yield Opener(context, base_url)
    context.close()


@pytest.fixture(scope="session")
def visits(opener, page_names):
    """Every page of the site, opened once on a wide screen and once on a phone."""
    seen = [Visit(name) for name in page_names]
    for start in range(0, len(seen), TABS):
        batch = seen[start : start + TABS]
        for visit, tab in [(visit, opener.start(visit)) for visit in batch]:
            look_around(visit, tab)
    return seen


def look_around(visit, tab):
    """Wait for the page, make the window as narrow as a phone, note what happened."""
    tab.wait_for_load_state("networkidle", timeout=PATIENCE)
    visit.unset_formulas = tab.locator("span.math, div.math").evaluate_all(
        "found => found.filter(e => !e.querySelector('mjx-container')).length"
    )
    tab.set_viewport_size(PHONE)
    root = "document.documentElement"
    visit.phone_content = tab.evaluate(f"{root}.scrollWidth")
    visit.phone_width = tab.evaluate(f"{root}.clientWidth")
    tab.close()
