"""All conformance checks, in the order in which they run."""

from __future__ import annotations

from ..check import GROUPS, registry

# Importing these modules registers their checks.
from . import entities, errors, lists, packages, puts, tokens, uploads  # noqa: F401  see above

CHECKS = tuple(sorted(registry, key=lambda check: GROUPS.index(check.group)))

BY_ID = {check.id: check for check in CHECKS}
