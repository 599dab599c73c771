"""Plans of the server's own statements, which auto_explain writes to the log of Postgres."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import BenchmarkError
from .postgres import BenchmarkPostgres, execute_sql

SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_format": "json",
    "auto_explain.log_analyze": "on",
    # Reading the clock for each row would slow down the statements.
    "auto_explain.log_timing": "off",
    "auto_explain.log_parameter_max_length": "-1",
}
PLAN = re.compile(r"LOG:  duration: ([\d.]+) ms  plan:\n")


@dataclass(frozen=True)
class ExecutedStatement:
    """An SQL statement that the server ran, with the plan and duration that Postgres logged."""

    sql: str
    parameters: str
    seconds: float
    nodes: tuple[tuple[str, str], ...]
    """The nodes of the plan as (type, table); the table is empty if it reads none."""

    def scans_table(self, table: str) -> bool:
        """Return whether the query plan reads a whole table, instead of using an index."""
        return ("Seq Scan", table) in self.nodes

    def substitute_parameters(self) -> str:
        """Return the SQL with its parameters replaced by their values, so that it can be rerun."""
        pairs = re.findall(r"\$(\d+) = ('(?:[^']|'')*'|NULL)", self.parameters)
        values = dict(pairs)
        return re.sub(r"\$(\d+)", lambda match: values[match[1]], self.sql)


@contextmanager
def log_statement_plans(postgres: BenchmarkPostgres, database: str) -> Iterator[None]:
    """Make Postgres log the plan of every SQL statement during a ``with`` block.

    Applies to new connections to the named database.
    """
    execute_sql(
        postgres.databases[database],
        *(f"ALTER DATABASE {database} SET {key} = '{value}'" for key, value in SETTINGS.items()),
    )
    try:
        yield
    finally:
        resets = (f"ALTER DATABASE {database} RESET {key}" for key in SETTINGS)
        execute_sql(postgres.databases[database], *resets)


def read_logged_statements(log: Path, position: int, table: str) -> list[ExecutedStatement]:
    """Return the SQL statements on a table, with their plans, from the log of Postgres.

    Reads the log starting at byte ``position``, such as the size of the log before a request.
    """
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with log.open("rb") as file:
            file.seek(position)
            logged = list(parse_plans(file.read().decode(errors="replace")))
        matching = [
            entry
            for entry in logged
            # The server explains some statements before it runs them.
            if not entry.sql.startswith("EXPLAIN") and any(node[1] == table for node in entry.nodes)
        ]
        if matching:
            return matching
        time.sleep(0.1)
    raise BenchmarkError(f"auto_explain logged no statement that reads {table}")


def parse_plans(log: str) -> Iterator[ExecutedStatement]:
    """Yield the SQL statements and their plans that auto_explain wrote to Postgres' log."""
    for match in PLAN.finditer(log):
        explanation, _ = json.JSONDecoder().raw_decode(log[match.end() :].lstrip())
        yield ExecutedStatement(
            sql=explanation["Query Text"],
            parameters=explanation.get("Query Parameters", ""),
            seconds=float(match[1]) / 1000,
            nodes=tuple(_nodes(explanation["Plan"])),
        )


def _nodes(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield plan["Node Type"], plan.get("Relation Name", "")
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
