"""Which names a list may be asked about, and how each may be compared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from case_server.case import model
from case_server.case.resources import RESOURCES, Resource
from case_server.query.fields import (
    Field,
    Fields,
    FieldType,
    fields_of,
    one_of,
    resolve_field,
    truncate,
)

DOCUMENT = fields_of(model.CFDocument)
ITEM = fields_of(model.CFItem)
ASSOCIATION = fields_of(model.CFAssociation)


@pytest.mark.parametrize(
    ("fields", "name", "kind"),
    [
        (DOCUMENT, "identifier", FieldType.STRING),
        (DOCUMENT, "caseVersion", FieldType.STRING),
        (DOCUMENT, "officialSourceURL", FieldType.STRING),
        (DOCUMENT, "lastChangeDateTime", FieldType.DATETIME),
        (DOCUMENT, "statusStartDate", FieldType.DATE),
        (DOCUMENT, "subject", FieldType.STRINGS),
        (DOCUMENT, "subjectURI", FieldType.LINKS),
        (DOCUMENT, "subjectURI.identifier", FieldType.LINK_LIST_PART),
        (DOCUMENT, "CFPackageURI", FieldType.LINK),
        (DOCUMENT, "CFPackageURI.identifier", FieldType.STRING),
        (DOCUMENT, "extensions", FieldType.EXTENSION),
        (ITEM, "conceptKeywords", FieldType.STRINGS),
        (ITEM, "conceptKeywordsURI", FieldType.LINK),
        (ITEM, "conceptKeywordsURI.title", FieldType.STRING),
        (ASSOCIATION, "sequenceNumber", FieldType.NUMBER),
        (ASSOCIATION, "associationType", FieldType.STRING),
        (ASSOCIATION, "originNodeURI.targetType", FieldType.STRING),
        (fields_of(model.CFRubricCriterionLevel), "score", FieldType.NUMBER),
        (fields_of(model.CFRubricCriterionLevel), "extensions", FieldType.EXTENSION),
    ],
)
def test_the_kind_of_a_field_follows_from_the_model(
    fields: Fields, name: str, kind: FieldType
) -> None:
    assert fields[name] == Field(tuple(name.split(".")), kind)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_every_field_of_every_resource_has_a_kind(resource: Resource) -> None:
    names = [name for name in fields_of(resource.schema) if "." not in name]
    assert names == list(resource.schema.model_fields)


def test_a_package_has_fields_to_select_too() -> None:
    names = [name for name in fields_of(model.CFPackage) if "." not in name]
    assert names == list(model.CFPackage.model_fields)


def test_only_the_texts_of_an_object_are_its_parts() -> None:
    package = fields_of(model.CFPackage)
    assert "CFDocument.title" in package
    assert "CFDocument.lastChangeDateTime" not in package
    assert "CFItems.educationLevel" not in package


def test_a_link_has_exactly_its_own_parts() -> None:
    parts = [name for name in ASSOCIATION if name.startswith("CFDocumentURI.")]
    assert parts == ["CFDocumentURI.title", "CFDocumentURI.identifier", "CFDocumentURI.uri"]


def test_the_fields_of_a_class_are_worked_out_once_and_cannot_be_changed() -> None:
    assert fields_of(model.CFItem) is ITEM
    with pytest.raises(TypeError):
        ITEM["title"] = Field(("title",), FieldType.STRING)  # type: ignore[index]  # shown here


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("sourcedId", ("identifier",)),
        ("CFPackageURI.sourcedId", ("CFPackageURI", "identifier")),
        ("subjectURI.sourcedId", ("subjectURI", "identifier")),
        # Below extensions, names are somebody's own.
        ("extensions.sourcedId", ("extensions", "sourcedId")),
        ("extensions.a.b-c", ("extensions", "a", "b-c")),
    ],
)
def test_a_name_is_found(name: str, path: tuple[str, ...]) -> None:
    field = resolve_field(DOCUMENT, name)
    assert field is not None
    assert field.path == path


@pytest.mark.parametrize(
    "name",
    [
        "",
        "nonsense",
        "Title",
        "title.title",
        "CFPackageURI.nonsense",
        "CFPackageURI.",
        "CFPackageURI.identifier.identifier",
        "extensions.",
        "extensions.a..b",
    ],
)
def test_a_name_is_not_found(name: str) -> None:
    assert resolve_field(DOCUMENT, name) is None


def test_sourced_id_is_not_a_name_where_identifier_is_none() -> None:
    assert resolve_field(fields_of(model.CFPackage), "sourcedId") is None


@pytest.mark.parametrize(
    ("name", "comparable"),
    [
        ("title", True),
        ("subject", True),
        ("subjectURI.title", True),
        ("extensions.a", True),
        ("extensions", False),
        ("subjectURI", False),
        ("licenseURI", False),
    ],
)
def test_objects_are_compared_by_their_parts_only(name: str, *, comparable: bool) -> None:
    field = resolve_field(DOCUMENT, name)
    assert field is not None
    assert field.is_comparable is comparable


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("title", "= != > >= < <= ~"),
        ("statusStartDate", "= != > >= < <= ~"),
        ("extensions.a", "= != > >= < <= ~"),
        ("lastChangeDateTime", "= != > >= < <="),
        ("subject", "= != ~"),
        ("subjectURI.title", "= != ~"),
    ],
)
def test_a_field_knows_its_operators(name: str, operators: str) -> None:
    field = resolve_field(DOCUMENT, name)
    assert field is not None
    assert " ".join(field.operators) == operators


NUMBER = Field(("sequenceNumber",), FieldType.NUMBER)
DATE = Field(("statusStartDate",), FieldType.DATE)
DATETIME = Field(("lastChangeDateTime",), FieldType.DATETIME)
TEXT = Field(("title",), FieldType.STRING)


@pytest.mark.parametrize("text", ["0", "-3", "+3", "0.75", "1e5", "1.5E-07", "9" * 30])
def test_a_number_is_read(text: str) -> None:
    assert NUMBER.parse_value(text) == text


@pytest.mark.parametrize(
    "text",
    # Python or Postgres would take some of these, or fail on them: 1e999 overflows there.
    ["", "x", "1.", ".5", " 1", "1_000", "٣", "nan", "Infinity", "0x1", "1e999", "9" * 31, "1\n"],
)
def test_what_is_no_number_is_not_read(text: str) -> None:
    assert NUMBER.parse_value(text) is None


def test_a_date_is_read() -> None:
    assert DATE.parse_value("2024-02-29") == "2024-02-29"


@pytest.mark.parametrize(
    "text",
    ["", "2023-02-29", "20240229", "2024-W09-4", "2024-2-9", "2024-02-29T00:00:00", "٢٠٢٤-02-29"],
)
def test_what_is_no_date_is_not_read(text: str) -> None:
    assert DATE.parse_value(text) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2024-02-29T10:20:30", datetime(2024, 2, 29, 10, 20, 30, tzinfo=UTC)),
        ("2024-02-29T10:20:30.125Z", datetime(2024, 2, 29, 10, 20, 30, 125000, tzinfo=UTC)),
        ("2024-02-29T10:20:30+02:00", datetime(2024, 2, 29, 8, 20, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_into_utc(text: str, moment: datetime) -> None:
    read = DATETIME.parse_value(text)
    assert read == moment
    assert isinstance(read, datetime)
    assert read.tzinfo is UTC


def test_the_zone_of_a_moment_is_heeded() -> None:
    read = DATETIME.parse_value("2024-01-01T00:00:00-05:00")
    assert read == datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=-5)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2024-13-01",
        "2024-02-29T25:00:00Z",
        # Real moments, but in UTC they lie outside the years 1 to 9999.
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_what_is_no_moment_is_not_read(text: str) -> None:
    assert DATETIME.parse_value(text) is None


def test_any_text_is_a_text() -> None:
    assert TEXT.parse_value("") == ""
    assert TEXT.parse_value("2024") == "2024"


def test_messages_list_names_and_quote_little() -> None:
    assert one_of(["a", "b"]) == "one of a, b"
    assert truncate("x" * 40) == "x" * 40
    assert truncate("x" * 41) == "x" * 40 + "..."
