"""Check errors as the SDK reports them: error classes, minor codes and details."""

import time

import made
from checks import Checks
from expected import Body
from server import SdkServer
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


async def check_not_found(checks: Checks, client: CaseClient, server: SdkServer) -> None:
    """Check that 404 raises the SDK's NotFoundError, for every kind of identifier."""
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
            await checks.check_error(label, method(identifier), NotFoundError, 404, "unknownobject")
    update = client.packages.update(
        UNKNOWN_ID, _set_identifier(made.create_small_package(), UNKNOWN_ID)
    )
    await checks.check_error("packages.update unknown", update, NotFoundError, 404, "unknownobject")
    unknown_route = client.get_transport().get(f"{server.profile.path}/CFNothing")
    await checks.check_error("unknown route", unknown_route, NotFoundError, 404, "unknownobject")
    delete = client.get_transport().delete(f"{server.profile.path}/CFDocuments")
    await checks.check_error("wrong method", delete, APIError, 405, "unsupported")


def _set_identifier(package: Body, identifier: str) -> Body:
    package["CFDocument"]["identifier"] = identifier
    return package


async def check_authentication(checks: Checks, server: SdkServer) -> None:
    """Check the errors for a wrong secret, an invalid token and a missing token."""
    async with CaseClient(provider=server.provider(client_secret="wrong")) as client:
        response = await client.check_auth()
        refused = not response["ok"] and "401" in response["error"]
        checks.check_true("check_auth with a wrong secret", refused, str(response))
        checks.check_true(
            "...says invalid_client", "invalid_client" in response["error"], str(response)
        )
        try:
            await client.documents.list()
        except Exception as error:  # noqa: BLE001  the SDK itself raises nothing narrower here
            message = str(error)
            checks.check_true("a call with a wrong secret", "invalid_client" in message, message)
        else:
            checks.check_true("a call with a wrong secret", holds=False)
    provider = server.provider()
    async with CaseClient(provider=provider) as client:
        tokens = provider.get_token_manager("case")
        tokens._access_token, tokens._token_expiry = "no.token", time.time() + 60
        call = client.documents.list()
        code = "unauthorisedrequest"
        await checks.check_error("an invalid token", call, AuthenticationError, 401, code)
        await client.documents.list()
        checks.check_true("...is replaced by the next call", holds=True)
    async with CaseClient(provider=server.provider(auth_url=None)) as client:
        call = client.documents.list()
        await checks.check_error("no token", call, AuthenticationError, 401, code)


async def check_authorisation(checks: Checks, server: SdkServer, package: Body) -> None:
    """Check that a token with the read-only scope may read but not write."""
    async with CaseClient(provider=server.provider(scope=READ_ONLY)) as client:
        identifier = package["CFDocument"]["identifier"]
        await client.packages.get(identifier)
        checks.check_true("read-only token reads", holds=True)
        for name, call in (
            ("create", client.packages.create(made.create_small_package())),
            ("update", client.packages.update(identifier, package)),
            ("upsert", client.packages.upsert(identifier, package)),
        ):
            label = f"packages.{name} with a read-only token"
            says = "case.createput"
            await checks.check_error(label, call, ForbiddenError, 403, "forbidden", says=says)


async def check_invalid_bodies(checks: Checks, client: CaseClient) -> None:
    """Check that 422 raises the SDK's ValidationError, with every problem in its details."""
    package = made.create_small_package()
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
    await checks.check_error("422 names every problem", call, ValidationError, 422, code, paths)
    package = made.create_small_package()
    package["CFItems"].append(package["CFItems"][0])
    paths = ("CFItems[2].identifier",)
    call = client.packages.create(package)
    await checks.check_error("422 names a repetition", call, ValidationError, 422, code, paths)
    for name, call in (
        ("packages.create", client.packages.create({"CFDocument": {}})),
        ("packages.update", client.packages.update(UNKNOWN_ID, {})),
        ("packages.get", client.packages.get(" ")),
        ("items.get", client.items.get("")),
    ):
        label = f"{name} rejected before it is sent"
        await checks.check_error(label, call, InputValidationError, 400)


async def check_conflicts(checks: Checks, client: CaseClient, package: Body) -> None:
    """Check that 409 raises a plain APIError that names the existing entity."""
    identifier = package["CFDocument"]["identifier"]
    call = client.packages.create(package)
    says = identifier
    await checks.check_error("create again", call, APIError, 409, "invaliddata", says=says)
    conflicting = made.create_small_package()
    conflicting["CFItems"].append(package["CFItems"][0])
    says = package["CFItems"][0]["identifier"]
    call = client.packages.create(conflicting)
    await checks.check_error("item of another", call, APIError, 409, "invaliddata", says=says)
    call = client.packages.update(identifier, made.create_small_package())
    await checks.check_error("ids that differ", call, APIError, 400, "invaliddata", says=identifier)


async def check_parameters(checks: Checks, client: CaseClient, server: SdkServer) -> None:
    """Check that 400 raises a plain APIError that names the parameter and its allowed values."""
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
        await checks.check_error(label, call, APIError, 400, minor, (name,), says)
