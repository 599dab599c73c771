"""A package written in any file format is read again as the same package."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
from anyio import from_thread, to_thread
from httpx import AsyncClient
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from support import factories
from support.calls import Api
from support.databases import Execute, delete_all_rows
from support.factories import Body
from support.package_strategies import HOSTILE, packages
from support.packages import export_package
from support.selection import REAL_FRAMEWORKS, mark_slow_except, scale_examples
from support.tables import find_problems

from case_server.api.profiles import PLATFORM
from case_server.case.package import PreparedPackage, parse_package
from case_server.case.resources import DEFINITIONS
from case_server.db.pool import Database
from case_server.db.write.upload.package import write_package
from case_server.formats import xlsx
from case_server.formats.file_format import FILE_FORMATS, FileFormat
from case_server.formats.jsonl import JsonLinesWriter
from case_server.formats.reader import read_framework
from case_server.formats.writer import TableWriter
from case_server.repair.metadata_options import MetadataOptions
from case_server.repair.reader import repair_and_parse
from case_server.sample import read_sample

OTHERS: tuple[FileFormat, ...] = ("csv", "xlsx", "jsonl")

each_form = pytest.mark.parametrize("form", OTHERS)

bounded = hypothesis_settings(
    max_examples=scale_examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def entities(package: Body) -> Iterator[tuple[str, Body]]:
    """Yield every entity of a package with its class name."""
    yield "CFDocument", package["CFDocument"]
    lists = {**package, **package.get("CFDefinitions", {})}
    kinds = {resource.collection: resource.name for resource in DEFINITIONS}
    kinds |= {"CFItems": "CFItem", "CFAssociations": "CFAssociation", "CFRubrics": "CFRubric"}
    for collection, kind in kinds.items():
        yield from ((kind, entity) for entity in lists.get(collection, ()))
    holders = {"CFPackage": package, "CFDefinition": package.get("CFDefinitions", {})}
    for kind, holder in holders.items():
        if "extensions" in holder:
            yield kind, {"extensions": holder["extensions"]}


def written(package: Body, form: FileFormat) -> bytes:
    file = io.BytesIO()
    with JsonLinesWriter(file) if form == "jsonl" else TableWriter(file, form) as writer:
        for kind, entity in entities(package):
            writer.add(kind, entity)
        writer.finish()
    return file.getvalue()


def read_strictly(raw: bytes, form: FileFormat) -> PreparedPackage:
    """Parse a file in strict mode, and assert that nothing in it needs repair."""
    package, repairs = read_framework(raw, form, MetadataOptions(), strict=True)
    assert repairs == []
    return package


@each_form
@bounded
@given(package=packages())
def test_any_package_survives_a_round_trip(form: FileFormat, package: Body) -> None:
    assert read_strictly(written(package, form), form) == parse_package(orjson.dumps(package))


@each_form
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_string_survives_in_every_string_field(form: FileFormat, text: str) -> None:
    body = factories.package_with_every_class()
    fields = ("fullStatement", "notes", "humanCodingScheme", "CFItemType", "language")
    for item in body["CFItems"]:
        item.update(dict.fromkeys(fields, text))
        item.update(subject=[text, text], educationLevel=[text], conceptKeywords=[text])
    body["CFDocument"] |= {"description": text, "extensions": {"own": [text], text: None}}
    body["CFAssociations"][0] |= {"notes": text}
    body["CFAssociations"][0]["originNodeURI"]["title"] = text
    assert read_strictly(written(body, form), form) == parse_package(orjson.dumps(body))


@pytest.fixture
def store(database: Database, clean: None) -> Database:
    """The database that the application serves, empty."""
    return database


async def in_every_form(store: Database, identifier: str) -> dict[FileFormat, bytes]:
    return {form: await export_package(store, identifier, form) for form in FILE_FORMATS}


LARGE: dict[str, tuple[FileFormat, ...]] = {"large-11k": ("csv",), "large-11k-broken": ("jsonl",)}
"""Two of one size, so each goes through one of the forms."""

SHORT = ("opencase-v1p1-with-rubrics",)


@pytest.mark.parametrize("name", mark_slow_except(SHORT, REAL_FRAMEWORKS))
async def test_real_frameworks_survive_a_round_trip(
    shared: Path, store: Database, execute: Execute, name: str
) -> None:
    """Import, export, import into an empty database, export: the same, through every form."""
    source = shared / "frameworks" / f"{name}.json"
    package, _ = repair_and_parse(source.read_bytes())
    await write_package(store, package)
    first = await export_package(store, package.document_identifier, "case-json")
    for form in LARGE.get(name, FILE_FORMATS):
        raw = await export_package(store, package.document_identifier, form)
        await delete_all_rows(execute)
        await write_package(store, read_strictly(raw, form))
        assert await export_package(store, package.document_identifier, "case-json") == first, form


def test_all_real_frameworks_are_tested(shared: Path) -> None:
    assert sorted(REAL_FRAMEWORKS) == sorted(
        file.stem for file in (shared / "frameworks").glob("*.json")
    )


async def test_reimported_sample_changes_nothing(store: Database) -> None:
    package = parse_package(read_sample())
    await write_package(store, package)
    for form, raw in (await in_every_form(store, package.document_identifier)).items():
        summary = await write_package(store, read_strictly(raw, form))
        assert (summary.is_created, summary.changed_count) == (False, 0), form


def odd() -> Body:
    """A framework that is stored as it is, and in which an import from elsewhere repairs much."""
    first, second = factories.packed_item("A" * 8), factories.packed_item(" spaces ", uri="urn:x:1")
    kind = factories.link("c" * 8)
    kind["uri"] = f"https://x.example/CFItemTypes{factories.new_id()}"
    first["CFItemTypeURI"] = kind
    spaces = {"title": "t", "identifier": " spaces ", "uri": "urn:x:1"}
    braces = {"title": "t", "identifier": "{AAAAAAAA}", "uri": "urn:x:2"}
    association = factories.association("x", "a" * 8, originNodeURI=spaces)
    outside = factories.association("x", "urn:uuid:AAAAAAAA", originNodeURI=braces)
    return factories.package(
        CFItems=[first, second], CFAssociations=[association, outside], extensions={"a": None}
    )


async def test_exports_are_read_literally(store: Database, execute: Execute) -> None:
    body = odd()
    raw = orjson.dumps(body, option=orjson.OPT_INDENT_2)
    assert {repair.kind for repair in repair_and_parse(raw)[1]} == {
        *("reference", "missing-slash", "spaces-around-identifier")
    }
    identifier = body["CFDocument"]["identifier"]
    await write_package(store, parse_package(raw))
    first = orjson.loads(await export_package(store, identifier, "case-json"))
    for form, file in (await in_every_form(store, identifier)).items():
        package, repairs = read_framework(file, form, MetadataOptions())
        assert repairs == [], form
        await delete_all_rows(execute)
        await write_package(store, package)
        reexported = orjson.loads(await export_package(store, identifier, "case-json"))
        assert reexported == first, form
        summary = await write_package(store, package)
        assert (summary.is_created, summary.changed_count) == (False, 0), form


async def test_invalidated_exports_are_repaired(store: Database) -> None:
    body = odd()
    identifier = body["CFDocument"]["identifier"]
    await write_package(store, parse_package(orjson.dumps(body)))
    edits: tuple[tuple[FileFormat, bytes, bytes], ...] = (
        ("csv", b",isChildOf,", b",Is Child Of,"),
        ("jsonl", b'"isChildOf"', b'"Is Child Of"'),
        ("case-json", b'"isChildOf"', b'"Is Child Of"'),
    )
    for form, before, after in edits:
        file = await export_package(store, identifier, form)
        assert before in file
        _, repairs = read_framework(file.replace(before, after), form, MetadataOptions())
        assert "association-type" in {repair.kind for repair in repairs}, form


def test_files_not_written_by_export_are_repaired() -> None:
    body = odd()
    lines = "".join(f"{json.dumps({kind: entity})}\n" for kind, entity in entities(body))
    rows = "identifier,parent,statement\nA.1,,x\n"
    assert read_framework(lines.encode(), "jsonl", MetadataOptions())[1]
    for raw in (orjson.dumps(body), orjson.dumps(body) + b"\n", json.dumps(body).encode()):
        assert read_framework(raw, "case-json", MetadataOptions())[1]
    assert read_framework(rows.encode(), "csv", MetadataOptions(title="t", creator="c"))[1] == []


async def test_any_package_survives_a_round_trip_through_the_api(
    client: AsyncClient, store: Database, execute: Execute
) -> None:
    """Upload as JSON, export in every file format, and import each export again."""
    api = Api(client, PLATFORM)

    async def import_and_export(body: Body) -> None:
        await delete_all_rows(execute)
        await api.send("POST", "/CFPackages", 201, body)
        identifier = body["CFDocument"]["identifier"]
        package = await api.get_package(quote(identifier, safe=""))
        assert lost(api, body, package) == []
        # The exported package defines entities that were known from links only.
        export = await export_package(store, identifier, "case-json")
        await write_package(store, read_strictly(export, "case-json"))
        for form, raw in (await in_every_form(store, identifier)).items():
            summary = await write_package(store, read_strictly(raw, form))
            assert (summary.is_created, summary.changed_count) == (False, 0), form

    @hypothesis_settings(
        bounded, max_examples=scale_examples(25), phases=[Phase.explicit, Phase.generate]
    )
    @given(body=packages())
    def each(body: Body) -> None:
        from_thread.run(import_and_export, body)

    await to_thread.run_sync(each)


def lost(api: Api, body: Body, returned: Body) -> list[str]:
    """Return the paths that a response lacks.

    It has only the last keyword link of each item, and may have further definitions.
    """
    uploaded: Body = json.loads(json.dumps(body))
    for item in uploaded["CFItems"]:
        if links := item.pop("conceptKeywordsURI", None):
            item["conceptKeywordsURI"] = links[-1]
    definitions = uploaded.pop("CFDefinitions")
    missing = api.list_lost_values(uploaded, returned)
    for resource in DEFINITIONS:
        returned_definitions = {
            definition["identifier"]: definition
            for definition in returned["CFDefinitions"][resource.collection]
        }
        for entry in definitions[resource.collection]:
            missing += api.list_lost_values(entry, returned_definitions.get(entry["identifier"]))
    return missing


@pytest.mark.parametrize("query", ["", "?repair=true"])
async def test_lone_surrogates_are_refused(client: AsyncClient, query: str) -> None:
    """JSON can escape lone surrogates, but no Unicode encoding can represent them."""
    raw = json.dumps(with_lone_surrogate())
    response = await client.post(f"{PLATFORM.prefix}/CFPackages{query}", content=raw)
    assert response.status_code == 400
    assert "the body is not JSON" in response.text


def with_lone_surrogate() -> Body:
    body = factories.package()
    body["CFItems"][0]["fullStatement"] = "half \ud800 a character"
    return body


def test_lone_surrogates_are_refused_in_lines() -> None:
    lines = "\n".join(
        json.dumps({kind: entity}) for kind, entity in entities(with_lone_surrogate())
    )
    (problem,) = find_problems(lines, "jsonl", MetadataOptions())
    assert problem["path"] == "line 2"
    assert "not JSON" in problem["message"]


def test_half_a_surrogate_pair_stays_escaped() -> None:
    assert xlsx.unescape_cell_text("_xD800_ _x0041_") == "_xD800_ A"
