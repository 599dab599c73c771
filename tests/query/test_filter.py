"""Parsing of filters into trees, and the error messages with their positions."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from case_server.case.model import CFAssociation, CFDocument
from case_server.exceptions import BadRequest
from case_server.query.fields import FieldType, QueryableField, list_fields
from case_server.query.filter import (
    EXTENDED,
    MAX_DEPTH,
    MAX_MEMBERS,
    MAX_PREDICATES,
    STANDARD,
    And,
    Comparison,
    FilterGrammar,
    Node,
    Or,
    parse_filter,
)

FIELDS = dict(list_fields(CFDocument)) | {
    name: field for name, field in list_fields(CFAssociation).items() if name == "sequenceNumber"
}


def parse_with_fields(text: str, grammar: FilterGrammar = STANDARD) -> Node:
    return parse_filter(text, fields=FIELDS, grammar=grammar)


def error_message(text: str, grammar: FilterGrammar = STANDARD) -> str:
    with pytest.raises(BadRequest) as caught:
        parse_with_fields(text, grammar)
    assert caught.value.code == "bad_filter"
    return caught.value.description


def compare_string(name: str, operator: str, value: str) -> Comparison:
    return Comparison(QueryableField(tuple(name.split(".")), FieldType.STRING), operator, value)


def compare(field_type: FieldType, name: str, operator: str, value: str | datetime) -> Comparison:
    return Comparison(QueryableField(tuple(name.split(".")), field_type), operator, value)


A, B, C, D = (compare_string("title", "=", value) for value in "abcd")
EQUALS = {letter: f"title='{letter}'" for letter in "abcd"}
TIMESTAMP = datetime(2024, 2, 29, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("title='a'", A),
        ("  title  =\t'a'  ", A),
        ("title!='a'", compare_string("title", "!=", "a")),
        ("title>='a'", compare_string("title", ">=", "a")),
        ("title<='a'", compare_string("title", "<=", "a")),
        ("title > 'a'", compare_string("title", ">", "a")),
        ("title < 'a'", compare_string("title", "<", "a")),
        ("title~'a'", compare_string("title", "~", "a")),
        ("title=''", compare_string("title", "=", "")),
        ("title='O''Brien'", compare_string("title", "=", "O'Brien")),
        ("title=''''", compare_string("title", "=", "'")),
        ("title=' a AND (b) OR \"c\" '", compare_string("title", "=", ' a AND (b) OR "c" ')),
        ("title='Ünïcode 数学'", compare_string("title", "=", "Ünïcode 数学")),
        ("sourcedId='a'", compare_string("identifier", "=", "a")),
        ("CFPackageURI.sourcedId='a'", compare_string("CFPackageURI.identifier", "=", "a")),
        ("title='a' AND title='b'", And((A, B))),
        ("title='a' and title='b'", And((A, B))),
        ("title='a' OR title='b'", Or((A, B))),
        ("title='a'\n or \ttitle='b'", Or((A, B))),
        ("subject='a'", compare(FieldType.STRINGS, "subject", "=", "a")),
        ("subject~'a'", compare(FieldType.STRINGS, "subject", "~", "a")),
        ("subjectURI.title!='a'", compare(FieldType.LINK_LIST_PART, "subjectURI.title", "!=", "a")),
        ("extensions.my.own>'a'", compare(FieldType.EXTENSION, "extensions.my.own", ">", "a")),
        (
            "statusEndDate>='2024-02-29'",
            compare(FieldType.DATE, "statusEndDate", ">=", "2024-02-29"),
        ),
        ("statusEndDate~'2024-'", compare(FieldType.DATE, "statusEndDate", "~", "2024-")),
        ("sequenceNumber<'-1.5'", compare(FieldType.NUMBER, "sequenceNumber", "<", "-1.5")),
        ("sequenceNumber~'1'", compare(FieldType.NUMBER, "sequenceNumber", "~", "1")),
        (
            "lastChangeDateTime>'2024-02-29T12:00:00+02:00'",
            compare(FieldType.DATETIME, "lastChangeDateTime", ">", TIMESTAMP),
        ),
    ],
)
def test_filter_is_parsed_in_both_grammars(text: str, expected: Node) -> None:
    assert parse_with_fields(text, STANDARD) == expected
    assert parse_with_fields(text, EXTENDED) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a} AND {b} AND {c}", And((A, B, C))),
        ("{a} OR {b} OR {c}", Or((A, B, C))),
        ("{a} OR {b} AND {c}", Or((A, And((B, C))))),
        ("{a} AND {b} OR {c} AND {d}", Or((And((A, B)), And((C, D))))),
        ("({a})", A),
        ("(({a}))", A),
        ("({a} OR {b}) AND {c}", And((Or((A, B)), C))),
        ("{a} AND ({b} or {c})", And((A, Or((B, C))))),
        ("( {a} AND {b} ) AND {c}", And((And((A, B)), C))),
        ("title = 5", compare_string("title", "=", "5")),
        (
            "title=true AND title=false",
            And((compare_string("title", "=", "true"), compare_string("title", "=", "false"))),
        ),
        ("sequenceNumber>=-1.5", compare(FieldType.NUMBER, "sequenceNumber", ">=", "-1.5")),
    ],
)
def test_filter_is_parsed_in_the_extended_grammar_only(text: str, expected: Node) -> None:
    text = text.format(**EQUALS)
    assert parse_with_fields(text, EXTENDED) == expected
    error_message(text, STANDARD)


@pytest.mark.parametrize(
    ("text", "field_type", "value"),
    [
        ("title@'a,b'", FieldType.STRING, ("a", "b")),
        ("title@' a , b c '", FieldType.STRING, ("a", "b c")),
        ("title@'a'", FieldType.STRING, ("a",)),
        ("title@'O''Brien,b'", FieldType.STRING, ("O'Brien", "b")),
        ("subject@'a,b'", FieldType.STRINGS, ("a", "b")),
        ("sequenceNumber@'1,2'", FieldType.NUMBER, ("1", "2")),
        ("sequenceNumber@3", FieldType.NUMBER, ("3",)),
        ("lastChangeDateTime@'2024-02-29T10:00:00Z'", FieldType.DATETIME, (TIMESTAMP,)),
    ],
)
def test_in_list_splits_the_value_at_commas(
    text: str, field_type: FieldType, value: tuple[str, ...]
) -> None:
    name = text.partition("@")[0]
    assert parse_with_fields(text, EXTENDED) == Comparison(
        QueryableField((name,), field_type), "@", value
    )
    assert "expected one of =, !=" in error_message(text, STANDARD)


def test_more_than_the_maximum_of_list_members_is_rejected() -> None:
    members = ",".join(["a"] * MAX_MEMBERS)
    assert parse_with_fields(f"title@'{members}'", EXTENDED) == Comparison(
        A.field, "@", ("a",) * MAX_MEMBERS
    )
    assert error_message(f"title@'{members},a'", EXTENDED).endswith(
        f"expected at most {MAX_MEMBERS} values"
    )


OPERATORS = "=, !=, >, >=, <, <=, ~"
QUOTES = "a value in single quotes, with inner quotes doubled"


@pytest.mark.parametrize(
    ("text", "position", "token", "expected"),
    [
        ("", 1, "the end", "the name of a field"),
        ("   ", 4, "the end", "the name of a field"),
        ("title", 6, "the end", f"one of {OPERATORS}, as title is a string"),
        ("title==", 7, "=", QUOTES),
        ("title=", 7, "the end", QUOTES),
        ("title=a", 7, "a", QUOTES),
        ('title="a"', 7, '"', QUOTES),
        ("title='a", 7, "an unclosed quote", QUOTES),
        ("title='a''b", 7, "an unclosed quote", QUOTES),
        ("title in 'a'", 7, "in", f"one of {OPERATORS}, as title is a string"),
        ("='a'", 1, "=", "the name of a field"),
        ("'title'='a'", 1, "'title'", "the name of a field"),
        ("(title='a')", 1, "(", "the name of a field"),
        ("title='a')", 10, ")", "AND or OR between spaces, or the end"),
        ("title='a' 'b'", 11, "'b'", "AND or OR between spaces, or the end"),
        ("title='a' NOT title='b'", 11, "NOT", "AND or OR"),
        ("title='a'AND title='b'", 10, "AND", "AND or OR between spaces"),
        ("title='a' AND'b'", 11, "AND", "AND or OR between spaces"),
        ("title='a' ANDtitle='b'", 11, "ANDtitle", "AND or OR"),
        ("title='a' AND", 14, "the end", "the name of a field"),
        ("title='a' AND OR title='b'", 15, "OR", "the name of a field"),
        ("AND title='a'", 1, "AND", "one of identifier, "),
        ("nonsense='a'", 1, "nonsense", "one of identifier, uri, "),
        ("title='a' OR nonsense='a'", 14, "nonsense", "one of identifier, uri, "),
        ("CFPackageURI.x='a'", 1, "CFPackageURI.x", "one of identifier"),
        (
            "licenseURI='a'",
            1,
            "licenseURI",
            "one of licenseURI.title, licenseURI.identifier, licenseURI.uri",
        ),
        (
            "subjectURI~'a'",
            1,
            "subjectURI",
            "one of subjectURI.title, subjectURI.identifier, subjectURI.uri",
        ),
        ("extensions~'a'", 1, "extensions", "a field below it, such as extensions.level"),
        ("subject>'a'", 8, ">", "one of =, !=, ~, as subject is an array of strings"),
        (
            "subjectURI.title <= 'a'",
            18,
            "<=",
            "one of =, !=, ~, as subjectURI.title is a field of each object in an array",
        ),
        (
            "lastChangeDateTime~'2024'",
            19,
            "~",
            "one of =, !=, >, >=, <, <=, as lastChangeDateTime is a date-time",
        ),
        (
            "lastChangeDateTime>'soon'",
            20,
            "'soon'",
            (
                "an ISO 8601 date or date-time such as '2026-01-31T08:00:00Z', "
                "as lastChangeDateTime is a date-time"
            ),
        ),
        (
            "statusEndDate='2024'",
            15,
            "'2024'",
            "a date such as '2026-01-31', as statusEndDate is a date",
        ),
        (
            "sequenceNumber='x'",
            16,
            "'x'",
            "a number such as '3' or '0.75', as sequenceNumber is a number",
        ),
        ("sequenceNumber~'.'", 16, "'.'", "a number such as '3'"),
        ("title='\0'", 8, "a NUL character", "text without one"),
        ("title='a' AND title='b' AND title='c'", 29, "title", "at most 2 predicates"),
        (
            "title='a' AND title='b' OR title='c'",
            25,
            "OR",
            "either AND or OR in one filter, not both",
        ),
        ("title=5", 7, "5", QUOTES),
        ("t" * 60 + "='a'", 1, "t" * 39 + "…", "one of identifier"),
    ],
)
def test_standard_grammar_reports_the_error_and_its_position(
    text: str, position: int, token: str, expected: str
) -> None:
    message = f"at character {position}: found {token}, expected {expected}"
    assert error_message(text).startswith(message)


@pytest.mark.parametrize(
    ("text", "position", "token", "expected"),
    [
        ("(title='a'", 11, "the end", "AND or OR between spaces, or a cl"),
        ("((title='a')", 13, "the end", "AND or OR between spaces, or a"),
        ("(title='a'))", 12, ")", "AND or OR between spaces, or the end"),
        ("()", 2, ")", "the name of a field"),
        ("(title='a')AND title='b'", 12, "AND", "AND or OR between sp"),
        ("(title)='a'", 7, ")", "one of ="),
        ("title=maybe", 7, "maybe", QUOTES),
        ("title@a,b", 7, "a", QUOTES),
        ("title@1,2", 8, ",", "AND or OR between spaces, or the end"),
        ("sequenceNumber@'1,x'", 16, "'1,x'", "a number such as"),
        ("sequenceNumber=true", 16, "true", "a number such as"),
        ("title$'a'", 1, "title$", "one of identifier"),
        ("subject>'a'", 8, ">", "one of =, !=, ~, @, as subject is an "),
    ],
)
def test_extended_grammar_reports_the_error_and_its_position(
    text: str, position: int, token: str, expected: str
) -> None:
    message = f"at character {position}: found {token}, expected {expected}"
    assert error_message(text, EXTENDED).startswith(message)


def test_unknown_field_error_lists_the_comparable_fields() -> None:
    allowed = error_message("nonsense='a'").partition("expected one of ")[2].split(", ")
    assert {"title", "subject", "subjectURI.title", "CFPackageURI.identifier"} <= set(allowed)
    assert not {"extensions", "subjectURI", "CFPackageURI"} & set(allowed)


def test_more_than_the_maximum_of_predicates_is_rejected() -> None:
    predicates = " OR ".join(["title='a'"] * MAX_PREDICATES)
    assert parse_with_fields(predicates, EXTENDED) == Or((A,) * MAX_PREDICATES)
    assert error_message(f"{predicates} OR title='a'", EXTENDED).endswith(
        f"at most {MAX_PREDICATES} predicates"
    )


def test_deeper_nesting_than_the_maximum_is_rejected() -> None:
    deepest = "(" * MAX_DEPTH + "title='a'" + ")" * MAX_DEPTH
    assert parse_with_fields(deepest, EXTENDED) == A
    message = f"at character 21: found (, expected parentheses at most {MAX_DEPTH} deep"
    assert error_message(f"({deepest})", EXTENDED) == message
    assert error_message("(" * 50_000, EXTENDED) == message


def test_adjacent_groups_do_not_count_as_nesting() -> None:
    assert parse_with_fields(" OR ".join(["(title='a')"] * 30), EXTENDED) == Or((A,) * 30)


FRAGMENTS = st.sampled_from(
    [
        *FIELDS,
        *("sourcedId", "extensions.a", "x", ".", ",", "(", ")", " ", "\t", "\0", "AND", "or"),
        *("=", "!=", ">", "<=", "~", "@", "5", "true", "'a'", "'", "''", "'2024-01-01'"),
    ]
)


@given(
    text=st.text() | st.lists(FRAGMENTS).map("".join) | st.lists(FRAGMENTS).map(" ".join),
    grammar=st.sampled_from([STANDARD, EXTENDED]),
)
@example(text="'" * 10_001, grammar=EXTENDED)
@example(text=" " * 50_000, grammar=EXTENDED)
def test_arbitrary_text_gives_a_tree_or_bad_request(text: str, grammar: FilterGrammar) -> None:
    try:
        outcome: object = parse_with_fields(text, grammar)
    except BadRequest as error:
        outcome = error.code
    assert outcome == "bad_filter" or isinstance(outcome, Comparison | And | Or)


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.sampled_from([STANDARD, EXTENDED]),
)
def test_any_quoted_value_is_parsed_unchanged(value: str, grammar: FilterGrammar) -> None:
    quoted = value.replace("'", "''")
    assert parse_with_fields(f"title='{quoted}'", grammar) == compare_string("title", "=", value)
    both = parse_with_fields(f"title='{quoted}' AND title~'{quoted}'", grammar)
    assert both == And((compare_string("title", "=", value), compare_string("title", "~", value)))


@given(
    st.recursive(
        st.sampled_from("abcd"),
        lambda inner: st.lists(inner, min_size=2, max_size=3),
        max_leaves=15,
    )
)
def test_nested_groups_are_parsed_into_the_same_nesting(shape: object) -> None:
    def format_part(part: object, depth: int = 0) -> str:
        if isinstance(part, list):
            word = " OR " if depth % 2 else " AND "
            return f"({word.join(format_part(each, depth + 1) for each in part)})"
        return f"title='{part}'"

    def expected_node(part: object, depth: int = 0) -> Node:
        if isinstance(part, list):
            parts = tuple(expected_node(each, depth + 1) for each in part)
            return Or(parts) if depth % 2 else And(parts)
        return compare_string("title", "=", str(part))

    assert parse_with_fields(format_part(shape), EXTENDED) == expected_node(shape)
