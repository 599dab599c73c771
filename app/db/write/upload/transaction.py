"""The transaction of one upload, which runs SQL statements and counts what they change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from anyio import to_thread
from asyncpg import Record

from ...connector import Connection
from ...statement import CompiledStatement

Progress: TypeAlias = Callable[[str], None]
"""Called with the name of each stage of an upload when it starts."""

DEFINITIONS_STAGE = "definitions"
"""The stage that writes the definitions in the package's ``CFDefinitions``."""

NamedStatements: TypeAlias = list[tuple[str, CompiledStatement]]
"""Each element is (name of the stage, SQL statement)."""


@dataclass
class UploadTransaction:
    """The connection, statement parameters and progress callback of one upload, with its counts.

    SQL statements of the upload run through its methods, inside the transaction that is open on
    ``connection``.
    """

    connection: Connection
    parameters: dict[str, Any]
    """Parameters of all statements, by name."""
    progress: Progress
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of changed entities by kind and operation."""
    definition_changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The same for definitions in the package's ``CFDefinitions`` alone."""

    async def fetch_all(self, statement: CompiledStatement) -> list[Record]:
        """Run a SQL statement of the upload with ``self.parameters`` and return its rows."""
        return await statement.fetch_all(self.connection, **self.parameters)

    async def execute_and_count(self, build_statements: Callable[[], NamedStatements]) -> None:
        """Run the SQL statements that ``build_statements()`` returns, and count what they change.

        ``build_statements`` returns pairs (stage, statement). Each statement returns rows (kind,
        operation, changed), whose number ``changed`` is added to ``changes``; in the stage
        ``DEFINITIONS_STAGE``, it is also added to ``definition_changes``.
        """
        # In a worker thread, because compiling SQL that is not cached would block the event loop.
        for stage, statement in await to_thread.run_sync(build_statements):
            self.progress(stage)
            for row in await self.fetch_all(statement):
                self.changes[row["kind"], row["operation"]] += row["changed"]
                if stage == DEFINITIONS_STAGE:
                    self.definition_changes[row["kind"], row["operation"]] += row["changed"]
