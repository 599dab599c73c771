"""Fetch packages from CASE servers, and recognize URLs that do not lead to a package."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import httpx
import orjson

from ..net.download import DownloadError, Fetcher, FetchResult
from ..repair.reader import WRAPPERS
from .document_list import build_package_url, get_identifier, resolve_same_origin_url, unwrap

STANDARD_BASE = re.compile(r"(?P<base>.*/ims/case/v1p1)/CF\w+/.*")
"""Paths of the standard's CASE 1.1 binding, which has a service description at a known place."""

DISCOVERY = "discovery/imscasev1p1_openapi3_v1p0.json"
"""Path of the service description (CASE 1.1 binding, section 2.5)."""

PACKAGE_PATH = re.compile(r"/CFPackages/\{\w+\}$")

API_BASE = re.compile(r"/case/v?1[.p][01]/?$")

PARSED_BYTES = 1_000_000
"""Responses up to this size are parsed to find out what they are. No single entity is larger."""

NO_ITEMS = "has a CFDocument but no CFItems, so it is not imported as an empty package"


class NotAPackageError(DownloadError):
    """Raised if a URL returns something other than a package, for example a list of documents.

    ``package_url`` is the URL of the package to use instead, or None if unknown.
    """

    def __init__(self, message: str, package_url: str | None = None) -> None:
        super().__init__(message)
        self.package_url = package_url


@dataclass(frozen=True)
class PackageFetcher:
    """Fetches packages from CASE servers, with the packages' extensions if a server offers them."""

    fetcher: Fetcher
    _has_extensions: dict[str, bool] = field(default_factory=dict)
    """Support for the parameter ``extensions``, by base URL of a server."""

    def fetch(self, url: str) -> bytes:
        """Fetch the package at a URL and return its JSON as bytes.

        If the URL is that of a CFDocument, fetches the document's package instead. Raises
        ``NotAPackageError`` if the response is no package, and ``DownloadError`` if it cannot be
        read.
        """
        try:
            result = self.fetch_if_modified(url)
        except NotAPackageError as error:
            if error.package_url is None:
                raise
            result = self.fetch_if_modified(error.package_url, operator_url=url)
        assert result, "only a conditional request can return None"
        return result.body

    def fetch_if_modified(
        self,
        url: str,
        etag: str | None = None,
        last_modified: str | None = None,
        operator_url: str | None = None,
    ) -> FetchResult | None:
        """Fetch a package, or return None if the server says that it has not changed.

        ``etag`` and ``last_modified`` are those of the previous response. If the user did not type
        ``url``, because a response contained it, ``operator_url`` is the URL that the user typed;
        only its origin gets the token. Raises ``NotAPackageError`` if the response is not a package
        with CFItems, and ``DownloadError`` as ``Fetcher.fetch_if_modified`` does.
        """
        operator_url = operator_url or url
        request_url = self._add_extensions_parameter(url, operator_url)
        try:
            result = self.fetcher.fetch_if_modified(request_url, etag, last_modified, operator_url)
        except DownloadError as error:
            if error.status == httpx.codes.NOT_FOUND and (hint := _advise_on_base_url(url)):
                raise DownloadError(f"{error}; {hint}", error.status) from error
            raise
        if result:
            _require_package(result, url)
        return result

    def _add_extensions_parameter(self, url: str, operator_url: str) -> str:
        """Add ``extensions=true`` to the URL of a package if the server supports it.

        Returns the URL. The parameter is supported if the server's OpenAPI document names it. If
        that document cannot be read, the URL is returned unchanged. ``operator_url`` is the URL
        that the user typed, for the SSRF guard.
        """
        parts = urlsplit(url)
        match = STANDARD_BASE.fullmatch(parts.path)
        if not match or "extensions" in parse_qs(parts.query, keep_blank_values=True):
            return url
        base = urlunsplit((parts.scheme, parts.netloc, match["base"], "", ""))
        if base not in self._has_extensions:
            self._has_extensions[base] = self._offers_extensions(base, operator_url)
        if not self._has_extensions[base]:
            return url
        query = "&".join(filter(None, (parts.query, "extensions=true")))
        return urlunsplit((*parts[:3], query, ""))

    def _offers_extensions(self, base: str, operator_url: str) -> bool:
        try:
            paths = orjson.loads(self.fetcher.fetch(f"{base}/{DISCOVERY}", operator_url))["paths"]
            operation = next(
                path_item["get"] for path, path_item in paths.items() if PACKAGE_PATH.search(path)
            )
            return any(
                parameter.get("name") == "extensions" for parameter in operation["parameters"]
            )
        except (DownloadError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
            return False  # no OpenAPI document of a case-server


def _require_package(response: FetchResult, url: str) -> None:
    """Raise ``NotAPackageError`` unless a response contains a package.

    ``url`` is the requested URL, for the advice in the message. Raises ``DownloadError`` if the
    JSON is cut off.
    """
    body = response.body.removeprefix(BOM_UTF8).strip()
    if not body.startswith((b"{", b"[")):
        media_type = response.headers.get("Content-Type", "").partition(";")[0] or "no JSON"
        raise NotAPackageError(
            f"the response is {media_type}, not a CFPackage as JSON; {_suggest_url(url)}"
        )
    if not body.endswith((b"}", b"]")):
        raise DownloadError(
            f"the source failed: its answer breaks off after {len(body):,} bytes, in the middle of "
            "its JSON; run the command again"
        )
    if len(body) > PARSED_BYTES and b'"CFItems"' in body:
        return
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return  # the package reader reports where the syntax error is
    for name in WRAPPERS:
        value = unwrap(value, name)
    if isinstance(value, dict) and value.get("CFItems") is not None:
        return
    raise _make_error_for_json(value, url)


def _make_error_for_json(value: Any, url: str) -> NotAPackageError:
    """Create a ``NotAPackageError`` that suggests another URL, for JSON without a package.

    ``value`` is the parsed JSON of the response from ``url``.
    """
    if isinstance(value, list) or (isinstance(value, dict) and "CFDocuments" in value):
        return _make_error_for_list(value, url)
    for name in ("CFItem", "CFAssociation"):
        entity = value.get(name) if isinstance(value, dict) else None
        if isinstance(entity, dict):
            return _make_error_for_entity(entity, name, url)
    document = unwrap(value, "CFDocument")
    if isinstance(document, dict) and "CFDocument" not in document:
        if "CFPackageURI" in document or "creator" in document:
            return _make_error_for_document(document, url)
        if "CFDocumentURI" in document:
            return _make_error_for_entity(document, "object of a framework", url)
    if isinstance(value, dict) and "CFDocument" in value:
        return NotAPackageError(NO_ITEMS)
    return NotAPackageError(f"the response is JSON but not a CFPackage; {_suggest_url(url)}")


def _make_error_for_list(value: Any, url: str) -> NotAPackageError:
    entries = value if isinstance(value, list) else value["CFDocuments"]
    first_entry = entries[0] if isinstance(entries, list) and entries else {}
    identifier = get_identifier(first_entry) or "ID"
    return NotAPackageError(
        "is a list of CFDocuments, not a package; mirror all of them with: "
        f"case-server sync {url}; or give the URL of one package: "
        f"{build_package_url(url, identifier)}"
    )


def _make_error_for_document(document: dict[str, Any], url: str) -> NotAPackageError:
    """Create a ``NotAPackageError`` for a response that is a CFDocument.

    Its ``package_url`` is the URL of the document's package, or None if that is unknown or not on
    the origin of ``url``.
    """
    link = document.get("CFPackageURI")
    uri = link if isinstance(link, str) else link.get("uri") if isinstance(link, dict) else None
    identifier = get_identifier(link) or get_identifier(document)
    local_url = (
        build_package_url(url, identifier) if identifier and "/CF" in urlsplit(url).path else None
    )
    package = resolve_same_origin_url(uri, url)
    if package is None and isinstance(uri, str) and uri.startswith(("http://", "https://")):
        alternative = f"; or of its copy on this server: {local_url}" if local_url else ""
        return NotAPackageError(
            "is one CFDocument, and its package is on another origin; give the URL of the "
            f"package: {uri}{alternative}"
        )
    package = package or local_url
    if package is None:
        return NotAPackageError(f"is one CFDocument, not a package; {_suggest_url(url)}")
    if package.rstrip("/") == url.partition("?")[0].rstrip("/"):
        return NotAPackageError(NO_ITEMS)
    return NotAPackageError(f"is one CFDocument; give the URL of its package: {package}", package)


def _make_error_for_entity(entity: dict[str, Any], name: str, url: str) -> NotAPackageError:
    identifier = get_identifier(entity.get("CFDocumentURI"))
    package = build_package_url(url, identifier or "ID")
    return NotAPackageError(f"is one {name}, not a package; give the URL of its package: {package}")


def _advise_on_base_url(url: str) -> str | None:
    """Return advice for the user if a URL is only the base URL of an API or server.

    The advice names the URLs of a list and of a package to use instead. Returns None for other
    URLs.
    """
    parts = urlsplit(url)
    base = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    if API_BASE.search(parts.path):
        kind = "the base URL of an API"
    elif parts.path in {"", "/"}:
        kind, base = "the base URL of a server", f"{base}/ims/case/v1p1"
    else:
        return None
    return (
        f"{url} is {kind}: mirror all its frameworks with, for example, case-server sync "
        f"{base}/CFDocuments; or give the URL of one package: {base}/CFPackages/ID"
    )


def _suggest_url(url: str) -> str:
    return _advise_on_base_url(url) or "give the URL of a package (…/CFPackages/ID)"
