"""Lists as SQL finds them and as plain Python would; by index, and compiled once."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from operator import contains, eq, ge, gt, le, lt, ne
from typing import Any

import pytest
from support import factories

from case_server.api.profiles import SDK
from case_server.case.resources import ITEMS
from case_server.db.pool import Database
from case_server.db.read import lists
from case_server.query import params
from case_server.query.fields import ARRAYS, Field, FieldType
from case_server.query.filter import EXTENDED, And, Comparison, Node
from case_server.query.params import Query
from case_server.settings import Settings

Execute = Callable[..., Awaitable[list[Any]]]
Body = factories.Body

START = datetime(2026, 1, 15, tzinfo=UTC)
LETTERS = "aAbBcC12"
LIMITS = params.Limits(10, 3000)
WORDS = ["Whole", "whole number", "100%", "a_b", "back\\slash", "it's", "fraction", "x", ""]
LISTS: list[list[str] | None] = [None, [], ["01"], ["02", "01"], ["K", "k"], ["one, two"]]


def code(some: random.Random) -> str:
    """A short one mostly; sometimes longer than what an index holds of it."""
    start = "c" * some.choice([0, 0, 0, 0, 199, 200, 201, 5000])
    return start + "".join(some.choices(LETTERS, k=some.randint(0 if start else 1, 2)))


def moment(some: random.Random) -> datetime:
    """Several in a millisecond, several milliseconds in all."""
    return START + timedelta(microseconds=some.randint(0, 4) * 500)


FIELDS: dict[str, Callable[[random.Random], str]] = {
    "humanCodingScheme": code,
    "fullStatement": lambda some: some.choice(WORDS),
    "language": lambda some: some.choice(["en", "EN", "e", "no"]),
    "identifier": lambda some: some.choice(["Item-07", "item-1", "nothing"]),
    "CFDocumentURI.identifier": lambda some: some.choice(["DOCUMENT-a", "document-b", "document"]),
    "CFDocumentURI.title": lambda some: some.choice(["a title", "title"]),
    "statusStartDate": lambda some: f"2020-01-0{some.randint(1, 4)}",
    "lastChangeDateTime": lambda some: moment(some).isoformat(),
    "educationLevel": lambda some: some.choice(["", "01", "01,02", "k,K", "one, two", "two"]),
    "extensions.level": lambda some: some.choice(["High", "low", "3"]),
}
ORDERING = {">": gt, ">=": ge, "<": lt, "<=": le}
COMPARE: dict[str, Callable[[Any, Any], Any]] = {"=": eq, "!=": ne, "~": contains, **ORDERING}
SORTS = ["", "identifier", "humanCodingScheme", "lastChangeDateTime", "statusStartDate", "language"]


def stored(some: random.Random, number: int) -> Body:
    maybe: Body = {
        "humanCodingScheme": some.choice([None, code(some)]),
        "language": some.choice([None, "en", "EN", "no"]),
        "statusStartDate": some.choice([None, f"2020-01-0{some.randint(1, 4)}"]),
        "educationLevel": some.choice(LISTS),
        "extensions": some.choice([None, {}, {"level": "high"}, {"level": 3}]),
    }
    return factories.item(
        some.choice(["document-a", "document-B"]),
        f"{some.choice(['item', 'Item'])}-{number:02}",
        fullStatement=f"{some.choice(WORDS)} {some.choice(WORDS)}".strip() or "-",
        lastChangeDateTime=moment(some).isoformat(),
        **{name: value for name, value in maybe.items() if value is not None},
    )


async def store(execute: Execute, items: list[Body]) -> None:
    for identifier in ("document-a", "document-B"):
        body = json.dumps(factories.document(identifier))
        await execute(
            "INSERT INTO documents (body, last_change_date_time) VALUES ($1, now())", body
        )
    for item in items:
        await execute(
            "INSERT INTO items (body, last_change_date_time, document_identifier)"
            " VALUES ($1, $2, $3)",
            json.dumps(item),
            datetime.fromisoformat(item["lastChangeDateTime"]),
            item["CFDocumentURI"]["identifier"],
        )


@pytest.fixture(params=["as Postgres likes", "by index"])
async def database(
    request: pytest.FixtureRequest, database_url: str, settings: Settings, clean: None
) -> AsyncIterator[Database]:
    """A pool whose connections find things in both ways."""
    without = "?enable_seqscan=off" if request.param == "by index" else ""
    async with Database.open(database_url + without, settings) as found:
        yield found


def query(**asked: Any) -> Query:
    pairs = [(name, str(value)) for name, value in asked.items()]
    return params.parse_list_query(pairs, ITEMS.schema, limits=LIMITS, grammar=EXTENDED)


def value_of(item: Body, field: Field) -> Any:
    """What stands at a path, folded as comparisons fold it."""
    value: Any = item
    for name in field.path:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return [] if field.type in ARRAYS else None
    if field.type is FieldType.DATETIME:
        exact = datetime.fromisoformat(value)
        return exact.replace(microsecond=exact.microsecond // 1000 * 1000)
    if isinstance(value, list):
        return sorted(one.lower() for one in value)
    return str(value).lower()


def holds(item: Body, node: Node) -> bool:
    """Whether a filter finds an item."""
    if not isinstance(node, Comparison):
        each = (holds(item, part) for part in node.parts)
        return all(each) if isinstance(node, And) else any(each)
    field, operator, wanted = node.field, node.operator, node.value
    value = value_of(item, field)
    members = [one.lower() if isinstance(one, str) else one for one in _tuple(wanted)]
    if field.type in ARRAYS:
        return list_holds(value, operator, str(wanted).lower(), members)
    if value is None:
        return operator == "!="
    (first, *_) = members
    if operator == "@":
        return value in members
    return bool(COMPARE[operator](value, first))


def list_holds(value: list[str], operator: str, wanted: str, members: list[Any]) -> bool:
    if operator == "~":
        return any(wanted in one for one in value)
    if operator == "@":
        return any(one in members for one in value)
    parts = sorted(part.strip() for part in wanted.split(",")) if wanted else []
    return (value == parts or (len(parts) > 1 and value == [wanted])) == (operator == "=")


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def expected(items: list[Body], asked: Query) -> tuple[int, list[str]]:
    """The total and the identifiers of a page."""
    found = [item for item in items if asked.where is None or holds(item, asked.where)]
    found.sort(
        key=lambda item: str(item["identifier"]), reverse=asked.descending and not asked.sort
    )
    if asked.sort:
        keys = {item["identifier"]: key_of(item, asked.sort) for item in found}
        there = [item for item in found if keys[item["identifier"]] is not None]
        # A stable sort, backwards too, leaves the identifiers in order.
        there.sort(key=lambda item: keys[item["identifier"]], reverse=asked.descending)
        found = there + [item for item in found if keys[item["identifier"]] is None]
    shown = found[asked.offset : asked.offset + asked.limit]
    return len(found), [item["identifier"] for item in shown]


def key_of(item: Body, field: Field) -> Any:
    value = value_of(item, field)
    return value[:200] if value and field.name == "humanCodingScheme" else value


def predicate(some: random.Random) -> str:
    name = some.choice([*FIELDS, "humanCodingScheme", "fullStatement"])
    operators = ["=", "=", "!=", "@"]
    if name != "lastChangeDateTime":
        operators += ["~", "~"]
    # Letters alone are in one order everywhere; Postgres has its own for the rest.
    if name in {"humanCodingScheme", "statusStartDate", "lastChangeDateTime"}:
        operators += [">", ">=", "<", "<="]
    operator = some.choice(operators)
    count = some.randint(1, 3) if operator == "@" else 1
    value = ",".join(FIELDS[name](some) for _ in range(count))
    return f"{name}{operator}'{value.replace(chr(39), chr(39) * 2)}'"


def asked_at_random(some: random.Random) -> dict[str, Any]:
    where = predicate(some) if some.random() < 0.9 else ""
    while where and some.random() < 0.4:
        where = f"({where}) {some.choice(['AND', 'OR'])} {predicate(some)}"
    return {
        "filter": where,
        "sort": some.choice(SORTS),
        "orderBy": some.choice(["asc", "desc"]),
        "limit": some.choice([1, 5, 3000]),
        "offset": some.choice([0, 0, 0, 3, 50]),
    }


@pytest.mark.parametrize("seed", range(3))
async def test_any_list_is_what_plain_python_finds(
    database: Database, execute: Execute, seed: int
) -> None:
    some = random.Random(seed)
    items = [stored(some, number) for number in range(60)]
    await store(execute, items)
    gone = [item["identifier"] for item in items[50:]]
    await execute("UPDATE items SET deleted_at = now() WHERE identifier = ANY($1)", gone)
    totals = set()
    for _ in range(200):
        asked = asked_at_random(some)
        page = await lists.fetch_page(database, ITEMS, query(**asked))
        found = [json.loads(body)["identifier"] for body in page.bodies]
        assert (page.total, found) == expected(items[:50], query(**asked)), asked
        totals.add(page.total)
    assert len(totals) > 20, "these filters hardly tell items apart"


ADDRESS = "http://case.test/ims/case/v1p1"
DERIVATIONS = [lists.STORED, SDK.derivation]

INDEXED = {
    "ix_items_code": {"filter": "humanCodingScheme='A.1'"},
    "ix_items_code (several)": {"filter": "humanCodingScheme@'A.1,B.2'"},
    "ix_items_code (either)": {"filter": "humanCodingScheme='A.1' OR humanCodingScheme='B.2'"},
    "ix_items_code (sorted)": {"sort": "humanCodingScheme", "offset": "100"},
    "ix_items_statement_trigrams": {"filter": "fullStatement~'parallelogram'"},
    "ix_items_changed": {"filter": "lastChangeDateTime>='2026-01-15'"},
    "ix_items_changed (sorted)": {"sort": "lastChangeDateTime"},
    "ix_items_changed (backwards)": {"sort": "lastChangeDateTime", "orderBy": "desc"},
    "ix_items_document_link": {"filter": "CFDocumentURI.identifier='document-7'"},
    "ix_items_live": {"offset": "100"},
    "ix_items_document_link (by uri)": {
        "filter": f"CFDocumentURI.uri='{ADDRESS}/CFDocuments/document-7'"
    },
}

MANY = """
    INSERT INTO items (document_identifier, last_change_date_time, body)
    SELECT 'document-a', timestamptz '2025-01-01' + number * interval '1 hour', json_build_object(
        'identifier', 'item-' || number, 'fullStatement', 'statement ' || md5(number::text),
        'humanCodingScheme', 'A.' || number,
        'CFDocumentURI', json_build_object('identifier', 'document-' || number % 200))
    FROM generate_series(1, 20000) AS number"""


@pytest.mark.parametrize("database", ["as Postgres likes"], indirect=True)
async def test_lists_that_people_ask_for_are_read_from_their_index(
    database: Database, execute: Execute
) -> None:
    await store(execute, [])
    # What is not on disk yet is not marked as visible to all, and is counted without the index.
    await execute("SELECT set_config('synchronous_commit', 'on', false)")
    await execute(MANY)
    await execute("VACUUM ANALYZE items")
    for (index, asked), derivation in product(INDEXED.items(), DERIVATIONS):
        if "uri" in index and not derivation.rewrites_uris:
            continue
        statement, values = lists.prepare(ITEMS, query(**asked), derivation, ADDRESS)
        async with database.connection() as connection:
            explained = await connection.fetch(f"EXPLAIN {statement.sql}", *statement.bind(values))
        plan = "\n".join(line for (line,) in explained)
        assert index.split()[0] in plan, f"{index}:\n{plan}"
        assert "Seq Scan on items" not in plan, f"{index}:\n{plan}"


def test_values_and_invented_names_make_no_new_statements() -> None:
    lists._statement.cache_clear()
    for number in range(5):
        words = f"fullStatement~'word{number}' AND extensions.a{number}.b{number}='{number}'"
        more = f"humanCodingScheme@'{','.join('ab'[: number % 2 + 1])}' AND subject='{number},a'"
        lists.prepare(ITEMS, query(filter=f"{words} AND {more}", limit=number + 1))
    assert lists._statement.cache_info().misses == 1


def test_statements_are_forgotten_before_they_are_many() -> None:
    for number in range(lists.STATEMENT_CACHE_SIZE + 5):
        some = random.Random(number)
        where = " AND ".join(predicate(some) for _ in range(number % 50 + 1))
        lists.prepare(ITEMS, query(filter=where, sort=some.choice(SORTS)))
    assert lists._statement.cache_info().currsize == lists.STATEMENT_CACHE_SIZE


async def test_a_code_of_any_length_can_be_stored_and_found(
    database: Database, execute: Execute
) -> None:
    """Letters that hardly compress, four bytes each, behind the longest of identifiers."""
    some = random.Random(1)
    long = "".join(chr(some.randint(0x20000, 0x2A000)) for _ in range(10_000))
    codes = {number: long + number for number in "12"}
    await store(
        execute,
        [
            factories.item("document-a", f"{number}{long[:254]}", humanCodingScheme=code)
            for number, code in codes.items()
        ],
    )
    for number, code in codes.items():
        page = await lists.fetch_page(database, ITEMS, query(filter=f"humanCodingScheme='{code}'"))
        assert [json.loads(body)["identifier"][0] for body in page.bodies] == [number]
