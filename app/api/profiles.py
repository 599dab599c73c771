"""The doors to the one store: what differs between them is data, and stands here.

A profile is a base path and a shape; ``rendering.py`` applies it to stored bodies, ``errors.py`` to
what goes wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import Reason
from ..query.filter import STANDARD, Grammar
from ..query.params import Limits


@dataclass(frozen=True)
class Profile:
    """One way of answering."""

    name: str
    prefix: str
    title: str
    both_ids: bool
    """Every entity and link carries ``sourcedId`` beside ``identifier``."""
    wraps: bool
    """A single object stands under its class name: ``{"CFItem": {…}}``."""
    package_links: bool
    """Inside a package, items and associations name their document, the document its package."""
    limits: Limits
    grammar: Grammar
    code_minor_names: tuple[str, ...]
    """The keys under which an error says its minor codes."""
    code_minors: Mapping[Reason, str]
    details: bool
    """An error lists its problems under ``imsx_error_details``."""

    def minor(self, reason: Reason) -> str:
        """The profile's spelling of a reason."""
        return self.code_minors.get(reason) or MINORS[reason]


MINORS: dict[Reason, str] = {
    "invalid": "invaliddata",
    "unauthorised": "unauthorisedrequest",
    "forbidden": "forbidden",
    "unknown": "unknownobject",
    "invalid_id": "unknownobject",
    "conflict": "invaliddata",
    "too_large": "invaliddata",
    "bad_selection": "invalid_selection_field",
    "bad_sort": "invalid_sort_field",
    "bad_filter": "invalid_filter_field",
    "unsupported": "unsupported",
    "busy": "server_busy",
    "internal": "internal_server_error",
}
"""The minor codes that the profiles have in common."""

PLATFORM = Profile(
    name="platform",
    prefix="/case/1.1",
    title="TimeBack platform",
    both_ids=True,
    wraps=False,
    package_links=True,
    limits=Limits(default=10, maximum=100),
    grammar=STANDARD,
    code_minor_names=("imsx_CodeMinor", "imsx_codeMinor"),
    code_minors={},
    details=True,
)

PROFILES = (PLATFORM,)
"""The profiles that are served."""

STANDARD_FORM = Profile(
    name="standard",
    prefix="",
    title="1EdTech CASE 1.1",
    both_ids=False,
    wraps=False,
    package_links=False,
    limits=Limits(default=100, maximum=3000),
    grammar=STANDARD,
    code_minor_names=("imsx_codeMinor",),
    code_minors={},
    details=False,
)
"""The standard's own form, in which packages are exported."""
