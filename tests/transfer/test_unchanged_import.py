"""Importing a stored framework again writes nothing, in every file format."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from httpx import AsyncClient
from support import factories
from support.packages import export_package

from case_server.api.profiles import PROFILES, SDK, ApiProfile
from case_server.db.pool import Database
from case_server.repair.metadata_options import MetadataOptions
from case_server.sample import SAMPLE_DOCUMENT_ID, read_sample
from case_server.transfer.importer import Importer, ImportResult
from case_server.transfer.sources import PackageSource

BASE_URL = "http://case.test"
PROFILES_1_1 = [profile for profile in PROFILES if profile.version == "1.1"]


async def run_import(database: Database, raw: bytes, base_url: str = BASE_URL) -> ImportResult:
    importer = Importer(base_url=base_url)
    (result,) = [
        each
        async for each in importer.import_sources(database, [PackageSource("a.json", lambda: raw)])
    ]
    assert result.status != "refused", (result.reason, result.problems)
    return result


def changes(result: ImportResult) -> tuple[int, int, int]:
    assert result.counts
    return result.counts.created, result.counts.updated, result.counts.deleted


async def get_package(client: AsyncClient, profile: ApiProfile, identifier: str) -> bytes:
    parameters = {} if profile.version == "1.0" else {"extensions": "true"}
    path = f"{profile.prefix}/CFPackages/{identifier}"
    response = await client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return response.content


def framework() -> Any:
    """A framework without anything that CASE 1.1 added, and with unusual links to its document."""
    body = factories.package_with_every_class()
    del body["CFItems"][0]["subjectURI"]
    other = factories.link()
    body["CFItems"][0]["CFDocumentURI"] = other
    body["CFAssociations"][0]["CFDocumentURI"] = {
        **factories.link(body["CFDocument"]["identifier"]),
        "title": "another title",
    }
    body["CFDocument"]["CFPackageURI"] = factories.link()
    return body


async def test_import_of_a_profile_response_writes_nothing(
    client: AsyncClient, any_profile: ApiProfile, database: Database
) -> None:
    body = framework()
    await run_import(database, json.dumps(body).encode())
    response = await get_package(client, any_profile, body["CFDocument"]["identifier"])
    result = await run_import(database, response)
    assert changes(result) == (0, 0, 0)
    assert result.repairs == []


@pytest.mark.parametrize("profile", PROFILES_1_1, ids=lambda profile: profile.name)
async def test_import_of_a_response_with_extensions_writes_nothing(
    client: AsyncClient, profile: ApiProfile, database: Database
) -> None:
    await run_import(database, read_sample())
    response = await get_package(client, profile, SAMPLE_DOCUMENT_ID)
    result = await run_import(database, response)
    assert changes(result) == (0, 0, 0)
    assert result.repairs == []


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8123", "http://localhost:8000/case"])
async def test_addresses_of_a_server_on_this_machine_are_not_stored(
    client: AsyncClient, database: Database, base_url: str
) -> None:
    await run_import(database, read_sample())
    response = await get_package(client, SDK, SAMPLE_DOCUMENT_ID)
    response = response.replace(b"http://case.test", base_url.encode())
    assert changes(await run_import(database, response, BASE_URL)) == (0, 0, 0)
    elsewhere = response.replace(base_url.encode(), b"https://elsewhere.example")
    assert changes(await run_import(database, elsewhere))[1] > 0


def sheet(*rows: tuple[str, str]) -> bytes:
    lines = ["Code,Statement", *(",".join(row) for row in rows)]
    return "\n".join(lines).encode()


async def run_sheet_import(database: Database, raw: bytes, day: int) -> ImportResult:
    """Import a sheet whose file was changed on that day."""
    changed = datetime(2026, 11, day, tzinfo=UTC)
    metadata = MetadataOptions(title="Mathematics", creator="Example District", identifier="maths")
    importer = Importer(metadata=metadata)
    source = PackageSource("a.csv", lambda: raw, "csv", changed)
    (result,) = [each async for each in importer.import_sources(database, [source])]
    assert result.status != "refused", (result.reason, result.problems)
    return result


ROWS = [(f"A.{number}", f"Statement {number}") for number in range(100)]


async def test_sheet_whose_file_was_touched_is_unchanged(clean: None, database: Database) -> None:
    await run_sheet_import(database, sheet(*ROWS), 1)
    assert changes(await run_sheet_import(database, sheet(*ROWS), 2)) == (0, 0, 0)
    rows = [*ROWS]
    rows[3] = ("A.3", "Another statement")
    assert changes(await run_sheet_import(database, sheet(*rows), 3)) == (0, 1, 0)


@pytest.mark.parametrize("place", [0, 50, 100])
async def test_row_inserted_into_a_sheet_adds_an_item_and_its_association(
    clean: None, database: Database, place: int
) -> None:
    await run_sheet_import(database, sheet(*ROWS), 1)
    rows = [*ROWS[:place], ("new", "A new statement"), *ROWS[place:]]
    assert changes(await run_sheet_import(database, sheet(*rows), 2)) == (2, 0, 0)
    assert changes(await run_sheet_import(database, sheet(*rows), 3)) == (0, 0, 0)
    associations = json.loads(await export_package(database, "maths"))["CFAssociations"]
    by_number = sorted(associations, key=lambda each: each["sequenceNumber"])
    assert [each["originNodeURI"]["title"] for each in by_number] == [code for code, _ in rows]
