"""Parse the Link header field of an HTTP response (RFC 8288)."""

from __future__ import annotations

import re
from typing import NamedTuple

TARGET = re.compile(r"[\s,]*<([^>]*)>")
PARAMETER = re.compile(
    r"""\s*;\s*
    (?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]*)
    (?:\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[^\s;,"]*)))?
    """,
    re.VERBOSE,
)
REST_OF_LINK = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"|")*')


class Link(NamedTuple):
    """A link in a Link header: its target URL as sent, and its relation types in lower case."""

    target: str
    relations: tuple[str, ...]


def parse_links(value: str) -> list[Link]:
    """Parse the value of a Link header into a list of ``Link`` objects, in their order.

    Commas and semicolons inside targets and quoted strings are not separators. If ``rel`` is
    repeated, the first one counts (RFC 8288, section 3.3). A link with an ``anchor`` is skipped,
    because it is about another resource (section 3.2). Parsing ends at a malformed link.
    """
    links = []
    position = 0
    while match := TARGET.match(value, position):
        target, position = match[1], match.end()
        parameters: dict[str, str] = {}
        while parameter := PARAMETER.match(value, position):
            text = parameter["token"] or re.sub(r"\\(.)", r"\1", parameter["quoted"] or "")
            parameters.setdefault(parameter["name"].lower(), text)
            position = parameter.end()
        if "anchor" not in parameters:
            relations = parameters.get("rel", "").lower().split()
            links.append(Link(target.strip(), tuple(relations)))
        rest_match = REST_OF_LINK.match(value, position)
        position = rest_match.end() if rest_match else len(value)
    return links


def find_link(header: str | None, relation: str) -> str | None:
    """Return the URL of the first link with a relation type, such as ``next``, or None."""
    links = parse_links(header or "")
    return next((link.target for link in links if relation in link.relations), None)
