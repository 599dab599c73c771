"""All conformance checks, in the order in which they run."""

from __future__ import annotations

from ..check import GROUPS, registry
from . import entities, errors, lists, packages, puts, tokens, uploads

__all__ = ["BY_ID", "CHECKS", "entities", "errors", "lists", "packages", "puts", "tokens"]
__all__ += ["uploads"]

CHECKS = tuple(sorted(registry, key=lambda check: GROUPS.index(check.group)))

BY_ID = {check.id: check for check in CHECKS}
