"""Stored bodies, as pages read them."""

from __future__ import annotations

from typing import Any

import orjson


class Body(dict[str, Any]):
    """An entity as it is stored; what it does not say is None."""

    def __missing__(self, _: str) -> None:
        return None


def read_body(raw: str) -> Body:
    """A stored body."""
    return Body(orjson.loads(raw))
