"""A blocking client of the test API, ``/_test/``, for the fixtures of the pytest plugin.

It uses ``urllib`` because tools such as respx and pytest-httpx, which intercept the requests of
``httpx`` in tests, do not affect it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

REQUEST_TIMEOUT_SECONDS = 120
COLLECTIONS = {"document": "CFDocuments", "item": "CFItems"}


class CaseTestApiError(Exception):
    """Raised if the server is unreachable or rejects a request.

    The message says what to do.
    """


class FaultOptions(TypedDict, total=False):
    """The keyword arguments of ``CaseTestApi.add_fault``, which describe a fault to inject.

    They select requests and say how the server responds to them. They mirror the server's
    ``testmode.faults.Fault``, which the plugin does not import. See ``docs/guides/test-mode.md``.
    """

    method: str
    path: str
    client: str
    path_regex: str
    nth: int | list[int]
    probability: float
    seed: int
    times: int
    status: int
    retry_after: int
    description: str
    delay: float
    reset: bool
    body: str
    slow_body: float
    apply_request: bool


class RequestExpectation(TypedDict, total=False):
    """The keyword arguments of ``CaseTestApi.verify``: criteria of requests, and their number.

    ``count``, ``at_least`` and ``at_most`` give the number; the other arguments select requests.
    See ``docs/guides/test-mode.md``.
    """

    method: str
    path: str
    client: str
    status: int
    body: Any
    count: int
    at_least: int
    at_most: int


@dataclass(frozen=True)
class CaseServer:
    """The URL and credentials of a server in test mode, or of one of its test namespaces."""

    url: str
    namespace: str | None = None
    client_id: str = "local-client"
    client_secret: str = "local-secret"  # noqa: S105  the documented default of a local server
    test_api_token: str = ""

    @property
    def base_url(self) -> str:
        """Return the URL of the server or namespace, to which request paths are appended."""
        return f"{self.url}/ns/{self.namespace}" if self.namespace else self.url

    @property
    def token_url(self) -> str:
        """Return the URL of the OAuth 2 token endpoint."""
        return f"{self.base_url}/oauth2/token"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a CASE client for this server, as a dict.

        They are the base URL, the token URL, and the client's ID and secret.
        """
        return {
            "CASE_BASE_URL": self.base_url,
            "CASE_TOKEN_URL": self.token_url,
            "CASE_CLIENT_ID": self.client_id,
            "CASE_CLIENT_SECRET": self.client_secret,
        }


class CaseTestApi:
    """Client of a server's test API: seeds data, injects faults and verifies requests.

    Every method raises ``CaseTestApiError`` if the server rejects the request or does not respond.
    """

    def __init__(self, server: CaseServer) -> None:
        self.server = server
        self._opener = build_opener(ProxyHandler({}))

    def reset(self) -> None:
        """Restore the seed data, and clear the faults, request log and custom token lifetimes.

        Resets only the namespace of this client. Snapshots are kept.
        """
        self._call("POST", "/reset")

    def seed(self, *packages: Mapping[str, Any], sample: bool = False) -> None:
        """Replace all data with CASE packages, and with the sample framework if ``sample`` is true.

        Later resets restore these data.
        """
        self._call("POST", "/seed", {"packages": list(packages), "sample": sample})

    def seed_from_option(self, seed: str, folder: Path) -> None:
        """Seed the server as the option ``--case-seed`` says: "sample", "empty" or a package file.

        The path of the file is relative to ``folder``. Raises ``CaseTestApiError`` if the file is
        not readable JSON.
        """
        if seed in {"sample", "empty"}:
            self.seed(sample=seed == "sample")
            return
        file = folder / seed
        try:
            package = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise CaseTestApiError(
                f"invalid seed {file}: {error}; use sample, empty or the path of a CFPackage file"
            ) from error
        self.seed(package)

    def take_snapshot(self, name: str) -> None:
        """Save the current data as a snapshot, which ``restore_snapshot`` can restore.

        Replaces a snapshot of the same name.
        """
        self._call("POST", f"/snapshots/{quote(name, safe='')}")

    def restore_snapshot(self, name: str) -> None:
        """Replace the current data with the data that ``take_snapshot`` saved under this name."""
        self._call("POST", f"/snapshots/{quote(name, safe='')}/restore")

    def delete(self, kind: Literal["document", "item"], identifier: str) -> None:
        """Soft-delete an item, or a document with its items and rubrics.

        ``kind`` is "document" or "item".
        """
        self._call("POST", f"/{COLLECTIONS[kind]}/{quote(identifier, safe='')}/delete")

    def undelete(self, kind: Literal["document", "item"], identifier: str) -> list[str]:
        """Restore a soft-deleted document or item, depending on ``kind``: "document" or "item".

        Returns a message for each entity that could not be restored, with the reason.
        """
        path = f"/{COLLECTIONS[kind]}/{quote(identifier, safe='')}/undelete"
        not_restored: list[str] = self._call("POST", path)["notRestored"]
        return not_restored

    def add_fault(self, **fault: Unpack[FaultOptions]) -> None:
        """Add a fault, such as ``path="*/CFItems", status=503``, that the server injects.

        ``FaultOptions`` lists the arguments. Faults that were added earlier take precedence.
        """
        self._call("POST", "/faults", [fault])

    def list_faults(self) -> list[dict[str, Any]]:
        """Return the faults, each with its counts of ``matched`` and ``applied`` requests."""
        faults: list[dict[str, Any]] = self._call("GET", "/faults")
        return faults

    def clear_faults(self) -> None:
        """Remove all faults, so that requests get normal responses again."""
        self._call("DELETE", "/faults")

    def list_requests(self, **filters: str | int | bool) -> list[dict[str, Any]]:
        """Return the requests that the server received as dicts, oldest first.

        Keyword arguments select requests: ``method``, ``path``, ``client``, ``status`` and
        ``since``. ``body=True`` adds the request bodies.
        """
        query = urlencode({name: str(value) for name, value in filters.items()})
        requests: list[dict[str, Any]] = self._call("GET", f"/requests?{query}")
        return requests

    def clear_requests(self) -> None:
        """Remove all requests from the request log."""
        self._call("DELETE", "/requests")

    def verify(self, **expected: Unpack[RequestExpectation]) -> None:
        """Raise ``AssertionError`` unless the server received the expected number of requests.

        For example, ``verify(path="*/CFItems", status=200, count=1)``; ``RequestExpectation`` lists
        the arguments.
        """
        __tracebackhide__ = True
        self.verify_all([expected])

    def verify_all(self, expected: Sequence[RequestExpectation]) -> None:
        """Raise ``AssertionError`` unless the server received all the expected requests.

        ``expected`` contains the arguments of one ``verify`` call as a dict for each expectation.
        The message names every expectation that is not met.
        """
        __tracebackhide__ = True
        result = self._call("POST", "/requests/verify", list(expected))
        if not result["met"]:
            raise AssertionError("\n".join(result["differences"]))

    def create_token(
        self, *, defect: str | None = None, scopes: Sequence[str] | None = None, client_id: str = ""
    ) -> str:
        """Return a new access token, valid unless ``defect`` is given.

        Defects are ``expired``, ``not_yet_valid``, ``wrong_issuer`` and ``unknown_key``. Without
        ``scopes``, the token has all scopes.
        """
        token: dict[str, Any] = {"defect": defect, "client_id": client_id or None}
        if scopes is not None:
            token["scopes"] = list(scopes)
        return str(self._call("POST", "/tokens", token)["access_token"])

    def set_token_lifetime(self, seconds: int, client_id: str = "") -> None:
        """Set the lifetime of the access tokens that a client requests from now on.

        ``client_id`` defaults to the configured client. Lifetimes of other clients are kept.
        """
        lifetimes = self._call("GET", "/token-lifetimes")
        lifetimes[client_id or self.server.client_id] = seconds
        self._call("PUT", "/token-lifetimes", lifetimes)

    def rotate_keys(self, *, revoke: bool = False) -> str:
        """Make the server sign access tokens with a new key, and return the ID of the key.

        Tokens signed by older keys stay valid, unless ``revoke`` is true.
        """
        return str(self._call("POST", f"/keys/rotate?revoke={str(revoke).lower()}")["kid"])

    def drop_namespace(self) -> None:
        """Delete this client's test namespace with its data, if it uses one."""
        if self.server.namespace:
            root = CaseTestApi(replace(self.server, namespace=None))
            root._call("DELETE", f"/namespaces/{self.server.namespace}")

    def require_test_mode(self) -> None:
        """Raise ``CaseTestApiError`` unless the server responds and is in test mode."""
        self._call("GET", "")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.server.base_url}/_test{path}"
        headers = {"Content-Type": "application/json"}
        if self.server.test_api_token:
            headers["Authorization"] = f"Bearer {self.server.test_api_token}"
        raw = None if body is None else json.dumps(body).encode()
        request = Request(url, raw, headers, method=method)  # noqa: S310  the URL is the test's own
        try:
            with self._opener.open(request, timeout=REQUEST_TIMEOUT_SECONDS) as response:
                return json.loads(response.read() or b"null")
        except HTTPError as error:
            with error:
                raise self._error(error, url) from None
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            reason = getattr(reason, "strerror", None) or reason
            raise CaseTestApiError(f"could not connect to {self.server.url} ({reason})") from error

    def _error(self, error: HTTPError, url: str) -> CaseTestApiError:
        raw = error.read()
        try:
            body = json.loads(raw)
        except ValueError:
            body = {"imsx_description": raw.decode(errors="replace")}
        description = str(body.get("imsx_description"))
        if error.code == HTTPStatus.NOT_FOUND and "_test" in description:
            return CaseTestApiError(
                f"the server at {self.server.url} is not in test mode: start it with "
                "case-server serve --test-mode, or set CASE_SERVER_TEST_MODE=true"
            )
        problems = "".join(
            f"\n  {problem.get('path')}: {problem.get('message')}"
            for problem in body.get("imsx_error_details") or ()
            if str(problem.get("message")) not in description
        )
        return CaseTestApiError(f"{url} returned {error.code}: {description}{problems}")
