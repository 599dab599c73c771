"""Concurrent writes of documents: an identifier leads to one package."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import permutations

import pytest
from support import factories
from support.databases import Execute, open_connection
from support.packages import store_package

from case_server.case.model import CFPckgDocument
from case_server.case.resources import DOCUMENTS
from case_server.db.pool import Database
from case_server.db.write import soft_delete
from case_server.db.write.entities import put_document
from case_server.exceptions import Conflict
from stress.cluster import wait_until

pytestmark = pytest.mark.usefixtures("clean")

Write = Callable[[Database], Awaitable[object]]

FIRST, SECOND, OTHER, LICENSE = "document-1", "document-2", "package-2", "license-1"

WAITING = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'"""

PACKAGES = "SELECT 1 FROM packages WHERE $1 IN (identifier, document_identifier)"


def build_document(identifier: str, package: str) -> factories.Body:
    body = factories.document(identifier, CFPackageURI=factories.link(package))
    return {**body, "licenseURI": factories.link(LICENSE)}


async def put_first(database: Database) -> None:
    """PUT the first document, whose package has the identifier of the second document."""
    await put_document(database, CFPckgDocument.model_validate(build_document(FIRST, SECOND)))


async def put_second(database: Database) -> None:
    await put_document(database, CFPckgDocument.model_validate(build_document(SECOND, OTHER)))


async def upload_first(database: Database) -> None:
    body = factories.package(FIRST)
    await store_package(database, {**body, "CFDocument": build_document(FIRST, SECOND)})


async def upload_second(database: Database) -> None:
    body = factories.package(SECOND)
    await store_package(database, {**body, "CFDocument": build_document(SECOND, OTHER)})


PAIRS = [
    pair
    for first in (put_first, upload_first)
    for second in (put_second, upload_second)
    for pair in permutations((first, second))
]


@pytest.mark.parametrize(
    ("first", "second"), PAIRS, ids=lambda write: getattr(write, "__name__", None)
)
async def test_concurrent_writes_of_one_identifier_conflict(
    database: Database, execute: Execute, database_url: str, first: Write, second: Write
) -> None:
    license_ = json.dumps(factories.entity(LICENSE, title="a licence", licenseText="use it"))
    insertion = "INSERT INTO licenses (body, last_change_date_time) VALUES ($1, now())"
    await execute(insertion, license_)
    async with open_connection(database_url) as connection, asyncio.timeout(30):
        transaction = connection.transaction()
        await transaction.start()
        # A writer waits for the licence after it has compared its identifiers.
        await connection.execute("SELECT 1 FROM licenses FOR UPDATE")
        writes = []
        for number, write in enumerate((first, second), start=1):
            writes.append(asyncio.ensure_future(write(database)))
            await wait_for_waiting(execute, number)
        await transaction.rollback()
        results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(result) for result in results if result is not None].count(Conflict) == 1
    assert len(await execute(PACKAGES, SECOND)) == 1


async def test_document_is_not_undeleted_after_another_took_its_identifier(
    database: Database, execute: Execute, database_url: str
) -> None:
    await upload_second(database)
    await soft_delete.delete_entity(database, DOCUMENTS, SECOND)
    async with open_connection(database_url) as connection, asyncio.timeout(30):
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SELECT 1 FROM documents WHERE identifier = $1 FOR UPDATE", SECOND)
        undeletion = asyncio.ensure_future(soft_delete.undelete_entity(database, DOCUMENTS, SECOND))
        await wait_for_waiting(execute, 1)
        put = asyncio.ensure_future(put_first(database))
        await asyncio.wait([put], timeout=0.5)
        await transaction.rollback()
        results = await asyncio.gather(undeletion, put, return_exceptions=True)
    assert [type(result) for result in results].count(Conflict) == 1
    rows = await execute(
        f"{PACKAGES} AND document_identifier IN "
        "(SELECT identifier FROM documents WHERE deleted_at IS NULL)",
        SECOND,
    )
    assert len(rows) == 1


async def wait_for_waiting(execute: Execute, count: int) -> None:
    """Wait until ``count`` connections to this database wait for a lock."""

    async def are_waiting() -> bool:
        return len(await execute(WAITING)) == count

    await wait_until(are_waiting, 10, f"{count} writers wait")
