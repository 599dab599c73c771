"""Lists: results compared with a Python implementation, use of indexes, shared statements."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from operator import contains, eq, ge, gt, le, lt, ne
from typing import Any

import pytest
from support import factories
from support.databases import Execute, store_item_counts

from case_server.api.profiles import SDK
from case_server.case.resources import ITEMS
from case_server.db.pool import Database
from case_server.db.read.lists import entity_lists
from case_server.db.read.lists.response_fields import ResourceView
from case_server.query import params
from case_server.query.fields import ARRAYS, FieldType, QueryableField
from case_server.query.filter import EXTENDED, And, Comparison, Node
from case_server.query.params import ListQuery
from case_server.settings import Settings

Body = factories.Body

START = datetime(2026, 1, 15, tzinfo=UTC)
LETTERS = "aAbBcC12éÉ-_"
LIMITS = params.PageLimits(10, 3000)
WORDS = ["Whole", "whole number", "100%", "a_b", "back\\slash", "it's", "fraction", "x", ""]
LISTS: list[list[str] | None] = [
    *(None, [], ["01"], ["02", "01"], ["K", "k"], ["one, two"], ['say "1\\\t2"']),
]


def code(rng: random.Random) -> str:
    """Return a code that is short as a rule, sometimes longer than its indexed prefix."""
    start = "c" * rng.choice([0, 0, 0, 0, 199, 200, 201, 5000])
    return start + "".join(rng.choices(LETTERS, k=rng.randint(0 if start else 1, 2)))


def timestamp(rng: random.Random) -> datetime:
    """Return one of five times in two milliseconds."""
    return START + timedelta(microseconds=rng.randint(0, 4) * 500)


FIELDS: dict[str, Callable[[random.Random], str]] = {
    "humanCodingScheme": code,
    "fullStatement": lambda rng: rng.choice(WORDS),
    "language": lambda rng: rng.choice(["en", "EN", "e", "no"]),
    "CFItemType": lambda rng: rng.choice(["É type", "é TYPE", "unknown", "a"]),
    "identifier": lambda rng: rng.choice(["Item-07", "item-1", "nothing"]),
    "CFDocumentURI.identifier": lambda rng: rng.choice(["DOCUMENT-a", "document-b", "document"]),
    "CFDocumentURI.title": lambda rng: rng.choice(["a title", "title"]),
    "statusStartDate": lambda rng: f"2020-01-0{rng.randint(1, 4)}",
    "lastChangeDateTime": lambda rng: timestamp(rng).isoformat(),
    "educationLevel": lambda rng: rng.choice(
        ["", "01", "01,02", "k,K", "one, two", "two", 'SAY "1\\\t2"', 'y "1\\']
    ),
    "extensions.level": lambda rng: rng.choice(["High", "low", "3"]),
}
ORDERING = {">": gt, ">=": ge, "<": lt, "<=": le}
COMPARE: dict[str, Callable[[Any, Any], Any]] = {"=": eq, "!=": ne, "~": contains, **ORDERING}
SORTS = ["", "identifier", "humanCodingScheme", "lastChangeDateTime", "statusStartDate", "language"]


def random_item(rng: random.Random, number: int) -> Body:
    optional: Body = {
        "humanCodingScheme": rng.choice([None, code(rng)]),
        "language": rng.choice([None, "en", "EN", "no"]),
        "CFItemType": rng.choice([None, "É Type", "a", "A"]),
        "statusStartDate": rng.choice([None, f"2020-01-0{rng.randint(1, 4)}"]),
        "educationLevel": rng.choice(LISTS),
        "extensions": rng.choice([None, {}, {"level": "high"}, {"level": 3}]),
    }
    return factories.item(
        rng.choice(["document-a", "document-B"]),
        f"{rng.choice(['item', 'Item'])}-{number:02}",
        fullStatement=f"{rng.choice(WORDS)} {rng.choice(WORDS)}".strip() or "-",
        lastChangeDateTime=timestamp(rng).isoformat(),
        **{name: value for name, value in optional.items() if value is not None},
    )


async def insert_rows(execute: Execute, items: list[Body]) -> None:
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


@pytest.fixture(params=["default", "index only"])
async def database(
    request: pytest.FixtureRequest, database_url: str, settings: Settings, clean: None
) -> AsyncIterator[Database]:
    """Open a pool with the planner's default settings, or without sequential scans."""
    parameters = "?enable_seqscan=off" if request.param == "index only" else ""
    async with Database.open(database_url + parameters, settings) as database:
        yield database


def query(**parameters: Any) -> ListQuery:
    pairs = [(name, str(value)) for name, value in parameters.items()]
    return params.parse_list_query(pairs, ITEMS.schema, limits=LIMITS, grammar=EXTENDED)


def value_of(item: Body, field: QueryableField) -> Any:
    """Return the value at a field's path, in lower case and milliseconds as comparisons use it."""
    value: Any = item
    for name in field.path:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return [] if field.type in ARRAYS else None
    if field.type is FieldType.DATETIME:
        changed = datetime.fromisoformat(value)
        return changed.replace(microsecond=changed.microsecond // 1000 * 1000)
    if isinstance(value, list):
        return sorted(member.lower() for member in value)
    return str(value).lower()


def matches(item: Body, node: Node) -> bool:
    """Return whether an item matches a filter."""
    if not isinstance(node, Comparison):
        parts = (matches(item, part) for part in node.parts)
        return all(parts) if isinstance(node, And) else any(parts)
    field, operator, operand = node.field, node.operator, node.value
    value = value_of(item, field)
    members = [member.lower() if isinstance(member, str) else member for member in _tuple(operand)]
    if field.type in ARRAYS:
        return array_matches(value, operator, str(operand).lower(), members)
    if value is None:
        return operator == "!="
    (first, *_) = members
    if operator == "@":
        return value in members
    return bool(COMPARE[operator](value, first))


def array_matches(value: list[str], operator: str, operand: str, members: list[Any]) -> bool:
    if operator == "~":
        return any(operand in member for member in value)
    if operator == "@":
        return any(member in members for member in value)
    parts = sorted(part.strip() for part in operand.split(",")) if operand else []
    return (value == parts or (len(parts) > 1 and value == [operand])) == (operator == "=")


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def expected(items: list[Body], query: ListQuery) -> tuple[int, list[str]]:
    """Return the expected total and the identifiers of the page."""
    matching = [item for item in items if query.where is None or matches(item, query.where)]
    matching.sort(key=lambda item: str(item["identifier"]), reverse=query.descending)
    if query.sort and query.sort.name != "identifier":
        keys = {item["identifier"]: key_of(item, query.sort) for item in matching}
        present = [item for item in matching if keys[item["identifier"]] is not None]
        # A stable sort, backwards too, leaves the identifiers as they are sorted.
        present.sort(key=lambda item: keys[item["identifier"]], reverse=query.descending)
        matching = present + [item for item in matching if keys[item["identifier"]] is None]
    page = matching[query.offset : query.offset + query.limit]
    return len(matching), [item["identifier"] for item in page]


def key_of(item: Body, field: QueryableField) -> Any:
    value = value_of(item, field)
    return value[:200] if value and field.name == "humanCodingScheme" else value


def predicate(rng: random.Random) -> str:
    name = rng.choice([*FIELDS, "humanCodingScheme", "fullStatement"])
    operators = ["=", "=", "!=", "@"]
    if name != "lastChangeDateTime":
        operators += ["~", "~"]
    if name not in {"educationLevel", "extensions.level"}:
        operators += [">", ">=", "<", "<="]
    operator = rng.choice(operators)
    count = rng.randint(1, 3) if operator == "@" else 1
    value = ",".join(FIELDS[name](rng) for _ in range(count))
    return f"{name}{operator}'{value.replace(chr(39), chr(39) * 2)}'"


def random_request(rng: random.Random) -> dict[str, Any]:
    filter_text = predicate(rng) if rng.random() < 0.7 else ""
    while filter_text and rng.random() < 0.4:
        filter_text = f"({filter_text}) {rng.choice(['AND', 'OR'])} {predicate(rng)}"
    return {
        "filter": filter_text,
        "sort": rng.choice(SORTS),
        "orderBy": rng.choice(["asc", "desc"]),
        "limit": rng.choice([1, 5, 3000]),
        "offset": rng.choice([0, 0, 0, 3, 24, 46, 50]),
    }


@pytest.mark.parametrize("seed", range(3))
async def test_list_equals_that_of_python(database: Database, execute: Execute, seed: int) -> None:
    rng = random.Random(seed)
    items = [random_item(rng, number) for number in range(60)]
    await insert_rows(execute, items)
    deleted_ids = [item["identifier"] for item in items[50:]]
    await execute("UPDATE items SET deleted_at = now() WHERE identifier = ANY($1)", deleted_ids)
    await store_item_counts(execute)
    totals = set()
    for _ in range(200):
        parameters = random_request(rng)
        page = await entity_lists.fetch_page(database, STORED_ITEMS, query(**parameters))
        results = [json.loads(body)["identifier"] for body in page.bodies]
        assert (page.total, results) == expected(items[:50], query(**parameters)), parameters
        totals.add(page.total)
    assert len(totals) > 20, "the filters hardly distinguish items"


ADDRESS = "http://case.test/ims/case/v1p1"
STORED_ITEMS = ResourceView(ITEMS)

INDEXED = {
    "ix_items_code": {"filter": "humanCodingScheme='A.1'"},
    "ix_items_code (several)": {"filter": "humanCodingScheme@'A.1,B.2'"},
    "ix_items_code (either)": {"filter": "humanCodingScheme='A.1' OR humanCodingScheme='B.2'"},
    "ix_items_code (sorted)": {"sort": "humanCodingScheme", "offset": "100"},
    "ix_items_statement_trigrams": {"filter": "fullStatement~'parallelogram'"},
    "ix_items_changed": {"filter": "lastChangeDateTime>='2026-01-15'"},
    "ix_items_changed (sorted)": {"sort": "lastChangeDateTime"},
    "ix_items_code_descending": {"sort": "humanCodingScheme", "orderBy": "desc", "offset": "100"},
    "ix_items_changed (descending)": {"sort": "lastChangeDateTime", "orderBy": "desc"},
    "ix_items_filter_keys": {"filter": "CFDocumentURI.identifier='document-7'"},
    "ix_items_filter_keys (unique)": {"filter": "notes='Note 7'"},
    "ix_items_filter_keys (and)": {"filter": "language='ES' AND notes~'x'"},
    "ix_items_filter_keys (or)": {"filter": "language='es' OR CFItemType@'unit,Strand'"},
    "ix_items_start_date": {"filter": "statusStartDate>='2026-02-01'"},
    "ix_items_end_date": {"filter": "statusEndDate='2027-01-01'"},
    "ix_items_code (range)": {"filter": "humanCodingScheme>'A.9998'"},
    "ix_items_live": {"offset": "100"},
    "ix_items_live (sorted)": {"sort": "identifier", "offset": "100"},
    "ix_items_live (descending)": {"sort": "identifier", "orderBy": "desc", "offset": "100"},
    "ix_items_filter_keys (by uri)": {
        "filter": f"CFDocumentURI.uri='{ADDRESS}/CFDocuments/document-7'"
    },
    "ix_items_filter_keys (by several uris)": {
        "filter": f"uri@'{ADDRESS}/CFItems/item-7,{ADDRESS}/CFItems/item-8'"
    },
}

MANY = """
    INSERT INTO items (document_identifier, last_change_date_time, body)
    SELECT 'document-a', timestamptz '2025-01-01' + number * interval '1 hour',
        json_strip_nulls(json_build_object(
        'identifier', 'item-' || number, 'fullStatement', 'statement ' || md5(number::text),
        'humanCodingScheme', 'A.' || number, 'notes', 'note ' || number,
        'language', CASE number % 500 WHEN 0 THEN 'es' ELSE 'en' END,
        'CFItemType', CASE number % 400 WHEN 0 THEN 'Unit' END,
        'statusStartDate', CASE WHEN number % 100 = 0 THEN '2026-01-15'::date + number / 500 END,
        'statusEndDate', CASE WHEN number % 100 = 0 THEN '2026-12-15'::date + number / 500 END,
        'CFDocumentURI', json_build_object('identifier', 'document-' || number % 200)))
    FROM generate_series(1, 20000) AS number"""


@pytest.mark.parametrize("database", ["default"], indirect=True)
async def test_common_lists_use_their_index(database: Database, execute: Execute) -> None:
    await insert_rows(execute, [])
    # Rows whose commit is not on disk yet are not marked all-visible, and then Postgres would not
    # count them by the index alone.
    await execute("SELECT set_config('synchronous_commit', 'on', false)")
    await execute(MANY)
    await vacuum_until_visible(execute)
    for (index, parameters), view in product(
        INDEXED.items(), (STORED_ITEMS, SDK.get_resource_view(ITEMS))
    ):
        if "uri" in index and not view.rewrites_uris:
            continue
        plan = await explain(database, query(**parameters), view)
        assert index.split()[0] in plan, f"{index}:\n{plan}"
        assert "Seq Scan on items" not in plan, f"{index}:\n{plan}"
    # With the keys that most items have, Postgres would compute the keys of all items.
    assert "item_filter_keys" not in await explain(database, query(filter="language='EN'"))
    assert "item_filter_keys" not in await explain(
        database, query(filter="humanCodingScheme='A.1' AND language='en'")
    )


async def vacuum_until_visible(execute: Execute) -> None:
    """Vacuum the items until nearly all pages are marked all-visible.

    A transaction of another connection, such as autovacuum's, may prevent it at first. A few pages
    are never marked, if the vacuum leaves their dead rows in the indexes.
    """
    is_visible = "SELECT relallvisible > 0.9 * relpages FROM pg_class WHERE relname = 'items'"
    for _ in range(50):
        await execute("VACUUM ANALYZE items")
        if (await execute(is_visible))[0][0]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("a tenth of the pages is not all-visible after 50 times VACUUM")


async def explain(database: Database, query: ListQuery, view: ResourceView = STORED_ITEMS) -> str:
    """Return the plan of the statement that the server runs for a list of items."""
    statement, values = await entity_lists.choose_list_statement(database, view, query, ADDRESS)
    async with database.connection() as connection:
        lines = await connection.fetch(f"EXPLAIN {statement.sql}", *statement.bind(values))
    return "\n".join(line for (line,) in lines)


async def test_filter_keys_match_values_the_sdk_adds(database: Database, execute: Execute) -> None:
    items = [
        factories.item("document-a", "Item 1"),
        factories.item("document-a", "Item 2", CFItemType="Unit"),
    ]
    await insert_rows(execute, items)
    filters = {
        "CFItemType='UNKNOWN'": ["Item 1"],
        "CFItemType@'unit,Strand'": ["Item 2"],
        f"uri='{ADDRESS}/CFItems/item%202'": ["Item 2"],
        f"uri@'{ADDRESS}/CFItems/Item%202,{ADDRESS}/CFItems/x'": ["Item 2"],
        f"CFDocumentURI.uri='{ADDRESS}/CFDocuments/document-a'": ["Item 1", "Item 2"],
    }
    for text, identifiers in filters.items():
        view = SDK.get_resource_view(ITEMS)
        page = await entity_lists.fetch_page(database, view, query(filter=text), ADDRESS)
        assert [json.loads(body)["identifier"] for body in page.bodies] == identifiers, text


def test_values_and_extension_names_share_one_statement() -> None:
    entity_lists._compile_list_statement.cache_clear()
    for number in range(5):
        first = f"fullStatement~'word{number}' AND extensions.a{number}.b{number}='{number}'"
        second = f"humanCodingScheme@'{','.join('ab'[: number % 2 + 1])}' AND subject='{number},a'"
        entity_lists.build_list_statement(
            STORED_ITEMS, query(filter=f"{first} AND {second}", limit=number + 1)
        )
    assert entity_lists._compile_list_statement.cache_info().misses == 1


def test_statement_cache_is_bounded() -> None:
    for number in range(entity_lists.STATEMENT_CACHE_SIZE + 5):
        rng = random.Random(number)
        filter_text = " AND ".join(predicate(rng) for _ in range(8))
        entity_lists.build_list_statement(
            STORED_ITEMS, query(filter=filter_text, sort=rng.choice(SORTS))
        )
    cached = entity_lists._compile_list_statement.cache_info().currsize
    assert cached == entity_lists.STATEMENT_CACHE_SIZE


async def test_code_of_any_length_can_be_filtered(database: Database, execute: Execute) -> None:
    """Uses characters of four bytes that hardly compress, and the longest possible identifier."""
    rng = random.Random(1)
    long = "".join(chr(rng.randint(0x20000, 0x2A000)) for _ in range(10_000))
    codes = {number: long + number for number in "12"}
    await insert_rows(
        execute,
        [
            factories.item("document-a", f"{number}{long[:254]}", humanCodingScheme=code)
            for number, code in codes.items()
        ],
    )
    for number, code in codes.items():
        page = await entity_lists.fetch_page(
            database, STORED_ITEMS, query(filter=f"humanCodingScheme='{code}'")
        )
        assert [json.loads(body)["identifier"][0] for body in page.bodies] == [number]
