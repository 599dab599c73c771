"""Checks of the token endpoint and of access control."""

from __future__ import annotations

import secrets
import uuid
from contextlib import suppress

import httpx

from ..check import ALL, PLATFORM, SDK, STANDARD, VENDOR, check
from ..client import ServerUnderTest, build_entity_path
from ..profiles import get_identifier
from ..responses import CheckSkipped, describe_response, expect, expect_status, read_json

SCOPE_PREFIX = "https://purl.imsglobal.org/spec/case/v1p0/scope/case."
"""The start of the scopes in the guide: readonly, createput and delete."""

SCOPES = "guide, Authentication Scopes"
DELETING = "guide, Deleting and Inactivating"


@check("tokens", "token", "RFC 6749, sections 4.4 and 5.1")
def check_token_with_basic_auth(server: ServerUnderTest) -> str:
    """Check that the token endpoint returns 200 and a token for HTTP Basic client credentials.

    The TimeBack SDK accepts only status 200.
    """
    body = read_json(server.request_token(server.auth.scope))
    expect(isinstance(body.get("access_token"), str), "no access_token in the response")
    kind = body.get("token_type")
    expect(str(kind).lower() == "bearer", f"token_type is {kind!r}")
    return f"200, token_type {kind}, expires_in {body.get('expires_in')}"


@check(
    "tokens",
    "token-form",
    "vendor's API overview; RFC 6749, 2.3.1",
    profiles=VENDOR,
    extension_profiles=STANDARD,
)
def check_token_form_credentials(server: ServerUnderTest) -> str:
    """Check that the token endpoint accepts the client ID and secret in the form body."""
    client = server.credentials
    form = {"grant_type": "client_credentials", "client_id": client.client_id}
    form["client_secret"] = client.client_secret
    if server.auth.scope:
        form["scope"] = server.auth.scope
    body = read_json(server.post_form(client.token_url, form))
    expect(isinstance(body.get("access_token"), str), "no access_token in the response")
    return "200 and a token"


@check("tokens", "token-wrong-secret", "RFC 6749, section 5.2")
def check_wrong_secret(server: ServerUnderTest) -> str:
    """Check that a wrong client secret is rejected with 400 or 401 and an error code in JSON."""
    response = server.request_token(client_secret=f"wrong-{secrets.token_hex(8)}")
    # The correct secret resets the count of failed logins, so that repeated runs are not throttled.
    server.request_token(server.auth.scope)
    body = read_json(response, 400, 401)
    expect(isinstance(body.get("error"), str), f"no error code: {describe_response(response)}")
    return f"{response.status_code}, {body['error']}"


@check("tokens", "no-token", f"{SCOPES}; vendor's OpenAPI")
def check_no_token(server: ServerUnderTest) -> str:
    """Check that a request without an access token returns 401.

    Requests the list of documents, a document, its package and an item. The standard defines no
    authentication for reads, so in its profiles the list may be public, and the check is skipped if
    the entities are public, too.
    """
    return _expect_unauthorized(server, None)


@check("tokens", "strange-token", f"{SCOPES}; RFC 6750")
def check_unknown_token(server: ServerUnderTest) -> str:
    """Check that a request with an access token that was never issued returns 401."""
    return _expect_unauthorized(server, "not.a.token")


@check("tokens", "challenge", "RFC 6750, section 3", profiles=(), extension_profiles=ALL)
def check_www_authenticate_header(server: ServerUnderTest) -> str:
    """Check that a 401 response has a WWW-Authenticate header with the Bearer scheme."""
    response = send_unauthenticated_request(server, None)
    value = response.headers.get("WWW-Authenticate", "")
    expect(value.lower().startswith("bearer"), f"WWW-Authenticate is {value!r}")
    return str(value)


@check("tokens", "scope-read", SCOPES, profiles=PLATFORM, extension_profiles=(*SDK, *STANDARD))
def check_read_scope(server: ServerUnderTest) -> str:
    """Check that a read with a token that lacks the case.readonly scope returns 403."""
    token = _request_token_for_scope(server, "delete")
    expect_status(server.request("GET", "/CFDocuments", token=token), 403)
    return "403"


@check("tokens", "scope-write", SCOPES, profiles=PLATFORM, extension_profiles=SDK, writes=True)
def check_write_scope(server: ServerUnderTest) -> str:
    """Check that a write with a token that has only the case.readonly scope returns 403."""
    token = _request_token_for_scope(server, "readonly")
    body = server.test_data.build_document()
    path = build_entity_path("CFDocuments", body["identifier"])
    response = server.request("PUT", path, body, token=token)
    if response.is_success:
        server.test_data.record_written_entity("CFDocuments", body)
    expect_status(response, 403)
    return "403"


@check("tokens", "scope-delete", DELETING, profiles=PLATFORM, extension_profiles=SDK, writes=True)
def check_delete_scope(server: ServerUnderTest) -> str:
    """Check that DELETE of an association without the case.delete scope returns 403."""
    token = _request_token_for_scope(server, "readonly")
    path = build_entity_path("CFItemAssociations", str(uuid.uuid4()))
    expect_status(server.request("DELETE", path, token=token), 403)
    return "403"


def _list_existing_entity_paths(server: ServerUnderTest) -> list[str]:
    entities = server.existing
    paths = []
    with suppress(CheckSkipped):
        paths.append(build_entity_path("CFDocuments", get_identifier(entities.sample_document)))
        paths.append(entities.get_package_path(entities.sample_document))
        paths.append(build_entity_path("CFItems", get_identifier(entities.sample_item)))
    return paths


def send_unauthenticated_request(server: ServerUnderTest, token: str | None) -> httpx.Response:
    """Send GET requests with an invalid or no token, and return the first error response.

    Tries several paths. Raises ``CheckSkipped`` if all of them are public.
    """
    for path in ("/CFDocuments", *_list_existing_entity_paths(server)):
        response = server.request("GET", path, token=token)
        if not response.is_success:
            return response
    raise CheckSkipped("the server can be read without a token")


def _expect_unauthorized(server: ServerUnderTest, token: str | None) -> str:
    paths = ("/CFDocuments", *_list_existing_entity_paths(server))
    responses = [server.request("GET", path, token=token) for path in paths]
    documents, *entities = responses
    is_public = all(response.is_success for response in entities or responses)
    if is_public and server.profile.is_standard:
        raise CheckSkipped("the server can be read without a token, which the standard allows")
    if is_public and server.token is None:
        raise CheckSkipped("the server can be read without a token, and none was given")
    has_public_list = server.profile.is_standard and documents.is_success
    for response in entities if has_public_list else responses:
        expect_status(response, 401)
    suffix = "; the list of documents is public" if has_public_list else ""
    return f"401 on {len(entities) + (not has_public_list)} paths{suffix}"


def _request_token_for_scope(server: ServerUnderTest, scope: str) -> str:
    """Return a token with only the scope ``case.{scope}``.

    Raises ``CheckSkipped`` if the token endpoint issues none, or one with other scopes.
    """
    response = server.request_token(SCOPE_PREFIX + scope)
    if not response.is_success:
        observed = f"the endpoint {describe_response(response)}"
        raise CheckSkipped(f"no token for the scope case.{scope} alone: {observed}")
    body = read_json(response)
    granted = body.get("scope")
    if isinstance(granted, str) and granted.split() != [SCOPE_PREFIX + scope]:
        raise CheckSkipped(f"requested case.{scope} alone, but the endpoint granted {granted}")
    return str(body["access_token"])
