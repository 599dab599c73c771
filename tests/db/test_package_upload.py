"""Packages written: what is new goes straight into the tables, what was there is compared."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from support import factories

from case_server.case.package import Package, parse_package
from case_server.case.package_stream import parse_package_lazily
from case_server.db.pool import Database
from case_server.db.write.package import UploadResult, write_package
from case_server.exceptions import Conflict, ServiceUnavailable, UnprocessableContent
from case_server.settings import Settings
from case_server.transfer.progress import STAGES
from stress.cluster import wait_until

Execute = Callable[..., Awaitable[Any]]

LEFT_OPEN = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%'"""


@pytest.fixture
async def database(database_url: str, settings: Settings, clean: None) -> AsyncIterator[Database]:
    async with Database.open(database_url, settings) as found:
        yield found


async def write(
    database: Database, body: factories.Body, stages: list[str] | None = None
) -> UploadResult:
    package = parse_package(json.dumps(body).encode())
    told = [] if stages is None else stages
    return await write_package(database, package, progress=told.append)


async def test_uploads_go_forward_through_their_stages(database: Database) -> None:
    body = factories.everything()
    fewer = {**body, "CFItems": body["CFItems"][1:], "CFAssociations": [], "CFRubrics": []}
    for one in (body, fewer, body):
        stages: list[str] = []
        await write(database, one, stages)
        assert len(set(stages)) > 5
        assert stages == sorted(stages, key=STAGES.index)


async def test_all_of_a_new_framework_is_created(database: Database, execute: Execute) -> None:
    body = factories.everything()
    written = await write(database, body)
    own = ("CFDocument", "CFItem", "CFAssociation", "CFRubric")
    assert written.created
    assert {kind: written.changes[kind, "create"] for kind in own} == {
        kind: written.sent[kind] for kind in own
    }
    rows = await execute("SELECT kind, count(*) FROM changes GROUP BY kind")
    told = dict(rows)
    assert {kind: told[kind] for kind in own} == {kind: written.sent[kind] for kind in own}
    again = await write(database, body)
    assert (again.created, again.changed) == (False, 0)


async def test_definitions_that_only_items_lead_to_are_registered_with_them(
    database: Database, execute: Execute
) -> None:
    links = [factories.link() for _ in range(6)]
    kind, license_, subject, *concepts = links
    item = factories.packed_item(
        CFItemTypeURI=kind, licenseURI=license_, subjectURI=[subject], conceptKeywordsURI=concepts
    )
    body = factories.package(CFItems=[item], CFAssociations=[], CFDefinitions={})
    await write(database, body)
    for table, found in (
        ("item_types", [kind]),
        ("licenses", [license_]),
        ("subjects", [subject]),
        ("concepts", concepts),
    ):
        rows = await execute(f"SELECT identifier FROM {table}")
        assert {row["identifier"] for row in rows} >= {one["identifier"] for one in found}
    linked = await execute(
        "SELECT concept_identifier FROM item_concepts WHERE item_identifier = $1",
        item["identifier"],
    )
    assert {row[0] for row in linked} == {one["identifier"] for one in concepts}


async def test_a_deleted_type_is_back_with_a_new_framework(
    database: Database, execute: Execute
) -> None:
    kind = factories.link()
    first, second = (
        factories.package(
            CFItems=[factories.packed_item(CFItemTypeURI=kind)],
            CFAssociations=[],
            CFDefinitions={},
        )
        for _ in range(2)
    )
    await write(database, first)
    deleted = "SELECT deleted_at IS NOT NULL FROM item_types WHERE identifier = $1"
    await execute("UPDATE item_types SET deleted_at = now()")
    assert (await execute(deleted, kind["identifier"]))[0][0]
    await write(database, second)
    assert not (await execute(deleted, kind["identifier"]))[0][0]


async def test_nothing_is_left_of_a_new_document_with_parts_of_another(
    database: Database, execute: Execute
) -> None:
    body = factories.everything()
    await write(database, body)
    thief = factories.package(CFItems=body["CFItems"], CFAssociations=body["CFAssociations"])
    with pytest.raises(Conflict) as refused:
        await write(database, thief)
    problems = {problem["path"] for problem in refused.value.problems}
    wanted = {f"CFItems[{place}]" for place in range(len(body["CFItems"]))}
    assert problems > wanted
    assert any(path.startswith("CFAssociations[") for path in problems)
    assert [row[0] for row in await execute("SELECT identifier FROM documents")] == [
        body["CFDocument"]["identifier"]
    ]


def taken_and_wrong(body: factories.Body, items: int) -> Package:
    """A large package whose first item is another document's, and whose last is none."""
    more = [factories.packed_item(fullStatement="x" * 400) for _ in range(items)]
    more[-1]["fullStatement"] = 5
    whole = factories.package(CFItems=[body["CFItems"][0], *more], CFAssociations=[])
    return parse_package_lazily(json.dumps(whole).encode())


async def test_what_is_wrong_is_told_where_postgres_has_refused_before(database: Database) -> None:
    body = factories.everything()
    await write(database, body)
    async with asyncio.timeout(20):
        with pytest.raises(UnprocessableContent) as refused:
            await write_package(database, taken_and_wrong(body, 4000))
    assert [problem["path"] for problem in refused.value.problems] == [
        "CFItems[4000].fullStatement"
    ]
    async with asyncio.timeout(20):
        assert (await write(database, factories.package())).created


async def test_an_upload_that_is_cancelled_ends(database: Database, execute: Execute) -> None:
    body = factories.everything()
    await write(database, body)
    for seconds in (0.05, 0.3, 0.6):
        upload = asyncio.create_task(write_package(database, taken_and_wrong(body, 20_000)))
        await asyncio.sleep(seconds)
        upload.cancel()
        done, _ = await asyncio.wait([upload], timeout=10)
        assert done
        assert upload.cancelled() or isinstance(
            upload.exception(), (UnprocessableContent, ServiceUnavailable)
        )

    async def none_is_left() -> bool:
        return not await execute(LEFT_OPEN)

    await wait_until(none_is_left, 10, "no transaction is left open")
