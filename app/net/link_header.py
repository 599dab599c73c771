"""Parse the Link header field of an HTTP response (RFC 8288)."""

from __future__ import annotations

import re

TARGET = re.compile(r"[\s,]*<([^>]*)>")
PARAMETER = re.compile(
    r"""\s*;\s*
    (?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]*)
    (?:\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[^\s;,"]*)))?
    """,
    re.VERBOSE,
)
REST_OF_LINK = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))*')
"""The rest of a link up to a comma. A string that is not closed ends with the header, because a
search for its end from each further quote would take quadratic time."""


def find_link(header: str | None, relation: str) -> str | None:
    """Return the target of the first link with a relation type, such as ``next``, or None.

    ``header`` is the value of a Link header, and ``relation`` is in lower case. Commas and
    semicolons inside targets and quoted strings are not separators. If ``rel`` is repeated, the
    first one counts (RFC 8288, section 3.3). A link with an ``anchor`` is skipped, because it is
    about another resource (section 3.2). Parsing ends at a malformed link.
    """
    value, position = header or "", 0
    while match := TARGET.match(value, position):
        target, position = match[1].strip(), match.end()
        parameters: dict[str, str] = {}
        while parameter := PARAMETER.match(value, position):
            text = parameter["token"] or re.sub(r"\\(.)", r"\1", parameter["quoted"] or "")
            parameters.setdefault(parameter["name"].lower(), text)
            position = parameter.end()
        if "anchor" not in parameters and relation in parameters.get("rel", "").lower().split():
            return target
        rest_match = REST_OF_LINK.match(value, position)
        position = rest_match.end() if rest_match else len(value)
    return None
