"""The SQL views show what the standard profile answers, one typed column per field."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from httpx import AsyncClient
from pydantic import BaseModel, PlainSerializer
from pydantic.fields import FieldInfo
from support import factories
from support.databases import Execute

from case_server.api.profiles import PLATFORM, STANDARD_1_1
from case_server.case import model
from case_server.case.resources import DOCUMENTS, ITEMS, RESOURCES, RUBRICS, ResourceType
from case_server.db.pool import Database
from case_server.db.schema import tables
from case_server.db.write import soft_delete

NESTED = {"CFRubricCriteria", "CFRubricCriterionLevels"}
"""Lists of entities that have a view of their own."""

FROM_BASE_URL = {"cf_package_uri"}
"""Columns that are NULL where the server derives an address from its public URL."""


def snake(field: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", field).lower()


def view_of(resource: ResourceType) -> str:
    return f"cf_{resource.table}"


def columns_of(name: str, field: FieldInfo) -> Iterator[str]:
    """Yield the names of the columns that a field of the model is shown in."""
    stem = snake(name.removesuffix("URI"))
    kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if is_link(kind)]
    if not kinds or name == "uri":
        yield snake(name)
        return
    is_one = not get_args(field.annotation) or any(
        isinstance(part, PlainSerializer) for part in field.metadata
    )
    for member in kinds[0].model_fields:
        yield f"{stem}_{snake(member)}{'' if is_one else 's'}"


def is_link(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, model.LinkURI)


def to_columns(entity: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that an answered entity fills."""
    columns: dict[str, Any] = {}
    for name, value in entity.items():
        stem = snake(name.removesuffix("URI"))
        if name in NESTED:
            continue
        if name == "extensions":
            columns[name] = value
        elif isinstance(value, dict):
            columns |= {f"{stem}_{snake(member)}": part for member, part in value.items()}
        elif name.endswith("URI"):
            members = {key for link in value for key in link}
            columns |= {f"{stem}_{key}s": [link[key] for link in value] for key in members}
        else:
            columns[snake(name)] = value
    return columns


def to_response_value(value: Any, column: str) -> Any:
    """Return a value of a view as the API returns it in JSON."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        case date():
            return value.isoformat()
        case Decimal():
            return float(value)
        case str() if column == "extensions":
            return json.loads(value)
    return value


async def rows_of(execute: Execute, view: str) -> dict[str, dict[str, Any]]:
    """Return the filled columns of all rows of a view, by identifier."""
    return {
        row["identifier"]: {
            name: to_response_value(value, name) for name, value in row.items() if value is not None
        }
        for row in await execute(f"SELECT * FROM {view}")
    }


async def fetch_entity(client: AsyncClient, resource: ResourceType, identifier: str) -> Any:
    path = f"{STANDARD_1_1.prefix}/{resource.collection}/{identifier}"
    response = await client.get(path, params={"extensions": "true"})
    assert response.status_code == 200, response.text
    body = response.json()
    return body[resource.collection][0] if resource.with_descendants else body


async def upload(client: AsyncClient, package: dict[str, Any]) -> None:
    package = {"CFItems": [], "CFAssociations": [], **package}
    response = await client.post(f"{PLATFORM.prefix}/CFPackages", json=package)
    assert response.status_code == 201, response.text


def rich_package() -> dict[str, Any]:
    """Return a package with every field of every class, and definitions known from links alone."""
    package = factories.package_with_every_class()
    package["CFDocument"] |= {
        "frameworkType": "a type",
        "officialSourceURL": "https://example.org/source",
        "publisher": "a publisher",
        "description": "a 'quoted' description",
        "subject": ["Math", "Ärzte"],
        "subjectURI": [factories.link(title="one"), factories.link(title="two")],
        "language": "en",
        "version": "2",
        "adoptionStatus": "Draft",
        "statusStartDate": "2020-02-29",
        "statusEndDate": "2030-01-01",
        "notes": "",
        "CFPackageURI": factories.link(),
        "extensions": {"a": {"b": [1, None]}},
    }
    package["CFItems"][0] |= {
        "alternativeLabel": "a label",
        "CFItemType": "a type",
        "listEnumeration": "1",
        "abbreviatedStatement": "short",
        "conceptKeywords": ["one", "two"],
        "subject": [],
        "educationLevel": ["09", "10"],
        "licenseURI": factories.link(title="registered from this link"),
        "statusStartDate": "2020-01-01",
        "lastChangeDateTime": "2026-01-15T09:30:00.123+02:00",
        "extensions": {"score": 0.5},
    }
    package["CFItems"][1] |= {"CFItemTypeURI": factories.link(title="registered, too")}
    package["CFAssociations"][0] |= {"sequenceNumber": 3, "notes": "why"}
    outside = {**factories.link(), "targetType": "ext:video"}
    association = factories.association(package["CFItems"][0]["identifier"], outside["identifier"])
    association |= {"associationType": "isRelatedTo", "destinationNodeURI": outside}
    package["CFAssociations"].append(association)
    return package


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
async def test_view_has_the_columns_of_its_class(
    execute: Execute, client: AsyncClient, resource: ResourceType
) -> None:
    assert await has_columns_of(execute, view_of(resource), resource.schema)


@pytest.mark.parametrize(
    ("view", "schema"),
    [
        ("cf_rubric_criteria", model.CFRubricCriterion),
        ("cf_rubric_criterion_levels", model.CFRubricCriterionLevel),
    ],
)
async def test_view_of_rubric_parts_has_the_columns_of_its_class(
    execute: Execute, client: AsyncClient, view: str, schema: type[BaseModel]
) -> None:
    assert await has_columns_of(execute, view, schema)


async def has_columns_of(execute: Execute, view: str, schema: type[BaseModel]) -> bool:
    """Return whether a view has every column of a class; others only refer to what holds it."""
    fields = {name: field for name, field in schema.model_fields.items() if name not in NESTED}
    expected = {column for name, field in fields.items() for column in columns_of(name, field)}
    sql = "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
    columns = {row["column_name"] for row in await execute(sql, view)}
    further_columns = columns - expected
    return expected <= columns and all(
        re.fullmatch(r"cf_\w+_identifier", name) for name in further_columns
    )


async def test_views_match_the_standard_profile(execute: Execute, client: AsyncClient) -> None:
    await upload(client, rich_package())
    await upload(client, factories.package())
    for resource in RESOURCES:
        rows = await rows_of(execute, view_of(resource))
        assert rows
        for identifier, row in rows.items():
            expected = to_columns(await fetch_entity(client, resource, identifier))
            if resource is RUBRICS:
                expected["cf_document_identifier"] = row["cf_document_identifier"]
            missing = FROM_BASE_URL - row.keys()
            assert row == {name: v for name, v in expected.items() if name not in missing}


async def test_views_show_criteria_and_their_levels(execute: Execute, client: AsyncClient) -> None:
    package = factories.package_with_every_class()
    await upload(client, package)
    (rubric,) = package["CFRubrics"]
    criteria = await rows_of(execute, "cf_rubric_criteria")
    levels = await rows_of(execute, "cf_rubric_criterion_levels")
    for criterion in rubric["CFRubricCriteria"]:
        row = criteria.pop(criterion["identifier"])
        assert row.pop("cf_rubric_identifier") == rubric["identifier"]
        assert row == to_columns(criterion)
        for level in criterion.get("CFRubricCriterionLevels", ()):
            row = levels.pop(level["identifier"])
            assert row.pop("cf_rubric_criterion_identifier") == criterion["identifier"]
            assert row == to_columns(level)
    assert not criteria
    assert not levels


async def test_views_hide_what_was_deleted(
    execute: Execute, client: AsyncClient, database: Database
) -> None:
    live, changed_package, deleted_package = (
        factories.package(),
        factories.package(),
        rich_package(),
    )
    for package in (live, changed_package, deleted_package):
        await upload(client, package)
    child = changed_package["CFItems"][1]["identifier"]
    await soft_delete.delete_entity(database, ITEMS, child)
    await soft_delete.delete_entity(
        database, DOCUMENTS, deleted_package["CFDocument"]["identifier"]
    )
    documents = {package["CFDocument"]["identifier"] for package in (live, changed_package)}
    items = {item["identifier"] for item in [*live["CFItems"], changed_package["CFItems"][0]]}
    associations = {live["CFAssociations"][0]["identifier"]}
    assert set(await rows_of(execute, "cf_documents")) == documents
    assert {row["cf_document_identifier"] for row in await execute("TABLE cf_packages")} == (
        documents
    )
    assert set(await rows_of(execute, "cf_items")) == items
    assert set(await rows_of(execute, "cf_associations")) == associations
    for view in ("cf_rubrics", "cf_rubric_criteria", "cf_rubric_criterion_levels"):
        assert not await execute(f"TABLE {view}")


async def test_views_of_real_framework_match_the_responses(
    execute: Execute, client: AsyncClient, shared: Path
) -> None:
    package = json.loads((shared / "frameworks" / "opencase-v1p1-with-rubrics.json").read_text())
    package = package.get("CFPackage", package)
    response = await client.post(f"{PLATFORM.prefix}/CFPackages?repair=true", json=package)
    assert response.status_code == 201, response.text
    for resource in RESOURCES:
        for identifier, row in (await rows_of(execute, view_of(resource))).items():
            expected = to_columns(await fetch_entity(client, resource, identifier))
            columns = expected.keys() - (FROM_BASE_URL - row.keys())
            assert {name: row.get(name) for name in columns} == {
                name: expected[name] for name in columns
            }


async def test_every_table_column_and_view_has_a_comment(execute: Execute) -> None:
    sql = """
        SELECT relname, attname FROM pg_class
        LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
            AND relkind = 'r'
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
            AND relname <> 'alembic_version'
            AND (obj_description(pg_class.oid) IS NULL
                OR attnum IS NOT NULL AND col_description(attrelid, attnum) IS NULL)"""
    assert [tuple(row) for row in await execute(sql)] == []
    assert all(table.comment for table in tables.metadata.tables.values())
