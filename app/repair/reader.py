"""The tolerant reader: repairs a package where only one meaning is possible, and reports it.

Values that cannot be repaired stay unchanged; the strict reader refuses them with their paths.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import from_json, to_json

from ..case.model import CFPackage, CFPckgDocument
from ..case.package import IdentifiedCFPackage, PreparedPackage, make_document_link
from ..case.package_stream import parse_large_package
from ..case.resources import ASSOCIATIONS, DOCUMENTS, ITEMS
from ..case.types import ASSOCIATION_TYPE_PATTERN, IDENTIFIER_PATTERN, PATTERN_MESSAGES
from ..case.validation.limits import TREE_DENSITY, check_density
from ..case.validation.numbers import find_inexact_numbers
from ..case.validation.parsing import get_standard_name
from ..case.validation.problems import create_validation_error, format_location
from ..exceptions import BadRequest, CaseServerError, ContentTooLarge, Problem, UnprocessableContent
from .completion import fill_in_required_fields, repair_links
from .duplicates import deduplicate
from .encoding import convert_to_utf8, detect_encoding, require_utf8
from .fixes import MISSING_SLASH, FloatWithNotation
from .incomplete_packages import IDENTIFIER_NAMES, IncompletePackageCompleter
from .metadata_options import MetadataOptions
from .normalizer import PackageNormalizer
from .references import (
    Entities,
    ReferenceResolver,
    has_noncanonical_references,
    prefix_association_types,
    replace_url_identifiers,
)
from .repair_log import Json, RepairLog, RepairSummary, format_value, get_value_at, truncate_value

WRAPPERS = ("CFPackage", "package")

MESSAGES_WITH_VALUE = {
    PATTERN_MESSAGES[IDENTIFIER_PATTERN],
    PATTERN_MESSAGES[ASSOCIATION_TYPE_PATTERN],
}
"""Messages of problems to which the invalid value is added."""

SUSPECT = re.compile(MISSING_SLASH.pattern.encode() + rb"|:\s*null\b")
"""Patterns in JSON that the strict reader accepts, but that need a repair or a report."""


SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
"""Half of a character in JSON, which has no UTF-8 unless the other half follows."""


@dataclass(frozen=True)
class RepairOptions:
    """Optional repairs of identifiers, association types and metadata, all off by default."""

    replace_url_identifiers: bool = False
    """True to replace identifiers that are URLs by UUIDs (version 5) made from them."""
    keep_association_types: bool = False
    """True to keep association types of other vocabularies as ``ext:name``."""
    metadata: MetadataOptions | None = None
    """Values that replace or complete those of a package; None to refuse an incomplete one."""


NO_OPTIONS = RepairOptions()

EXPORTED_KINDS = (DOCUMENTS.name, ITEMS.name, ASSOCIATIONS.name)
"""The kinds of entities that identify an export."""


def repair_and_parse(
    raw: bytes,
    *,
    allow_dense: bool = False,
    options: RepairOptions = NO_OPTIONS,
    schema: type[IdentifiedCFPackage] = IdentifiedCFPackage,
) -> tuple[PreparedPackage, list[RepairSummary]]:
    """Repair and parse a JSON package, and return the package and a list of its repairs.

    ``options`` enables optional repairs. Raises ``BadRequest`` if ``raw`` is not a JSON object.
    Raises ``UnprocessableContent`` if the repaired package violates ``schema``; it lists the
    problems with their paths in the original file. Raises ``ContentTooLarge`` if the package has so
    many JSON values per megabyte that parsing it would need too much memory; ``allow_dense`` turns
    this limit off.
    """
    has_overrides = options.metadata is not None and options.metadata.has_overrides
    if not has_overrides and (package := _read_unchanged(raw, schema, allow_dense=allow_dense)):
        return package, []
    repaired_package = RepairedPackage(raw, allow_dense=allow_dense, options=options)
    repaired_package.deduplicate()
    try:
        package = parse_large_package(
            repaired_package.json_bytes, allow_dense=allow_dense, schema=schema
        )
    except UnprocessableContent as error:
        located = map(repaired_package.locate_in_original, error.problems)
        problems = [*repaired_package.inexact_numbers, *located]
        raise create_validation_error(
            "CFPackage", problems, error.omitted, exhaustive=error.exhaustive
        ) from None
    if repaired_package.inexact_numbers:
        raise create_validation_error("CFPackage", repaired_package.inexact_numbers)
    return replace(package, derived=repaired_package.derived), repaired_package.log.summarize()


def describe_file_error(error: CaseServerError) -> str:
    """Return the message of an error in a package file, with "the file" in place of "the body".

    The reader words its messages for the body of a request: "the body is not JSON".
    """
    message = error.description
    if not message.startswith("the body"):
        return message
    return f"the file{message.removeprefix('the body')}".replace("send a JSON", "give a JSON")


def _read_unchanged(
    raw: bytes, schema: type[IdentifiedCFPackage], *, allow_dense: bool
) -> PreparedPackage | None:
    if detect_encoding(raw) != "utf-8":
        return None
    body = raw.removeprefix(BOM_UTF8)
    try:
        package = parse_large_package(body, max_problems=1, allow_dense=allow_dense, schema=schema)
    except (UnprocessableContent, ContentTooLarge):
        return None
    except BadRequest:
        require_utf8(raw)
        raise
    if body != raw:
        return None
    is_suspect = SUSPECT.search(raw) or has_noncanonical_references(package.rows)
    return None if is_suspect and not is_case_server_export(raw, package) else package


def is_case_server_export(raw: bytes, package: PreparedPackage) -> bool:
    """Return whether a JSON file is byte for byte what ``case-server export`` writes.

    ``package`` is the parsed file. An export is read without repairs, so that importing it gives
    the same framework, even if the framework has values that a repair would change.
    """
    if not (raw.startswith(b'{"CFDocument":{') and raw.endswith(b"}\n")):
        return False
    position = 0
    document_link_json = ""
    for row in package.rows:
        if row.kind not in EXPORTED_KINDS:
            continue
        body = row.body
        if row.kind == DOCUMENTS.name:
            link = make_document_link(CFPckgDocument.model_validate_json(row.body))
            document_link_json = f',"CFDocumentURI":{link.model_dump_json(exclude_none=True)}}}'
        elif body.endswith(document_link_json):
            # A package leaves out the link to the document that contains an entity.
            body = f"{body.removesuffix(document_link_json)}}}"
        position = raw.find(body.encode(), position)
        if position < 0:
            return False
    return b'"CFDefinitions":{"CFConcepts":[' in raw and b',"CFRubrics":[' in raw


class RepairedPackage:
    """The tree of JSON objects of a package, which the constructor repairs.

    ``log`` contains the repairs. ``derived`` contains values that the file lacks and the repairs
    added, such as identifiers. ``entities`` lists each entity of the tree with its class.
    ``inexact_numbers`` are problems about numbers that a float cannot represent exactly.
    """

    def __init__(
        self,
        raw: bytes,
        log: RepairLog | None = None,
        *,
        allow_dense: bool = False,
        options: RepairOptions = NO_OPTIONS,
    ) -> None:
        self.log = log or RepairLog()
        if not allow_dense:
            check_density(raw, TREE_DENSITY)
        body = self._convert_to_utf8(raw)
        self.tree = self._unwrap(_parse_object(body))
        self.inexact_numbers = [
            Problem(path=format_location(location), message=message)
            for location, message in find_inexact_numbers(body)
        ]
        completer = IncompletePackageCompleter(self.tree, self.root, self.log, options.metadata)
        completer.complete_package()
        self.derived = completer.derived
        self._drop_redundant_package_identifier()
        document = self.tree.get("CFDocument")
        title = document.get("title") if isinstance(document, dict) else None
        normalizer = PackageNormalizer(self.log, title if isinstance(title, str) else None)
        normalizer.repair_object(CFPackage, self.tree, self.root)
        aliases = self.derived.aliases
        if options.replace_url_identifiers:
            aliases |= replace_url_identifiers(normalizer.entities, self.log)
        if options.keep_association_types:
            prefix_association_types(normalizer.entities, self.log)
        if self.derived.has_time_of_file:
            self.derived.times |= _find_entities_without_change_time(normalizer.entities)
        fill_in_required_fields(normalizer.entities, self.log)
        references = ReferenceResolver(normalizer.entities, aliases)
        repair_links(normalizer, references, replace_urls=options.replace_url_identifiers)
        self.entities = normalizer.entities

    def deduplicate(self) -> None:
        """Remove duplicate entities and associations from the tree, and log each removal."""
        deduplicate(self.tree, self.log)

    @property
    def json_bytes(self) -> bytes:
        """The repaired package, serialized as JSON bytes."""
        return to_json(self.tree, inf_nan_mode="constants")

    def locate_in_original(self, problem: Problem) -> Problem:
        """Return a copy of a problem of the repaired package with its path in the original file.

        A message about an invalid identifier or association type also gets the invalid value.
        """
        path, message = problem["path"], problem["message"]
        value = get_value_at(self.tree, path) if message in MESSAGES_WITH_VALUE else None
        if isinstance(value, str):
            message = f"{message}; got {format_value(truncate_value(value))}"
        return Problem(path=self.log.map_to_original_path(self.tree, path), message=message)

    def _drop_redundant_package_identifier(self) -> None:
        """Remove the package's own identifier if the document or its CFPackageURI repeats it.

        TimeBack's APIs add this identifier, but the standard defines no such field.
        """
        document = self.tree.get("CFDocument")
        if not isinstance(document, dict):
            return
        link = document.get("CFPackageURI")
        holders = [holder for holder in (document, link) if isinstance(holder, dict)]
        implied_identifiers = [holder.get(name) for holder in holders for name in IDENTIFIER_NAMES]
        for name in IDENTIFIER_NAMES:
            if isinstance(self.tree.get(name), str) and self.tree[name] in implied_identifiers:
                del self.tree[name]

    def _convert_to_utf8(self, raw: bytes) -> bytes:
        encoding = detect_encoding(raw)
        if encoding != "utf-8":
            self.log.record("encoding", "", encoding.upper(), "UTF-8")
            return convert_to_utf8(raw, encoding)
        if raw.startswith(BOM_UTF8):
            self.log.record("byte-order-mark", "")
        return raw.removeprefix(BOM_UTF8)

    def _unwrap(self, tree: Json) -> Json:
        self.root = ""
        names = [name for name in WRAPPERS if tree.keys() == {name}]
        if names and isinstance(tree[names[0]], dict):
            self.root = names[0]
            self.log.record("wrapper", self.root, self.root)
            tree = tree[self.root]
        return tree


def _find_entities_without_change_time(entities: Entities) -> set[tuple[str, str]]:
    """Return (class name, identifier) for each entity whose change time is not its own.

    These are the entities without lastChangeDateTime, and the document, which got the time of the
    file earlier.
    """
    return {
        (get_standard_name(schema), str(entity.get("identifier")))
        for schema, entity in entities
        if schema is CFPckgDocument or "lastChangeDateTime" not in entity
    }


def _parse_object(raw: bytes) -> Json:
    try:
        tree: Any = json.loads(raw, parse_float=FloatWithNotation)
        if SURROGATE_ESCAPE.search(raw):
            from_json(raw)  # raises ValueError for lone surrogates, which json.loads accepts
    except (ValueError, RecursionError) as error:
        require_utf8(raw)
        raise BadRequest(f"the body is not JSON: {error}; send a JSON object") from None
    if not isinstance(tree, dict):
        raise BadRequest("the body must be a JSON object, a CFPackage")
    return tree
