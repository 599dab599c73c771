"""What the documents say of each base path, as data: names, shapes, limits, codes.

Only what the vendor's guide, its OpenAPI document and SDK, or the standard say stands here; what
this project decided where they are silent is in the checks that are marked as its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..exceptions import StartupError

Json = Any


@dataclass(frozen=True)
class ProfileSpec:
    """What clients of one profile may rely on."""

    name: str
    path: str
    """Where this project serves it."""
    default_limit: int
    max_limit: int | None
    id_key: str = "identifier"
    """The name of an identifier in answers."""
    wraps: bool = False
    """A single object stands under its class name."""
    closed: bool = False
    """No field beyond the standard's, and no null."""
    version: str = "1.1"
    minor_key: str = "imsx_codeMinor"
    minor_codes: dict[str, str] = field(default_factory=dict)
    """Minor codes by what went wrong."""
    total_key: str | None = None
    """Where the body of a list says how many there are."""
    optional_lists: bool = False
    """Filters, sorting and selection may be left out by a conformant server."""


PLATFORM = ProfileSpec("platform", "/case/1.1", default_limit=10, max_limit=100, total_key="total")
SDK = ProfileSpec(
    "sdk",
    "/ims/case/v1p1",
    default_limit=100,
    max_limit=3000,
    id_key="sourcedId",
    wraps=True,
    minor_key="imsx_CodeMinor",
    minor_codes={"unknown": "unknownobject", "unauthorised": "unauthorisedrequest"},
)
STANDARD = ProfileSpec(
    "standard",
    "/1edtech/ims/case/v1p1",
    default_limit=100,
    max_limit=None,
    closed=True,
    minor_codes={
        "unknown": "unknownobject",
        "unauthorised": "unauthorised_request",
        "malformed": "invalid_uuid",
    },
    optional_lists=True,
)
STANDARD_1_0 = ProfileSpec(
    "standard-1.0",
    "/1edtech/ims/case/v1p0",
    default_limit=100,
    max_limit=None,
    closed=True,
    version="1.0",
    minor_codes={
        "unknown": "unknownobject",
        "unauthorised": "unauthorisedrequest",
        "malformed": "invaliduuid",
    },
    optional_lists=True,
)

PROFILE_SPECS = {one.name: one for one in (PLATFORM, SDK, STANDARD, STANDARD_1_0)}

PATH_SUFFIXES = (
    ("/1edtech/ims/case/v1p1", STANDARD),
    ("/ims/case/v1p1", SDK),
    ("/ims/case/v1p0", STANDARD_1_0),
    ("/case/1.1", PLATFORM),
)
"""How the end of a URL tells the profile; the longer ending first."""


def resolve_profile(url: str, profile: str | None) -> tuple[str, ProfileSpec]:
    """The base URL of a server and the profile it is held to.

    A URL without a path gets the path that this project serves the profile at; the platform's
    when none is named. Raises ``StartupError`` when the end of the path tells no profile and none
    is named, or the URL is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise StartupError(
            f"{url!r} is not the base URL of a CASE server, as http://127.0.0.1:8000/case/1.1 is"
        )
    base = url.rstrip("/")
    named = PROFILE_SPECS.get(profile or "")
    if not parts.path.strip("/"):
        found = named or PLATFORM
        return base + found.path, found
    told = named or next((one for end, one in PATH_SUFFIXES if base.endswith(end)), None)
    if told is None:
        raise StartupError(
            f"{url} does not end in a base path that is known "
            f"({', '.join(end for end, _ in PATH_SUFFIXES)}): say with --profile what it is to be"
        )
    return base, told


def identifier_of(node: Json) -> str:
    """The identifier of an entity or link under either of its names; empty when it has none."""
    if not isinstance(node, dict):
        return ""
    return str(node.get("identifier") or node.get("sourcedId") or "")
