"""SQLAlchemy Core statements, compiled once and run by asyncpg as prepared statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ClauseElement, make_url
from sqlalchemy.sql.compiler import SQLCompiler

if TYPE_CHECKING:
    import asyncpg

    from .connector import AnyConnection

DIALECT = make_url("postgresql+asyncpg://").get_dialect()()


class CompiledStatement:
    """The SQL text of a statement, with the names and default values of its parameters.

    Compiling takes SQLAlchemy up to milliseconds, so statements are module constants or cached.
    """

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(dialect=DIALECT)
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        self.parameters = tuple(compiled.positiontup or ())
        """The names of ``$1``, ``$2``, …, in this order."""
        self.defaults = {
            name: compiled.params[name]
            for name in self.parameters
            if not compiled.binds[name].required
        }

    def bind(self, values: dict[str, Any]) -> list[Any]:
        """Return the arguments in the order of the parameters, with defaults for missing ones."""
        return [values[name] if name in values else self.defaults[name] for name in self.parameters]

    async def fetch_all(self, connection: AnyConnection, /, **values: Any) -> list[asyncpg.Record]:
        """Run the statement and return its rows."""
        return await connection.fetch(self.sql, *self.bind(values))

    async def fetch_one(self, connection: AnyConnection, /, **values: Any) -> asyncpg.Record | None:
        """Run the statement and return its first row, or None."""
        return await connection.fetchrow(self.sql, *self.bind(values))

    async def fetch_value(self, connection: AnyConnection, /, **values: Any) -> Any:
        """Run the statement and return the first column of its first row, or None."""
        return await connection.fetchval(self.sql, *self.bind(values))

    async def execute(self, connection: AnyConnection, /, **values: Any) -> None:
        """Run the statement and discard its rows."""
        await connection.execute(self.sql, *self.bind(values))
