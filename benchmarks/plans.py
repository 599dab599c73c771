"""What Postgres did for a request: auto_explain writes the server's own statements to its log."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import BenchmarkError
from .postgres import Postgres, execute

SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_format": "json",
    "auto_explain.log_analyze": "on",
    # Reading the clock at each row would be part of what is measured.
    "auto_explain.log_timing": "off",
    "auto_explain.log_parameter_max_length": "-1",
}
PLAN = re.compile(r"LOG:  duration: ([\d.]+) ms  plan:\n")


@dataclass(frozen=True)
class Ran:
    """A statement that ran, how, and how long."""

    sql: str
    parameters: str
    seconds: float
    nodes: tuple[tuple[str, str], ...]
    """The steps of the plan, each with the table it reads, if any."""

    def scans(self, table: str) -> bool:
        """Whether the whole table was read."""
        return ("Seq Scan", table) in self.nodes

    def literally(self) -> str:
        """The statement with its parameters in their places."""
        given = re.findall(r"\$(\d+) = ('(?:[^']|'')*'|NULL)", self.parameters)
        values = dict(given)
        return re.sub(r"\$(\d+)", lambda found: values[found[1]], self.sql)


@contextmanager
def explained(postgres: Postgres, name: str) -> Iterator[None]:
    """Connections made to a database meanwhile have their statements explained."""
    execute(
        postgres.databases[name],
        *(f"ALTER DATABASE {name} SET {key} = '{value}'" for key, value in SETTINGS.items()),
    )
    try:
        yield
    finally:
        resets = (f"ALTER DATABASE {name} RESET {key}" for key in SETTINGS)
        execute(postgres.databases[name], *resets)


def statements_since(log: Path, position: int, table: str) -> list[Ran]:
    """The statements that read a table and were logged since a position in the log."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with log.open("rb") as file:
            file.seek(position)
            found = list(parse(file.read().decode(errors="replace")))
        if mine := [ran for ran in found if any(node[1] == table for node in ran.nodes)]:
            return mine
        time.sleep(0.1)
    raise BenchmarkError(f"auto_explain logged no statement that reads {table}")


def parse(log: str) -> Iterator[Ran]:
    """Every plan in a piece of Postgres' log."""
    for found in PLAN.finditer(log):
        said, _ = json.JSONDecoder().raw_decode(log[found.end() :].lstrip())
        yield Ran(
            sql=said["Query Text"],
            parameters=said.get("Query Parameters", ""),
            seconds=float(found[1]) / 1000,
            nodes=tuple(_nodes(said["Plan"])),
        )


def _nodes(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield plan["Node Type"], plan.get("Relation Name", "")
    for below in plan.get("Plans", ()):
        yield from _nodes(below)
