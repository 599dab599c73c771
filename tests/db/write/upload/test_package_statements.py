"""A package write writes differences only: unchanged entities log no change and no revision."""

import json

import pytest
from support import factories
from support.calls import Api
from support.databases import Execute
from support.factories import Body
from support.packages import export_package, store_package

from case_server.case.resources import DOCUMENTS
from case_server.db.pool import Database
from case_server.db.read.revisions import Revision, RevisionCache
from case_server.db.write import soft_delete
from case_server.db.write.upload.package import UploadResult, write_package
from case_server.repair.reader import repair_and_parse

Entry = tuple[str, str, str]

pytestmark = pytest.mark.usefixtures("clean")


class Store:
    """Writes packages to a database and reads what they logged."""

    def __init__(self, database: Database, execute: Execute) -> None:
        self.database, self.execute = database, execute

    async def write(self, body: Body) -> UploadResult:
        return await store_package(self.database, body)

    async def revision(self, body: Body) -> Revision:
        return await RevisionCache(self.database).get_current_revision(
            body["CFDocument"]["identifier"]
        )

    async def entries(self, body: Body) -> list[Entry]:
        """Write a package and return the changes that it logged."""
        (last,) = await self.execute("SELECT coalesce(max(sequence), 0) FROM changes")
        await self.write(body)
        rows = await self.execute(
            "SELECT kind, identifier, operation FROM changes WHERE sequence > $1 ORDER BY sequence",
            last[0],
        )
        return [tuple(row) for row in rows]

    async def order(self, body: Body) -> list[str]:
        exported = await export_package(self.database, body["CFDocument"]["identifier"])
        return names(json.loads(exported))


@pytest.fixture
def store(database: Database, execute: Execute) -> Store:
    return Store(database, execute)


def names(body: Body) -> list[str]:
    return [item["identifier"] for item in body["CFItems"]]


def framework(count: int = 30) -> Body:
    items = [factories.packed_item() for _ in range(count)]
    return factories.package(
        CFItems=items,
        CFAssociations=[
            factories.association(item["identifier"], items[0]["identifier"]) for item in items[1:]
        ],
        CFRubrics=[factories.rubric(), factories.rubric()],
    )


async def test_inserted_item_logs_one_change(store: Store) -> None:
    body = framework()
    await store.write(body)
    for index in (0, 15, 31):
        item = factories.packed_item()
        body["CFItems"].insert(index, item)
        relation = factories.association(item["identifier"], names(body)[5])
        body["CFAssociations"].insert(index, relation)
        assert await store.entries(body) == [
            ("CFItem", item["identifier"], "create"),
            ("CFAssociation", relation["identifier"], "create"),
        ]
        assert await store.order(body) == names(body)
        assert await store.entries(body) == []


async def test_package_with_a_title_of_multibyte_characters_is_unchanged(store: Store) -> None:
    body = framework()
    body["CFDocument"]["title"] = "Mathématiques 数学"
    item = body["CFItems"][0]
    item["fullStatement"] = "Résoudre des équations 方程"
    await store.write(body)
    assert await store.entries(body) == []
    item["CFDocumentURI"] = factories.link(body["CFDocument"]["identifier"], "Maths")
    await store.write(body)
    del item["CFDocumentURI"]
    assert await store.entries(body) == []


async def test_changed_order_bumps_the_revision_only(store: Store) -> None:
    body = framework()
    await store.write(body)
    for change in (
        body["CFItems"].reverse,
        lambda: body["CFItems"].insert(3, body["CFItems"].pop()),
        body["CFAssociations"].reverse,
        body["CFRubrics"].reverse,
    ):
        before = await store.revision(body)
        change()
        assert await store.entries(body) == []
        after = await store.revision(body)
        assert after.document > before.document
        assert await store.order(body) == names(body)
        assert await store.entries(body) == []
        assert await store.revision(body) == after


async def test_changed_and_moved_item_logs_one_change(store: Store) -> None:
    body = framework()
    await store.write(body)
    item = body["CFItems"].pop(3)
    item["fullStatement"] = "another"
    body["CFItems"].insert(20, item)
    assert await store.entries(body) == [("CFItem", item["identifier"], "update")]
    assert await store.order(body) == names(body)


async def test_rubric_changes_only_with_its_own_criteria(store: Store) -> None:
    body = framework()
    first, second = body["CFRubrics"]
    await store.write(body)
    first["CFRubricCriteria"].insert(0, factories.entity(category="new"))
    assert await store.entries(body) == [("CFRubric", first["identifier"], "update")]
    second["CFRubricCriteria"].reverse()
    assert await store.entries(body) == [("CFRubric", second["identifier"], "update")]
    third = factories.rubric()
    body["CFRubrics"].insert(0, third)
    assert await store.entries(body) == [("CFRubric", third["identifier"], "create")]
    assert await store.entries(body) == []


async def test_importing_export_writes_nothing(api: Api, store: Store, database: Database) -> None:
    # One document with definitions registered from links, one uploaded with its own.
    document = await api.create_document(
        subjectURI=[factories.link()], licenseURI=factories.link(), extensions={"a": [1.0, -0.0]}
    )
    linked = {
        "CFItemTypeURI": factories.link(),
        "subjectURI": [factories.link(), factories.link()],
        "conceptKeywordsURI": [factories.link()],
        "licenseURI": factories.link(),
    }
    origin, destination = await api.create_item(document, **linked), await api.create_item(document)
    await api.create_association(origin, destination, CFAssociationGroupingURI=factories.link())
    complete_package = factories.package_with_every_class()
    complete_package["extensions"] = {"b": 1}
    await store.write(complete_package)
    for identifier in (document["identifier"], complete_package["CFDocument"]["identifier"]):
        exported = await export_package(database, identifier)
        body = json.loads(exported)
        assert body["CFDefinitions"]["CFSubjects"]
        before = await store.revision(body)
        package, repairs = repair_and_parse(exported)
        assert repairs == []
        assert (await write_package(database, package)).changed_count == 0
        assert await store.entries(body) == []
        assert await store.revision(body) == before


def package_of_type(kind: Body) -> Body:
    """Return a package with one item, of a type that only its link describes."""
    item = factories.packed_item(CFItemTypeURI=kind)
    return factories.package(CFItems=[item], CFAssociations=[], CFDefinitions={})


async def test_definition_with_more_than_its_link_is_updated_once(store: Store) -> None:
    kind = factories.link()
    body, other = package_of_type(kind), package_of_type(kind)
    await store.write(body)
    item_type = factories.item_type(kind["identifier"], title=kind["title"])
    body["CFDefinitions"] = {"CFItemTypes": [item_type]}
    expected = [("CFItemType", kind["identifier"], "update")]
    assert await store.entries(body) == expected
    # A package with fewer details of a definition does not change it.
    body["CFDefinitions"] = {}
    assert await store.entries(body) == []
    assert "CFItemType" not in {kind for kind, _, _ in await store.entries(other)}


async def test_unreferenced_definition_changes_its_document(store: Store) -> None:
    body = factories.package(CFDefinitions={})
    document = body["CFDocument"]["identifier"]
    await store.write(body)
    kind = factories.item_type()
    body["CFDefinitions"] = {"CFItemTypes": [kind]}
    assert sorted(await store.entries(body)) == [
        ("CFDocument", document, "update"),
        ("CFItemType", kind["identifier"], "create"),
    ]
    body["CFDefinitions"] = {}
    assert await store.entries(body) == [("CFDocument", document, "update")]


async def test_upload_logs_one_change_per_entity(store: Store) -> None:
    body = factories.package_with_every_class()
    document = body["CFDocument"]["identifier"]
    await store.write(body)
    body["CFDocument"]["title"] = "another"
    body["extensions"] = {"a": 1}
    body["CFDefinitions"] |= {
        "CFItemTypes": [*body["CFDefinitions"]["CFItemTypes"], factories.item_type()],
        "CFSubjects": [*body["CFDefinitions"]["CFSubjects"], factories.subject("X")],
    }
    entries = await store.entries(body)
    assert entries.count(("CFDocument", document, "update")) == 1
    assert len({entry[:2] for entry in entries}) == len(entries)
    body["extensions"] = {"a": 2}
    body["CFDefinitions"]["CFSubjects"].append(factories.subject("Y"))
    entries = await store.entries(body)
    assert sorted(entry[0] for entry in entries) == ["CFDocument", "CFSubject"]


async def test_undeleted_and_changed_entity_logs_one_change(store: Store) -> None:
    body = factories.package_with_every_class()
    await store.write(body)
    await soft_delete.delete_entity(store.database, DOCUMENTS, body["CFDocument"]["identifier"])
    body["CFDocument"]["title"] = "another"
    body["extensions"] = {"a": 1}
    body["CFItems"][0]["fullStatement"] = "another"
    body["CFItems"].reverse()
    entries = await store.entries(body)
    assert len({entry[:2] for entry in entries}) == len(entries)
    operations = {entry[:2]: entry[2] for entry in entries}
    assert operations["CFDocument", body["CFDocument"]["identifier"]] == "revive"
    assert {operations["CFItem", name] for name in names(body)} == {"revive"}


async def test_item_moved_from_one_document_to_another_logs_one_change(store: Store) -> None:
    first, second = framework(3), framework(3)
    await store.write(first)
    await store.write(second)
    item = first["CFItems"].pop()
    first["CFAssociations"].pop()
    await store.write(first)
    second["CFItems"].insert(1, {**item, "fullStatement": "moved"})
    assert await store.entries(second) == [("CFItem", item["identifier"], "revive")]


async def test_equal_time_in_milliseconds_is_no_change(store: Store) -> None:
    body = framework(2)
    body["CFItems"][0]["lastChangeDateTime"] = "2026-01-15T09:30:00.123456Z"
    await store.write(body)
    body["CFItems"][0]["lastChangeDateTime"] = "2026-01-15T10:30:00.123+01:00"
    assert await store.entries(body) == []


async def test_feed_has_association_hidden_with_document_once(api: Api, database: Database) -> None:
    body = await api.upload_package()
    page = await api.get("/changes")
    for operation in (soft_delete.delete_entity, soft_delete.undelete_entity):
        await operation(database, DOCUMENTS, body["CFDocument"]["identifier"])
        page = await api.get("/changes", since=page["next"])
        keys = [(each["kind"], each["identifier"]) for each in page["changes"]]
        assert len(keys) == len(set(keys)) == 4
