"""Mirror frameworks from other CASE servers.

A package is fetched completely before anything is written, and written in one transaction, so an
error leaves the copy unchanged. If two processes sync the same source, the second one waits for the
first and then finds nothing new.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from ..case.resources import DOCUMENTS
from ..db import mirrors
from ..db.locks import advisory_lock
from ..db.mirrors import Mirror
from ..db.pool import Database
from ..db.read.revisions import Revision, RevisionCache
from ..db.write import soft_delete
from ..db.write.upload.change_counts import ChangeCounts
from ..db.write.upload.loss_guard import ALLOW_FLAG, DataLossError, raise_for_data_loss
from ..db.write.upload.package import write_package
from ..exceptions import CaseServerError, CommandError, NotFound, Problem
from ..formatting import format_count, join_first
from ..net.download import DownloadError, Fetcher, FetchResult
from ..repair.reader import repair_and_parse
from .console import Progress
from .document_list import DocumentList, is_list_url, read_document_list
from .remote_server import NotAPackageError, PackageFetcher
from .sources import describe_error

Changes = Counter[tuple[str, str]]
Result = TypeVar("Result")

GONE_STATUSES = {404, 410}
"""The statuses that the URL of a package must return before its framework is deleted."""

NO_COUNTS = ChangeCounts(0, 0, 0, 0)

MAX_LISTED_DOCUMENTS = 5
"""Maximum number of documents that a refusal lists."""


@dataclass
class SyncResult:
    """The result of syncing one URL: the changes made to the local copy, or the error."""

    url: str
    status: str = "failed"
    """created, changed, unchanged, deleted (neither its list nor its URL has it any more), failed,
    or noted: a list with nothing but notes."""
    document: str | None = None
    changes: Changes = field(default_factory=Counter)
    """Number of entities by kind and operation: created, updated, restored or deleted."""
    counts: ChangeCounts = NO_COUNTS
    reason: str | None = None
    """Why it failed."""
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Further messages for the user."""
    is_gone: bool = False
    """True if its URL returned 404 or 410."""


@dataclass(frozen=True)
class Syncer:
    """Keeps local copies of frameworks in sync with their sources, which are other CASE servers."""

    database: Database
    fetcher: Fetcher
    progress: Progress = lambda _: None
    allow_deletes: bool = False
    """True to allow deleting most items of a framework, and most frameworks of a list."""
    dry_run: bool = False
    """True to report changes without writing them."""
    allow_dense: bool = False
    """True to accept packages with more values than usual for their size."""

    async def sync(self, url: str) -> AsyncIterator[SyncResult]:
        """Sync the package at a URL, or every package of the list of CFDocuments at a URL.

        Yields a ``SyncResult`` for each package. For a list, yields another one if it is empty or
        packages may be missing, or if nothing is deleted. Download and validation errors are in the
        results and are not raised.
        """
        if is_list_url(url):
            async for result in self._sync_list(url):
                yield result
        else:
            yield await self._sync_package(url)

    @cached_property
    def _package_fetcher(self) -> PackageFetcher:
        return PackageFetcher(self.fetcher)

    async def _sync_list(self, url: str) -> AsyncIterator[SyncResult]:
        """Sync each package of a list, then delete the frameworks that left the list.

        Yields a ``SyncResult`` for each package and for the list. If only part of the list can be
        read, that part is synced and nothing is deleted. Many deletions at once need the option to
        allow deletes.
        """
        documents = await self._run_in_thread(read_document_list, self.fetcher, url, self.progress)
        self.progress("")
        stored_mirrors = await mirrors.list_mirrors(self.database, url)
        results = []
        for package_urls in documents.package_urls.values():
            results.append(await self._sync_first_available(package_urls, url))
            yield results[-1]
        urls = {result.url for result in results}
        unlisted_mirrors = [
            mirror
            for mirror in stored_mirrors
            if mirror.url not in urls and mirror.document_identifier not in documents.package_urls
        ]
        await self._stop_moved_mirrors(stored_mirrors, results)
        if reason := self._find_deletion_obstacle(documents, unlisted_mirrors):
            yield SyncResult(url, reason=reason)
            return
        if note := documents.incomplete_reason:
            note = f"the list is not known to be complete: {note}"
            yield SyncResult(url, "noted", notes=[note])
            return
        if not documents.package_urls:
            yield SyncResult(url, "noted", notes=["the list is empty"])
        gone = []
        for mirror in unlisted_mirrors:
            result = await self._sync_package(mirror.url, url)
            if result.is_gone:
                gone.append(mirror)
                continue
            if result.status != "failed":
                result.notes.append("its list does not contain it, but its package still exists")
            yield result
        is_mass_deletion = len(gone) > 1 and 10 * len(gone) > len(stored_mirrors)
        if is_mass_deletion and not self.allow_deletes:
            yield SyncResult(url, reason=_describe_mass_deletion(gone, stored_mirrors))
            return
        for mirror in gone:
            yield await self._remove_mirror(mirror)

    async def _sync_first_available(self, package_urls: Sequence[str], list_url: str) -> SyncResult:
        """Sync a listed package from the first of its possible URLs, and return the ``SyncResult``.

        A URL that returns 404 or 410 is skipped. If all do, the result of the last one is returned.
        """
        for url in package_urls:
            result = await self._sync_package(url, list_url)
            if not result.is_gone:
                break
        return result

    def _find_deletion_obstacle(
        self, documents: DocumentList, unlisted_mirrors: list[Mirror]
    ) -> str | None:
        """Return the reason why the sync of a list must not delete frameworks, or None if it may.

        The list may be unreadable, incomplete or empty. ``unlisted_mirrors`` are the stored mirrors
        that the list does not contain. The caller deletes one only if its own URL returns 404 or
        410.
        """
        count = len(unlisted_mirrors)
        suffix = f"; {format_count(count, 'unlisted framework')} kept" if count else ""
        if documents.error:
            return f"the list could not be read to its end; nothing is deleted; {documents.error}"
        if documents.incomplete_reason and count:
            return f"the list is not known to be complete: {documents.incomplete_reason}{suffix}"
        if not documents.package_urls and count and not self.allow_deletes:
            return f"the list is empty{suffix}; {ALLOW_FLAG} deletes those whose packages are gone"
        return None

    async def _stop_moved_mirrors(
        self, stored_mirrors: list[Mirror], results: list[SyncResult]
    ) -> None:
        """Stop mirroring from a URL if the list now gives another URL for the same document.

        ``stored_mirrors`` are the mirrors that earlier syncs of the list stored, and ``results``
        are the results of this sync. A dry run changes nothing. The frameworks are not deleted.
        """
        urls = {result.document: result.url for result in results if result.status != "failed"}
        for mirror in stored_mirrors:
            current = urls.get(mirror.document_identifier)
            if current not in {None, mirror.url} and not self.dry_run:
                await mirrors.stop_mirroring(self.database, mirror.url)

    async def _sync_package(self, url: str, list_url: str | None = None) -> SyncResult:
        """Sync the framework whose package or document is at a URL, and return its ``SyncResult``.

        ``list_url`` is the list in which the URL was found, or None if the user gave the URL
        itself. Download and validation errors are stored in the result and are not raised.
        """
        result, operator_url = SyncResult(url), list_url or url
        try:
            try:
                await self._sync_locked(result, list_url, operator_url)
            except NotAPackageError as error:
                if error.package_url is None:
                    raise
                result.url = error.package_url
                await self._sync_locked(result, list_url, operator_url)
        except (CaseServerError, CommandError) as error:
            result.status, result.reason = "failed", describe_error(error)
            result.problems = getattr(error, "problems", [])
            result.is_gone = isinstance(error, DownloadError) and error.status in GONE_STATUSES
            if isinstance(error, DataLossError):
                result.counts = error.counts
        self.progress("")
        return result

    async def _sync_locked(
        self, result: SyncResult, list_url: str | None, operator_url: str
    ) -> None:
        async with self._lock_source(result.url):
            mirror = await mirrors.find_mirror(self.database, result.url)
            self.progress("checking for changes")
            fetched = await self._fetch_if_modified(result.url, mirror, operator_url)
            if fetched is None:
                assert mirror
                await self._report_unchanged(result, mirror, list_url)
            else:
                await self._write_package(result, mirror, fetched, list_url)

    async def _report_unchanged(
        self, result: SyncResult, mirror: Mirror, list_url: str | None
    ) -> None:
        result.status, result.document = "unchanged", mirror.document_identifier
        count = await mirrors.count_framework_entities(self.database, mirror.document_identifier)
        result.counts = ChangeCounts(0, 0, count, 0)
        if mirror.list_url != list_url and not self.dry_run:
            await mirrors.save_mirror(self.database, mirror._replace(list_url=list_url))

    async def _write_package(
        self, result: SyncResult, mirror: Mirror | None, fetched: FetchResult, list_url: str | None
    ) -> None:
        self.progress("reading")
        package, _ = await asyncio.to_thread(
            repair_and_parse, fetched.body, allow_dense=self.allow_dense
        )
        result.document = package.document_identifier
        write_result = await write_package(
            self.database,
            package,
            progress=self.progress,
            guard=None if self.allow_deletes else raise_for_data_loss,
            dry_run=self.dry_run,
        )
        result.changes += write_result.changes
        result.counts = write_result.counts
        if mirror and mirror.document_identifier != result.document:
            result.notes.append(
                f"this URL used to have document {mirror.document_identifier}, which is kept; to "
                f"delete it, run: case-server delete document {mirror.document_identifier}"
            )
        changed = "changed" if result.changes else "unchanged"
        result.status = "created" if write_result.is_created else changed
        if not self.dry_run:
            validators = (fetched.headers.get("ETag"), fetched.headers.get("Last-Modified"))
            revision = (write_result.revision.history, write_result.revision.document)
            state = Mirror(result.url, list_url, result.document, *validators, *revision)
            await mirrors.save_mirror(self.database, state)

    async def _fetch_if_modified(
        self, url: str, mirror: Mirror | None, operator_url: str
    ) -> FetchResult | None:
        """Download the package of a mirror, or return None if it is unchanged since the last sync.

        The server is asked for changes only, with the stored ETag and Last-Modified, if the local
        copy is unmodified. Otherwise the sync must overwrite local changes and needs the whole
        package. Raises ``DownloadError``.
        """
        validators: tuple[str | None, str | None] = (None, None)
        if mirror and mirror.is_local_copy_unchanged(
            await self._fetch_current_revision(mirror.document_identifier)
        ):
            validators = (mirror.etag, mirror.last_modified)
        return await self._run_in_thread(
            self._package_fetcher.fetch_if_modified, url, *validators, operator_url
        )

    async def _fetch_current_revision(self, document: str) -> Revision | None:
        try:
            return await RevisionCache(self.database).get_current_revision(document)
        except NotFound:
            return None

    async def _remove_mirror(self, mirror: Mirror) -> SyncResult:
        """Stop mirroring from a URL that no longer has the package, and delete the framework.

        The framework is kept if it is mirrored from another URL as well. A dry run only returns the
        result that the deletion would have. An error makes the result "failed" and is not raised.
        """
        result = SyncResult(mirror.url, "deleted", mirror.document_identifier)
        try:
            async with self._lock_source(mirror.url):
                document = mirror.document_identifier
                urls = await mirrors.list_source_urls(self.database, document)
                if other_urls := [url for url in urls if url != mirror.url]:
                    result.status = "unchanged"
                    result.notes.append(
                        f"gone from this URL, but still mirrored from {other_urls[0]}"
                    )
                else:
                    await self._delete_document(document, result)
                if not self.dry_run:
                    await mirrors.stop_mirroring(self.database, mirror.url)
        except CaseServerError as error:
            result.status, result.reason = "failed", str(error)
        return result

    async def _delete_document(self, document: str, result: SyncResult) -> None:
        try:
            result.changes += await soft_delete.delete_entity(
                self.database, DOCUMENTS, document, dry_run=self.dry_run
            )
        except NotFound:
            return  # it was deleted earlier
        result.counts = ChangeCounts(0, 0, 0, result.changes.total())

    async def _run_in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Call ``work``, a blocking function, with ``arguments`` in a thread and return its result.

        Exceptions of ``work`` are passed on. If the task is cancelled, the fetcher stops its
        retries, so that the thread ends.
        """
        try:
            return await asyncio.to_thread(work, *arguments)
        except asyncio.CancelledError:
            self.fetcher.stop()
            raise

    @asynccontextmanager
    async def _lock_source(self, url: str) -> AsyncIterator[None]:
        """Hold a database lock on a URL during the block, so that no other process syncs it.

        Waits while another process holds it. Raises ``asyncpg.LockNotAvailableError`` after the
        session's lock timeout.
        """
        async with (
            self.database.connection() as connection,
            advisory_lock(connection, f"mirror of {url}"),
        ):
            yield


def _describe_mass_deletion(gone: list[Mirror], stored_mirrors: list[Mirror]) -> str:
    names = join_first([mirror.document_identifier for mirror in gone], MAX_LISTED_DOCUMENTS)
    return (
        f"{len(gone):,} of the {len(stored_mirrors):,} frameworks mirrored from this list are gone "
        f"at once: {names}; nothing is deleted; {ALLOW_FLAG} deletes them"
    )


def format_changes(changes: Changes) -> Iterator[str]:
    """Yield a phrase for each kind of changed entity, such as "CFItem: 3 created, 1 deleted".

    ``changes`` counts the changes by (class, operation).
    """
    verbs = {"create": "created", "revive": "restored", "update": "updated", "delete": "deleted"}
    for kind in dict.fromkeys(kind for kind, _ in changes):
        counts = [
            f"{changes[kind, operation]:,} {verb}"
            for operation, verb in verbs.items()
            if changes[kind, operation]
        ]
        yield f"{kind}: {', '.join(counts)}"


def parse_url_lines(lines: Sequence[str]) -> list[str]:
    """Return the URLs in the lines of a file, without blank lines and ``#`` comments."""
    urls = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    return [url for url in urls if url]
