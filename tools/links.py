"""Read the built pages: links lead somewhere, nothing comes from another host."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes by which a page makes the browser load something.
LOADING = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "video": ("src", "poster"),
}
# `<link>`s that name an address without loading it.
ONLY_NAMED = {"author", "canonical", "index", "license", "next", "prev", "search"}
CSS_ADDRESS = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
IMAGE_FILE = re.compile(r"\.(png|svg|jpe?g|gif|webp)$", re.IGNORECASE)


@dataclass
class Page:
    """What a page offers and asks for.

    Attributes:
        anchors: The ids that a link can lead to.
        links: The addresses of `<a>`.
        resources: The addresses that the browser loads.
        images_without_alt: Sources of images without a text.
    """

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    images_without_alt: list[str] = field(default_factory=list)


class PageReader(HTMLParser):
    """Collects a `Page` from HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self.in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag's anchors, links and resources."""
        values = {name: value or "" for name, value in attrs}
        self.in_style = tag == "style"
        self.page.anchors.update(
            values[name] for name in ("id", "name") if name in values
        )
        if tag == "a" and "href" in values:
            self.page.links.append(values["href"])
        if tag == "img" and not has_text(values):
            self.page.images_without_alt.append(values.get("src", "")[:80])
        self.page.resources += css_addresses(values.get("style", ""))
        if tag == "link" and ONLY_NAMED & set(values.get("rel", "").split()):
            return
        for name in LOADING.get(tag, ()):
            self.page.resources += addresses(name, values.get(name, ""))

    def handle_data(self, data: str) -> None:
        """Note what a style sheet inside the page loads."""
        if self.in_style:
            self.page.resources += css_addresses(data)


def has_text(image: dict[str, str]) -> bool:
    """True if an image has a text, or is marked as decoration.

    Sphinx writes the file's name where an author gave no text.
    """
    if image.get("role") == "presentation" or image.get("aria-hidden") == "true":
        return True
    text = image.get("alt", "").strip()
    return bool(text) and not IMAGE_FILE.search(text) and not text.startswith("data:")


def addresses(attribute: str, value: str) -> list[str]:
    """The addresses in an attribute (`srcset` holds several)."""
    if attribute == "srcset":
        return [part.split()[0] for part in value.split(",") if part.strip()]
    return [value] if value else []


def css_addresses(css: str) -> list[str]:
    """The addresses that a style sheet loads."""
    return [first or second for first, second in CSS_ADDRESS.findall(css)]


def is_external(address: str) -> bool:
    """True if the address is on another host."""
    parts = urlsplit(address.strip())
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ws", "wss", "ftp")


def read_page(path: Path) -> Page:
    """Read one HTML file."""
    reader = PageReader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.page


def read_site(html: Path) -> dict[Path, Page]:
    """Read all pages, but not the theme's own files."""
    found = sorted(html.rglob("*.html"))
    paths = [path for path in found if "_static" not in path.relative_to(html).parts]
    return {path: read_page(path) for path in paths}


def check(html: Path) -> list[str]:
    """All findings on a built site, one line each; an empty list is good."""
    site = read_site(html)
    if not site:
        return [f"{html} holds no page"]
    return [
        f"{path.relative_to(html)}: {finding}"
        for path, page in site.items()
        for finding in page_findings(path, page, site)
    ] + style_findings(html)


def page_findings(path: Path, page: Page, site: dict[Path, Page]) -> Iterator[str]:
    """The findings on one page."""
    for address in page.resources:
        if is_external(address):
            yield f"loads {address} from another host"
        elif not leads_somewhere(address, path, site):
            yield f"loads {address}, which does not exist"
    for address in page.links:
        if not is_external(address) and not leads_somewhere(address, path, site):
            yield f"links to {address}, which does not exist"
    for source in page.images_without_alt:
        yield f"image without alternative text: {source}"


def leads_somewhere(address: str, path: Path, site: dict[Path, Page]) -> bool:
    """True if a local address names a file, and an anchor that is in it."""
    parts = urlsplit(address.strip())
    if parts.scheme in ("data", "blob", "mailto", "javascript"):
        return True
    target = path.parent / unquote(parts.path) if parts.path else path
    target = target.resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return False
    anchor = unquote(parts.fragment)
    # "#" alone is the top of the page.
    return not anchor or target not in site or anchor in site[target].anchors


def style_findings(html: Path) -> list[str]:
    """Style sheets that load from another host."""
    return [
        f"{path.relative_to(html)}: loads {address} from another host"
        for path in sorted(html.rglob("*.css"))
        for address in css_addresses(path.read_text(encoding="utf-8"))
        if is_external(address)
    ]
