"""Mends of the pages that Jupyter Book's parts write; loaded by `_config.yml`."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from tools.contents import GENERATED

# A list for screen readers must hold list items only; a bibliography does not.
ANCHOR = re.compile(r' id="(?P<name>(claim|verdict)-[^"]+)"')
CITATION_LIST = '<div role="list" class="citation-list">'


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the mends with Sphinx."""
    app.add_transform(OutputAnchors)
    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
    app.connect("html-page-context", without_source, priority=400)
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("html-page-context", accessible_citations, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class OutputAnchors(SphinxTransform):
    """Let `[text](#claim-key)` lead to a claim or a verdict in a cell's output.

    Outputs carry their anchors as HTML, which Sphinx does not look into.
    """

    default_priority = 870  # before MyST resolves links to anchors

    def apply(self, **kwargs: Any) -> None:
        """Replace the id of each such block by a target that Sphinx knows."""
        for block in list(self.document.findall(nodes.raw)):
            found = ANCHOR.search(block.astext())
            if found is None:
                continue
            name = found["name"]
            target = nodes.target("", "", ids=[name], names=[name])
            self.document.note_explicit_target(target, target)
            text = ANCHOR.sub("", block.astext())
            parent = block.parent
            parent.replace(block, [target, nodes.raw("", text, format="html")])


def plain_docstring(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Let `|x|` and `a ** b` in a docstring be what they look like.

    In reStructuredText, which autodoc reads, they are markup.
    """
    in_example = False
    for index, line in enumerate(lines):
        in_example = bool(line.strip()) and (in_example or ">>>" in line)
        if not in_example:
            lines[index] = escaped(line)


def escaped(line: str) -> str:
    """The line with the bars and double stars outside of code taken literally."""
    parts = re.split(r"(`[^`]*`)", line)
    parts[::2] = [p.replace("|", r"\|").replace("**", r"\*\*") for p in parts[::2]]
    return "".join(parts)


def without_source(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Offer no edit button on a generated page: its source is not in git."""
    if page.startswith(GENERATED):
        context.pop("page_source_suffix", None)


def without_thebe(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Drop the scripts and styles of Thebe, which the book does not use.

    They name another host, and the same constant twice, which is an error in the
    browser's console.
    """
    for kind in ("script_files", "css_files"):
        context[kind] = [each for each in context[kind] if not is_thebe(each)]


def is_thebe(asset: Any) -> bool:
    """True if a script or a style sheet belongs to Thebe."""
    body = getattr(asset, "attributes", {}).get("body") or ""
    return "thebe" in f"{getattr(asset, 'filename', '')} {body}".lower()


def accessible_citations(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Take the role `list` off bibliographies."""
    if "body" in context:
        plain = '<div class="citation-list">'
        context["body"] = context["body"].replace(CITATION_LIST, plain)
