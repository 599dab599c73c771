"""A SQLAlchemy Core statement compiled once, to be run on asyncpg as a prepared statement."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ClauseElement, make_url
from sqlalchemy.sql.compiler import SQLCompiler

DIALECT = make_url("postgresql+asyncpg://").get_dialect()()


class Statement:
    """The SQL of a statement, and the names of its parameters in the order of its ``$n``."""

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(dialect=DIALECT)
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        self.names = tuple(compiled.positiontup or ())
        self.fixed = {
            name: compiled.params[name] for name in self.names if not compiled.binds[name].required
        }

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The values of the parameters, in order; those the statement fixed need not be given."""
        return [values[name] if name in values else self.fixed[name] for name in self.names]
