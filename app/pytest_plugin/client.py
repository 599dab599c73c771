"""A test's hand on its server: where it is, and everything under ``/_target/``.

The calls are made with Python's own HTTP client, which the tools that replace ``httpx`` in tests
leave alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

EXPECTATION_FAILED = 417
SECONDS = 120


class TargetError(Exception):
    """The server did not do what was asked; the message says why."""


class Fault(TypedDict, total=False):
    """What is to go wrong and when; ``docs/testing.md`` has a table of the fields."""

    method: str
    path: str
    path_regex: str
    client: str
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
    execute: bool


class Expected(TypedDict, total=False):
    """Requests that must have been made, and how many."""

    method: str
    path: str
    status: int
    client: str
    body: Any
    count: int
    at_least: int
    at_most: int


@dataclass(frozen=True)
class CaseServer:
    """A running target."""

    url: str
    namespace: str | None = None
    client_id: str = "local-client"
    client_secret: str = "local-secret"  # noqa: S105  the documented default of a local server
    control_token: str = ""

    @property
    def base_url(self) -> str:
        """What clients call: the base of all profiles, without a slash at its end."""
        return f"{self.url}/ns/{self.namespace}" if self.namespace else self.url

    @property
    def token_url(self) -> str:
        """Where clients get tokens."""
        return f"{self.base_url}/oauth2/token"


@dataclass(frozen=True)
class ClientSettings:
    """What a client must know."""

    base_url: str
    token_url: str
    client_id: str
    client_secret: str

    @property
    def environment(self) -> dict[str, str]:
        """The same as the environment variables that TimeBack's SDK reads."""
        return {
            "CASE_BASE_URL": self.base_url,
            "CASE_TOKEN_URL": self.token_url,
            "CASE_CLIENT_ID": self.client_id,
            "CASE_CLIENT_SECRET": self.client_secret,
        }


class Target:
    """Sets what a server holds, breaks it, and asks what it was sent."""

    def __init__(self, server: CaseServer) -> None:
        self.server = server
        self._opener = build_opener(ProxyHandler({}))

    def reset(self) -> None:
        """Back to the seed; faults, journal and lifetimes of tokens are forgotten."""
        self._call("POST", "/reset")

    def seed(self, *packages: Mapping[str, Any], sample: bool = False) -> None:
        """Hold exactly these CFPackages, and the sample if asked for, now and after each reset."""
        self._call("POST", "/seed", {"packages": list(packages), "sample": sample})

    def seed_as_told(self, seed: str, folder: Path) -> None:
        """The seed as options name it: ``sample``, ``empty`` or a file, relative to ``folder``."""
        if seed in {"sample", "empty"}:
            self.seed(sample=seed == "sample")
            return
        file = folder / seed
        try:
            package = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise TargetError(
                f"{file} is no seed: {error}; say sample, empty or the file of a CFPackage"
            ) from error
        self.seed(package)

    def snapshot(self, name: str) -> None:
        """Keep the data as it is now."""
        self._call("POST", f"/snapshots/{quote(name, safe='')}")

    def restore(self, name: str) -> None:
        """Go back to what was kept."""
        self._call("POST", f"/snapshots/{quote(name, safe='')}/restore")

    def delete(self, kind: Literal["document", "item"], identifier: str) -> None:
        """Soft-delete a document with all that is in it, or an item."""
        self._call("POST", f"/{_plural(kind)}/{quote(identifier, safe='')}/delete")

    def undelete(self, kind: Literal["document", "item"], identifier: str) -> list[str]:
        """Bring a deleted document or item back; return what was not restored, with the reason."""
        path = f"/{_plural(kind)}/{quote(identifier, safe='')}/undelete"
        not_restored: list[str] = self._call("POST", path)["notRestored"]
        return not_restored

    def fail(self, **fault: Unpack[Fault]) -> None:
        """Add a fault, after those there are."""
        self._call("POST", "/faults", [fault])

    def faults(self) -> list[dict[str, Any]]:
        """The faults there are, with how often each matched and was applied."""
        found: list[dict[str, Any]] = self._call("GET", "/faults")
        return found

    def clear_faults(self) -> None:
        """Nothing goes wrong any more."""
        self._call("DELETE", "/faults")

    def requests(self, **wanted: str | int | bool) -> list[dict[str, Any]]:
        """What clients sent, oldest first; by method, path, client, status, since; body=True."""
        query = urlencode({name: str(value) for name, value in wanted.items()})
        found: list[dict[str, Any]] = self._call("GET", f"/requests?{query}")
        return found

    def clear_requests(self) -> None:
        """Forget what clients sent."""
        self._call("DELETE", "/requests")

    def expect(self, **expected: Unpack[Expected]) -> None:
        """Raise ``AssertionError`` that tells the difference unless clients sent this."""
        __tracebackhide__ = True
        self.expect_all([expected])

    def expect_all(self, expected: Sequence[Expected]) -> None:
        """Raise ``AssertionError`` that tells every difference."""
        __tracebackhide__ = True
        found = self._call("POST", "/requests/expect", list(expected))
        if not found["met"]:
            raise AssertionError("\n".join(found["differences"]))

    def token(
        self, *, flaw: str | None = None, scopes: Sequence[str] | None = None, client_id: str = ""
    ) -> str:
        """A token: expired, not_yet_valid, wrong_issuer, unknown_key; or with fewer scopes."""
        wish: dict[str, Any] = {"flaw": flaw, "client_id": client_id or None}
        if scopes is not None:
            wish["scopes"] = list(scopes)
        return str(self._call("POST", "/tokens", wish)["access_token"])

    def token_lifetime(self, seconds: int, client_id: str = "") -> None:
        """How long a client's tokens live from now on."""
        self._call("PUT", "/lifetimes", {client_id or self.server.client_id: seconds})

    def rotate_keys(self, *, revoke: bool = False) -> str:
        """Sign with a new key and return its name; ``revoke`` ends all tokens of before."""
        return str(self._call("POST", f"/keys/rotate?revoke={str(revoke).lower()}")["kid"])

    def drop_namespace(self) -> None:
        """Drop the namespace with everything in it."""
        if self.server.namespace:
            root = Target(CaseServer(self.server.url, control_token=self.server.control_token))
            root._call("DELETE", f"/namespaces/{self.server.namespace}")

    def check(self) -> None:
        """Raise ``TargetError`` that says what to do unless a target answers."""
        self._call("GET", "")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.server.base_url}/_target{path}"
        headers = {"Content-Type": "application/json"}
        if self.server.control_token:
            headers["Authorization"] = f"Bearer {self.server.control_token}"
        raw = None if body is None else json.dumps(body).encode()
        request = Request(url, raw, headers, method=method)  # noqa: S310  the caller's own server
        try:
            with self._opener.open(request, timeout=SECONDS) as answer:
                return json.loads(answer.read() or b"null")
        except HTTPError as error:
            with error:
                return self._refused(error, url)
        except (URLError, OSError) as error:
            raise TargetError(f"no server answers at {self.server.url}: {error}") from error

    def _refused(self, error: HTTPError, url: str) -> Any:
        said = error.read()
        try:
            told = json.loads(said)
        except ValueError:
            told = {"imsx_description": said.decode(errors="replace")}
        if error.code == EXPECTATION_FAILED:
            return told
        if error.code == 404 and "_target" in str(told.get("imsx_description")):  # noqa: PLR2004  HTTP's own
            raise TargetError(
                f"the server at {self.server.url} is not in target mode: start it with "
                "case-server serve --target, or set CASE_SERVER_TARGET=true"
            )
        problems = "".join(
            f"\n  {one.get('path')}: {one.get('message')}"
            for one in told.get("imsx_error_details") or ()
        )
        raise TargetError(f"{url} answered {error.code}: {told.get('imsx_description')}{problems}")


def _plural(kind: str) -> str:
    return {"document": "CFDocuments", "item": "CFItems"}[kind]
