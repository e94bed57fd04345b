"""The built site on a local server, and a browser that may reach nothing else."""

import functools
import http.server
import threading
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import TimeoutError

from tools.paths import HTML

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
FRONT = "index.html"
PATIENCE = 90_000  # milliseconds; a busy machine is slow, not wrong

# A page is ready when its formulas are typeset and its fonts are there.
READY = """async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
}"""


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection serves many files

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


@pytest.fixture(scope="session")
def html():
    """The folder of the built site."""
    if not (HTML / "index.html").exists():
        pytest.fail(f"{HTML} does not hold the site: run `make book` first")
    return HTML


@pytest.fixture(scope="session")
def page_names(html):
    """Every page's path on the site; the front page only leads on."""
    names = [path.relative_to(html) for path in sorted(html.rglob("*.html"))]
    pages = [name.as_posix() for name in names if "_static" not in name.parts]
    return [name for name in pages if name != FRONT]


@pytest.fixture(scope="session")
def base_url(html):
    """The address of a local server of the site."""
    handler = functools.partial(QuietHandler, directory=str(html))
    with Server(("127.0.0.1", 0), handler) as server:
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
    """Opens pages in tabs, and notes what each asks for."""

    context: object
    base: str

    def open(self, name, visit=None):
        """A tab with the page, once all that it asks for has come.

        A page that does not load is tried once more, in a new tab: on a busy machine
        a browser now and then loses a load. A page that is at fault loses the second.
        """
        try:
            return self.load(visit or Visit(name))
        except TimeoutError:
            return self.load(visit or Visit(name))

    def load(self, visit):
        """A tab with the page; what happens in it is noted in the visit."""
        tab = self.context.new_page()
        tab.set_viewport_size(WIDE)
        tab.set_default_timeout(PATIENCE)
        tab.on("request", functools.partial(self.note_request, visit))
        tab.on("pageerror", lambda error: visit.errors.append(str(error)))
        tab.on("console", functools.partial(note_errors, visit))
        tab.goto(self.base + visit.name, wait_until="load")
        tab.evaluate(READY)
        return tab

    def note_request(self, visit, request):
        """Keep the address of a request to any other host."""
        if not request.url.startswith((self.base, "data:", "blob:")):
            visit.foreign_requests.append(request.url)


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
    for visit in seen:
        look_around(visit, opener.open(visit.name, visit))
    return seen


def look_around(visit, tab):
    """Note the page's state, then make the window as narrow as a phone and look."""
    visit.unset_formulas = tab.locator("span.math, div.math").evaluate_all(
        "found => found.filter(e => !e.querySelector('mjx-container')).length"
    )
    tab.set_viewport_size(PHONE)
    root = "document.documentElement"
    visit.phone_content = tab.evaluate(f"{root}.scrollWidth")
    visit.phone_width = tab.evaluate(f"{root}.clientWidth")
    tab.close()
