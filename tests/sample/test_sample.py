"""The sample framework uses every class and field of the standard, and is valid."""

import json
import re
import unicodedata
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from support.factories import Body

from case_server.case import model
from case_server.case.model import CaseModel, CFPackage, Entity, LinkURI
from case_server.case.package import parse_package
from case_server.case.resources import DEFINITIONS
from case_server.case.vocabulary import ASSOCIATION_TYPES, EXTENSION_NAME, TARGET_TYPES
from case_server.sample import SAMPLE_DOCUMENT_ID, read_sample

Class = type[CaseModel]

SCHEMA = "reference/jsonschema/getCFPackage-200-responsepayload-schema.json"
CODED = [
    resource.collection
    for resource in DEFINITIONS
    if "hierarchyCode" in resource.schema.model_fields
]


def class_within(annotation: Any) -> Class | None:
    """Return the model class of a field's value or list members, if any."""
    for kind in get_args(annotation) or (annotation,):
        if isinstance(kind, type) and issubclass(kind, CaseModel):
            return kind
    return None


def fields_of(kind: Class) -> dict[str, Class | None]:
    return {name: class_within(field.annotation) for name, field in kind.model_fields.items()}


def reachable(kind: Class = CFPackage) -> dict[Class, None]:
    """Return every class that a package can contain, in order."""
    classes: dict[Class, None] = {kind: None}
    for inner in fields_of(kind).values():
        classes |= reachable(inner) if inner else {}
    return classes


def objects(
    value: Any, kind: Class = CFPackage, field: str = ""
) -> Iterator[tuple[Class, str, Body]]:
    """Yield every model object of a JSON value as (class, field name, object)."""
    if isinstance(value, list):
        for part in value:
            yield from objects(part, kind, field)
        return
    yield kind, field, value
    for name, inner in fields_of(kind).items():
        if inner and name in value:
            yield from objects(value[name], inner, name)


PACKAGE: Body = json.loads(read_sample())
OBJECTS = list(objects(PACKAGE))
ENTITIES = {
    value["identifier"]: (kind, value) for kind, _, value in OBJECTS if issubclass(kind, Entity)
}
LINKS = [(field, value) for kind, field, value in OBJECTS if issubclass(kind, LinkURI)]
DOCUMENT: Body = PACKAGE["CFDocument"]
ITEMS: dict[str, Body] = {item["identifier"]: item for item in PACKAGE["CFItems"]}
ASSOCIATIONS: list[Body] = PACKAGE["CFAssociations"]


def is_child(association: Body) -> bool:
    return bool(association["associationType"] == "isChildOf")


def is_outside(link: Body) -> bool:
    return link["identifier"] not in ENTITIES


def parents() -> dict[str, list[str]]:
    """Return the parents of each node."""
    parents_of = defaultdict(list)
    for association in filter(is_child, ASSOCIATIONS):
        child, parent = association["originNodeURI"], association["destinationNodeURI"]
        parents_of[child["identifier"]].append(parent["identifier"])
    return parents_of


def depth(identifier: str, ancestors: tuple[str, ...] = ()) -> int:
    """Return the length of the longest path from an item to the document."""
    assert identifier not in ancestors, "the tree has a cycle"
    if identifier == SAMPLE_DOCUMENT_ID:
        return 0
    direct_parents = parents()[identifier]
    assert direct_parents, f"{identifier} has no parent"
    return 1 + max(depth(parent, (*ancestors, identifier)) for parent in direct_parents)


def texts(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        pytest.param(kind, field, id=f"{kind.__name__}.{field}")
        for kind in reachable()
        for field in kind.model_fields
    ],
)
def test_every_field_of_every_class_is_used(kind: Class, field: str) -> None:
    values = [
        value[field]
        for entity_class, _, value in OBJECTS
        if entity_class is kind and field in value
    ]
    assert any(value not in ("", [], {}, None) for value in values)


def test_every_class_of_the_model_is_reachable() -> None:
    """Stand-alone classes have the fields of the packed ones; all others occur in a package."""
    for kind in vars(model).values():
        if isinstance(kind, type) and issubclass(kind, CaseModel):
            assert any(
                kind.model_fields.keys() <= used_class.model_fields.keys()
                and (issubclass(kind, used_class) or issubclass(used_class, kind))
                for used_class in reachable()
            ), kind


def test_every_field_is_in_the_model() -> None:
    for kind, _, value in OBJECTS:
        assert value.keys() <= kind.model_fields.keys()


def test_sample_has_expected_size() -> None:
    assert 20 <= len(ITEMS) <= 30
    assert 30 <= len(ASSOCIATIONS) <= 40


@pytest.mark.parametrize("name", ASSOCIATION_TYPES)
def test_every_association_type_is_used(name: str) -> None:
    assert any(association["associationType"] == name for association in ASSOCIATIONS)


def test_custom_association_type_is_used() -> None:
    own = {association["associationType"] for association in ASSOCIATIONS} - {*ASSOCIATION_TYPES}
    assert own
    assert all(re.fullmatch(EXTENSION_NAME, name) for name in own)


def test_target_types_are_standard_and_custom() -> None:
    types = {value["targetType"] for kind, _, value in OBJECTS if "targetType" in value}
    assert types > {*TARGET_TYPES}
    assert all(re.fullmatch(EXTENSION_NAME, name) for name in types - {*TARGET_TYPES})


@pytest.mark.parametrize("collection", CODED)
def test_hierarchy_codes_are_three_deep(collection: str) -> None:
    codes = {entity["hierarchyCode"] for entity in PACKAGE["CFDefinitions"][collection]}
    assert max(code.count(".") for code in codes) == 2
    assert all(code.rpartition(".")[0] in codes for code in codes if "." in code)


def test_code_with_equal_prefix_is_not_a_child() -> None:
    codes = [subject["hierarchyCode"] for subject in PACKAGE["CFDefinitions"]["CFSubjects"]]
    assert any(
        long != short and long.startswith(short) and not long.startswith(f"{short}.")
        for short in codes
        for long in codes
    )


def test_tree_is_four_levels_deep() -> None:
    assert max(depth(identifier) for identifier in ITEMS) == 4


def test_roots_are_children_of_the_document() -> None:
    roots = [child for child, parent_ids in parents().items() if parent_ids == [SAMPLE_DOCUMENT_ID]]
    assert len(roots) > 1
    assert all("sequenceNumber" in association for association in filter(is_child, ASSOCIATIONS))


def test_one_item_has_two_parents() -> None:
    assert Counter(map(len, parents().values())) == {1: len(ITEMS) - 1, 2: 1}


def test_codes_decide_a_tie_of_sequence_numbers() -> None:
    """The file lists the later code first, so that sorting is observable."""
    places = defaultdict(list)
    for association in filter(is_child, ASSOCIATIONS):
        child = ITEMS[association["originNodeURI"]["identifier"]]
        place = (association["destinationNodeURI"]["identifier"], association["sequenceNumber"])
        places[place].append(child["humanCodingScheme"])
    ((code, other),) = [codes for codes in places.values() if len(codes) > 1]
    assert code > other


def test_sequence_numbers_disagree_with_the_order_of_the_file() -> None:
    numbers = defaultdict(list)
    for association in filter(is_child, ASSOCIATIONS):
        parent = association["destinationNodeURI"]["identifier"]
        numbers[parent].append(association["sequenceNumber"])
    assert any(
        sorted(numbers_of_parent) != numbers_of_parent for numbers_of_parent in numbers.values()
    )


def test_identifiers_are_unique_and_random_uuids() -> None:
    identifiers = [value["identifier"] for kind, _, value in OBJECTS if issubclass(kind, Entity)]
    identifiers.append(DOCUMENT["CFPackageURI"]["identifier"])
    assert len(identifiers) == len(set(identifiers))
    for identifier in [*identifiers, *(link["identifier"] for _, link in LINKS)]:
        read = uuid.UUID(identifier)
        assert str(read) == identifier
        assert (read.version, read.variant) == (4, uuid.RFC_4122)


def test_package_has_an_identifier_of_its_own() -> None:
    package = parse_package(read_sample())
    assert package.document_identifier == SAMPLE_DOCUMENT_ID == DOCUMENT["identifier"]
    assert package.package_identifier != package.document_identifier


def test_links_resolve_and_have_the_title_of_their_target() -> None:
    for field, link in LINKS:
        if field == "CFPackageURI" or is_outside(link):
            continue
        _, entity = ENTITIES[link["identifier"]]
        assert link["uri"] == entity["uri"]
        assert link["title"] == entity.get("fullStatement", entity.get("title"))


def test_links_refer_to_the_class_of_their_field() -> None:
    """A field that names no class is about subjects, concepts or licences."""
    class_names = {
        "subjectURI": "CFSubject",
        "conceptKeywordsURI": "CFConcept",
        "licenseURI": "CFLicense",
    }
    for field, link in LINKS:
        if field == "CFPackageURI" or field.endswith("NodeURI"):
            continue
        kind, _ = ENTITIES[link["identifier"]]
        name = class_names.get(field, field.removesuffix("URI"))
        assert kind.__name__.replace("Pckg", "") == name


def test_only_marked_destinations_are_external() -> None:
    result = {}
    for association in ASSOCIATIONS:
        assert not is_outside(association["originNodeURI"])
        destination = association["destinationNodeURI"]
        if is_outside(destination):
            result[association["associationType"]] = destination["targetType"]
        else:
            assert destination.get("targetType", "CASE") == "CASE"
    assert result.pop("exactMatchOf") == "CASE"
    assert result
    assert all(re.fullmatch(EXTENSION_NAME, target) for target in result.values())


def test_rubrics_name_their_parents() -> None:
    for rubric in PACKAGE["CFRubrics"]:
        for criterion in rubric["CFRubricCriteria"]:
            assert criterion["rubricId"] == rubric["identifier"]
            for level in criterion["CFRubricCriterionLevels"]:
                assert level["rubricCriterionId"] == criterion["identifier"]


def test_urls_use_reserved_example_domains() -> None:
    for _, _, value in OBJECTS:
        if "uri" in value:
            assert value["uri"].startswith("https://example.org/")


def test_times_are_in_utc_with_milliseconds() -> None:
    for _, entity in ENTITIES.values():
        time = entity["lastChangeDateTime"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
        assert time <= DOCUMENT["lastChangeDateTime"]


@pytest.mark.parametrize("language", ["ja", "ar"])
def test_translations_have_a_language(language: str) -> None:
    languages = [
        [
            ITEMS[association[end]["identifier"]]["language"]
            for end in ("originNodeURI", "destinationNodeURI")
        ]
        for association in ASSOCIATIONS
        if association["associationType"] == "isTranslationOf"
    ]
    assert ["en", language] in languages


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(lambda text: '"' in text, id="double quote"),
        pytest.param(lambda text: "'" in text, id="single quote"),
        pytest.param(lambda text: "C:\\" in text, id="backslash"),
        pytest.param(lambda text: r"$\frac{1}{2}$" in text, id="LaTeX"),
        pytest.param(lambda text: "<b>" in text, id="HTML"),
        pytest.param(lambda text: "&" in text, id="ampersand"),
        pytest.param(lambda text: "\n" in text, id="newline"),
        pytest.param(lambda text: "\u2028" in text, id="U+2028"),
        pytest.param(lambda text: max(text) > "\U0001f000", id="emoji"),
        pytest.param(lambda text: "AL" in map(unicodedata.bidirectional, text), id="right to left"),
    ],
)
def test_statements_contain_difficult_characters(hostile: Callable[[str], bool]) -> None:
    assert any(hostile(item["fullStatement"]) for item in ITEMS.values())


def test_one_line_fields_have_no_line_breaks() -> None:
    """Other string fields are NormalizedString, which allows no control characters."""
    free = {"fullStatement", "notes", "description", "licenseText", "feedback", "extensions"}
    for kind, _, value in OBJECTS:
        if not issubclass(kind, LinkURI):
            simple = {
                name: value[name]
                for name in value.keys() - free
                if not class_within(kind.model_fields[name].annotation)
            }
            assert not any(re.search(r"[\r\n\t]", text) for text in texts(simple))


def test_file_is_formatted_for_readers() -> None:
    text = json.dumps(PACKAGE, ensure_ascii=False, indent=2) + "\n"
    assert read_sample() == text.encode()


def test_sample_is_parsed_without_loss() -> None:
    """The parsed fields have the order of the model, as in responses."""
    read = CFPackage.model_validate_json(read_sample()).model_dump_json(exclude_none=True)
    assert json.dumps(json.loads(read)) == json.dumps(PACKAGE)


def test_sample_is_split_without_problems() -> None:
    rows = [*parse_package(read_sample()).rows]
    assert {row.identifier for row in rows} == ENTITIES.keys()
    assert len(rows) == len(ENTITIES)


def test_sample_is_valid_in_the_official_schema(shared: Path) -> None:
    """Without the links to package and document, which our model reads and the standard omits."""
    package = json.loads(read_sample())
    stripped = [package["CFDocument"].pop("CFPackageURI")]
    for collection in ("CFItems", "CFAssociations"):
        stripped += [
            entity.pop("CFDocumentURI")
            for entity in package[collection]
            if "CFDocumentURI" in entity
        ]
    assert len(stripped) == 3
    schema = json.loads((shared / SCHEMA).read_bytes())
    checker = jsonschema.FormatChecker()
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(package)
