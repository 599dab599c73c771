"""Parsing of the query parameters of lists, and their error messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from case_server.case.model import CFDocument
from case_server.exceptions import BadRequest
from case_server.query.fields import FieldType, QueryableField
from case_server.query.filter import STANDARD, Comparison, FilterGrammar
from case_server.query.params import (
    MAX_OFFSET,
    ListQuery,
    PageLimits,
    parse_field_names,
    parse_fields,
    parse_list_query,
)

LIMITS = PageLimits(default=10, maximum=100)
TITLE = QueryableField(("title",), FieldType.STRING)


def parse_params(*params: tuple[str, str], grammar: FilterGrammar = STANDARD) -> ListQuery:
    return parse_list_query(params, CFDocument, limits=LIMITS, grammar=grammar)


def parse_error(*params: tuple[str, str]) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_params(*params)
    return caught.value


def test_no_parameters_give_the_defaults() -> None:
    assert parse_params() == ListQuery(
        limit=10, offset=0, sort=None, descending=False, where=None, fields=None
    )


def test_parameters_are_parsed_into_a_list_query() -> None:
    query = parse_params(
        ("limit", "5"),
        ("offset", "20"),
        ("sort", "title"),
        ("orderBy", "desc"),
        ("filter", "title~'math'"),
        ("fields", "title,identifier"),
    )
    assert query == ListQuery(
        limit=5,
        offset=20,
        sort=TITLE,
        descending=True,
        where=Comparison(TITLE, "~", "math"),
        fields=("title", "identifier"),
    )


def test_unknown_parameters_are_ignored() -> None:
    assert parse_params(("search", "math"), ("search", "art"), ("Limit", "x")) == parse_params()


@pytest.mark.parametrize(("text", "limit"), [("1", 1), ("100", 100), ("007", 7)])
def test_limit_within_bounds_is_accepted(text: str, limit: int) -> None:
    assert parse_params(("limit", text)).limit == limit


@pytest.mark.parametrize(
    "text", ["0", "101", "-1", "+1", "1.0", " 1", "ten", "٣", "1\n", "9" * 5000]
)
def test_invalid_limit_is_rejected(text: str) -> None:
    error = parse_error(("limit", text))
    assert error.code == "invalid"
    assert "an integer from 1 to 100" in error.description
    assert len(error.description) < 120


def test_offset_over_the_maximum_is_rejected() -> None:
    assert parse_params(("offset", str(MAX_OFFSET))).offset == 2**31 - 1
    assert "from 0 to 2147483647" in parse_error(("offset", str(MAX_OFFSET + 1))).description
    assert parse_error(("offset", "-1")).code == "invalid"


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
def test_sort_by_scalar_field_is_accepted(name: str, path: tuple[str, ...]) -> None:
    sort = parse_params(("sort", name)).sort
    assert sort is not None
    assert sort.path == path


@pytest.mark.parametrize(
    ("name", "name_in_message"),
    [
        ("nonsense", "'nonsense'"),
        ("title,creator", "'title,creator'"),
        ("subject", "subject, which is an array of strings"),
        ("subjectURI", "subjectURI, which is an array of objects"),
        ("subjectURI.title", "subjectURI.title, which is a field of each object in an array"),
        ("licenseURI", "licenseURI, which is an object"),
        ("extensions", "extensions, which is an extension"),
        ("extensions.level", "extensions.level, which is an extension"),
        ("extensions." + "x" * 50, "extensions." + "x" * 28 + "…, which is an extension"),
    ],
)
def test_sort_by_other_field_is_rejected(name: str, name_in_message: str) -> None:
    error = parse_error(("sort", name))
    assert error.code == "bad_sort"
    assert error.description.startswith(
        f"sort: found {name_in_message}, expected one of identifier, uri, "
    )
    allowed = error.description.partition("expected one of ")[2].split(", ")
    assert "CFPackageURI.title" in allowed
    assert not {"subject", "subjectURI", "subjectURI.title", "extensions"} & set(allowed)


@pytest.mark.parametrize(
    ("text", "descending"), [("asc", False), ("desc", True), ("DESC", True), ("Asc", False)]
)
def test_order_by_is_case_insensitive(text: str, *, descending: bool) -> None:
    assert parse_params(("orderBy", text)).descending is descending


@pytest.mark.parametrize("text", ["down", "asc,desc"])
def test_invalid_order_by_is_rejected(text: str) -> None:
    error = parse_error(("orderBy", text))
    assert error.code == "bad_sort"
    assert "expected asc or desc" in error.description


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
def test_fields_are_split_and_deduplicated(values: list[str], fields: tuple[str, ...]) -> None:
    pairs = [("fields", value) for value in values]
    assert parse_params(*pairs).fields == fields
    assert parse_fields(pairs, CFDocument) == fields


@pytest.mark.parametrize(
    ("values", "name_in_message"),
    [
        ([""], "an empty value"),
        (["title,"], "an empty value"),
        (["title", " "], "an empty value"),
        (["title,nonsense,rubbish,nonsense"], "'nonsense', 'rubbish'"),
        (["Title"], "'Title'"),
        (["CFPackageURI.title"], "'CFPackageURI.title'"),
        (["extensions.level"], "'extensions.level'"),
    ],
)
def test_unknown_or_empty_field_is_rejected(values: list[str], name_in_message: str) -> None:
    error = parse_error(*(("fields", value) for value in values))
    assert error.code == "bad_selection"
    assert error.description.startswith(
        f"fields: found {name_in_message}, expected one of identifier, uri, "
    )
    assert error.description.endswith(", CFPackageURI, sourcedId")
    assert "licenseURI.title" not in error.description.partition("expected")[2]


def test_parse_fields_ignores_other_parameters() -> None:
    assert parse_fields([("limit", "x"), ("filter", "")], CFDocument) is None
    with pytest.raises(BadRequest, match="fields: found 'nonsense'") as caught:
        parse_fields([("fields", "nonsense")], CFDocument)
    assert caught.value.code == "bad_selection"
    assert [problem["path"] for problem in caught.value.problems] == ["fields"]


def test_parse_field_names_accepts_only_the_allowed_names() -> None:
    allowed = ("sourcedId", "CFItems")
    assert parse_field_names([("fields", "CFItems,sourcedId")], allowed) == ("CFItems", "sourcedId")
    assert parse_field_names([], allowed) is None
    with pytest.raises(BadRequest) as caught:
        parse_field_names([("fields", "identifier")], allowed)
    message = "fields: found 'identifier', expected one of sourcedId, CFItems"
    assert (caught.value.description, caught.value.code) == (message, "bad_selection")


@pytest.mark.parametrize(
    ("name", "values", "code"),
    [
        ("limit", ("1", "2"), "invalid"),
        ("offset", ("1", "2"), "invalid"),
        ("sort", ("title", "creator"), "bad_sort"),
        ("orderBy", ("asc", "desc"), "bad_sort"),
        ("filter", ("title='a'", "title='b'"), "bad_filter"),
    ],
)
def test_repeated_parameter_with_another_value_is_rejected(
    name: str, values: tuple[str, str], code: str
) -> None:
    assert parse_params((name, values[0]), (name, values[0])) == parse_params((name, values[0]))
    error = parse_error(*((name, value) for value in values))
    assert error.code == code
    assert error.description == f"{name}: found different values, expected one"


NAMES = st.sampled_from(["limit", "offset", "sort", "orderBy", "filter", "fields", "other"])


@given(st.lists(st.tuples(NAMES, st.text()), max_size=8))
def test_arbitrary_parameters_give_a_query_or_bad_request(params: list[tuple[str, str]]) -> None:
    problem_paths: set[str] = set()
    try:
        assert parse_params(*params).limit <= LIMITS.maximum
    except BadRequest as error:
        problem_paths = {problem["path"] for problem in error.problems}
    assert problem_paths <= {name for name, _ in params} - {"other"}
