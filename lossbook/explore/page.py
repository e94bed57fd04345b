"""The output that a notebook stores: one piece of HTML that needs nothing else.

It holds the style, the first frame as an image, the script and the data. The image is
what print, a page without JavaScript and an untrusted notebook show; the script puts
the live drawing in its place. Nothing is random, so a second run stores the same bytes.
"""

import gzip
import hashlib
import json
from abc import ABC, abstractmethod
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote

from lossbook import style
from lossbook.explore.figure import Frame, escape


class Output(ABC):
    """What explorers and labs share: they display themselves as HTML."""

    title: str

    @abstractmethod
    def frame(self) -> Frame:
        """Return the first frame."""

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return the data for the script."""

    @abstractmethod
    def javascript(self) -> str:
        """Return the curves' functions as JavaScript."""

    @property
    @abstractmethod
    def budget(self) -> int:
        """How many bytes the output may have, gzipped."""

    def html(self) -> str:
        """Return the output as HTML.

        Raises:
            ValueError: the output is larger than its budget.
        """
        spec, functions = script_json(self.spec()), self.javascript()
        inner = self.markup()
        digest = hashlib.sha256((spec + functions + inner).encode()).hexdigest()[:12]
        page = (
            f"<style>{stylesheet()}</style>"
            f'<div class="lbx" data-lbx="{digest}">{inner}</div>'
            f"<script>(function(){{\n{runtime()}\n"
            f"document.querySelectorAll('[data-lbx=\"{digest}\"]').forEach("
            f"function(root){{mount(root,{spec},{functions});}});}})();</script>"
        )
        size = len(gzip.compress(page.encode(), mtime=0))
        if size > self.budget:
            raise ValueError(
                f"an output must have at most {self.budget} bytes gzipped, got {size}; "
                "use fewer states, places or curves"
            )
        return page

    def markup(self) -> str:
        """Return what stands inside the root element: the title and the image."""
        frame = self.frame()
        # Percent-encoding compresses better than base64: a third of the image less.
        picture = quote(frame.svg(), safe=" =:/;,'()?!*@+$")
        title = f'<p class="lbx-title">{escape(self.title)}</p>' if self.title else ""
        return (
            f'{title}<img alt="{escape(frame.alt)}" src="data:image/svg+xml,{picture}">'
        )

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": repr(self)}


@cache
def runtime() -> str:
    """Return the script without its comments and indentation."""
    return _squeeze(_read("explorer.js"), comment="//")


@cache
def stylesheet() -> str:
    """Return the colors and the rules, without comments and indentation."""
    return style.css_variables() + _squeeze(_read("explorer.css"), comment="/*")


def script_json(data: Any) -> str:
    """Return JSON that may stand inside of a script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _squeeze(text: str, comment: str) -> str:
    """Drop indentation, empty lines and lines that are nothing but a comment."""
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith(comment))
