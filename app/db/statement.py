"""SQLAlchemy Core statements, compiled once and run on asyncpg as prepared ones, alone or many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from anyio import to_thread
from sqlalchemy import ClauseElement, make_url
from sqlalchemy.sql.compiler import SQLCompiler

if TYPE_CHECKING:
    import asyncpg

    from .pool import Connection

T = TypeVar("T")

Progress: TypeAlias = Callable[[str], None]
"""Told what is being written."""

DEFINITIONS_STAGE = "definitions"
"""The stage that writes the definitions which a package holds under CFDefinitions."""

DIALECT = make_url("postgresql+asyncpg://").get_dialect()()


class CompiledStatement:
    """The SQL of a statement, and the names of its parameters in the order of its ``$n``."""

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(dialect=DIALECT)
        assert isinstance(compiled, SQLCompiler)
        self.sql = str(compiled)
        self.parameters = tuple(compiled.positiontup or ())
        self.defaults = {
            name: compiled.params[name]
            for name in self.parameters
            if not compiled.binds[name].required
        }

    def bind(self, values: dict[str, Any]) -> list[Any]:
        """The values of the parameters, in order; those the statement fixed need not be given."""
        return [values[name] if name in values else self.defaults[name] for name in self.parameters]


NamedStatements: TypeAlias = list[tuple[str, CompiledStatement]]
"""Statements, and what each is about."""


@dataclass
class UploadRun:
    """The statements of one transaction."""

    connection: Connection
    values: dict[str, Any]
    """What their parameters stand for, by name."""
    progress: Progress
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many entities of a kind were created, updated, revived or deleted."""
    defined: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The part of ``changes`` that is about definitions which the package itself holds."""

    async def fetch(self, statement: CompiledStatement) -> list[asyncpg.Record]:
        """The rows of a statement."""
        return await self.connection.fetch(statement.sql, *statement.bind(self.values))

    async def execute_counted(self, steps: Callable[[T], NamedStatements], what: T) -> None:
        """Run statements that answer rows (kind, operation, changed), if any, and count those."""
        # To write the SQL of another kind of upload takes a while, which others need not wait for.
        for name, statement in await to_thread.run_sync(steps, what):
            self.progress(name)
            for row in await self.fetch(statement):
                self.changes[row["kind"], row["operation"]] += row["changed"]
                if name == DEFINITIONS_STAGE:
                    self.defined[row["kind"], row["operation"]] += row["changed"]
