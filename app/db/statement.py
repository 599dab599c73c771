"""SQLAlchemy Core statements, compiled once and run by asyncpg as prepared statements."""

from __future__ import annotations

import json
from copy import copy
from typing import Any, NamedTuple

from asyncpg import Record
from sqlalchemy import ClauseElement, make_url
from sqlalchemy.dialects.postgresql.asyncpg import PGCompiler_asyncpg

from .connector import AnyConnection

DIALECT = make_url("postgresql+asyncpg://").get_dialect()()


class _GenericPlanCompiler(PGCompiler_asyncpg):
    """A SQL compiler that hides parameter values from Postgres, so that it uses generic plans."""

    def render_bind_cast(self, type_: Any, dbapi_type: Any, sqltext: str) -> str:
        """Render a parameter as a scalar subquery, so that the plan cannot depend on its value."""
        # SQLAlchemy does not annotate the methods of its compilers.
        parameter = super().render_bind_cast(type_, dbapi_type, sqltext)  # type: ignore[no-untyped-call]
        # The cast changes nothing, but = ANY takes a subquery without it as a set of rows.
        return f"CAST((SELECT {parameter}) AS {parameter.rpartition('::')[2]})"


class QueryEstimate(NamedTuple):
    """The estimates of Postgres' planner for a query: its cost and its number of rows."""

    cost: float
    rows: int

    @classmethod
    def from_plan(cls, plan: str) -> QueryEstimate:
        """Return the estimates in a plan, the result of ``build_explain_statement``."""
        node = json.loads(plan)[0]["Plan"]
        return cls(node["Total Cost"], node["Plan Rows"])


class CompiledStatement:
    """A SQL statement compiled once, with the names and default values of its parameters.

    Compiling can take milliseconds, so statements are module constants or cached. Set
    ``has_generic_plan`` for a statement whose best query plan is the same for all values, such as a
    lookup by identifier: Postgres then stops planning it for each execution.
    """

    def __init__(self, clause: ClauseElement, *, has_generic_plan: bool = False) -> None:
        # Postgres plans a prepared statement again for each execution if a plan for the given
        # values looks cheaper than the generic plan. Without statistics it often does: planning
        # then took 0.28 ms of GET CFItemAssociations, running it 0.1 ms. If the planner cannot see
        # the values, both plans cost the same, so Postgres uses the generic plan from the sixth
        # execution on a connection. Unlike plan_cache_mode, this needs no session state.
        compiler = _GenericPlanCompiler if has_generic_plan else PGCompiler_asyncpg
        compiled = compiler(DIALECT, clause)
        self.sql = str(compiled)
        self.parameters = tuple(compiled.positiontup or ())
        """The names of ``$1``, ``$2``, …, in this order."""
        self.defaults = {
            name: compiled.params[name]
            for name in self.parameters
            if not compiled.binds[name].required
        }

    def bind(self, values: dict[str, Any]) -> list[Any]:
        """Return the values of ``$1``, ``$2``, … as the list that asyncpg expects.

        ``values`` contains the values by parameter name. Missing ones get their defaults; raises
        ``KeyError`` if there is no default.
        """
        return [values[name] if name in values else self.defaults[name] for name in self.parameters]

    def build_explain_statement(self) -> CompiledStatement:
        """Return an ``EXPLAIN (FORMAT JSON)`` statement for this one, with the same parameters."""
        explain = copy(self)
        explain.sql = f"EXPLAIN (FORMAT JSON) {self.sql}"
        return explain

    async def fetch_all(self, connection: AnyConnection, /, **values: Any) -> list[Record]:
        """Run the SQL statement on ``connection`` and return all rows as asyncpg records.

        ``values`` are the SQL parameters by name; one that is missing gets its default value.
        """
        return await connection.fetch(self.sql, *self.bind(values))

    async def fetch_one(self, connection: AnyConnection, /, **values: Any) -> Record | None:
        """Run the SQL statement on ``connection``; return its first row, or None without rows.

        ``values`` are the SQL parameters by name; one that is missing gets its default value.
        """
        return await connection.fetchrow(self.sql, *self.bind(values))

    async def fetch_value(self, connection: AnyConnection, /, **values: Any) -> Any:
        """Run the SQL statement on ``connection``; return the first column of its first row.

        Returns None without rows. ``values`` are its parameters by name; missing ones get their
        defaults.
        """
        return await connection.fetchval(self.sql, *self.bind(values))

    async def execute(self, connection: AnyConnection, /, **values: Any) -> None:
        """Run the SQL statement on ``connection`` and discard its rows.

        ``values`` are the SQL parameters by name; one that is missing gets its default value.
        """
        await connection.execute(self.sql, *self.bind(values))
