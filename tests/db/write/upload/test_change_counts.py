"""Counts of a package write, dry runs and the guard against data loss."""

import json
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from anyio import from_thread, to_thread
from hypothesis import Phase, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support import factories
from support.databases import Execute
from support.factories import Body
from support.packages import store_package, to_json
from support.selection import scale_examples

from case_server.case.package import DerivedValues, parse_package
from case_server.db.pool import Database
from case_server.db.write.upload.change_counts import ChangeCounts
from case_server.db.write.upload.loss_guard import DataLossError, raise_for_data_loss
from case_server.db.write.upload.package import write_package

pytestmark = pytest.mark.usefixtures("clean")

STORED = """
SELECT 'items', identifier, body::text, deleted_at::text FROM items
UNION ALL SELECT 'associations', identifier, body::text, NULL FROM associations
UNION ALL SELECT 'documents', identifier, body::text, deleted_at::text FROM documents
UNION ALL SELECT 'changes', sequence::text, kind || identifier, operation FROM changes
UNION ALL SELECT 'marks', scope, count(*)::text, NULL FROM revision_marks GROUP BY scope
ORDER BY 1, 2"""


def with_items(body: Body, items: list[Body]) -> Body:
    return {**body, "CFItems": items, "CFAssociations": []}


async def test_counts_of_a_mixed_write_distinguish_operations(database: Database) -> None:
    body = factories.package_with_every_class()
    await store_package(database, body)
    changed = json.loads(json.dumps(body))
    changed["CFItems"][0]["fullStatement"] = "another"
    changed["CFItems"][1] = factories.packed_item()
    changed["CFAssociations"] = []
    changed["CFRubrics"][0]["CFRubricCriteria"][0]["category"] = "another"
    changed["CFDefinitions"]["CFConcepts"][0]["title"] = "another"
    counts = (await store_package(database, changed)).counts
    assert counts == ChangeCounts(created=1, updated=3, unchanged=5, deleted=2)


async def test_undeleted_item_counts_as_created(database: Database) -> None:
    body = factories.package(CFAssociations=[])
    smaller = with_items(body, body["CFItems"][:1])
    await store_package(database, body)
    assert (await store_package(database, smaller)).counts == ChangeCounts(0, 0, 2, 1)
    assert (await store_package(database, body)).counts == ChangeCounts(1, 0, 2, 0)


async def test_definitions_registered_from_links_are_not_counted(database: Database) -> None:
    item = factories.packed_item(CFItemTypeURI=factories.link(), subjectURI=[factories.link()])
    body = factories.package(CFItems=[item], CFAssociations=[])
    summary = await store_package(database, body)
    assert summary.counts == ChangeCounts(2, 0, 0, 0)
    assert summary.changes["CFItemType", "create"] == 1


async def test_document_with_several_changes_counts_once(database: Database) -> None:
    body = factories.package_with_every_class()
    await store_package(database, body)
    changed = json.loads(json.dumps(body))
    changed["CFDocument"]["notes"] = "another"
    changed["extensions"] = {"a": 1}
    changed["CFDefinitions"]["CFLicenses"] = []
    changed["CFDefinitions"]["CFSubjects"].append(factories.subject("T"))
    counts = (await store_package(database, changed)).counts
    assert counts == ChangeCounts(created=1, updated=1, unchanged=8, deleted=0)


async def test_dry_run_returns_counts_and_writes_none(database: Database, execute: Execute) -> None:
    body = {**factories.package_with_every_class(), "CFRubrics": []}
    before = await execute(STORED)
    new = await store_package(database, body, dry_run=True)
    assert await execute(STORED) == before
    assert new.counts == (await store_package(database, body)).counts
    before = await execute(STORED)
    changed = with_items(body, [*body["CFItems"][:1], factories.packed_item()])
    changed = {**changed, "CFDocument": {**body["CFDocument"], "notes": "another"}}
    summary = await store_package(database, changed, dry_run=True)
    assert summary.counts == ChangeCounts(created=1, updated=1, unchanged=6, deleted=2)
    assert await execute(STORED) == before
    assert (await store_package(database, changed)).counts == summary.counts


async def test_refused_write_changes_nothing(database: Database, execute: Execute) -> None:
    body = {**factories.package_with_every_class(), "CFRubrics": []}
    await store_package(database, body)
    before = await execute(STORED)
    with pytest.raises(DataLossError) as exc_info:
        await store_package(database, with_items(body, []), guard=raise_for_data_loss)
    assert exc_info.value.counts == ChangeCounts(created=0, updated=0, unchanged=6, deleted=3)
    assert "delete 2 of the 2 items stored, and leave the framework without" in str(exc_info.value)
    assert "--allow-deletes" in str(exc_info.value)
    assert await execute(STORED) == before


async def test_deleting_all_associations_is_refused_from_three(database: Database) -> None:
    items = [factories.packed_item() for _ in range(4)]
    names = [item["identifier"] for item in items]
    body = factories.package(CFItems=items)
    for count, is_refused in ((2, False), (3, True)):
        associations = [factories.association(name, names[0]) for name in names[1 : count + 1]]
        await store_package(database, {**body, "CFAssociations": associations})
        flat = {**body, "CFAssociations": []}
        refusal = pytest.raises(DataLossError, match="delete all 3 associations")
        with refusal if is_refused else nullcontext():
            await store_package(database, flat, guard=raise_for_data_loss)


bounded = hypothesis_settings(
    max_examples=scale_examples(60), deadline=None, phases=[Phase.explicit, Phase.generate]
)
few = st.integers(0, 5)


async def test_write_deleting_more_than_half_of_the_items_is_refused(database: Database) -> None:
    """The refusal does not depend on how many items are added or get other statements."""

    async def check(remaining: int, deleted: int, added: int, reworded_count: int) -> None:
        remaining_items = [factories.packed_item() for _ in range(remaining)]
        deleted_items = [factories.packed_item() for _ in range(deleted)]
        body = factories.package()
        await store_package(database, with_items(body, [*remaining_items, *deleted_items]))
        for item in remaining_items[:reworded_count]:
            item["fullStatement"] = "another"
        new = [factories.packed_item() for _ in range(added)]
        after = with_items(body, [*new, *remaining_items])
        if deleted > remaining:
            with pytest.raises(DataLossError) as exc_info:
                await store_package(database, after, guard=raise_for_data_loss)
            assert exc_info.value.counts.deleted == deleted
        guard = None if deleted > remaining else raise_for_data_loss
        summary = await store_package(database, after, guard=guard)
        assert summary.counts.deleted == deleted
        assert summary.item_count_before == remaining + deleted

    @bounded
    @given(remaining=few, deleted=few, added=few, reworded_count=few)
    @example(remaining=0, deleted=0, added=0, reworded_count=0)
    @example(remaining=0, deleted=1, added=0, reworded_count=0)
    @example(remaining=0, deleted=1, added=1, reworded_count=0)
    @example(remaining=1, deleted=1, added=0, reworded_count=1)
    @example(remaining=1, deleted=2, added=3, reworded_count=0)
    @example(remaining=3, deleted=0, added=0, reworded_count=3)
    def run(**case: Any) -> None:
        from_thread.run(lambda: check(**case))

    await to_thread.run_sync(run)


async def test_write_changing_most_statements_of_known_items_is_refused(database: Database) -> None:
    async def check(
        matched: int, reworded_count: int, added: int, *, has_derived_ids: bool
    ) -> None:
        items = [factories.packed_item() for _ in range(matched)]
        body = factories.package()
        await store_package(database, with_items(body, items))
        for item in items[:reworded_count]:
            item["fullStatement"] = "another"
        new = [factories.packed_item() for _ in range(added)]
        package = parse_package(to_json(with_items(body, [*items, *new])))
        if has_derived_ids:
            names = tuple(item["identifier"] for item in (*items, *new))
            package = replace(package, derived=DerivedValues(items=[*names]))
        changed = min(reworded_count, matched)
        if has_derived_ids and matched >= 3 and 2 * changed > matched:
            with pytest.raises(DataLossError, match=f"{changed} of the {matched} items"):
                await write_package(database, package, guard=raise_for_data_loss)
            return
        summary = await write_package(database, package, guard=raise_for_data_loss)
        assert summary.counts.updated == changed

    @bounded
    @given(matched=few, reworded_count=few, added=few, has_derived_ids=st.booleans())
    @example(matched=3, reworded_count=3, added=0, has_derived_ids=False)
    @example(matched=3, reworded_count=2, added=0, has_derived_ids=True)
    @example(matched=2, reworded_count=2, added=3, has_derived_ids=True)
    @example(matched=4, reworded_count=2, added=0, has_derived_ids=True)
    def run(**case: Any) -> None:
        from_thread.run(lambda: check(**case))

    await to_thread.run_sync(run)
