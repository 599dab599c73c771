"""The names, structures, limits and codes that public documents define for each API profile.

The sources are the vendor's guide, its OpenAPI document and SDK, and the CASE standard. What this
project decided where they are silent is in the checks that are registered as extensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..exceptions import CommandError
from ..net.ssrf import is_http_url


@dataclass(frozen=True)
class ProfileSpec:
    """The documented properties of an API profile: base path, limits, fields and error codes."""

    name: str
    path: str
    """The base path at which this project serves the profile."""
    default_limit: int = 100
    max_limit: int | None = None
    id_key: str = "identifier"
    """The field with the identifier of an entity in responses."""
    is_standard: bool = False
    """True for a version of the standard: responses have no other fields and no nulls, and servers
    may lack filters, sorting and field selection."""
    minor_key: str = "imsx_codeMinor"
    unauthorized_code: str = "unauthorisedrequest"
    """The minor code of a response 401."""
    malformed_code: str = "unknownobject"
    """The minor code of a response to an identifier that is no UUID."""


PLATFORM = ProfileSpec("platform", "/case/1.1", default_limit=10, max_limit=100)
SDK = ProfileSpec(
    "sdk", "/ims/case/v1p1", max_limit=3000, id_key="sourcedId", minor_key="imsx_CodeMinor"
)
STANDARD = ProfileSpec(
    "standard",
    "/1edtech/ims/case/v1p1",
    is_standard=True,
    unauthorized_code="unauthorised_request",
    malformed_code="invalid_uuid",
)
STANDARD_1_0 = ProfileSpec(
    "standard-1.0", "/1edtech/ims/case/v1p0", is_standard=True, malformed_code="invaliduuid"
)

PROFILE_SPECS = {spec.name: spec for spec in (PLATFORM, SDK, STANDARD, STANDARD_1_0)}

PATH_SUFFIXES = (
    ("/1edtech/ims/case/v1p1", STANDARD),
    ("/ims/case/v1p1", SDK),
    ("/ims/case/v1p0", STANDARD_1_0),
    ("/case/1.1", PLATFORM),
)
"""The profile that the end of a base URL implies; longer ends first."""


def parse_base_url_and_profile(url: str, profile: str | None) -> tuple[str, ProfileSpec]:
    """Return the base URL of the server to test, and the API profile to test it against.

    If ``profile`` is None, the end of the URL's path determines the profile. For a URL without a
    path, the profile defaults to platform, and the path at which this project serves the profile
    is appended. Raises ``CommandError`` if the URL is invalid or its path implies no profile.
    """
    if not is_http_url(url) or urlsplit(url).query or urlsplit(url).fragment:
        raise CommandError(
            f"invalid base URL {url!r}: expected http(s)://HOST[:PORT]/PATH, for example "
            "http://127.0.0.1:8000/case/1.1"
        )
    base = url.rstrip("/")
    spec = PROFILE_SPECS.get(profile or "")
    if not urlsplit(url).path.strip("/"):
        spec = spec or PLATFORM
        return base + spec.path, spec
    spec = spec or next((spec for suffix, spec in PATH_SUFFIXES if base.endswith(suffix)), None)
    if spec is None:
        raise CommandError(
            f"unknown base path in {url}: use a URL that ends in "
            f"{', '.join(suffix for suffix, _ in PATH_SUFFIXES)}, or add --profile"
        )
    return base, spec


def get_identifier(node: Any) -> str:
    """Return the ``identifier`` or ``sourcedId`` of an entity or link; "" if it has neither."""
    if not isinstance(node, dict):
        return ""
    return str(node.get("identifier") or node.get("sourcedId") or "")


def get_identifiers(entities: list[dict[str, Any]]) -> list[str]:
    """Return the identifier of each entity, in the same order."""
    return [get_identifier(entity) for entity in entities]
