"""What goes wrong, as the SDK reports it: error classes, minor codes and details."""

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
NOBODY = "00000000-0000-4000-8000-000000000000"


async def unknown(checks: Checks, client: CaseClient, server: Server) -> None:
    """404 is NotFoundError, whatever the identifier looks like."""
    methods = {
        "documents.get": client.documents.get,
        "items.get": client.items.get,
        "associations.get": client.associations.get,
        "packages.get": client.packages.get,
        "packages.get_groups": client.packages.get_groups,
    }
    for name, method in methods.items():
        for identifier in (NOBODY, "no-uuid", "with/slash", "%", "ü ?#"):
            told = f"{name} {identifier}"
            await checks.refused(told, method(identifier), NotFoundError, 404, "unknownobject")
    update = client.packages.update(NOBODY, _named(made.small(), NOBODY))
    await checks.refused("packages.update unknown", update, NotFoundError, 404, "unknownobject")
    nowhere = client.get_transport().get(f"{server.profile.path}/CFNothing")
    await checks.refused("unknown route", nowhere, NotFoundError, 404, "unknownobject")
    delete = client.get_transport().delete(f"{server.profile.path}/CFDocuments")
    await checks.refused("wrong method", delete, APIError, 405, "unsupported")


def _named(package: Body, identifier: str) -> Body:
    package["CFDocument"]["identifier"] = identifier
    return package


async def authentication(checks: Checks, server: Server) -> None:
    """Wrong secrets, tokens that are none, and no token at all."""
    async with CaseClient(provider=server.provider(client_secret="wrong")) as client:
        answer = await client.check_auth()
        refused = not answer["ok"] and "401" in answer["error"]
        checks.true("check_auth with a wrong secret", refused, str(answer))
        checks.true("...says invalid_client", "invalid_client" in answer["error"], str(answer))
        try:
            await client.documents.list()
        except Exception as error:  # noqa: BLE001  the SDK itself raises nothing narrower here
            told = str(error)
            checks.true("a call with a wrong secret", "invalid_client" in told, told)
        else:
            checks.true("a call with a wrong secret", holds=False)
    provider = server.provider()
    async with CaseClient(provider=provider) as client:
        tokens = provider.get_token_manager("case")
        tokens._access_token, tokens._token_expiry = "no.token", time.time() + 60
        call = client.documents.list()
        code = "unauthorisedrequest"
        await checks.refused("a token that is none", call, AuthenticationError, 401, code)
        await client.documents.list()
        checks.true("...is replaced by the next call", holds=True)
    async with CaseClient(provider=server.provider(auth_url=None)) as client:
        call = client.documents.list()
        await checks.refused("no token", call, AuthenticationError, 401, code)


async def authorisation(checks: Checks, server: Server, package: Body) -> None:
    """A token that may only read."""
    async with CaseClient(provider=server.provider(scope=READ_ONLY)) as client:
        identifier = package["CFDocument"]["identifier"]
        await client.packages.get(identifier)
        checks.true("read-only token reads", holds=True)
        for name, call in (
            ("create", client.packages.create(made.small())),
            ("update", client.packages.update(identifier, package)),
            ("upsert", client.packages.upsert(identifier, package)),
        ):
            told = f"packages.{name} with a read-only token"
            says = "case.createput"
            await checks.refused(told, call, ForbiddenError, 403, "forbidden", says=says)


async def invalid(checks: Checks, client: CaseClient) -> None:
    """422 is ValidationError, with every problem among its details."""
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
        ("packages.update", client.packages.update(NOBODY, {})),
        ("packages.get", client.packages.get(" ")),
        ("items.get", client.items.get("")),
    ):
        told = f"{name} refused before it is sent"
        await checks.refused(told, call, InputValidationError, 400)


async def conflicts(checks: Checks, client: CaseClient, package: Body) -> None:
    """409 is a plain APIError that says what is in the way."""
    identifier = package["CFDocument"]["identifier"]
    call = client.packages.create(package)
    says = identifier
    await checks.refused("create again", call, APIError, 409, "invaliddata", says=says)
    thief = made.small()
    thief["CFItems"].append(package["CFItems"][0])
    says = package["CFItems"][0]["identifier"]
    call = client.packages.create(thief)
    await checks.refused("item of another", call, APIError, 409, "invaliddata", says=says)
    call = client.packages.update(identifier, made.small())
    await checks.refused("ids that differ", call, APIError, 400, "invaliddata", says=identifier)


async def parameters(checks: Checks, client: CaseClient, server: Server) -> None:
    """400 is a plain APIError that names the parameter and what was allowed."""
    minors, most = server.profile.minors, server.profile.most
    for name, value, says in (
        ("limit", 0, f"1 to {most}"),
        ("limit", most + 1, f"1 to {most}"),
        ("limit", "all", f"1 to {most}"),
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
        told = f"items.list {name}={value}"
        await checks.refused(told, call, APIError, 400, minor, (name,), says)
