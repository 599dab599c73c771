"""Read a CASE server's list of CFDocuments, from its first page to its last."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit, urlunsplit

import httpx
import orjson

from ..net.download import DownloadError, Fetcher, FetchResult
from ..net.link_header import find_link
from ..net.ssrf import get_origin

PAGE_SIZE = 100
"""The page size of requests. Every known server allows it."""

MAX_PAGES = 10_000

MAX_PAGES_WITHOUT_NEWS = 10
"""Consecutive pages that may list no new document while ``Link`` names a next page."""

MAX_WRAPPER_DEPTH = 3

IDENTIFIERS = ("identifier", "sourcedId")
"""Names of the identifier field: the standard's, and that of TimeBack's production API."""

TOTALS = ("total", "totalCount")
"""Fields of a page body with the total number of documents."""


@dataclass
class DocumentList:
    """The CFDocuments that another CASE server lists, and reasons why some may be missing."""

    package_urls: dict[str, list[str]] = field(default_factory=dict)
    """URLs to try for the package of each document, in order, by document identifier."""
    total: int | None = None
    """The total that the server reported, if any."""
    error: str | None = None
    """Why the list could not be read to its end."""
    doubt: str | None = None
    """Why the last page may not be the end of the list."""

    @property
    def incomplete_reason(self) -> str | None:
        """Why the list may be incomplete, or None if it is known to be complete."""
        if self.total is not None and len(self.package_urls) < self.total:
            return f"it lists {len(self.package_urls):,} of the {self.total:,} documents it counts"
        return self.error or self.doubt


def is_list_url(url: str) -> bool:
    """Return whether a URL points to a list of documents: its path ends in /CFDocuments."""
    return urlsplit(url).path.rstrip("/").endswith("/CFDocuments")


def read_document_list(
    fetcher: Fetcher, url: str, progress: Callable[[str], None] = lambda _: None
) -> DocumentList:
    """Fetch all pages of a CASE server's list of CFDocuments.

    The next page is the ``rel="next"`` target of ``Link`` (CASE 1.1 binding, section 3.1). Without
    such a link, pages are requested by offset until one is empty or has no new document. The total
    in ``X-Total-Count`` or in the body then tells whether the list is complete.

    A download error is not raised. It ends the list, and the returned list contains the error and
    its page.
    """
    reader = _DocumentPageReader(fetcher, url)
    try:
        reader.read(progress)
    except DownloadError as error:
        reader.documents.error = (
            f"page {reader.number:,} ({reader.page_url}): {error}; run the command again, or sync "
            "the packages by their own URLs"
        )
    return reader.documents


class _DocumentPageReader:
    """Fetches the pages of one list of CFDocuments, from the first page to the last."""

    def __init__(self, fetcher: Fetcher, url: str) -> None:
        self.fetcher, self.url = fetcher, url
        self.documents = DocumentList()
        self.page_url, self.number = url, 1
        self.shown = 0
        """Number of entries read, repeated ones included: the offset of the next page."""
        self.visited: set[str] = set()
        self.pages_without_news = 0

    def read(self, progress: Callable[[str], None]) -> None:
        if "offset" in parse_qs(urlsplit(self.url).query):
            raise DownloadError("leave offset out of the URL: a list is read from its first page")
        self.page_url = _add_page_parameters(self.url, 0)
        is_linked = False
        while self.number <= MAX_PAGES:
            progress(f"reading the list, {len(self.documents.package_urls):,} documents")
            page = self._fetch_page(is_linked=is_linked)
            if page is None:
                return
            has_news = self._add_page(page)
            next_url = _find_next_url(page)
            if next_url is None:
                if not has_news or self._is_last_page(page, is_linked=is_linked):
                    return
                self.page_url, is_linked = _add_page_parameters(self.url, self.shown), False
            else:
                self._refuse_loop(next_url, has_news=has_news)
                self.page_url, is_linked = next_url, True
            self.number += 1
        raise DownloadError(f"the list has more than {MAX_PAGES:,} pages")

    def _fetch_page(self, *, is_linked: bool) -> FetchResult | None:
        """Fetch the current page of the list, or return None if the list ended with a 404.

        ``is_linked`` is true if a Link header contained the page's URL, and false if the reader
        calculated its offset. A 404 raises ``DownloadError`` for a linked page and for the first
        page, and so does any other error.
        """
        self.visited.add(self.page_url)
        try:
            page = self.fetcher.fetch_if_modified(self.page_url, operator_url=self.url)
        except DownloadError as error:
            # The standard has no empty list (minItems 1), so a server may return 404 instead. A
            # 404 may also mean that something is wrong.
            if error.status == httpx.codes.NOT_FOUND and self.number > 1 and not is_linked:
                if len(self.documents.package_urls) != self.documents.total:
                    self.documents.doubt = f"page {self.number:,} ({self.page_url}) answered 404"
                return None
            raise
        assert page, "only a conditional request can return None"
        return page

    def _add_page(self, page: FetchResult) -> bool:
        """Add the documents in a response to the list, and return whether any of them is new.

        ``page`` is the response for one page. Also updates the list's total. Raises
        ``DownloadError`` if a document has no identifier.
        """
        documents = self.documents
        entries, body_total = _parse_page(page)
        count_before = len(documents.package_urls)
        for position, entry in enumerate(entries, 1):
            identifier = get_identifier(entry)
            if identifier is None:
                raise DownloadError(f"entry {position} has no identifier")
            urls = _list_package_urls(entry, identifier, self.url, page.url)
            documents.package_urls.setdefault(identifier, urls)
        self.shown += len(entries)
        for total in (_parse_count(page.headers.get("X-Total-Count")), body_total):
            if total is not None:
                documents.total = max(total, documents.total or 0)
        return len(documents.package_urls) > count_before

    def _is_last_page(self, page: FetchResult, *, is_linked: bool) -> bool:
        """Return whether a page whose Link header names no next page is known to be the last one.

        True only if the server sends Link headers and the list has as many documents as its total,
        if any. The total alone is not enough, because some servers count only the documents of the
        page.
        """
        if not is_linked and "Link" not in page.headers:
            return False
        total = self.documents.total
        return total is None or len(self.documents.package_urls) >= total

    def _refuse_loop(self, next_url: str, *, has_news: bool) -> None:
        if next_url in self.visited:
            raise DownloadError(f"its Link header names {next_url} as next, which was already read")
        self.pages_without_news = 0 if has_news else self.pages_without_news + 1
        if self.pages_without_news > MAX_PAGES_WITHOUT_NEWS:
            raise DownloadError(
                f"the last {self.pages_without_news} pages list no new document, but their "
                "Link headers name a next page"
            )


def _add_page_parameters(url: str, offset: int) -> str:
    """Add the query parameters ``offset`` and ``limit`` to the URL of a list.

    If the URL already has a limit, keep it; otherwise the limit is ``PAGE_SIZE``.
    """
    parts = urlsplit(url)
    limit = {} if "limit" in parse_qs(parts.query) else {"limit": PAGE_SIZE}
    query = "&".join(filter(None, (parts.query, urlencode({**limit, "offset": offset}))))
    return urlunsplit((*parts[:3], query, ""))


def _find_next_url(response: FetchResult) -> str | None:
    """Return the URL of the next page from a response's Link header, or None if there is none.

    Only the path and query of the link are used, because servers behind a proxy often report a
    different scheme or port. Raises ``DownloadError`` for a link to another host.
    """
    target = find_link(response.headers.get("Link"), "next")
    if target is None:
        return None
    page = urlsplit(response.url)
    try:
        parts = urlsplit(urljoin(response.url, target))
        host = parts.hostname
    except ValueError as error:
        raise DownloadError(
            f"its Link header names a next page that is no URL: {target}"
        ) from error
    if parts.scheme not in {"http", "https"} or host != page.hostname:
        raise DownloadError(
            f"its Link header names a next page on another origin, {target}; a list is read from "
            f"one origin only, {page.scheme}://{page.netloc}"
        )
    return urlunsplit((page.scheme, page.netloc, parts.path, parts.query, ""))


def _parse_page(page: FetchResult) -> tuple[list[Any], int | None]:
    """Return (entries, total): the documents in a page of a list, and the size of the list.

    The total is None if the page lacks it. The entries are in ``{"CFDocuments": […]}`` or in a bare
    array, possibly nested in objects with a single field. Raises ``DownloadError`` for anything
    else.
    """
    try:
        value = orjson.loads(page.body.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError as error:
        reason = f"it is not JSON, or not whole ({error})"
        raise DownloadError(f"is no list of CFDocuments: {reason}") from error
    for _ in range(MAX_WRAPPER_DEPTH):
        if isinstance(value, dict) and "CFDocuments" in value:
            entries = value["CFDocuments"]
            totals = (_parse_count(value.get(name)) for name in TOTALS)
            total = next((number for number in totals if number is not None), None)
            if isinstance(entries, list):
                return entries, total
            if isinstance(entries, dict) and get_identifier(entries):
                return [entries], total
            break
        if isinstance(value, list):
            if len(value) == 1 and isinstance(value[0], dict) and "CFDocuments" in value[0]:
                value = value[0]
                continue
            return value, None
        if not isinstance(value, dict) or len(value) != 1:
            break
        (value,) = value.values()
    raise DownloadError("is no list of CFDocuments")


def get_identifier(entity: Any) -> str | None:
    """Return the identifier of an entity, a link or ``{"CFDocument": {…}}``, or None if missing."""
    entity = unwrap(entity, "CFDocument")
    if isinstance(entity, dict):
        for name in IDENTIFIERS:
            if isinstance(value := entity.get(name), str) and value.strip():
                return value
    return None


def _list_package_urls(entry: Any, identifier: str, list_url: str, page_url: str) -> list[str]:
    """Return the URLs at which the package of a listed document may be, most likely first.

    Servers differ: the package is at the document's ``CFPackageURI``, or at CFPackages/ID.
    ``entry`` is the document's JSON in the list. ``page_url`` is the URL, after redirects, of the
    page that contains it.
    """
    link = unwrap(entry, "CFDocument").get("CFPackageURI")
    uri = link if isinstance(link, str) else link.get("uri") if isinstance(link, dict) else None
    urls = []
    if package_url := resolve_same_origin_url(uri, page_url) or resolve_same_origin_url(
        uri, list_url
    ):
        urls.append(package_url)
    elif package_identifier := get_identifier(link):
        urls.append(build_package_url(list_url, package_identifier))
    urls.append(build_package_url(list_url, identifier))
    return list(dict.fromkeys(urls))


def unwrap(value: Any, name: str) -> Any:
    """Return the dict inside a dict whose only key is ``name``, or else the value itself.

    For example, ``{"CFDocument": {"title": "Maths"}}`` gives ``{"title": "Maths"}``.
    """
    if isinstance(value, dict) and value.keys() == {name} and isinstance(value[name], dict):
        return value[name]
    return value


def resolve_same_origin_url(link: Any, base_url: str) -> str | None:
    """Return ``link`` as an absolute URL if it has the same origin as ``base_url``, or None.

    A path such as ``/ims/…`` is resolved against ``base_url``; a fragment is removed.
    """
    if not isinstance(link, str) or not link.startswith(("http://", "https://", "/")):
        return None
    try:
        absolute = urljoin(base_url, link).partition("#")[0]
        return absolute if get_origin(absolute) == get_origin(base_url) else None
    except (httpx.InvalidURL, ValueError):
        return None


def build_package_url(url: str, identifier: str) -> str:
    """Build the URL of a package from the URL of a list or an entity on the same server.

    ``…/CFDocuments`` and ``…/CFItems/1`` both give ``…/CFPackages/{identifier}``. To any other URL,
    ``/CFPackages/{identifier}`` is appended.
    """
    parts = urlsplit(url)
    base = re.sub(r"/CF[A-Za-z]+(/[^/]*)?/*$", "", parts.path)
    path = f"{base}/CFPackages/{quote(identifier, safe='')}"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _parse_count(value: Any) -> int | None:
    """Return a count given as a non-negative integer or a string of digits, or None."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
