"""Pages made of an output alone, JavaScript without a browser, and a browser."""

import functools
import json

import pytest
import quickjs

from lossbook.explore.page import runtime

PAGE = """<!doctype html>
<html lang="en" data-theme="{theme}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Explorers</title><style>
body {{ margin: 16px; color: #222; background: #fff; }}
html[data-theme=dark] body {{ color: #ddd; background: #14181e; }}
</style></head><body><main><h1>Explorers</h1>{outputs}</main></body></html>"""

# quickjs has no atob.
ATOB = """
function atob(text) {
  const letters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  let bits = 0, held = 0, out = "";
  for (const letter of text.replace(/=/g, "")) {
    held = (held << 6) | letters.indexOf(letter);
    bits += 6;
    if (bits >= 8) { bits -= 8; out += String.fromCharCode((held >> bits) & 255); }
  }
  return out;
}
"""


class JavaScript:
    """The page's script, without a page."""

    def __init__(self):
        self.context = quickjs.Context()
        self.context.eval(ATOB + runtime())

    @staticmethod
    def literal(value):
        """A number as JavaScript writes it."""
        return str(value).replace("inf", "Infinity").replace("nan", "NaN")

    def values(self, function, points):
        """Call a function (its source) at each point, a list of arguments."""
        code = (
            f"JSON.stringify({json.dumps(points)}.map(point => {{"
            f"const y = ({function})(...point);"
            "return Number.isFinite(y) ? y : String(y); }))"
        )
        return [float(y) for y in json.loads(self.context.eval(code))]


@pytest.fixture
def javascript():
    """The page's script, without a page."""
    return JavaScript()


class Opener:
    """Opens pages that hold outputs and nothing else."""

    def __init__(self, chromium, folder):
        self.chromium, self.folder = chromium, folder
        self.foreign, self.errors, self.contexts = [], [], []

    def __call__(self, *outputs, theme="light", width=1000, **options):
        """Return a tab with the outputs; other hosts are out of reach and noted."""
        path = self.folder / f"page{len(self.contexts)}.html"
        inner = "\n".join(output.html() for output in outputs)
        path.write_text(PAGE.format(theme=theme, outputs=inner), encoding="utf-8")
        context = self.chromium.new_context(
            viewport={"width": width, "height": 900}, **options
        )
        context.set_default_timeout(60_000)
        self.contexts.append(context)
        tab = context.new_page()
        tab.route("**/*", functools.partial(self._answer, path.as_uri()))
        tab.on("pageerror", lambda error: self.errors.append(str(error)))
        tab.goto(path.as_uri())
        return tab

    def _answer(self, own, route):
        if route.request.url == own or route.request.url.startswith("blob:"):
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()


@pytest.fixture
def browser_page(chromium, tmp_path):
    """Open outputs in a tab; no page may fail or ask for anything else."""
    opener = Opener(chromium, tmp_path)
    yield opener
    for context in opener.contexts:
        context.close()
    assert opener.errors == []
    assert opener.foreign == []
