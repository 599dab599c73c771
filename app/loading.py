"""Packages from wherever they are into the store, and an honest account of what became of each."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from .case.package import Package
from .case.resources import ASSOCIATIONS, ITEMS
from .db.database import Database
from .db.upload import write_package
from .errors import CaseServerError, Problem, StartupError
from .progress import Progress, bar
from .repair.reader import Repair
from .sheets.assembly import Defaults
from .sheets.reader import read
from .sources import Source


@dataclass
class Outcome:
    """What became of one source."""

    source: str
    status: str = "refused"
    """created, replaced, unchanged, readable (nothing was to be stored) or refused."""
    document: str | None = None
    items: int = 0
    associations: int = 0
    changes: int = 0
    seconds: float = 0.0
    repairs: list[Repair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    more: int = 0
    """How many problems there are beside those."""
    reason: str | None = None


@dataclass(frozen=True)
class Loader:
    """Loads sources one by one, each in a transaction of its own."""

    strict: bool = False
    quiet: bool = False
    defaults: Defaults = field(default_factory=Defaults)
    """What is said of a spreadsheet beside it."""

    async def load(self, database: Database | None, found: Sequence[Source]) -> list[Outcome]:
        """Store each source, or only read it where there is no database."""
        outcomes = []
        for source in found:
            outcome, start = Outcome(source.name), time.monotonic()
            progress = bar(source.name, quiet=self.quiet)
            try:
                await self._load(database, source, outcome, progress)
            except (CaseServerError, StartupError) as error:
                outcome.reason = str(error)
                outcome.problems = getattr(error, "problems", [])
                outcome.more = getattr(error, "more", 0)
            outcome.seconds = round(time.monotonic() - start, 2)
            progress("")
            _tell(outcome, quiet=self.quiet)
            outcomes.append(outcome)
        return outcomes

    async def _load(
        self,
        database: Database | None,
        source: Source,
        outcome: Outcome,
        progress: Progress,
    ) -> None:
        progress("reading")
        package, outcome.repairs = self._understand(source)
        outcome.document = package.document_identifier
        outcome.items = package.count(ITEMS.name)
        outcome.associations = package.count(ASSOCIATIONS.name)
        if database is None:
            outcome.status = "readable"
            return
        written = await write_package(database, package, progress=progress)
        outcome.changes = written.changed
        replaced = "replaced" if written.changed else "unchanged"
        outcome.status = "created" if written.created else replaced

    def _understand(self, source: Source) -> tuple[Package, list[Repair]]:
        defaults = replace(self.defaults, changed=source.changed or datetime.now(UTC))
        return read(
            source.read(),
            source.form,
            defaults,
            strict=self.strict,
            allow_dense=source.allow_dense,
        )


def _tell(outcome: Outcome, *, quiet: bool) -> None:
    """One line for what went well, every reason for what did not, each kind of repair once."""
    if outcome.status == "refused":
        _tell_refusal(outcome)
    elif not quiet:
        click.echo(
            f"{outcome.source}: {outcome.status} {outcome.document}: {outcome.items:,} items, "
            f"{outcome.associations:,} associations, {outcome.changes:,} changes "
            f"in {outcome.seconds:.1f} s"
        )
    if not quiet:
        for repair in outcome.repairs:
            click.echo(f"  {repair.kind} ({repair.count:,}): {repair.explanation}")
            click.echo(f"    first at {repair.path}{_change(repair)}")


def _tell_refusal(outcome: Outcome) -> None:
    if not outcome.problems:
        click.echo(f"{outcome.source}: refused: {outcome.reason}", err=True)
        return
    count = len(outcome.problems) + outcome.more
    problems = "problem" if count == 1 else "problems"
    click.echo(f"{outcome.source}: refused, {count:,} {problems}:", err=True)
    for problem in outcome.problems:
        click.echo(f"  {problem['path']}: {problem['message']}", err=True)
    if outcome.more:
        click.echo(f"  and {outcome.more:,} more", err=True)


def _change(repair: Repair) -> str:
    """An example, where there is more to see than that something is gone."""
    if repair.after is None:
        return ""
    before = f"{_short(repair.before)} became " if repair.before is not None else "now "
    return f": {before}{_short(repair.after)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


LONGEST = 80


def write_report(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Everything that became of every source, as JSON."""
    report = [asdict(outcome) for outcome in outcomes]
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
