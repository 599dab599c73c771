"""Package writes: new frameworks are inserted directly, known ones are staged and compared."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from support import factories
from support.databases import Execute
from support.packages import store_package

from case_server.case.entity_urls import ServerUrlMatcher
from case_server.case.package import EntityRow, PreparedPackage
from case_server.case.package_stream import parse_package_lazily
from case_server.case.stored_form import EchoedValues
from case_server.db.pool import Database
from case_server.db.write.upload.package import write_package
from case_server.exceptions import ServiceUnavailable, UnprocessableContent
from case_server.transfer.console import STAGES
from stress.cluster import wait_until

OPEN_TRANSACTIONS = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%'"""


pytestmark = pytest.mark.usefixtures("clean")


async def test_stages_of_uploads_are_reported_in_order(database: Database) -> None:
    body = factories.package_with_every_class()
    smaller = {**body, "CFItems": body["CFItems"][1:], "CFAssociations": [], "CFRubrics": []}
    for package in (body, smaller, body):
        stages: list[str] = []
        await store_package(database, package, progress=stages.append)
        assert len(set(stages)) > 5
        assert stages == sorted(stages, key=STAGES.index)


async def test_new_framework_creates_all_entities(database: Database, execute: Execute) -> None:
    body = factories.package_with_every_class()
    summary = await store_package(database, body)
    own = ("CFDocument", "CFItem", "CFAssociation", "CFRubric")
    assert summary.is_created
    assert {kind: summary.changes[kind, "create"] for kind in own} == {
        kind: summary.sent_counts[kind] for kind in own
    }
    rows = await execute("SELECT kind, count(*) FROM changes GROUP BY kind")
    logged = {row["kind"]: row["count"] for row in rows}
    assert {kind: logged[kind] for kind in own} == {kind: summary.sent_counts[kind] for kind in own}
    second_summary = await store_package(database, body)
    assert (second_summary.is_created, second_summary.changed_count) == (False, 0)


async def test_definitions_linked_by_items_are_stored(database: Database, execute: Execute) -> None:
    links = [factories.link() for _ in range(6)]
    kind, license_, subject, *concepts = links
    item = factories.packed_item(
        CFItemTypeURI=kind, licenseURI=license_, subjectURI=[subject], conceptKeywordsURI=concepts
    )
    body = factories.package(CFItems=[item], CFAssociations=[], CFDefinitions={})
    await store_package(database, body)
    for table, definitions in (
        ("item_types", [kind]),
        ("licenses", [license_]),
        ("subjects", [subject]),
        ("concepts", concepts),
    ):
        rows = await execute(f"SELECT identifier FROM {table}")
        assert {row["identifier"] for row in rows} >= {
            definition["identifier"] for definition in definitions
        }
    linked = await execute(
        "SELECT concept_identifier FROM item_concepts WHERE item_identifier = $1",
        item["identifier"],
    )
    assert {row[0] for row in linked} == {concept["identifier"] for concept in concepts}


async def test_new_framework_undeletes_an_item_type(database: Database, execute: Execute) -> None:
    kind = factories.link()
    first, second = (
        factories.package(
            CFItems=[factories.packed_item(CFItemTypeURI=kind)], CFAssociations=[], CFDefinitions={}
        )
        for _ in range(2)
    )
    await store_package(database, first)
    statement = "SELECT deleted_at IS NOT NULL FROM item_types WHERE identifier = $1"
    await execute("UPDATE item_types SET deleted_at = now()")
    assert (await execute(statement, kind["identifier"]))[0][0]
    await store_package(database, second)
    assert not (await execute(statement, kind["identifier"]))[0][0]


class CountedRows:
    """The rows of a package, which are parsed on each iteration; counts the iterations."""

    def __init__(self, rows: Iterable[EntityRow]) -> None:
        self.rows, self.iterations = rows, 0

    def __iter__(self) -> Iterator[EntityRow]:
        self.iterations += 1
        return iter(self.rows)


async def test_possible_copy_of_a_response_is_parsed_twice(database: Database) -> None:
    body = factories.package_with_every_class()
    await store_package(database, body)
    package = parse_package_lazily(json.dumps(body).encode())
    rows = CountedRows(package.rows)
    echoed = EchoedValues(ServerUrlMatcher(["http://case.test"], ["/ims/case/v1p1"]))
    summary = await write_package(database, replace(package, rows=rows), echoed=echoed)
    assert (rows.iterations, summary.changed_count) == (2, 0)


def conflicting_and_invalid(body: factories.Body, items: int) -> PreparedPackage:
    """Return a large package: its first item is another document's, its last one is invalid."""
    items_of_package = [factories.packed_item(fullStatement="x" * 400) for _ in range(items)]
    items_of_package[-1]["fullStatement"] = 5
    package = factories.package(CFItems=[body["CFItems"][0], *items_of_package], CFAssociations=[])
    return parse_package_lazily(json.dumps(package).encode())


async def test_invalid_row_is_reported_after_postgres_refused_another(database: Database) -> None:
    body = factories.package_with_every_class()
    await store_package(database, body)
    async with asyncio.timeout(20):
        with pytest.raises(UnprocessableContent) as exc_info:
            await write_package(database, conflicting_and_invalid(body, 4000))
    assert [problem["path"] for problem in exc_info.value.problems] == [
        "CFItems[4000].fullStatement"
    ]
    async with asyncio.timeout(20):
        assert (await store_package(database, factories.package())).is_created


async def test_cancelled_upload_ends_its_transaction(database: Database, execute: Execute) -> None:
    body = factories.package_with_every_class()
    await store_package(database, body)
    for seconds in (0.05, 0.3, 0.6):
        upload = asyncio.create_task(write_package(database, conflicting_and_invalid(body, 20_000)))
        await asyncio.sleep(seconds)
        upload.cancel()
        finished, _ = await asyncio.wait([upload], timeout=10)
        assert finished
        assert upload.cancelled() or isinstance(
            upload.exception(), (UnprocessableContent, ServiceUnavailable)
        )

    async def no_transaction_is_open() -> bool:
        return not await execute(OPEN_TRANSACTIONS)

    await wait_until(no_transaction_is_open, 10, "no transaction is left open")
