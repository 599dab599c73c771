"""Answers that say which state they are of, and are not sent again to who has it (RFC 9110, 13).

A tag names a revision and the form of the answer. Whether two revisions are the same to a reader
is the revisions' to say: a tag that reads otherwise may still name the same answer.
"""

from __future__ import annotations

import hashlib
import re
import time
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache

from fastapi import Request

from .. import __version__
from ..db.read.revisions import Revision, Revisions

TAG = re.compile(r'(?:W/)?"([0-9a-f]{8})-(\d{1,19})-(\d{1,19})-(\d{1,19})-([0-9a-f]{12})"')

REMEMBERED = 1000
"""How many forms and moments are written out once for all answers that name them."""

SECONDS_TO_SETTLE = 2
"""A time says whole seconds: of one in which more may still happen it would say too much."""


@lru_cache(REMEMBERED)
def representation_hash(*said: object) -> str:
    """What an answer depends on beside the state of the store, in twelve characters."""
    return hashlib.sha256(repr((__version__, *said)).encode()).hexdigest()[:12]


def validator_headers(revision: Revision, representation: str) -> dict[str, str]:
    """The headers that say which state an answer is of."""
    headers = {"ETag": _tag(revision, representation)}
    changed_at = revision.changed_at
    if changed_at and time.time() - changed_at.timestamp() > SECONDS_TO_SETTLE:
        headers["Last-Modified"] = _told(changed_at)
    return headers


def _tag(revision: Revision, form: str) -> str:
    counted = f"{revision.document}-{revision.definitions}-{revision.nodes}"
    return f'W/"{revision.history[:8]}-{counted}-{form}"'


@lru_cache(REMEMBERED)
def _told(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC), usegmt=True)


async def is_not_modified(
    request: Request, revisions: Revisions, current: Revision, representation: str
) -> bool:
    """Whether the client has the answer to its request already."""
    if tags := request.headers.get("if-none-match"):
        if tags == _tag(current, representation):
            return True
        return tags.strip() == "*" or await _any_same(tags, revisions, current, representation)
    since = _moment(request.headers.get("if-modified-since"))
    if since is None or current.changed_at is None:
        return False
    return current.changed_at.replace(microsecond=0) <= since


async def _any_same(tags: str, revisions: Revisions, now: Revision, form: str) -> bool:
    for history, document, shared, nodes, said in TAG.findall(tags):
        if said == form and now.history.startswith(history):
            counted = (int(document), int(shared), int(nodes))
            then = Revision(now.document_identifier, now.history, *counted, None)
            if await revisions.is_equivalent(then, now):
                return True
    return False


def _moment(said: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(said) if said else None
    except (ValueError, OverflowError):
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)
