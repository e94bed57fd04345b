"""The built site holds together: links, resources, texts of images."""

import pytest

from tools import links
from tools.repository import address

pytestmark = pytest.mark.site


def test_links_lead_somewhere_and_nothing_comes_from_elsewhere(html):
    assert links.check(html) == []


def test_links_to_the_repository_have_its_address(html):
    """Edit, issue and source links name the repository of `_config.yml`."""
    for path, page in links.read_site(html).items():
        own = [link for link in page.links if link.rstrip("/").endswith("/lossbook")]
        assert set(own) <= {address(), address() + "/"}, path
