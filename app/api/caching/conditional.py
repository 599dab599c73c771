"""Conditional requests for package responses: ETag and Last-Modified (RFC 9110, section 13).

An entity tag contains the revision of the response and a hash of its representation. Tags with
different revisions may still match, because not every revision changes every response; comparing
the revisions in the database decides.
"""

from __future__ import annotations

import hashlib
import re
import time
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache

from fastapi import Request

from ... import __version__
from ...db.read.revisions import Revision, RevisionCache

TAG_PATTERN = re.compile(r'(?:W/)?"([0-9a-f]{8})-(\d{1,19})-(\d{1,19})-(\d{1,19})-([0-9a-f]{12})"')

CACHE_SIZE = 1000
"""Hashes and formatted dates that are cached, since many responses share them."""

LAST_MODIFIED_MIN_AGE_SECONDS = 2
"""Age from which a change has a Last-Modified: within its second, others may still follow."""


@lru_cache(CACHE_SIZE)
def hash_representation_key(*parts: object) -> str:
    """Hash the parts of a request that select the representation, such as profile and fields.

    Equal ``parts`` must have an equal ``repr``. Returns 12 hexadecimal digits for the entity tag,
    so that two representations of the same data have different tags.
    """
    return hashlib.sha256(repr((__version__, *parts)).encode()).hexdigest()[:12]


def build_package_headers(revision: Revision, representation_hash: str) -> dict[str, str]:
    """Return the headers ETag, Last-Modified and Vary of a package as of ``revision``.

    A 304 response has the same ones (RFC 9110, section 15.4.5). ``representation_hash`` is the
    result of ``hash_representation_key``. ``Last-Modified`` is left out for 2 seconds after a
    change, because another change may follow within the same second.
    """
    headers = {"ETag": _format_entity_tag(revision, representation_hash)}
    changed_at = revision.changed_at
    if changed_at and time.time() - changed_at.timestamp() > LAST_MODIFIED_MIN_AGE_SECONDS:
        headers["Last-Modified"] = _format_http_date(changed_at)
    return {**headers, "Vary": "Accept-Encoding"}


def _format_entity_tag(revision: Revision, representation_hash: str) -> str:
    numbers = f"{revision.document}-{revision.definitions}-{revision.nodes}"
    return f'W/"{revision.history[:8]}-{numbers}-{representation_hash}"'


@lru_cache(CACHE_SIZE)
def _format_http_date(timestamp: datetime) -> str:
    return format_datetime(timestamp.astimezone(UTC), usegmt=True)


async def is_not_modified(
    request: Request, revisions: RevisionCache, current: Revision, representation_hash: str
) -> bool:
    """Return whether the client's cached copy is current, so that the response can be 304.

    Evaluates ``If-None-Match``, or else ``If-Modified-Since``. ``current`` is the revision of the
    package; ``revisions`` decides whether an older revision had the same content.
    ``representation_hash`` is the result of ``hash_representation_key``.
    """
    if tags := request.headers.get("if-none-match"):
        if tags.strip() in ("*", _format_entity_tag(current, representation_hash)):
            return True
        return await _any_tag_matches(tags, revisions, current, representation_hash)
    modified_since = _parse_http_date(request.headers.get("if-modified-since"))
    if modified_since is None or current.changed_at is None:
        return False
    # Not <=, because a failover may lose the last change, and what remains is older.
    return current.changed_at.replace(microsecond=0) == modified_since


async def _any_tag_matches(
    tags: str, revisions: RevisionCache, current: Revision, representation_hash: str
) -> bool:
    for history, document, definitions, nodes, tag_hash in TAG_PATTERN.findall(tags):
        if tag_hash == representation_hash and current.history.startswith(history):
            numbers = (int(document), int(definitions), int(nodes))
            revision = Revision(current.document_identifier, current.history, *numbers, None)
            if await revisions.is_package_unchanged(revision, current):
                return True
    return False


def _parse_http_date(text: str | None) -> datetime | None:
    try:
        timestamp = parsedate_to_datetime(text) if text else None
    except (ValueError, OverflowError):
        return None
    if timestamp is None or timestamp.tzinfo:
        return timestamp
    return timestamp.replace(tzinfo=UTC)
