"""Messages that refer to the documentation give its address on the web, which is in one place."""

import ast
import re
import tomllib
from pathlib import Path

from case_server import DOCUMENTATION_URL
from case_server.conformance.checks import CHECKS

ROOT = Path(__file__).parents[2]
SOURCES = [path.read_text() for path in sorted((ROOT / "app").rglob("*.py"))]


def test_packaging_and_site_have_the_address_of_messages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Documentation"] == DOCUMENTATION_URL
    assert f"site_url: {DOCUMENTATION_URL}\n" in (ROOT / "mkdocs.yml").read_text()
    addresses = [source for source in SOURCES if DOCUMENTATION_URL in source]
    assert len(addresses) == 1


def test_messages_name_pages_by_their_address() -> None:
    """An installed package contains no ``docs/``; docstrings and comments are for contributors."""
    relative_links = [
        text for source in SOURCES for text in messages(source) if re.search(r"\.md\b", text)
    ]
    assert relative_links == []


def messages(source: str) -> list[str]:
    """Return the string literals of a module that are no docstrings."""
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]


def test_addresses_in_messages_lead_to_pages_of_the_site() -> None:
    pages = re.findall(r"\{DOCUMENTATION_URL\}/(\S+?)\.html", "".join(SOURCES))
    assert pages
    navigation = (ROOT / "mkdocs.yml").read_text()
    assert [page for page in pages if f" {page}.md\n" not in navigation] == []
    assert f"{DOCUMENTATION_URL}/behaviour.html" in {check.source for check in CHECKS}
