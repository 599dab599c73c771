"""Import packages and spreadsheets into the database."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from ..api.profiles import PROFILES, SDK
from ..case.entity_urls import get_server_url_matcher
from ..case.package import PreparedPackage
from ..case.resources import ASSOCIATIONS, ITEMS
from ..case.stored_form import NO_ECHOED_VALUES, EchoedValues, may_have_default_item_types
from ..case.types import ASSOCIATION_TYPE_PATTERN, IDENTIFIER_PATTERN, PATTERN_MESSAGES
from ..db.pool import Database
from ..db.write.upload.change_counts import ChangeCounts
from ..db.write.upload.loss_guard import DataLossError, raise_for_data_loss
from ..db.write.upload.package import write_package
from ..exceptions import CaseServerError, CommandError, Problem
from ..formats.reader import read_framework
from ..formatting import escape_surrogates
from ..lint.structure import LintWarning, find_structural_violations
from ..repair.metadata_options import MetadataOptions
from ..repair.reader import NO_OPTIONS, RepairOptions
from ..repair.repair_log import RepairSummary
from ..settings import is_loopback
from .console import Progress
from .sources import PackageSource, describe_error, reject_non_package_json

URL_IDENTIFIER = re.compile(
    re.escape(PATTERN_MESSAGES[IDENTIFIER_PATTERN]) + r'; got "https?://[^\s"]*"$'
)
"""The message of a problem that --identifiers uuid5 solves."""

URL_HINT = "identifiers that are URLs are imported with --identifiers uuid5"
DOCUMENT_HINT = "--title and --creator give what the CFDocument lacks"
TYPE_HINT = (
    "association types of other vocabularies are kept as ext:name with --keep-association-types"
)

MISSING_IN_DOCUMENT = [
    Problem(path=f"CFDocument.{name}", message="required") for name in ("title", "creator")
]

WRAPPED_PACKAGE = re.compile(rb'\s*\{\s*"CFPackage"\s*:')


@dataclass
class ImportResult:
    """The result of importing a source: its status, counts, repairs and problems.

    In a dry run, these are the values that an import would have.
    """

    source: str
    status: str = "refused"
    """created, replaced, unchanged, refused, or valid if there is no database to compare with."""
    dry_run: bool = False
    document: str | None = None
    identifier_source: str | None = None
    """What the document's identifier was derived from, if the file has none."""
    items: int = 0
    associations: int = 0
    counts: ChangeCounts | None = None
    """None if the source was refused before it was compared with the database."""
    seconds: float = 0.0
    repairs: list[RepairSummary] = field(default_factory=list)
    warnings: list[LintWarning] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    more: int = 0
    """Number of problems that ``problems`` leaves out."""
    hints: list[str] = field(default_factory=list)
    """The options that would let a refused source through."""
    notes: list[str] = field(default_factory=list)
    """Further messages for the user."""
    reason: str | None = None
    """Why the source was refused, unless ``problems`` says it."""


@dataclass(frozen=True)
class Importer:
    """Imports sources such as files and URLs one by one, each in its own transaction."""

    strict: bool = False
    dry_run: bool = False
    allow_deletes: bool = False
    """True if a source may delete or overwrite most of a framework."""
    metadata: MetadataOptions = field(default_factory=MetadataOptions)
    """Values for a spreadsheet that were given as options."""
    options: RepairOptions = NO_OPTIONS
    base_url: str | None = None
    """The URL of this server. Its addresses in a package are not stored as uris."""
    progress_of: Callable[[str], Progress] = lambda _: lambda _: None
    """Returns the progress of a source by its name."""

    async def import_sources(
        self, database: Database | None, sources: Sequence[PackageSource]
    ) -> AsyncIterator[ImportResult]:
        """Import the sources one after another, and yield an ``ImportResult`` for each.

        An error, such as an invalid package, is stored in the result, and the next source follows.
        Without a database, the sources are only validated.
        """
        names_by_document: dict[str | None, str] = {}
        for source in sources:
            result = ImportResult(source.name, dry_run=self.dry_run)
            start = time.monotonic()
            progress = self.progress_of(source.name)
            try:
                await self._import_source(database, source, result, progress)
            except (CaseServerError, CommandError) as error:
                result.reason = describe_error(error)
                result.problems = getattr(error, "problems", [])
                result.more = getattr(error, "omitted", 0)
                result.hints = self._build_hints(result.problems)
                if isinstance(error, DataLossError):
                    result.counts = error.counts
            result.seconds = round(time.monotonic() - start, 2)
            if self.dry_run and (earlier_name := names_by_document.get(result.document)):
                # A dry run stores nothing, so the changes of the earlier source are missing.
                result.notes.append(
                    f"the dry run compares it with the database, not with {earlier_name}, which "
                    "has the same document and would be imported before it"
                )
            if result.document:
                names_by_document[result.document] = source.name
            progress("")
            yield result

    def _build_hints(self, problems: Sequence[Problem]) -> list[str]:
        hints = []
        if any(URL_IDENTIFIER.search(problem["message"]) for problem in problems):
            hints.append(URL_HINT)
        is_type = PATTERN_MESSAGES[ASSOCIATION_TYPE_PATTERN]
        if not self.options.keep_association_types and any(
            problem["message"].startswith(is_type) for problem in problems
        ):
            hints.append(TYPE_HINT)
        if any(problem in MISSING_IN_DOCUMENT for problem in problems):
            hints.append(DOCUMENT_HINT)
        return hints

    async def _import_source(
        self,
        database: Database | None,
        source: PackageSource,
        result: ImportResult,
        progress: Progress,
    ) -> None:
        progress("reading")
        raw = source.read()
        if source.file_format == "case-json":
            reject_non_package_json(raw)
        package, result.repairs = read_framework(
            raw,
            source.file_format,
            replace(self.metadata, changed=source.changed or datetime.now(UTC)),
            strict=self.strict,
            allow_dense=source.allow_dense,
            options=self.options,
        )
        result.document = package.document_identifier
        result.identifier_source = package.derived.identifier_source
        result.items = package.count_entities(ITEMS.name)
        result.associations = package.count_entities(ASSOCIATIONS.name)
        result.warnings = find_structural_violations(package)
        if database is None:
            result.status = "valid"
            return
        write_result = await write_package(
            database,
            package,
            progress=progress,
            echoed=_detect_echoed_values(raw, package, self.base_url),
            guard=None if self.allow_deletes else raise_for_data_loss,
            dry_run=self.dry_run,
        )
        result.counts = write_result.counts
        replaced = "replaced" if write_result.changed_count else "unchanged"
        result.status = "created" if write_result.is_created else replaced


def _detect_echoed_values(
    raw: bytes, package: PreparedPackage, base_url: str | None
) -> EchoedValues:
    """Return which values of a file this server may have added, as ``EchoedValues``.

    Such values of a saved response are not stored. Only responses of the SDK profile have replaced
    uris, and these wrap the package in an object. The uris begin with ``base_url``, the public URL,
    or with a loopback address. Default item types are possible in every response.
    """
    has_default_item_types = may_have_default_item_types(raw)
    if not WRAPPED_PACKAGE.match(raw):
        return replace(NO_ECHOED_VALUES, has_default_item_types=has_default_item_types)
    urls = [base_url] if base_url else []
    if url := _find_loopback_url(json.loads(next(iter(package.rows)).body)["uri"]):
        urls.append(url)
    addresses = get_server_url_matcher(tuple(urls), tuple(profile.prefix for profile in PROFILES))
    return EchoedValues(addresses if addresses.mentions_host(raw) else None, has_default_item_types)


def _find_loopback_url(uri: str) -> str | None:
    """Return this server's base URL if a ``uri`` in a saved SDK response is on this machine.

    This machine is a loopback address, such as http://localhost:8080. A server without a public URL
    builds uris from the address in the client's request. Returns None for other hosts.
    """
    try:
        parts = urlsplit(uri)
        is_local = is_loopback(parts.hostname or "")
    except ValueError:
        return None
    path, prefix, _ = parts.path.partition(SDK.prefix)
    return f"{parts.scheme}://{parts.netloc}{path}" if is_local and prefix else None


def require_writable_report_path(path: Path) -> None:
    """Raise ``CommandError`` unless a file for the import report can be written at a path.

    Only checks the path and its folder and creates no file. The command calls this before it
    imports, so that a mistyped path does not cost the report of a long import.
    """
    problem = None
    if path.is_dir() or not path.parent.is_dir():
        problem = "name a file in an existing folder"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        problem = "permission denied; name another file"
    if problem:
        raise CommandError(f"cannot write the report to {path}: {problem}")


def write_import_report(path: Path, results: Sequence[ImportResult]) -> None:
    """Write import results to a JSON file. Raises ``CommandError`` if writing fails."""
    # asdict() keeps a named tuple, which would become an array.
    report = [
        asdict(result)
        | {
            "source": escape_surrogates(result.source),
            "notes": list(map(escape_surrogates, result.notes)),
            "reason": None if result.reason is None else escape_surrogates(result.reason),
            "counts": result.counts._asdict() if result.counts else None,
        }
        for result in results
    ]
    try:
        path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise CommandError(
            f"cannot write the report to {path}: {error.strerror}; name another file"
        ) from error
