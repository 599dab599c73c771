"""Fields of the model by name, their types, operators and values."""

from datetime import UTC, datetime

import pytest

from case_server.case import model
from case_server.case.resources import RESOURCES, ResourceType
from case_server.query.fields import (
    Fields,
    FieldType,
    QueryableField,
    format_choices,
    list_fields,
    resolve_field,
    truncate_for_message,
)

DOCUMENT = list_fields(model.CFDocument)
ITEM = list_fields(model.CFItem)
ASSOCIATION = list_fields(model.CFAssociation)


@pytest.mark.parametrize(
    ("fields", "name", "field_type"),
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
        (list_fields(model.CFRubricCriterionLevel), "score", FieldType.NUMBER),
        (list_fields(model.CFRubricCriterionLevel), "extensions", FieldType.EXTENSION),
    ],
)
def test_field_type_follows_from_model(fields: Fields, name: str, field_type: FieldType) -> None:
    assert fields[name] == QueryableField(tuple(name.split(".")), field_type)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_every_field_of_every_resource_has_a_type(resource: ResourceType) -> None:
    names = [name for name in list_fields(resource.schema) if "." not in name]
    assert names == list(resource.schema.model_fields)


def test_package_has_the_fields_of_its_class() -> None:
    names = [name for name in list_fields(model.CFPackage) if "." not in name]
    assert names == list(model.CFPackage.model_fields)


def test_parts_of_an_object_are_its_string_fields() -> None:
    package = list_fields(model.CFPackage)
    assert "CFDocument.title" in package
    assert "CFDocument.lastChangeDateTime" not in package
    assert "CFItems.educationLevel" not in package


def test_parts_of_a_link_are_its_fields() -> None:
    parts = [name for name in ASSOCIATION if name.startswith("CFDocumentURI.")]
    assert parts == ["CFDocumentURI.title", "CFDocumentURI.identifier", "CFDocumentURI.uri"]


def test_fields_of_a_class_are_cached_and_immutable() -> None:
    assert list_fields(model.CFItem) is ITEM
    with pytest.raises(TypeError):
        ITEM["title"] = QueryableField(("title",), FieldType.STRING)  # type: ignore[index]  # the error is what is tested


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("sourcedId", ("identifier",)),
        ("CFPackageURI.sourcedId", ("CFPackageURI", "identifier")),
        ("subjectURI.sourcedId", ("subjectURI", "identifier")),
        # Below extensions, sourcedId is no alias.
        ("extensions.sourcedId", ("extensions", "sourcedId")),
        ("extensions.a.b-c", ("extensions", "a", "b-c")),
    ],
)
def test_resolve_field_returns_the_field(name: str, path: tuple[str, ...]) -> None:
    field = resolve_field(DOCUMENT, name)
    assert field is not None
    assert field.path == path


@pytest.mark.parametrize(
    "name",
    [
        *("", "nonsense", "Title", "title.title", "CFPackageURI.nonsense", "CFPackageURI."),
        *("CFPackageURI.identifier.identifier", "extensions.", "extensions.a..b"),
    ],
)
def test_resolve_field_returns_none_for_an_unknown_name(name: str) -> None:
    assert resolve_field(DOCUMENT, name) is None


def test_sourced_id_is_unknown_in_a_class_without_identifier() -> None:
    assert resolve_field(list_fields(model.CFPackage), "sourcedId") is None


@pytest.mark.parametrize(
    ("name", "comparable"),
    [
        *((name, True) for name in ("title", "subject", "subjectURI.title", "extensions.a")),
        *((name, False) for name in ("extensions", "subjectURI", "licenseURI")),
    ],
)
def test_objects_are_not_comparable_but_their_parts_are(name: str, *, comparable: bool) -> None:
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
def test_operators_depend_on_the_type(name: str, operators: str) -> None:
    field = resolve_field(DOCUMENT, name)
    assert field is not None
    assert " ".join(field.operators) == operators


NUMBER = QueryableField(("sequenceNumber",), FieldType.NUMBER)
DATE = QueryableField(("statusStartDate",), FieldType.DATE)
DATETIME = QueryableField(("lastChangeDateTime",), FieldType.DATETIME)
TITLE = QueryableField(("title",), FieldType.STRING)


@pytest.mark.parametrize("text", ["0", "-3", "+3", "0.75", "1e5", "1.5E-07", "9" * 30])
def test_number_in_a_filter_is_parsed_unchanged(text: str) -> None:
    assert NUMBER.parse_value(text) == text


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2024-02-29T10:20:30", datetime(2024, 2, 29, 10, 20, 30, tzinfo=UTC)),
        ("2024-02-29T10:20:30.125Z", datetime(2024, 2, 29, 10, 20, 30, 125000, tzinfo=UTC)),
        ("2024-02-29T10:20:30+02:00", datetime(2024, 2, 29, 8, 20, 30, tzinfo=UTC)),
    ],
)
def test_timestamp_is_parsed_into_utc(text: str, timestamp: datetime) -> None:
    value = DATETIME.parse_value(text)
    assert value == timestamp
    assert isinstance(value, datetime)
    assert value.tzinfo is UTC


# Python or Postgres accepts some of these or fails on them: 1e999 overflows in Postgres.
NO_NUMBERS = ("", "x", "1.", ".5", " 1", "1_000", "٣", "nan", "Infinity", "0x1", "1e999", "9" * 31)
NO_DATES = ("", "2023-02-29", "20240229", "2024-W09-4", "2024-2-9", "2024-02-29T00:00:00")
NO_TIMES = ("", "yesterday", "2024-13-01", "2024-02-29T25:00:00Z")
# In UTC, these lie outside the years 1 to 9999.
BEYOND_TIMES = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *((NUMBER, text) for text in (*NO_NUMBERS, "1\n")),
        *((DATE, text) for text in (*NO_DATES, "٢٠٢٤-02-29")),
        *((DATETIME, text) for text in (*NO_TIMES, *BEYOND_TIMES)),
    ],
)
def test_invalid_value_is_rejected(field: QueryableField, text: str) -> None:
    assert field.parse_value(text) is None


def test_any_string_and_a_date_are_returned_unchanged() -> None:
    assert TITLE.parse_value("") == ""
    assert TITLE.parse_value("2024") == "2024"
    assert DATE.parse_value("2024-02-29") == "2024-02-29"


def test_messages_list_names_and_truncate_quotes() -> None:
    assert format_choices(["a", "b"]) == "one of a, b"
    assert truncate_for_message("x" * 40) == "x" * 40
    assert truncate_for_message("x" * 41) == "x" * 39 + "…"
