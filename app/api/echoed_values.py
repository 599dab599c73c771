"""Detect request bodies that may be copies of responses of this server."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from ..case.entity_urls import get_server_url_matcher
from ..case.stored_form import EchoedValues, may_have_default_item_types
from .dependencies import ProfileDep, get_app_state
from .profiles import PROFILES
from .request_body import RawBody

PREFIXES = tuple(profile.prefix for profile in PROFILES)


async def detect_echoed_values(
    request: Request, profile: ProfileDep, raw_body: RawBody
) -> EchoedValues:
    """Detect values in a request body that the server may have added to an earlier response.

    A client that edits a response and sends it back also sends these values: URLs of this server,
    the default item type, empty lists. The returned ``EchoedValues`` describes them, so that they
    are not stored. URLs of this server begin with the ``base_url`` setting or with the request's
    Host header.
    """
    settings = get_app_state(request).settings
    urls, host = [settings.base_url], request.headers.get("host", "")
    if host:
        urls.append(f"http://{host}{urlsplit(settings.base_url).path}")
        # A proxy may remove the path of the public URL. In test mode it names a namespace.
        if not settings.test_mode:
            urls.append(f"http://{host}")
    matcher = get_server_url_matcher(tuple(urls), PREFIXES)
    return EchoedValues(
        matcher if matcher.mentions_host(raw_body) else None,
        has_default_item_types=may_have_default_item_types(raw_body),
        has_empty_lists=profile.empty_lists,
    )


EchoedValuesDep = Annotated[EchoedValues, Depends(detect_echoed_values)]
