"""Hypothesis strategies for CFPackages with all fields of the standard and hostile strings."""

from functools import cache
from typing import Any

from hypothesis import strategies as st
from support import factories
from support.factories import Body

from case_server.case.model import (
    CaseModel,
    CFAssociation,
    CFPackage,
    CFPckgDocument,
    CFPckgItem,
    CFRubric,
    Entity,
)
from case_server.case.resources import DEFINITIONS
from case_server.case.types import MAX_INT, MIN_INT
from case_server.case.vocabulary import ASSOCIATION_TYPES
from case_server.repair.field_spec import FieldSpec, get_field_specs

Strategy = st.SearchStrategy[Any]

HOSTILE = [
    '=HYPERLINK("http://example.org","x")',
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "＝1+1",  # noqa: RUF001  a full-width sign
    *("'quoted'", "''"),
    '"quotes", "commas"; semicolons\tand tabs',
    *("two\nlines", "two\r\nlines", "two\rlines", "", " ", "  spaces around  ", "\ttab first"),
    *("\x01\x02\x1f\x7f\x85\x9f", "\x0b\x0c\x1b[31m", "_x000D_ and _x005F_x000D_"),
    *("\ufeffmark", "\ufffe\uffff", "\u2028\u2029\u200b\u00a0"),
    "\u202eright to left\u202c שלום مرحبا",
    "e\u0301 and é and 🜚 and 👩🏽‍🏫",
    r"\frac{a}{b} $x^2$ \\ % & _ {}",
    "<b>bold</b> &amp; <script>alert(1)</script> ]]> <!-- -->",
    *("a|b", "06, 07", "none", "null", "TRUE", "007", "3.10", "1e5"),
    *("#N/A", "{}", '[{"a": 1}]', "2026-01-01"),
    "CFDocument",
    "'; DROP TABLE items; --",
    "\\x00 \\u0000 %00",
    "long " * 820,
]
"""Strings that have broken a parser or a spreadsheet program."""

texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30),
)
identifiers = st.one_of(
    st.uuids().map(str),
    st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"),
        min_size=1,
        max_size=20,
    ).filter(lambda text: text not in {".", ".."}),
    st.sampled_from(["=1+1", " ", "none", "a|b", "'", "A.1"]),
)
uris = st.sampled_from(["urn:x:1", "https://example.org/a?b=c&d='e'#f", "local:%20", "=:x"][:3])
timestamps = st.datetimes().map(lambda time: f"{time.isoformat(timespec='milliseconds')}Z")
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(MIN_INT, MAX_INT),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=4,
)
extensions = st.dictionaries(texts, json_values, max_size=3)

VALUES: dict[str, Strategy] = {
    "identifier": identifiers,
    "uri": uris,
    "lastChangeDateTime": timestamps,
    "caseVersion": st.just("1.1"),
    "officialSourceURL": uris,
    "statusStartDate": st.dates().map(str),
    "statusEndDate": st.dates().map(str),
    "associationType": st.sampled_from([*ASSOCIATION_TYPES, "ext:own-1", "isChildOf"]),
    "targetType": st.sampled_from(["CASE", "ext:own"]),
    "sequenceNumber": st.integers(-(2**31), 2**31 - 1),
    "position": st.integers(-(2**31), 2**31 - 1),
    "score": st.floats(allow_nan=False, allow_infinity=False),
    "weight": st.floats(allow_nan=False, allow_infinity=False),
    "rubricId": identifiers,
    "rubricCriterionId": identifiers,
    "extensions": extensions,
}


@st.composite
def objects(draw: st.DrawFn, model: type[CaseModel]) -> Body:
    """Draw a JSON object of a CASE class: all required fields and a random set of the others."""
    field_bits = draw(st.integers(0, 2 ** len(get_field_specs(model)) - 1))
    return {
        name: draw(field_values(name, shape))
        for index, (name, shape) in enumerate(get_field_specs(model).items())
        if shape.required or field_bits >> index & 1
    }


@cache
def field_values(name: str, shape: FieldSpec) -> Strategy:
    """Return the strategy for the values of a field, which depends on its name and type."""
    if shape.model is None:
        single = VALUES.get(name, texts)
    elif issubclass(shape.model, Entity):
        return entity_lists(shape.model)
    else:
        single = objects(shape.model)
    return st.lists(single, max_size=2) if shape.many else single


@st.composite
def entity_lists(draw: st.DrawFn, model: type[CaseModel], most: int = 2) -> list[Body]:
    """Draw up to ``most`` entities of a class, with distinct identifiers."""
    drawn = [draw(objects(model)) for _ in range(draw(st.integers(0, most)))]
    return list({entity["identifier"]: entity for entity in drawn}.values())


@st.composite
def packages(draw: st.DrawFn) -> Body:
    """Draw a valid CFPackage with entities of every class."""
    package: Body = {
        "CFDocument": draw(objects(CFPckgDocument)),
        "CFItems": draw(entity_lists(CFPckgItem, 4)),
        "CFRubrics": draw(entity_lists(CFRubric)),
        "CFDefinitions": {
            resource.collection: draw(entity_lists(resource.schema)) for resource in DEFINITIONS
        },
    }
    package["CFAssociations"] = _draw_associations(draw, package)
    _make_identifiers_unique(package["CFRubrics"])
    for holder in (package, package["CFDefinitions"]):
        if draw(st.booleans()):
            holder["extensions"] = draw(extensions)
    assert CFPackage.model_fields.keys() >= package.keys()
    return package


def _draw_associations(draw: st.DrawFn, package: Body) -> list[Body]:
    """Draw associations, mostly between entities of the package.

    No two have the same origin, destination and type.
    """
    names = [entity["identifier"] for entity in [package["CFDocument"], *package["CFItems"]]]
    nodes = st.sampled_from([*names, *names, "elsewhere", " "])
    drawn, triples = [], set()
    for association in draw(entity_lists(CFAssociation, 6)):
        for end in ("originNodeURI", "destinationNodeURI"):
            association[end]["identifier"] = draw(nodes)
        triple = (
            association["originNodeURI"]["identifier"],
            association["destinationNodeURI"]["identifier"],
            association["associationType"],
        )
        if triple not in triples:
            drawn.append(association)
        triples.add(triple)
    return drawn


def _make_identifiers_unique(rubrics: list[Body]) -> None:
    """Replace identifiers of criteria and levels, because they must be unique in a package."""
    for rubric in rubrics:
        for criterion in rubric.get("CFRubricCriteria", ()):
            criterion["identifier"] = factories.new_id()
            for level in criterion.get("CFRubricCriterionLevels", ()):
                level["identifier"] = factories.new_id()
