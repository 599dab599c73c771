"""Reads without an access token over HTTP, as public CASE consumers send them."""

from collections.abc import Iterator
from typing import Any

import pytest
from httpx import AsyncClient, Client
from support import factories
from support.applications import create_client, run_app
from support.databases import MigratedDatabase
from support.live_server import LiveServer, run_live_server

from case_server.api.anonymous_reads import AnonymousReadLimiter
from case_server.api.profiles import PROFILES
from case_server.auth.scopes import Scope
from case_server.exceptions import TooManyRequests
from case_server.main import create_app
from case_server.settings import Settings

STANDARD = [profile.prefix for profile in PROFILES if not profile.writes]
ALIAS = "/ims/case/v1p0"
BODY = factories.package()
DOCUMENT = BODY["CFDocument"]["identifier"]
OPENSALT = {"Accept": "application/json;q=0.8", "User-Agent": "GuzzleHttp/7"}
CASS = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: MigratedDatabase
) -> Iterator[LiveServer]:
    """Run a server with public reads and one framework."""
    settings = {
        "CASE_SERVER_DATABASE_URL": migrated_database("public"),
        "CASE_SERVER_PUBLIC_READ": "standard",
    }
    with run_live_server(tmp_path_factory.mktemp("public") / "data", settings=settings) as live:
        with live.client() as client:
            response = client.post("/case/1.1/CFPackages", json=BODY)
            assert response.status_code == 201, response.text
        yield live


@pytest.fixture
def reader(server: LiveServer) -> Iterator[Client]:
    """Open a client without an access token."""
    with Client(base_url=server.base_url, timeout=60) as client:
        yield client


def read(client: Client, path: str, headers: dict[str, str] | None = None) -> Any:
    response = client.get(path, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    return response.json()


@pytest.mark.parametrize("prefix", [*STANDARD, ALIAS])
def test_standard_profile_is_read_without_a_token(reader: Client, prefix: str) -> None:
    documents = read(reader, f"{prefix}/CFDocuments")["CFDocuments"]
    assert [document["identifier"] for document in documents] == [DOCUMENT]
    package = read(reader, f"{prefix}/CFPackages/{DOCUMENT}")
    assert len(package["CFItems"]) == len(BODY["CFItems"])
    assert reader.head(f"{prefix}/CFDocuments/{DOCUMENT}").status_code == 200
    missing = reader.get(f"{prefix}/CFItems/nothing")
    assert (missing.status_code, missing.headers["Access-Control-Allow-Origin"]) == (404, "*")
    assert set(missing.json()) >= {"imsx_codeMinor"}


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer x.y.z", "Basic bG9jYWwtY2xpZW50Omxv"]
)
def test_invalid_token_is_rejected(server: LiveServer, reader: Client, authorization: str) -> None:
    path = f"{ALIAS}/CFDocuments"
    assert reader.get(path, headers={"Authorization": authorization}).status_code == 401
    own = {"Authorization": f"Bearer {server.token()}"}
    assert reader.get(path, headers=own).status_code == 200
    form = {"grant_type": "client_credentials", "scope": Scope.CREATEPUT.value}
    pair = ("local-client", "local-secret")
    reader_token = reader.post("/oauth2/token", data=form, auth=pair).json()["access_token"]
    forbidden = reader.get(path, headers={"Authorization": f"Bearer {reader_token}"})
    assert forbidden.status_code == 403


def test_alias_returns_the_same_as_the_case_1_0_profile(reader: Client) -> None:
    for path in (
        "/CFDocuments?limit=1",
        f"/CFDocuments/{DOCUMENT}",
        f"/CFPackages/{DOCUMENT}",
        f"/CFItems/{BODY['CFItems'][0]['identifier']}",
        "/CFItems/nothing",
        "/nothing",
        "/discovery/imscasev1p0_openapi3_v1p0.json",
    ):
        alias, profile = (
            reader.get(f"{prefix}{path}") for prefix in (ALIAS, "/1edtech/ims/case/v1p0")
        )
        assert (alias.status_code, alias.json()) == (profile.status_code, profile.json()), path
    assert reader.get("/ims/case/v1p0x/CFDocuments").status_code == 404


def test_opensalt_can_mirror_a_framework(reader: Client) -> None:
    """OpenSALT reads the list, then each package by the identifier of its CFPackageURI."""
    (document,) = read(reader, f"{ALIAS}/CFDocuments", OPENSALT)["CFDocuments"]
    package = document.get("CFPackageURI", {}).get("identifier") or document["identifier"]
    body = read(reader, f"{ALIAS}/CFPackages/{package}", OPENSALT)
    assert body["CFDocument"]["identifier"] == DOCUMENT
    # It also adds a framework by the URL of its document, which links to the package.
    single = read(reader, f"{ALIAS}/CFDocuments/{DOCUMENT}", OPENSALT)
    assert "CFDocument" not in single
    assert single["CFPackageURI"]["uri"]


def test_cass_can_harvest_a_framework(reader: Client) -> None:
    (document,) = read(reader, f"{ALIAS}/CFDocuments", CASS)["CFDocuments"]
    package = read(reader, f"{ALIAS}/CFPackages/{document['CFPackageURI']['identifier']}", CASS)
    for item in package["CFItems"]:
        assert read(reader, f"{ALIAS}/CFItems/{item['identifier']}", CASS)["fullStatement"]
        read(reader, f"{ALIAS}/CFItemAssociations/{item['identifier']}", CASS)
    for association in package["CFAssociations"]:
        assert association["originNodeURI"]["uri"]
        read(reader, f"{ALIAS}/CFAssociations/{association['identifier']}", CASS)


def test_opensalt_java_can_read_documents_and_packages(server: LiveServer, reader: Client) -> None:
    """This client sends no Accept header, and a token only if it has credentials."""
    del reader.headers["Accept"]
    query = "limit=100&offset=0&sort=title&orderBy=asc"
    token = {"Authorization": f"Bearer {server.token()}"}
    for headers in ({}, token):
        for path in ("CFDocuments", f"CFDocuments?{query}"):
            (document,) = read(reader, f"{ALIAS}/{path}", headers)["CFDocuments"]
            assert document["identifier"] == DOCUMENT
        assert read(reader, f"{ALIAS}/CFDocuments/{DOCUMENT}", headers)["title"]
        assert read(reader, f"{ALIAS}/CFPackages/{DOCUMENT}", headers)["CFItems"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_preflight_from_any_origin_allows_reads(reader: Client, method: str) -> None:
    headers = {"Origin": "https://any.test", "Access-Control-Request-Method": method}
    for prefix in (*STANDARD, ALIAS):
        response = reader.options(f"{prefix}/CFDocuments", headers=headers)
        assert response.status_code == 204
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    headers["Access-Control-Request-Method"] = "PUT"
    assert reader.options(f"{ALIAS}/CFDocuments", headers=headers).status_code == 405
    other = reader.options("/case/1.1/CFDocuments", headers=headers)
    assert "Access-Control-Allow-Origin" not in other.headers


async def test_preflight_is_answered_in_a_namespace_of_test_mode() -> None:
    app = create_app(Settings(public_read="standard", test_mode=True))
    headers = {"Origin": "https://any.test", "Access-Control-Request-Method": "GET"}
    async with create_client(app, "http://localhost") as client:
        for prefix in (*STANDARD, ALIAS):
            response = await client.options(f"/ns/a{prefix}/CFDocuments", headers=headers)
            assert response.status_code == 204
            assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_preflight_of_public_read_allows_the_headers_of_configured_origins() -> None:
    origin, headers = "https://any.test", ["content-type", "x-case-namespace"]
    settings = Settings(public_read="standard", test_mode=True, cors_origins=(origin,))
    request_headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": ", ".join(headers),
    }
    async with create_client(create_app(settings), "http://localhost") as client:
        for prefix in ("/case/1.1", *STANDARD, ALIAS):
            response = await client.options(f"{prefix}/CFDocuments", headers=request_headers)
            allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
            assert {*headers} <= {*allowed}


async def test_public_read_is_off_by_default(anonymous: AsyncClient) -> None:
    for prefix in (*STANDARD, ALIAS):
        response = await anonymous.get(f"{prefix}/CFDocuments")
        assert response.status_code == 401
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_too_many_reads_from_an_address_return_429(settings: Settings, clean: None) -> None:
    changes = {"public_read": "standard", "public_read_per_minute": 3}
    async with (
        run_app(settings.model_copy(update=changes)) as (app, _),
        create_client(app, client=("10.0.0.1", 1)) as first,
        create_client(app, client=("10.0.0.2", 1)) as second,
    ):
        path = f"{ALIAS}/CFDocuments"
        statuses = [(await first.get(path)).status_code for _ in range(3)]
        assert statuses == [200] * 3
        limited = await first.get(path)
        assert limited.status_code == 429
        assert 1 <= int(limited.headers["Retry-After"]) <= 20
        assert "imsx_codeMinor" in limited.json()
        forwarded = await first.get(path, headers={"X-Forwarded-For": "10.9.9.9"})
        assert forwarded.status_code == 429
        assert (await second.get(path)).status_code == 200


def test_token_bucket_refills_and_their_number_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    reads = AnonymousReadLimiter(2, clock=lambda: now)

    def retry_after(address: str) -> str:
        try:
            reads.admit_anonymous_read(address)
        except TooManyRequests as error:
            return error.headers["Retry-After"]
        return ""

    assert [retry_after("10.0.0.1") for _ in range(3)] == ["", "", "30"]
    now = 30
    assert [retry_after("10.0.0.1") for _ in range(2)] == ["", "30"]
    assert [retry_after(f"2001:db8::{number}") for number in range(3)] == ["", "", "30"]
    monkeypatch.setattr("case_server.api.anonymous_reads.MAX_ADDRESSES", 5)
    for number in range(10):
        retry_after(f"10.0.1.{number}")
    assert len(reads._buckets) <= 6
