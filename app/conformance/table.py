"""The register of checks, in the order in which they are run."""

from __future__ import annotations

from .check import Check
from .checks import entities, errors, lists, methods, packages, queries, tokens, uploads, writes

CHECKS: tuple[Check, ...] = (
    *tokens.CHECKS,
    *lists.CHECKS,
    *queries.CHECKS,
    *entities.CHECKS,
    *errors.CHECKS,
    *methods.CHECKS,
    *packages.CHECKS,
    *writes.CHECKS,
    *uploads.CHECKS,
)

BY_ID = {one.id: one for one in CHECKS}
