"""Detect request bodies that may be copies of responses of this server."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from ..case.entity_urls import ServerUrls, get_server_urls
from ..case.stored_form import BodyOrigin
from ..case.vocabulary import UNKNOWN_ITEM_TYPE
from .dependencies import ProfileDep, get_state
from .profiles import PROFILES, Profile
from .request_body import RawBody

DEFAULT_TYPE = f'"{UNKNOWN_ITEM_TYPE}"'.encode()
PREFIXES = tuple(profile.prefix for profile in PROFILES)


def find_body_origin(request: Request, profile: Profile, raw: bytes) -> BodyOrigin:
    """Determine which parts of a request body may be copied from a response of this server.

    A client that edits a response and sends it back also sends what the server added: URLs of this
    server, the default item type, empty lists. ``BodyOrigin`` tells the parser which to remove.
    """
    urls = _list_server_urls(request)
    return BodyOrigin(
        urls if urls.is_host_mentioned_in(raw) else None,
        has_default_types=DEFAULT_TYPE in raw and b"CFItemTypeURI" in raw,
        has_empty_lists=profile.empty_lists,
    )


def _list_server_urls(request: Request) -> ServerUrls:
    """List the URL prefixes that links to this server may have, to recognize them in a body.

    They are the public URL, and URLs with the host that the request names.
    """
    settings = get_state(request).settings
    urls, host = [settings.base_url], request.headers.get("host", "")
    if host:
        path = urlsplit(settings.base_url).path
        urls.append(f"http://{host}{path}")
        # A proxy may remove the path of the public URL. In test mode it names a namespace.
        if not settings.test_mode:
            urls.append(f"http://{host}")
    return get_server_urls(tuple(urls), PREFIXES)


async def _provide_body_origin(
    request: Request, profile: ProfileDep, raw_body: RawBody
) -> BodyOrigin:
    return find_body_origin(request, profile, raw_body)


BodyOriginDep = Annotated[BodyOrigin, Depends(_provide_body_origin)]
