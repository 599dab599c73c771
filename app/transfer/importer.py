"""Load packages from their sources into the store, and report what became of each."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from ..api.profiles import PROFILES, SDK
from ..case.entity_urls import server_urls
from ..case.package import Package
from ..case.resources import ASSOCIATIONS, ITEMS
from ..case.stored_form import FILE_ORIGIN, BodyOrigin
from ..case.types import ASSOCIATION_TYPE_PATTERN, IDENTIFIER_PATTERN, PATTERN_MESSAGES
from ..case.vocabulary import UNKNOWN_ITEM_TYPE
from ..db.pool import Database
from ..db.write.change_counts import ChangeCounts
from ..db.write.loss_guard import DataLossRefused, refuse_data_loss
from ..db.write.package import Guard, write_package
from ..exceptions import CaseServerError, Problem, StartupError
from ..formats.assembly import Defaults
from ..formats.reader import read_framework
from ..repair.reader import NO_OPTIONS, Repair, RepairOptions
from ..repair.repair_log import format_example
from ..settings import is_loopback
from .progress import Progress, progress_bar
from .sources import Source, describe_error, refuse_other_json
from .terminal import counted, format_counts, problem_lines

URL_IDENTIFIER = re.compile(
    re.escape(PATTERN_MESSAGES[IDENTIFIER_PATTERN]) + r'; got "https?://[^\s"]*"$'
)
"""The message of a problem that --identifiers uuid5 solves."""

START_OF_FILE = "the start of the file"
URL_HINT = "identifiers that are URLs are imported with --identifiers uuid5"
TYPE_HINT = (
    "association types of other vocabularies are kept as ext:name with --keep-association-types"
)

DEFAULT_TYPE = f'"{UNKNOWN_ITEM_TYPE}"'.encode()
WRAPPED_PACKAGE = re.compile(rb'\s*\{\s*"CFPackage"\s*:')


@dataclass
class ImportResult:
    """What became of one source, or would become of it in a dry run."""

    source: str
    status: str = "refused"
    """created, replaced, unchanged, refused, or readable: valid, and there is no database yet to
    compare it with."""
    dry_run: bool = False
    document: str | None = None
    identifier_source: str | None = None
    """What the document's identifier was made from, where the source gave none."""
    items: int = 0
    associations: int = 0
    counts: ChangeCounts | None = None
    """None when the source was refused before it was compared with what is stored."""
    seconds: float = 0.0
    repairs: list[Repair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    more: int = 0
    """How many problems there are beside those."""
    hints: list[str] = field(default_factory=list)
    """Which flags would let a refused source through."""
    reason: str | None = None


@dataclass(frozen=True)
class Importer:
    """Loads sources one by one, each in a transaction of its own."""

    strict: bool = False
    quiet: bool = False
    dry_run: bool = False
    allow_deletes: bool = False
    """Whether a source may delete or overwrite most of a framework."""
    defaults: Defaults = field(default_factory=Defaults)
    """What is said of a spreadsheet beside it."""
    options: RepairOptions = NO_OPTIONS
    base_url: str | None = None
    """The URL of this server. Its addresses in a package are not stored as uris."""

    async def load(self, database: Database | None, found: Sequence[Source]) -> list[ImportResult]:
        """Store each source; only read it where there is no database."""
        outcomes = []
        for source in found:
            outcome = ImportResult(source.name, dry_run=self.dry_run)
            start = time.monotonic()
            progress = progress_bar(source.name, quiet=self.quiet)
            try:
                await self._load(database, source, outcome, progress)
            except (CaseServerError, StartupError) as error:
                outcome.reason = describe_error(error)
                outcome.problems = getattr(error, "problems", [])
                outcome.more = getattr(error, "omitted", 0)
                outcome.hints = self._hints(outcome.problems)
                if isinstance(error, DataLossRefused):
                    outcome.counts = error.counts
            outcome.seconds = round(time.monotonic() - start, 2)
            progress("")
            _report(outcome, quiet=self.quiet)
            outcomes.append(outcome)
        return outcomes

    def _hints(self, problems: Sequence[Problem]) -> list[str]:
        """Return the flags that would help with problems, without those that were given."""
        hints = []
        if any(URL_IDENTIFIER.search(problem["message"]) for problem in problems):
            hints.append(URL_HINT)
        is_type = PATTERN_MESSAGES[ASSOCIATION_TYPE_PATTERN]
        if not self.options.keep_association_types and any(
            problem["message"].startswith(is_type) for problem in problems
        ):
            hints.append(TYPE_HINT)
        return hints

    async def _load(
        self,
        database: Database | None,
        source: Source,
        outcome: ImportResult,
        progress: Progress,
    ) -> None:
        progress("reading")
        raw = source.read()
        package, outcome.repairs = self._understand(source, raw)
        outcome.document = package.document_identifier
        outcome.identifier_source = package.identifier_source
        outcome.items = package.count(ITEMS.name)
        outcome.associations = package.count(ASSOCIATIONS.name)
        if database is None:
            outcome.status = "readable"
            return
        guard: Guard | None = None if self.allow_deletes else refuse_data_loss
        written = await write_package(
            database,
            package,
            progress=progress,
            origin=_origin_of(raw, package, self.base_url),
            guard=guard,
            dry_run=self.dry_run,
        )
        outcome.counts = written.counts
        replaced = "replaced" if written.changed else "unchanged"
        outcome.status = "created" if written.created else replaced

    def _understand(self, source: Source, raw: bytes) -> tuple[Package, list[Repair]]:
        if source.form == "case-json":
            refuse_other_json(raw)
        defaults = replace(self.defaults, changed=source.changed or datetime.now(UTC))
        return read_framework(
            raw,
            source.form,
            defaults,
            strict=self.strict,
            allow_dense=source.allow_dense,
            options=self.options,
        )


def _origin_of(raw: bytes, package: Package, base_url: str | None) -> BodyOrigin:
    """Return which values of a package are not stored, because an answer of this server adds them.

    The SDK profile answers addresses instead of uris, below the public URL or, where a server was
    asked on its own machine, below a loopback address. It wraps its packages, which no export is.
    """
    has_default_types = DEFAULT_TYPE in raw and b'"CFItemTypeURI"' in raw
    if not WRAPPED_PACKAGE.match(raw):
        return replace(FILE_ORIGIN, has_default_types=has_default_types)
    urls = [base_url] if base_url else []
    document = json.loads(next(iter(package.rows)).body)
    address = urlsplit(document["uri"])
    if is_loopback(address.hostname or "") and SDK.prefix in address.path:
        path = address.path[: address.path.index(SDK.prefix)]
        urls.append(f"{address.scheme}://{address.netloc}{path}")
    addresses = server_urls(tuple(urls), tuple(profile.prefix for profile in PROFILES))
    return BodyOrigin(addresses if addresses.occurs_in(raw) else None, has_default_types)


def _report(outcome: ImportResult, *, quiet: bool) -> None:
    """Print what became of a source: refusals to stderr, the rest to stdout unless ``quiet``."""
    if outcome.status == "refused":
        for line in _refusal(outcome):
            click.echo(line, err=True)
    elif not quiet:
        click.echo(_success(outcome))
    if not quiet:
        if outcome.identifier_source and outcome.document:
            click.echo(
                f"  the identifier {outcome.document} was made from {outcome.identifier_source}; "
                "--document-id gives another"
            )
        for repair in outcome.repairs:
            click.echo(f"  {repair.kind} ({repair.count:,}): {repair.explanation}")
            click.echo(f"    first at {repair.path or START_OF_FILE}{_example(repair)}")


def _success(outcome: ImportResult) -> str:
    status = f"would be {outcome.status}" if outcome.dry_run and outcome.counts else outcome.status
    content = f"{counted(outcome.items, 'item')}, {counted(outcome.associations, 'association')}"
    changes = (
        format_counts(outcome.counts)
        if outcome.counts
        else "all of it would be added, because there is no database yet"
    )
    return (
        f"{outcome.source}: {status} {outcome.document}: {content}; {changes}, "
        f"in {outcome.seconds:.1f} s"
    )


def _refusal(outcome: ImportResult) -> Iterator[str]:
    if not outcome.problems:
        yield f"{outcome.source}: refused: {outcome.reason}"
        if outcome.counts:
            yield f"  would be: {format_counts(outcome.counts)}"
        return
    count = len(outcome.problems) + outcome.more
    yield f"{outcome.source}: refused, {counted(count, 'problem')}:"
    problems = _summarize_url_identifiers(outcome.problems)
    for line in (*problem_lines(problems, sys.stderr, outcome.more), *outcome.hints):
        yield f"  {line}"


def _summarize_url_identifiers(problems: Sequence[Problem]) -> list[Problem]:
    """Return problems with one in the place of all identifiers that are URLs."""
    urls = [each for each in problems if URL_IDENTIFIER.search(each["message"])]
    if len(urls) < 2:  # noqa: PLR2004  a single one needs no summary
        return [*problems]
    first = urls[0]
    others = len(urls) - 1
    message = f"{first['message']}; {counted(others, 'other identifier')} like it"
    summary = Problem(path=first["path"], message=message)
    return [summary, *(each for each in problems if each not in urls)]


def _example(repair: Repair) -> str:
    """Return the values of a repair where there are any; of what was dropped none is shown."""
    if repair.after is None:
        return ""
    before = f"{format_example(repair.before)} became " if repair.before is not None else "now "
    return f": {before}{format_example(repair.after)}"


def write_report(path: Path, outcomes: Sequence[ImportResult]) -> None:
    """Write everything that became of every source, as JSON."""
    report = [_as_json(outcome) for outcome in outcomes]
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


def _as_json(outcome: ImportResult) -> dict[str, Any]:
    counts = outcome.counts
    # asdict() keeps a named tuple, which JSON would make a list of.
    return asdict(outcome) | {"counts": counts._asdict() if counts else None}
