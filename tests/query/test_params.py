"""From the pairs of a query string to a Query, or to all that is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from case_server.case.model import CFDocument
from case_server.exceptions import BadRequest
from case_server.query.fields import Field, FieldType
from case_server.query.filter import EXTENDED, STANDARD, Comparison, Grammar
from case_server.query.params import (
    MAX_OFFSET,
    Limits,
    Query,
    parse_field_names,
    parse_fields,
    parse_list_query,
)

LIMITS = Limits(default=10, maximum=100)
TITLE = Field(("title",), FieldType.STRING)


def ask(*params: tuple[str, str], grammar: Grammar = STANDARD) -> Query:
    return parse_list_query(params, CFDocument, limits=LIMITS, grammar=grammar)


def refused(*params: tuple[str, str]) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        ask(*params)
    return caught.value


def test_asking_for_nothing_in_particular() -> None:
    assert ask() == Query(
        limit=10,
        offset=0,
        sort=None,
        descending=False,
        where=None,
        fields=None,
    )


def test_asking_for_everything_at_once() -> None:
    query = ask(
        ("limit", "5"),
        ("offset", "20"),
        ("sort", "title"),
        ("orderBy", "desc"),
        ("filter", "title~'math'"),
        ("fields", "title,identifier"),
    )
    assert query == Query(
        limit=5,
        offset=20,
        sort=TITLE,
        descending=True,
        where=Comparison(TITLE, "~", "math"),
        fields=("title", "identifier"),
    )


def test_unknown_parameters_are_ignored() -> None:
    assert ask(("search", "math"), ("search", "art"), ("Limit", "x")) == ask()


@pytest.mark.parametrize(("text", "limit"), [("1", 1), ("100", 100), ("007", 7)])
def test_limit(text: str, limit: int) -> None:
    assert ask(("limit", text)).limit == limit


@pytest.mark.parametrize(
    "text", ["0", "101", "-1", "+1", "1.0", " 1", "ten", "٣", "1\n", "9" * 5000]
)
def test_bad_limit(text: str) -> None:
    error = refused(("limit", text))
    assert error.code == "invalid"
    assert "a whole number from 1 to 100" in error.description
    assert len(error.description) < 120


def test_the_largest_offset() -> None:
    assert ask(("offset", str(MAX_OFFSET))).offset == 2**31 - 1
    assert "from 0 to 2147483647" in refused(("offset", str(MAX_OFFSET + 1))).description
    assert refused(("offset", "-1")).code == "invalid"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("title", ("title",)),
        ("statusStartDate", ("statusStartDate",)),
        ("lastChangeDateTime", ("lastChangeDateTime",)),
        ("sourcedId", ("identifier",)),
        ("CFPackageURI.title", ("CFPackageURI", "title")),
        ("licenseURI.sourcedId", ("licenseURI", "identifier")),
    ],
)
def test_sort(name: str, path: tuple[str, ...]) -> None:
    sort = ask(("sort", name)).sort
    assert sort is not None
    assert sort.path == path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("nonsense", "'nonsense'"),
        ("title,creator", "'title,creator'"),
        ("subject", "subject, which is a list of texts"),
        ("subjectURI", "subjectURI, which is a list of objects"),
        ("subjectURI.title", "subjectURI.title, which is a part of every object of a list"),
        ("licenseURI", "licenseURI, which is an object"),
        ("extensions", "extensions, which is an extension"),
        ("extensions.level", "extensions.level, which is an extension"),
        ("extensions." + "x" * 50, "extensions." + "x" * 29 + "..., which is an extension"),
    ],
)
def test_bad_sort(name: str, found: str) -> None:
    error = refused(("sort", name))
    assert error.code == "bad_sort"
    assert error.description.startswith(f"sort: found {found}, expected one of identifier, uri, ")
    allowed = error.description.partition("expected one of ")[2].split(", ")
    assert "CFPackageURI.title" in allowed
    assert not {"subject", "subjectURI", "subjectURI.title", "extensions"} & set(allowed)


@pytest.mark.parametrize(
    ("text", "descending"), [("asc", False), ("desc", True), ("DESC", True), ("Asc", False)]
)
def test_order(text: str, *, descending: bool) -> None:
    assert ask(("orderBy", text)).descending is descending


@pytest.mark.parametrize("text", ["down", "asc,desc"])
def test_bad_order(text: str) -> None:
    error = refused(("orderBy", text))
    assert error.code == "bad_sort"
    assert "expected asc or desc" in error.description


def test_the_grammar_of_the_filter_is_the_callers() -> None:
    pair = ("filter", "(title='a')")
    assert ask(pair, grammar=EXTENDED).where == Comparison(TITLE, "=", "a")
    assert refused(pair).code == "bad_filter"


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        (["title"], ("title",)),
        (["title,creator"], ("title", "creator")),
        (["title", "creator"], ("title", "creator")),
        (["creator , title", "title"], ("creator", "title")),
        (["sourcedId"], ("sourcedId",)),
        (["sourcedId,identifier"], ("sourcedId", "identifier")),
        (["extensions,licenseURI,subjectURI"], ("extensions", "licenseURI", "subjectURI")),
    ],
)
def test_selection(values: list[str], fields: tuple[str, ...]) -> None:
    pairs = [("fields", value) for value in values]
    assert ask(*pairs).fields == fields
    assert parse_fields(pairs, CFDocument) == fields


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([""], "nothing"),
        (["title,"], "nothing"),
        (["title", " "], "nothing"),
        (["title,nonsense,rubbish,nonsense"], "'nonsense', 'rubbish'"),
        (["Title"], "'Title'"),
        (["CFPackageURI.title"], "'CFPackageURI.title'"),
        (["extensions.level"], "'extensions.level'"),
    ],
)
def test_bad_selection(values: list[str], found: str) -> None:
    error = refused(*(("fields", value) for value in values))
    assert error.code == "bad_selection"
    assert error.description.startswith(f"fields: found {found}, expected one of identifier, uri, ")
    assert error.description.endswith(", CFPackageURI, sourcedId")
    assert "licenseURI.title" not in error.description.partition("expected")[2]


def test_one_entity_is_asked_for_its_fields_only() -> None:
    assert parse_fields([("limit", "x"), ("filter", "")], CFDocument) is None
    with pytest.raises(BadRequest, match="fields: found 'nonsense'") as caught:
        parse_fields([("fields", "nonsense")], CFDocument)
    assert caught.value.code == "bad_selection"
    assert [problem["path"] for problem in caught.value.problems] == ["fields"]


def test_an_answer_that_is_no_class_of_the_model_has_the_names_it_is_given() -> None:
    allowed = ("sourcedId", "CFItems")
    assert parse_field_names([("fields", "CFItems,sourcedId")], allowed) == ("CFItems", "sourcedId")
    assert parse_field_names([], allowed) is None
    with pytest.raises(BadRequest) as caught:
        parse_field_names([("fields", "identifier")], allowed)
    message = "fields: found 'identifier', expected one of sourcedId, CFItems"
    assert (caught.value.description, caught.value.code) == (message, "bad_selection")


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("limit", ("1", "2"), "invalid"),
        ("offset", ("1", "2"), "invalid"),
        ("sort", ("title", "creator"), "bad_sort"),
        ("orderBy", ("asc", "desc"), "bad_sort"),
        ("filter", ("title='a'", "title='b'"), "bad_filter"),
    ],
)
def test_a_parameter_said_twice_must_say_the_same(
    name: str, values: tuple[str, str], reason: str
) -> None:
    assert ask((name, values[0]), (name, values[0])) == ask((name, values[0]))
    error = refused(*((name, value) for value in values))
    assert error.code == reason
    assert error.description == f"{name}: found different values, expected one"


def test_every_problem_is_reported_once_and_the_first_gives_the_reason() -> None:
    error = refused(
        ("fields", "nonsense"),
        ("filter", "title"),
        ("orderBy", "down"),
        ("sort", "subject"),
        ("limit", "5"),
    )
    assert [problem["path"] for problem in error.problems] == [
        "sort",
        "orderBy",
        "filter",
        "fields",
    ]
    assert error.code == "bad_sort"
    assert error.description == "; ".join(
        f"{problem['path']}: {problem['message']}" for problem in error.problems
    )
    assert "filter: at character 6: found the end" in error.description


NAMES = st.sampled_from(["limit", "offset", "sort", "orderBy", "filter", "fields", "other"])


@given(st.lists(st.tuples(NAMES, st.text()), max_size=8))
def test_any_parameters_give_a_query_or_a_bad_request(params: list[tuple[str, str]]) -> None:
    blamed: set[str] = set()
    try:
        assert ask(*params).limit <= LIMITS.maximum
    except BadRequest as error:
        blamed = {problem["path"] for problem in error.problems}
    assert blamed <= {name for name, _ in params} - {"other"}
