"""Tokens: how they are got, and what is refused without one."""

from __future__ import annotations

import secrets
import uuid

from ..check import ALL, PLATFORM, STANDARD, VENDOR, Check
from ..client import (
    ServerUnderTest,
    Skip,
    describe,
    entity_path,
    expect,
    expect_status,
    read_json,
)

SCOPES = "https://purl.imsglobal.org/spec/case/v1p0/scope/case."
"""What the guide's scopes begin with: readonly, createput and delete."""


def issued(server: ServerUnderTest) -> str:
    """The token endpoint answers client credentials, sent with HTTP Basic, with 200 and a token.

    The TimeBack SDK takes no other status.
    """
    body = read_json(server.request_token(server.access.scope))
    expect(isinstance(body.get("access_token"), str), "the response has no access_token")
    kind = body.get("token_type")
    expect(str(kind).lower() == "bearer", f"token_type is {kind!r}")
    return f"200, token_type {kind}, expires_in {body.get('expires_in')}"


def by_form(server: ServerUnderTest) -> str:
    """The token endpoint takes the client's id and secret in the form, too."""
    client = server.credentials
    form = {"grant_type": "client_credentials", "client_id": client.client_id}
    form["client_secret"] = client.client_secret
    if server.access.scope:
        form["scope"] = server.access.scope
    body = read_json(server.post_form(client.token_url, form))
    expect(isinstance(body.get("access_token"), str), "the response has no access_token")
    return "200 and a token"


def wrong_secret(server: ServerUnderTest) -> str:
    """A wrong secret is refused with 400 or 401 and an error code in JSON."""
    response = server.request_token(secret=f"wrong-{secrets.token_hex(8)}")
    # The right secret clears the failure that servers count against guessing.
    server.request_token(server.access.scope)
    body = read_json(response, 400, 401)
    expect(isinstance(body.get("error"), str), f"no error code; it {describe(response)}")
    return f"{response.status_code}, {body['error']}"


def without_token(server: ServerUnderTest) -> str:
    """A request without a token is answered with 401."""
    return _refused(server, None)


def strange_token(server: ServerUnderTest) -> str:
    """A request with a token that nobody issued is answered with 401."""
    return _refused(server, "not.a.token")


def challenge(server: ServerUnderTest) -> str:
    """A 401 carries WWW-Authenticate: Bearer."""
    response = server.request("GET", "/CFDocuments", token=None)
    if response.is_success:
        raise Skip("the server reads without a token")
    said = response.headers.get("WWW-Authenticate", "")
    expect(said.lower().startswith("bearer"), f"WWW-Authenticate is {said!r}")
    return str(said)


def reading_needs_its_scope(server: ServerUnderTest) -> str:
    """A token without the scope case.readonly does not read: 403."""
    response = server.request("GET", "/CFDocuments", token=_narrow(server, "delete"))
    expect_status(response, 403)
    return "403"


def writing_needs_its_scope(server: ServerUnderTest) -> str:
    """A token with the scope case.readonly alone does not write: 403."""
    token = _narrow(server, "readonly")
    body = server.test_data.new_document()
    path = entity_path("CFDocuments", body["identifier"])
    response = server.request("PUT", path, body, token=token)
    if response.is_success:
        server.test_data.remember("CFDocuments", body)
    expect_status(response, 403)
    return "403"


def deleting_needs_its_scope(server: ServerUnderTest) -> str:
    """A token without the scope case.delete deletes no association: 403."""
    token = _narrow(server, "readonly")
    path = entity_path("CFItemAssociations", str(uuid.uuid4()))
    expect_status(server.request("DELETE", path, token=token), 403)
    return "403"


def _refused(server: ServerUnderTest, token: str | None) -> str:
    response = server.request("GET", "/CFDocuments", token=token)
    if response.is_success and server.profile.closed:
        raise Skip("the server reads without a token, and the standard has no security of its own")
    if response.is_success and server.token is None:
        raise Skip("the server reads without a token, and was given none")
    expect_status(response, 401)
    return "401"


def _narrow(server: ServerUnderTest, scope: str) -> str:
    """A token with one scope; ``Skip`` where the server gives none."""
    response = server.request_token(SCOPES + scope)
    if not response.is_success:
        raise Skip(f"no token for the scope case.{scope} alone: the endpoint {describe(response)}")
    body = read_json(response)
    granted = body.get("scope")
    if isinstance(granted, str) and granted.split() != [SCOPES + scope]:
        raise Skip(f"asked for case.{scope} alone, the endpoint grants {granted}")
    return str(body["access_token"])


CHECKS = (
    Check("token", "tokens", "RFC 6749, sections 4.4 and 5.1", issued),
    Check(
        "token-form", "tokens", "vendor's API overview; RFC 6749, 2.3.1", by_form, VENDOR, STANDARD
    ),
    Check("token-wrong-secret", "tokens", "RFC 6749, section 5.2", wrong_secret),
    Check("no-token", "tokens", "guide, Authentication Scopes; vendor's OpenAPI", without_token),
    Check("strange-token", "tokens", "guide, Authentication Scopes; RFC 6750", strange_token),
    Check(
        "scope-read",
        "tokens",
        "guide, Authentication Scopes",
        reading_needs_its_scope,
        PLATFORM,
        ("sdk", *STANDARD),
    ),
    Check(
        "scope-write",
        "tokens",
        "guide, Authentication Scopes",
        writing_needs_its_scope,
        PLATFORM,
        ("sdk",),
        writes=True,
    ),
    Check(
        "scope-delete",
        "tokens",
        "guide, Deleting and Inactivating",
        deleting_needs_its_scope,
        PLATFORM,
        ("sdk",),
        writes=True,
    ),
    Check("challenge", "tokens", "RFC 6750, section 3", challenge, (), ALL),
)
