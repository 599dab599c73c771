"""Filtered, sorted lists of a million items, compared with Postgres' time for the best plan."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median
from urllib.parse import quote

from . import bulk_load, data
from .client import TimedClient
from .context import PREFIX, BenchmarkContext, report_progress
from .plans import ExecutedStatement, log_statement_plans, read_logged_statements
from .postgres import measure_execution_time, open_explain_session
from .results import ResultRow, format_duration

NAME = "million"
DOCUMENTS = 100
MAX_ADDED_SECONDS = 0.003
"""Time that the server may take in addition to Postgres' best plan."""
MAX_REQUESTS, MAX_SECONDS = 31, 4.0
"""Number of timed requests, and their maximum total duration."""
MIN_REQUESTS, WARM_UP_REQUESTS = 10, 5
"""Minimum number of requests, and how many of them are not counted: after five executions,
Postgres may choose a generic plan for a prepared statement."""


@dataclass(frozen=True)
class ItemSearch:
    """A request for a filtered or sorted list of items, and the equivalent SQL condition."""

    title: str
    query: str
    condition: str
    """The filter in SQL, written so that Postgres can use an index."""
    key: str = "identifier"


def list_searches(item_count: int) -> list[ItemSearch]:
    """Return the searches to measure in a database of ``item_count`` items."""
    share = -(-item_count // DOCUMENTS)
    link = data.build_item_link("million7", 7 * share + share // 2)
    code, by_uri = link.title, quote(f"uri='{link.uri}'")
    exact, words = quote(f"humanCodingScheme='{code}'"), quote(f"fullStatement~'{data.RARE_WORDS}'")
    return [
        ItemSearch(
            "humanCodingScheme=",
            f"filter={exact}",
            f"lower(body ->> 'humanCodingScheme') = '{code.lower()}'",
        ),
        ItemSearch(
            "fullStatement~",
            f"filter={words}",
            f"lower(body ->> 'fullStatement') LIKE '%{data.RARE_WORDS}%'",
        ),
        ItemSearch("uri=", f"filter={by_uri}", f"lower(body ->> 'uri') = '{link.uri}'"),
        ItemSearch(
            "sort=humanCodingScheme",
            "sort=humanCodingScheme",
            "true",
            "lower(body ->> 'humanCodingScheme')",
        ),
        ItemSearch(
            "sort=humanCodingScheme, descending",
            "sort=humanCodingScheme&orderBy=desc",
            "true",
            "lower(body ->> 'humanCodingScheme') DESC NULLS LAST",
        ),
        ItemSearch("last page", f"offset={item_count - 10}", "true", "identifier DESC"),
    ]


def measure_filters(context: BenchmarkContext) -> Iterator[ResultRow]:
    """Measure filtered and sorted lists of a million items, compared with plain SQL queries.

    The baseline is the time of the fastest plan that Postgres has for the same condition.
    """
    report_progress(f"loading {context.sizes.filter_item_count:,} items")
    url = context.postgres.ensure_database(NAME)
    bulk_load.insert_frameworks(url, DOCUMENTS, context.sizes.filter_item_count, "million")
    all_searches = list_searches(context.sizes.filter_item_count)
    statements = {search.title: _capture_statements(context, search) for search in all_searches}
    with context.run_server_for_client(NAME) as (_, client):
        medians = {
            search.title: _measure_medians(url, client, search, statements[search.title])
            for search in all_searches
        }
    for search in all_searches:
        request_seconds, sql_seconds = medians[search.title]
        baseline_seconds = min([sql_seconds, *_measure_plain_sql(url, search)])
        time_row = _create_time_row(
            search, request_seconds, baseline_seconds, context.sizes.filter_item_count
        )
        scan_row = _create_scan_row(search, statements[search.title])
        if scan_row.meets_target is False:
            # Compared with a scan of the whole table, any plan is fast.
            note = "without an index the baseline means nothing"
            time_row = replace(time_row, meets_target=False, note=note)
        yield time_row
        yield scan_row
    context.postgres.drop_database(NAME)


def _capture_statements(context: BenchmarkContext, search: ItemSearch) -> list[ExecutedStatement]:
    """Send a list request; return the SQL statements that the server ran, with their plans."""
    with log_statement_plans(context.postgres, NAME):
        before = context.postgres.log.stat().st_size
        with context.run_server_for_client(NAME) as (_, client):
            for _ in range(MIN_REQUESTS):
                client.get(f"{PREFIX}/CFItems?{search.query}")
        return read_logged_statements(context.postgres.log, before, "items")


def _measure_medians(
    url: str, client: TimedClient, search: ItemSearch, logged_statements: list[ExecutedStatement]
) -> tuple[float, float]:
    """Return the median seconds of a search request, and of its SQL statements alone.

    Measures the request and ``logged_statements``, which the server runs for it, in turn, so that
    changes in the speed of the machine affect both.
    """
    report_progress(f"searching them: {search.title}")
    path = f"{PREFIX}/CFItems?{search.query}"
    statements = {statement.sql: statement for statement in logged_statements}
    request_seconds: list[float] = []
    sql_seconds: list[float] = []
    with open_explain_session(url) as seconds_for:
        while len(request_seconds) < MAX_REQUESTS and (
            sum(request_seconds) < MAX_SECONDS or len(request_seconds) < MIN_REQUESTS
        ):
            request_seconds.append(client.get(path).seconds)
            queries = (statement.substitute_parameters() for statement in statements.values())
            sql_seconds.append(sum(map(seconds_for, queries)))
    return median(request_seconds[WARM_UP_REQUESTS:]), median(sql_seconds[WARM_UP_REQUESTS:])


def _measure_plain_sql(url: str, search: ItemSearch) -> Iterator[float]:
    """Yield how many seconds a plain SQL query for a search takes, with and without table scans."""
    condition = f"{search.condition} AND deleted_at IS NULL"
    statement = f"""
        SELECT body, (SELECT count(*) FROM items WHERE {condition}) FROM items
        WHERE {condition} ORDER BY {search.key}, identifier LIMIT 10"""
    for setting in ("on", "off"):
        yield measure_execution_time(url, f"SET enable_seqscan = {setting}", statement)


def _create_time_row(
    search: ItemSearch, request_seconds: float, baseline_seconds: float, items: int
) -> ResultRow:
    added_seconds = request_seconds - baseline_seconds
    return ResultRow(
        f"GET CFItems of {items:,}, {search.title}",
        format_duration(baseline_seconds),
        format_duration(request_seconds),
        f"{added_seconds * 1000:+.1f} ms",
        "<= +3 ms",
        added_seconds <= MAX_ADDED_SECONDS,
    )


def _create_scan_row(search: ItemSearch, executed: list[ExecutedStatement]) -> ResultRow:
    scans = any(statement.scans_table("items") for statement in executed)
    plans = {
        statement.sql: " < ".join(name for name, _ in statement.nodes) for statement in executed
    }
    method = "sequential scan" if scans else "index"
    case, note = f"... access path of {search.title}", "; ".join(plans.values())
    return ResultRow(case, "", method, "", "no sequential scan", not scans, note=note)
