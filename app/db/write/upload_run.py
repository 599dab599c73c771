"""The transaction of one upload: its connection, its parameters and the changes it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from anyio import to_thread

from ..statement import CompiledStatement

if TYPE_CHECKING:
    import asyncpg

    from ..connector import Connection

T = TypeVar("T")

Progress: TypeAlias = Callable[[str], None]
"""Called with the name of each stage of an upload when it starts."""

DEFINITIONS_STAGE = "definitions"
"""The stage that writes the definitions in the package's ``CFDefinitions``."""

NamedStatements: TypeAlias = list[tuple[str, CompiledStatement]]
"""Statements with the names of their stages."""


@dataclass
class UploadRun:
    """The transaction of one upload: its connection, its parameters and the changes it counts."""

    connection: Connection
    values: dict[str, Any]
    """Parameters of all statements, by name."""
    progress: Progress
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of changed entities by kind and operation."""
    defined: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The part of ``changes`` that concerns definitions in the package's ``CFDefinitions``."""

    async def fetch_all(self, statement: CompiledStatement) -> list[asyncpg.Record]:
        """Run a SQL statement with the parameters of the upload and return its rows."""
        return await statement.fetch_all(self.connection, **self.values)

    async def execute_counted(
        self, build_statements: Callable[[T], NamedStatements], argument: T
    ) -> None:
        """Run the SQL statements of ``build_statements(argument)``, and count the reported changes.

        Each statement returns rows (kind, operation, changed). They are built in a worker thread,
        because compiling SQL that is not cached yet would block the event loop.
        """
        for stage, statement in await to_thread.run_sync(build_statements, argument):
            self.progress(stage)
            for row in await self.fetch_all(statement):
                self.changes[row["kind"], row["operation"]] += row["changed"]
                if stage == DEFINITIONS_STAGE:
                    self.defined[row["kind"], row["operation"]] += row["changed"]
