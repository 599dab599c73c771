"""The encoding in which a client would rather have an answer (RFC 9110, section 12.5.3)."""

from __future__ import annotations

import re

CODING = re.compile(r"\s*+([\w*-]++)\s*+(?:;\s*+q\s*+=\s*+([01](?:\.\d{0,3})?)\s*+)?")
"""It never gives back what it took: blanks by the thousand cost no more than they are long."""


def best(accepted: str, offered: tuple[str, ...]) -> str:
    """The first of those offered that is accepted most; ``identity`` when none is.

    ``accepted`` is an Accept-Encoding header, ``offered`` in the order of the server's liking.
    """
    weights = {}
    for part in accepted.split(","):
        if found := CODING.fullmatch(part):
            weights[found[1].lower()] = float(found[2] or 1)
    otherwise = weights.get("*", 0)
    weighed = {name: weights.get(name, otherwise) for name in offered}
    name = max(offered, key=lambda each: weighed[each])
    return name if weighed[name] > 0 else "identity"
