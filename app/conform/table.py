"""The register of checks, in the order in which they are run."""

from __future__ import annotations

from . import asking, lists, methods, packages, reading, refusing, tokens, uploading, writing
from .check import Check

CHECKS: tuple[Check, ...] = (
    *tokens.CHECKS,
    *lists.CHECKS,
    *asking.CHECKS,
    *reading.CHECKS,
    *refusing.CHECKS,
    *methods.CHECKS,
    *packages.CHECKS,
    *writing.CHECKS,
    *uploading.CHECKS,
)

BY_ID = {one.id: one for one in CHECKS}
