"""Check errors as the SDK reports them: error classes, minor codes and details."""

from __future__ import annotations

import time

import made
from checks import Checks
from expected import Body
from server import Server
from timeback_case import (
    APIError,
    AuthenticationError,
    CaseClient,
    ForbiddenError,
    InputValidationError,
    NotFoundError,
    ValidationError,
)

READ_ONLY = "https://purl.imsglobal.org/spec/case/v1p0/scope/case.readonly"
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


async def unknown(checks: Checks, client: CaseClient, server: Server) -> None:
    """Check that 404 is NotFoundError, for every form of identifier."""
    methods = {
        "documents.get": client.documents.get,
        "items.get": client.items.get,
        "associations.get": client.associations.get,
        "packages.get": client.packages.get,
        "packages.get_groups": client.packages.get_groups,
    }
    for name, method in methods.items():
        for identifier in (UNKNOWN_ID, "no-uuid", "with/slash", "%", "ü ?#"):
            label = f"{name} {identifier}"
            await checks.refused(label, method(identifier), NotFoundError, 404, "unknownobject")
    update = client.packages.update(UNKNOWN_ID, _named(made.small(), UNKNOWN_ID))
    await checks.refused("packages.update unknown", update, NotFoundError, 404, "unknownobject")
    unknown_route = client.get_transport().get(f"{server.profile.path}/CFNothing")
    await checks.refused("unknown route", unknown_route, NotFoundError, 404, "unknownobject")
    delete = client.get_transport().delete(f"{server.profile.path}/CFDocuments")
    await checks.refused("wrong method", delete, APIError, 405, "unsupported")


def _named(package: Body, identifier: str) -> Body:
    package["CFDocument"]["identifier"] = identifier
    return package


async def authentication(checks: Checks, server: Server) -> None:
    """Check a wrong secret, an invalid token and a missing token."""
    async with CaseClient(provider=server.provider(client_secret="wrong")) as client:
        answer = await client.check_auth()
        refused = not answer["ok"] and "401" in answer["error"]
        checks.true("check_auth with a wrong secret", refused, str(answer))
        checks.true("...says invalid_client", "invalid_client" in answer["error"], str(answer))
        try:
            await client.documents.list()
        except Exception as error:  # noqa: BLE001  the SDK itself raises nothing narrower here
            message = str(error)
            checks.true("a call with a wrong secret", "invalid_client" in message, message)
        else:
            checks.true("a call with a wrong secret", holds=False)
    provider = server.provider()
    async with CaseClient(provider=provider) as client:
        tokens = provider.get_token_manager("case")
        tokens._access_token, tokens._token_expiry = "no.token", time.time() + 60
        call = client.documents.list()
        code = "unauthorisedrequest"
        await checks.refused("an invalid token", call, AuthenticationError, 401, code)
        await client.documents.list()
        checks.true("...is replaced by the next call", holds=True)
    async with CaseClient(provider=server.provider(auth_url=None)) as client:
        call = client.documents.list()
        await checks.refused("no token", call, AuthenticationError, 401, code)


async def authorisation(checks: Checks, server: Server, package: Body) -> None:
    """Check that a read-only token may read but not write."""
    async with CaseClient(provider=server.provider(scope=READ_ONLY)) as client:
        identifier = package["CFDocument"]["identifier"]
        await client.packages.get(identifier)
        checks.true("read-only token reads", holds=True)
        for name, call in (
            ("create", client.packages.create(made.small())),
            ("update", client.packages.update(identifier, package)),
            ("upsert", client.packages.upsert(identifier, package)),
        ):
            label = f"packages.{name} with a read-only token"
            says = "case.createput"
            await checks.refused(label, call, ForbiddenError, 403, "forbidden", says=says)


async def invalid(checks: Checks, client: CaseClient) -> None:
    """Check that 422 is ValidationError, with every problem in its details."""
    package = made.small()
    package["CFAssociations"][0]["associationType"] = "isFriendOf"
    package["CFDocument"] |= {"caseVersion": "2.0", "statusStartDate": "soon"}
    package["CFItems"][1]["uri"] = "not a uri"
    paths: tuple[str, ...] = (
        "CFDocument.caseVersion",
        "CFDocument.statusStartDate",
        "CFItems[1].uri",
        "CFAssociations[0].associationType",
    )
    call = client.packages.create(package)
    code = "invaliddata"
    await checks.refused("422 names every problem", call, ValidationError, 422, code, paths)
    package = made.small()
    package["CFItems"].append(package["CFItems"][0])
    paths = ("CFItems[2].identifier",)
    call = client.packages.create(package)
    await checks.refused("422 names a repetition", call, ValidationError, 422, code, paths)
    for name, call in (
        ("packages.create", client.packages.create({"CFDocument": {}})),
        ("packages.update", client.packages.update(UNKNOWN_ID, {})),
        ("packages.get", client.packages.get(" ")),
        ("items.get", client.items.get("")),
    ):
        label = f"{name} rejected before it is sent"
        await checks.refused(label, call, InputValidationError, 400)


async def conflicts(checks: Checks, client: CaseClient, package: Body) -> None:
    """Check that 409 is a plain APIError that names the existing entity."""
    identifier = package["CFDocument"]["identifier"]
    call = client.packages.create(package)
    says = identifier
    await checks.refused("create again", call, APIError, 409, "invaliddata", says=says)
    conflicting = made.small()
    conflicting["CFItems"].append(package["CFItems"][0])
    says = package["CFItems"][0]["identifier"]
    call = client.packages.create(conflicting)
    await checks.refused("item of another", call, APIError, 409, "invaliddata", says=says)
    call = client.packages.update(identifier, made.small())
    await checks.refused("ids that differ", call, APIError, 400, "invaliddata", says=identifier)


async def parameters(checks: Checks, client: CaseClient, server: Server) -> None:
    """Check that 400 is a plain APIError that names the parameter and its allowed values."""
    minors, max_limit = server.profile.minors, server.profile.max_limit
    for name, value, says in (
        ("limit", 0, f"1 to {max_limit}"),
        ("limit", max_limit + 1, f"1 to {max_limit}"),
        ("limit", "all", f"1 to {max_limit}"),
        ("offset", -1, "from 0"),
        ("orderBy", "up", "asc or desc"),
        ("sort", "colour", "fullStatement"),
        ("filter", "colour='red'", "fullStatement"),
        ("filter", "fullStatement='open", "unclosed quote"),
        ("filter", "fullStatement", "="),
    ):
        call = client.items.list({name: value})
        group = "sort" if name == "orderBy" else name
        minor = minors.get(group, "invaliddata")
        label = f"items.list {name}={value}"
        await checks.refused(label, call, APIError, 400, minor, (name,), says)
