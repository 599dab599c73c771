"""Frameworks kept in step with where they come from.

A source is read as a whole before anything is written, and written in one transaction; whatever
fails on the way leaves the copy as it was. Of two that mirror the same source at once, the second
waits, and finds nothing new.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import orjson

from .case.resources import DOCUMENTS
from .db import mirrors, removal
from .db.database import Database
from .db.locks import alone_with
from .db.mirrors import Mirror
from .db.revision import Revision, Revisions
from .db.upload import write_package
from .errors import CaseServerError, NotFound, Problem, StartupError
from .fetching import Fetched, Fetcher
from .progress import Progress
from .repair.reader import read_repaired

Changes = Counter[tuple[str, str]]

PAGE = 100
"""How many documents of a list are asked for at a time: what every server allows."""

MOST_PAGES = 10_000
"""A list that goes on beyond this does not end."""


@dataclass
class Synced:
    """What became of one source."""

    url: str
    status: str = "failed"
    """created, changed, unchanged, dropped (its list names it no longer) or failed."""
    document: str | None = None
    changes: Changes = field(default_factory=Counter)
    reason: str | None = None
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Mirroring:
    """Brings documents here into step with their sources."""

    database: Database
    fetcher: Fetcher
    progress: Progress = lambda _: None

    async def sync(self, url: str) -> AsyncIterator[Synced]:
        """Mirror a CFPackage, or every package of a list of CFDocuments, by its URL."""
        if _is_list(url):
            async for synced in self._sync_list(url):
                yield synced
        else:
            yield await self._sync_one(url, None)

    async def _sync_list(self, url: str) -> AsyncIterator[Synced]:
        try:
            named = [_package_url(url, identifier) async for identifier in self._documents(url)]
        except StartupError as error:
            yield Synced(url, reason=str(error))
            return
        for package_url in named:
            yield await self._sync_one(package_url, url)
        for mirror in await mirrors.listed(self.database, url):
            if mirror.url not in named:
                yield await self._drop(mirror)

    async def _documents(self, url: str) -> AsyncIterator[str]:
        """The identifiers of the documents that a list names. Raises ``StartupError``."""
        seen: set[str] = set()
        for page in range(MOST_PAGES):
            self.progress(f"reading the list, {len(seen):,} documents")
            asked = _with_query(url, limit=PAGE, offset=page * PAGE)
            found = _identifiers(await asyncio.to_thread(self.fetcher.fetch, asked))
            for identifier in found:
                if identifier not in seen:
                    yield identifier
            if len(found) < PAGE or set(found) <= seen:
                return
            seen.update(found)
        raise StartupError(f"names more than {MOST_PAGES * PAGE:,} documents")

    async def _sync_one(self, url: str, list_url: str | None) -> Synced:
        synced = Synced(url)
        try:
            async with self._alone(url):
                await self._bring_into_step(synced, list_url)
        except (CaseServerError, StartupError) as error:
            synced.status, synced.reason = "failed", str(error)
            synced.problems = getattr(error, "problems", [])
        self.progress("")
        return synced

    async def _bring_into_step(self, synced: Synced, list_url: str | None) -> None:
        known = await mirrors.find(self.database, synced.url)
        self.progress("asking whether anything is new")
        fetched = await self._newer(synced.url, known)
        if fetched is None:
            assert known
            synced.status, synced.document = "unchanged", known.document_identifier
            if known.list_url != list_url:
                await mirrors.remember(self.database, known._replace(list_url=list_url))
            return
        self.progress("reading")
        package, _ = await asyncio.to_thread(read_repaired, fetched.body)
        synced.document = package.document_identifier
        written = await write_package(self.database, package, progress=self.progress)
        synced.changes += written.changes
        if known and known.document_identifier != synced.document:
            await self._delete(known.document_identifier, synced)
        changed = "changed" if synced.changes else "unchanged"
        synced.status = "created" if written.created else changed
        said = (fetched.etag, fetched.last_modified)
        state = (written.revision.history, written.revision.document)
        mirror = Mirror(synced.url, list_url, synced.document, *said, *state)
        await mirrors.remember(self.database, mirror)

    async def _newer(self, url: str, known: Mirror | None) -> Fetched | None:
        """What the source answers; None when it has nothing new, and the copy is as it was left."""
        validators: tuple[str | None, str | None] = (None, None)
        if known and known.is_as_left(await self._now(known.document_identifier)):
            validators = (known.etag, known.last_modified)
        return await asyncio.to_thread(self.fetcher.fetch_newer, url, *validators)

    async def _now(self, document: str) -> Revision | None:
        try:
            return await Revisions(self.database).now(document)
        except NotFound:
            return None

    async def _drop(self, mirror: Mirror) -> Synced:
        synced = Synced(mirror.url, "dropped", mirror.document_identifier)
        async with self._alone(mirror.url):
            await self._delete(mirror.document_identifier, synced)
            await mirrors.forget(self.database, mirror.url)
        return synced

    async def _delete(self, document: str, synced: Synced) -> None:
        try:
            synced.changes += await removal.delete(self.database, DOCUMENTS, document)
        except NotFound:
            return  # somebody deleted it before

    @asynccontextmanager
    async def _alone(self, url: str) -> AsyncIterator[None]:
        """While nobody else mirrors the same source."""
        async with (
            self.database.connection() as connection,
            alone_with(connection, f"mirror of {url}"),
        ):
            yield


def _is_list(url: str) -> bool:
    return urlsplit(url).path.rstrip("/").endswith("/CFDocuments")


def _package_url(list_url: str, identifier: str) -> str:
    """Where the server that has a list has the package of one of its documents."""
    parts = urlsplit(list_url)
    base = parts.path.rstrip("/").removesuffix("CFDocuments")
    path = f"{base}CFPackages/{quote(identifier, safe='')}"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _with_query(url: str, **more: int) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(more))))
    return urlunsplit((*parts[:3], query, ""))


def _identifiers(raw: bytes) -> list[str]:
    """The identifiers in one page of a list of documents."""
    try:
        found = orjson.loads(raw)["CFDocuments"]
        return [str(document["identifier"]) for document in found]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise StartupError("is no list of CFDocuments") from error


def told(changes: Changes) -> Iterator[str]:
    """What changed, as a phrase for each kind of entity: "CFItem: 3 created, 1 deleted"."""
    verbs = {
        "create": "created",
        "revive": "brought back",
        "update": "updated",
        "delete": "deleted",
    }
    for kind in dict.fromkeys(kind for kind, _ in changes):
        counts = [
            f"{changes[kind, operation]:,} {verb}"
            for operation, verb in verbs.items()
            if changes[kind, operation]
        ]
        yield f"{kind}: {', '.join(counts)}"


def read_urls(lines: Sequence[str]) -> list[str]:
    """The URLs in a file, one a line; # begins a remark, at the start or after a space."""
    stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    return [line for line in stripped if line]
